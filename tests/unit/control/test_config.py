"""The configuration: where values come from, and one sentence for each that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from control.config import Config, ConfigError, http_address, load_config
from control.state_dir import StateDir


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any setting but the roots, and a directory without `.env`."""
    import os

    for name in list(os.environ):
        if name.startswith("FSHERALD_") or name == "XDG_STATE_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("FSHERALD_ROOTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_those_of_the_protocol(clean: Path) -> None:
    """Only the roots have to be given."""
    config = load_config()
    assert config.amqp_url == "amqp://guest:guest@localhost:5672/%2F"
    assert config.namespace == "fsherald"
    assert config.roots == (str(clean),)
    assert (config.log_level, config.log_format, config.http) == ("info", "console", "")
    assert (config.durability, config.outbox_limit_bytes) == ("process", 1 << 30)
    assert (config.query_workers, config.read_limit_bytes, config.files_queue_type) == (4, 4 << 20, "classic")


def test_env_file_beats_environment_and_options_beat_both(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, `.env`, options: in that order of increasing precedence."""
    monkeypatch.setenv("FSHERALD_NAMESPACE", "environment")
    assert load_config().namespace == "environment"
    (clean / ".env").write_text("FSHERALD_NAMESPACE=file\nUNRELATED=1\n")
    assert load_config().namespace == "file"
    assert load_config(namespace="option").namespace == "option"
    assert load_config(namespace=None).namespace == "file"


def test_the_state_directory_has_the_customary_place(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_STATE_HOME/fsherald, or ~/.local/state/fsherald."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_config().state_dir == Path("/home/somebody/.local/state/fsherald")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert load_config().state_dir == Path("/var/state/fsherald")
    assert load_config(state_dir=Path("here")).state_dir == clean / "here"


def test_roots_are_separated_by_colons(clean: Path) -> None:
    """As in PATH; empty parts say nothing."""
    (clean / "a").mkdir()
    assert load_config(roots=f"{clean}/a::{clean}").roots == (f"{clean}/a", str(clean))


def test_the_password_comes_from_its_file(clean: Path) -> None:
    """Without the newline that editors put at its end."""
    (clean / "password").write_text("s3cret\n")
    config = load_config(amqp_url="amqp://me:wrong@host/", amqp_password_file=str(clean / "password"))
    assert config.amqp.password == "s3cret"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FSHERALD_ROOTS", ""),
        ("FSHERALD_ROOTS", "relative"),
        ("FSHERALD_ROOTS", "/does/not/exist"),
        ("FSHERALD_ROOTS", "/etc/passwd"),
        ("FSHERALD_NAMESPACE", "white space"),
        ("FSHERALD_NAMESPACE", "amq.mine"),
        ("FSHERALD_LOG_LEVEL", "loud"),
        ("FSHERALD_LOG_FORMAT", "xml"),
        ("FSHERALD_HTTP", "9420"),
        ("FSHERALD_HTTP", "localhost:99999"),
        ("FSHERALD_DURABILITY", "some"),
        ("FSHERALD_OUTBOX_LIMIT_BYTES", "much"),
        ("FSHERALD_OUTBOX_LIMIT_BYTES", "17"),
        ("FSHERALD_QUERY_WORKERS", "0"),
        ("FSHERALD_READ_LIMIT_BYTES", "999999999"),
        ("FSHERALD_FILES_QUEUE_TYPE", "stream"),
        ("FSHERALD_BLOCK_INTERVAL_SECONDS", "-1"),
        ("FSHERALD_BLOCK_INTERVAL_SECONDS", "nan"),
        ("FSHERALD_STOP_SECONDS", "soon"),
        ("FSHERALD_AMQP_URL", "http://localhost"),
        ("FSHERALD_AMQP_PASSWORD_FILE", "/does/not/exist"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """What the operator reads is the variable and what it should be."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert str(caught.value).startswith(variable)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > len(variable) + 10


def test_missing_roots_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no default."""
    monkeypatch.delenv("FSHERALD_ROOTS")
    with pytest.raises(ConfigError, match=r"^FSHERALD_ROOTS is not set; set it to the directories"):
        load_config()


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the configuration's repr nor in an error about the URL."""
    assert "s3cret" not in repr(load_config(amqp_url="amqp://me:s3cret@host/"))
    with pytest.raises(ConfigError) as caught:
        load_config(amqp_url="amqp://me:s3cret/x@host:port/")
    assert "s3cret" not in str(caught.value)


def test_file_names_must_be_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other encoding could not say every name; the remedy is in the sentence."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(ConfigError, match="LC_ALL"):
        load_config()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:9420", ("localhost", 9420)),
        (":9420", ("0.0.0.0", 9420)),
        ("[::1]:9420", ("::1", 9420)),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    """No host stands for every address."""
    assert http_address(text) == address


def test_every_variable_of_the_protocol_is_a_field() -> None:
    """The names are part of the protocol."""
    assert {
        "amqp_url",
        "amqp_password_file",
        "namespace",
        "roots",
        "state_dir",
        "log_level",
        "log_format",
        "http",
    } <= (Config.model_fields.keys())


def test_a_state_directory_is_held_by_one_service(tmp_path: Path) -> None:
    """The second is told, and gets it when the first is gone."""
    path = tmp_path / "made" / "on demand"
    with StateDir(path) as first:
        assert first.store_path.parent == path
        with pytest.raises(ConfigError, match="in use by another fsherald"):
            StateDir(path)
    StateDir(path).close()


def test_a_state_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """One sentence with the variable."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^FSHERALD_STATE_DIR"):
        StateDir(tmp_path / "file" / "below")
