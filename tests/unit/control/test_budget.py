"""The bound on replies that wait to be sent, and the time limit of a query."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from control import directory
from control.budget import Budget
from control.deadline import Deadline
from control.dispatcher import Caller
from control.file_server import FileServer
from publisher.roots import Roots
from schemas.errors import LimitExceededError, ShuttingDownError
from schemas.methods import methods_of
from tests.waiting import eventually, stays


def test_who_wants_more_than_is_free_waits_until_it_is_given_back() -> None:
    """Memory is bounded by the budget, however many replies are asked for."""
    budget = Budget(100)
    budget.take(60)
    taken = threading.Event()

    def take() -> None:
        budget.take(60)
        taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    stays(lambda: not taken.is_set(), seconds=0.1)
    budget.give_back(60)
    eventually(taken.is_set)
    thread.join()


def test_one_larger_than_the_whole_budget_gets_it_alone() -> None:
    """A reply that is allowed is sent, whatever the budget."""
    budget = Budget(100)
    budget.take(500)
    budget.give_back(500)
    budget.take(100)


def test_a_closed_budget_keeps_nobody_waiting() -> None:
    """A stop ends every wait."""
    budget = Budget(100)
    budget.take(100)
    thread = threading.Thread(target=budget.take, args=(100,))
    thread.start()
    budget.close()
    thread.join(5)
    assert not thread.is_alive()


def test_a_query_that_takes_too_long_is_broken_off() -> None:
    """limit-exceeded names the limit; the end of the service says shutting-down."""
    stopping = threading.Event()
    Deadline(60, stopping).check("it")
    with pytest.raises(LimitExceededError, match="longer than 0 seconds"):
        Deadline(0, stopping).check("it")
    stopping.set()
    with pytest.raises(ShuttingDownError):
        Deadline(60, stopping).check("it")


@pytest.mark.parametrize(("method", "key"), [("getSHA1", "fileId"), ("getDirectory", "absPath")])
def test_the_limit_holds_for_digests_and_listings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, key: str
) -> None:
    """What can take long looks at the time between its steps."""
    monkeypatch.setattr(directory, "_CHECK_EVERY", 1)
    (tmp_path / "f").write_bytes(os.urandom(100))
    server = FileServer(Roots([str(tmp_path)]), query_seconds=-1.0)
    path = tmp_path / "f" if method == "getSHA1" else tmp_path
    params = methods_of("files")[method].parse_params(
        {key: str(path)} | ({"filter": ""} if key == "absPath" else {})
    )
    with pytest.raises(LimitExceededError, match="longer"):
        server.handlers()[method](params, Caller())
