"""The configuration of the service: the only reader of the environment and of the files it names."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from publisher.amqp import AmqpSettings, parameters
from schemas.errors import FsheraldError
from schemas.topology import validate_namespace

PREFIX = "FSHERALD_"
_MIB = 1 << 20

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]

_LEVELS = ("debug", "info", "warning", "error", "critical")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):(\d{1,5})")


def _default_state_dir() -> Path:
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "state") / "fsherald"


class ConfigError(FsheraldError):
    """The configuration cannot be used; one sentence that names the variable and says what it should be."""


class Config(BaseSettings):
    """What the operator decides. Each field is the variable `FSHERALD_<FIELD>`, in capitals.

    Attributes:
        amqp_url: The broker.
        amqp_password_file: A file that holds the password, in the place of the one in the URL.
        namespace: Begins every name on the broker.
        roots: Nothing outside these directories is watched or read.
        state_dir: Where monitors and unpublished events are kept.
        log_level: The least serious that is logged.
        log_format: For people or for programs.
        http: `host:port` of metrics and health; empty for none.
        durability: What an event survives: the end of the process, or a power cut too (slower).
        outbox_limit_bytes: Events kept while the broker does not take them.
        query_workers: Queries served at a time.
        query_seconds: How long one query may take.
        read_limit_bytes: The largest block of readBlock.
        files_queue_type: Whether queries survive the loss of a broker node.
        block_interval_seconds: How long a partial block is held at most.
        modify_interval_seconds: How often a growing file is reported.
        settle_seconds: Quiet time after which a file is done that nothing ever closes.
        poll_interval_seconds: How often directories are compared where the kernel does not report.
        stop_seconds: How long a stop may take to answer and to publish what it can.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    amqp_url: str = Field(default="amqp://guest:guest@localhost:5672/%2F", repr=False)
    amqp_password_file: Path | None = None
    namespace: str = "fsherald"
    roots: Annotated[tuple[str, ...], NoDecode]
    state_dir: Path = Field(default_factory=_default_state_dir)
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    http: str = ""
    durability: Literal["process", "power"] = "process"
    outbox_limit_bytes: Annotated[int, Field(ge=_MIB)] = 1 << 30
    query_workers: Annotated[int, Field(ge=1, le=64)] = 4
    query_seconds: Seconds = 3600.0
    read_limit_bytes: Annotated[int, Field(ge=1, le=11 * _MIB)] = 4 * _MIB
    files_queue_type: Literal["classic", "quorum"] = "classic"
    block_interval_seconds: Seconds = 0.1
    modify_interval_seconds: Seconds = 1.0
    settle_seconds: Seconds = 1.0
    poll_interval_seconds: Seconds = 2.0
    stop_seconds: Seconds = 10.0

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings names it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options go before the `.env` file, and that before the environment."""
        return init_settings, dotenv_settings, env_settings

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        return validate_namespace(value)

    @field_validator("roots", mode="before")
    @classmethod
    def _roots(cls, value: object) -> tuple[str, ...]:
        paths = value.split(":") if isinstance(value, str) else value
        if not isinstance(paths, list | tuple):
            raise ValueError("must be absolute directories separated by ':'")  # noqa: TRY004 - pydantic reports ValueError
        return tuple(_root(str(path)) for path in paths if str(path)) or _no_roots()

    @field_validator("state_dir", "amqp_password_file")
    @classmethod
    def _expanded(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("amqp_password_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("log_level")
    @classmethod
    def _log_level(cls, value: str) -> str:
        if value.lower() not in _LEVELS:
            raise ValueError(f"must be one of {', '.join(_LEVELS)}")
        return value.lower()

    @field_validator("http")
    @classmethod
    def _http(cls, value: str) -> str:
        if value:
            http_address(value)
        return value

    @property
    def amqp(self) -> AmqpSettings:
        """How to reach the broker.

        Raises:
            ConfigError: The URL or the password file cannot be used.
        """
        settings = AmqpSettings(self.amqp_url, self._password(), connection_name=self.namespace)
        try:
            parameters(settings)
        except ValueError as exc:
            raise ConfigError(f"FSHERALD_AMQP_URL cannot be used: {exc}") from None
        return settings

    def _password(self) -> str | None:
        if self.amqp_password_file is None:
            return None
        try:
            return self.amqp_password_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            text = f"FSHERALD_AMQP_PASSWORD_FILE: {str(self.amqp_password_file)!r} cannot be read ({why})"
            raise ConfigError(f"{text}; name a file that this user may read") from exc


def load_config(**overrides: Any) -> Config:
    """The configuration: `overrides` (options of the command line; None for not given) over `.env` over environment.

    Raises:
        ConfigError: A value is missing or wrong.
    """
    if sys.getfilesystemencoding().lower() != "utf-8":
        raise ConfigError(
            "LC_ALL: the encoding of file names must be UTF-8, here it is"
            f" {sys.getfilesystemencoding()}; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        )
    try:
        config = Config(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as exc:
        raise ConfigError(_sentence(exc)) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f".env cannot be read: {exc}") from exc
    config.amqp  # noqa: B018 - for its errors
    return config


def http_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[host]:port`; no host stands for every address.

    Raises:
        ValueError: It is neither.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        raise ValueError("must be host:port with a port from 1 to 65535, such as 127.0.0.1:9420, or empty")
    return found[1] or found[2] or "0.0.0.0", int(found[3])  # noqa: S104 - it is what the operator asked for


def _root(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"must be absolute directories separated by ':', which {path!r} is not")
    if not Path(path).is_dir():
        raise ValueError(
            f"must name directories that exist, and {path!r} is none; create it or correct the path"
        )
    return path


def _no_roots() -> tuple[str, ...]:
    raise ValueError("must name at least one directory; nothing outside it can be watched or read")


def _sentence(exc: ValidationError) -> str:
    """The first problem, as one sentence without the value: it may be a secret."""
    problem = exc.errors(include_url=False, include_input=False)[0]
    variable = f"{PREFIX}{problem['loc'][0]}".upper() if problem["loc"] else "the configuration"
    if problem["type"] == "missing":
        hint = (
            " to the directories that may be watched, separated by ':'" if variable.endswith("ROOTS") else ""
        )
        return f"{variable} is not set; set it{hint}"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{variable} {text[:1].lower()}{text[1:]}".replace("input should", "should")
