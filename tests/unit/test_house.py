"""The rules of the house that one module alone can't show: who may import what, what nobody may do."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LAYERS = ("schemas", "publisher", "control")

# What may be used where: a third party or a piece of the standard library behind one edge each.
HOMES = {
    "pika": (
        "publisher.amqp",
        "publisher.amqp_errors",
        "publisher.amqp_settings",
        "publisher.settlements",
        "publisher.io_thread",
        "publisher.joining",
        "publisher.message",
        "control.consumer",
        "control.replies",
        "control.rpc_client",
    ),
    "watchdog": ("publisher.watching",),
    "tenacity": ("publisher.amqp",),
    # database opens and guards the one file, store asks it; the others read one that may be damaged as it stands
    "sqlite3": (
        "publisher.storing.database",
        "publisher.storing.store",
        "publisher.storing.inspection",
        "publisher.storing.mending",
        "publisher.storing.salvage",
    ),
    "prometheus_client": ("control",),
    "typer": ("control",),
    "rich": ("control",),
}


@dataclass(frozen=True)
class Module:
    """A Python file of the project."""

    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), filename=str(self.path))

    @property
    def name(self) -> str:
        parts = self.path.relative_to(PROJECT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self) -> Iterator[str]:
        """Full dotted names of all that is imported anywhere in the module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} imports relatively"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def attributes(self) -> Iterator[str]:
        """Dotted names that are used, such as `os.environ`, and names imported from a module."""
        yield from self.imports()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                yield f"{node.value.id}.{node.attr}"


def modules(*folders: str) -> list[Module]:
    paths = (path for folder in folders for path in (PROJECT / folder).rglob("*.py"))
    return [Module(path) for path in sorted(paths) if ".venv" not in path.parts]


def within(name: str, homes: tuple[str, ...]) -> bool:
    return any(name == home or name.startswith(f"{home}.") for home in homes)


def test_the_rules_look_at_modules_that_exist() -> None:
    """A rule over an empty set would hold for ever."""
    for layer in LAYERS:
        assert modules(layer), f"no modules in {layer}"


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_used_at_its_edge_alone(library: str) -> None:
    """One edge per third party, so that replacing or upgrading it is a change in one place."""
    strays = [
        module.name
        for module in modules(*LAYERS)
        if any(within(name, (library,)) for name in module.imports())
        and not within(module.name, HOMES[library])
    ]
    assert strays == []


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_from_control_through_publisher_to_schemas(layer: str) -> None:
    """A layer imports itself and the layers below it, and nothing imports tests."""
    above = (*LAYERS[LAYERS.index(layer) + 1 :], "tests", "bench")
    strays = [
        f"{module.name} imports {name}"
        for module in modules(layer)
        for name in module.imports()
        if within(name, above)
    ]
    assert strays == []


def test_the_contract_needs_nothing_but_pydantic() -> None:
    """A client that wants the types alone installs no broker library for them."""
    foreign = ("pika", "structlog", "watchdog", "tenacity", "typer", "rich", "prometheus_client")
    strays = [m.name for m in modules("schemas") if any(within(name, foreign) for name in m.imports())]
    assert strays == []


def test_the_environment_is_read_in_one_place() -> None:
    """Configuration has one reader, so that `fsherald serve --help` can tell all of it."""
    readers = [
        module.name
        for module in modules(*LAYERS)
        if {"os.environ", "os.getenv", "os.environb"} & set(module.attributes())
        and module.name != "control.config"
    ]
    assert readers == []


def test_nobody_sleeps() -> None:
    """A wait ends when what it waits for happens, or when stop is asked; a sleep does neither."""
    sleepers = [m.name for m in modules(*LAYERS, "tests") if "time.sleep" in set(m.attributes())]
    assert sleepers == []


def test_every_module_says_what_it_is() -> None:
    """The first line of a module tells its one concept and its place; an empty file has none."""
    silent = [m.name for m in modules(*LAYERS, "tests") if m.tree.body and not ast.get_docstring(m.tree)]
    assert silent == []


def test_every_test_states_its_rule() -> None:
    """A test is named as a sentence, and its docstring is the rule that it holds."""
    silent = [
        f"{module.name}.{node.name}"
        for module in modules("tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_linter_holds_the_same_bans() -> None:
    """Ruff tells it while one writes; the names that it bans are the ones that these tests look for."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    banned = settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert {"pika", "watchdog", "tenacity", "sqlite3", "os.environ", "time.sleep"} <= set(banned)


def test_the_node_client_is_locked_by_hash_and_to_no_index() -> None:
    """The same for the client of the acceptance tests in another language."""
    lock = json.loads((PROJECT / "tests/clients/node/package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert not [package for package in packages if "resolved" in package]


@pytest.mark.parametrize("kind", ["", "-dev", "-build", "-bench", "-bench-sarracenia"])
def test_a_lock_names_versions_and_hashes_and_no_index(kind: str) -> None:
    """A lock installs the same files from whatever index its user has."""
    lines = (PROJECT / f"requirements{kind}.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert requirements
    assert all("==" in line and line.endswith("\\") for line in requirements)
    assert not [line for line in lines if "://" in line or line.startswith("-")]
