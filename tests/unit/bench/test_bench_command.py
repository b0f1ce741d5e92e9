"""`python -m bench`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import NAMES, main


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
    assert main(["requests", "--markdown", str(tmp_path / "all.md")]) == 0
    assert (tmp_path / "all.md").read_text() == "## requests\n\n| table |\n"
    assert "## requests\n\n| table |\n" in capsys.readouterr().out
