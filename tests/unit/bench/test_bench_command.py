"""`python -m bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.__main__ import NAMES, NO_PLOTS, main
from bench.result import Bars, Figure, Result

FOUND = Result("| table |", (Figure("requests", (Bars("all", "a second", {"ours": [1.0]}),)),))


def test_a_name_that_is_none_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run then."""
    with pytest.raises(SystemExit) as ended:
        main(["nothing"])
    assert ended.value.code == 2
    assert f"there are: {', '.join(NAMES)}" in capsys.readouterr().err


def test_the_tables_are_written_to_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the run, under their names."""
    monkeypatch.setattr("bench.requests.main", lambda: "| table |")
    assert main(["requests", "--markdown", str(tmp_path / "new" / "all.md")]) == 0
    assert (tmp_path / "new" / "all.md").read_text() == "## requests\n\n| table |\n"
    assert "## requests\n\n| table |\n" in capsys.readouterr().out


def test_without_matplotlib_the_tables_still_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one line says that there are no plots."""
    monkeypatch.setattr("bench.requests.main", lambda: FOUND)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["requests", "--plots", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert "## requests\n\n| table |\n" in output.out
    assert output.err == f"{NO_PLOTS}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_a_comparison_has_drawn_goes_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that returns its tables alone draws nothing; nothing is drawn that nobody asked for."""
    drawn: list[tuple[Any, ...]] = []
    monkeypatch.setattr("bench.__main__.can_draw", lambda: True)
    monkeypatch.setitem(sys.modules, "bench.plots", SimpleNamespace(write=lambda *all_: drawn.append(all_)))
    monkeypatch.setattr("bench.requests.main", lambda: FOUND)
    monkeypatch.setattr("bench.ledger.main", lambda: "| table |")
    assert main(["requests"]) == 0
    assert drawn == []
    assert main(["requests", "ledger", "--plots", str(tmp_path)]) == 0
    assert drawn == [(FOUND.figures, tmp_path), ((), tmp_path)]
