"""What README shows is what one can run: its consumers, its variables, its links."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control.config import PREFIX, Config
from tests.acceptance.conftest import Site
from tests.clients.service import PROJECT, clean_environment
from tests.waiting import eventually

README = (PROJECT / "README.md").read_text()
PAGES = ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/protocol.md"]


def code(language: str) -> str:
    """The one block of README in that language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return str(block)


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[Path]:
    """A consumer as a child process; yields the file of what it prints."""
    output = directory / "consumer-output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield output
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_consumers_of_the_readme_consume(
    site: Site, tmp_path: Path, language: str, request: pytest.FixtureRequest
) -> None:
    """Each prints a line for a file that is made once its monitor runs."""
    if language == "js":
        script = request.getfixturevalue("node_client").with_name("consumer.mjs")
        command = ["node", str(script), site.url, str(site.root)]
    else:
        script = tmp_path / "consumer.py"
        command = [sys.executable, str(script), site.url, str(site.root)]
    script.write_text(code(language))
    with running(command, tmp_path) as output:

        def told() -> bool:
            (site.root / "a.tif").unlink(missing_ok=True)
            (site.root / "a.tif").touch()
            return f"Create {site.root / 'a.tif'}" in output.read_text()

        try:
            eventually(told, seconds=15, every_seconds=0.3)
        except AssertionError as exc:
            raise AssertionError(output.read_text()) from exc


def test_every_setting_is_in_the_table_and_no_other() -> None:
    """The configuration table is that of the code."""
    told = set(re.findall(r"^\| `(FSHERALD_[A-Z_]+)`", README, re.MULTILINE))
    assert told == {f"{PREFIX}{name}".upper() for name in Config.model_fields}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """A relative link names a file, and a heading of it if it names one."""
    path = PROJECT / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings], (
                target
            )


def test_the_protocol_names_every_method_and_code() -> None:
    """Clients are written from that page alone."""
    from schemas.errors import ErrorCode
    from schemas.methods import METHODS

    page = (PROJECT / "docs/protocol.md").read_text()
    assert [name for name in METHODS if f"`{name}`" not in page] == []
    assert [str(code) for code in ErrorCode if f"`{code}`" not in page] == []


def test_the_commands_of_the_readme_exist() -> None:
    """Every `fsherald ...` line is a command, and every `make ...` a target."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", README, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    shell = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    commands = re.findall(r"^\s*fsherald ((?:monitor |file )?[a-z]+)", shell, re.MULTILINE)
    assert commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "control", *command.split(), "--help"],
            env=clean_environment(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, command
