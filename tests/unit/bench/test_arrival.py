"""The comparison from file to consumer: what messages tell of, how Sarracenia is set up, and what cells say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bench.arrival import ROUNDS, SIDE_SECONDS, SINGLE_FILES, Found, arrival, figure, short_of_rounds
from bench.arrivals import sarracenia
from bench.arrivals.consumer import of_block, of_sarracenia, of_script
from bench.arrivals.measures import Burst, Latency
from bench.result import Bars
from bench.site import Site

URL = "amqp://user:secret@127.0.0.1:5673/"
BLOCK = (
    b'{"monitorId": "m", "sequence": 1, "events": ['
    b'{"fileId": "/data/a", "baseName": "a", "type": "Create"},'
    b'{"fileId": "/data/b", "baseName": "b", "type": "Delete"}]}'
)
BURST = Burst(per_second=1000.0, written_per_second=9000.0, lost=0, cpu_us=20.0)
LATENCY = Latency(p50=1.0, p99=2.0, lost=0, files=SINGLE_FILES)


def found(fast: Burst = BURST, alone: Latency = LATENCY, rounds: int = 1) -> Found:
    """What so many rounds alike have found of a side."""
    bursts, latencies = [BURST] * rounds, [LATENCY] * rounds
    return Found(
        fast=[fast] * rounds,
        paced=bursts,
        quorum=bursts,
        alone=[alone] * rounds,
        alone_quorum=latencies,
        steady=latencies,
    )


def cells(column: Found) -> dict[str, str]:
    """The rows of the table by what they are about, the number of files left out."""
    lines = [line.split("|") for line in arrival({"side": column}).splitlines()]
    return {line[1].strip().partition(" files ")[2] or line[1].strip(): line[2].strip() for line in lines}


@pytest.mark.parametrize(
    ("paths", "body", "told"),
    [
        (of_script, b"/data/a b", ["/data/a b"]),
        (of_sarracenia, b'{"relPath": "data/a b", "size": 1}', ["data/a b"]),
        (of_sarracenia, b'{"relPath": "data/a", "fileOp": {"remove": ""}}', []),
        (of_sarracenia, b'{"relPath": "data/sub", "fileOp": {"directory": ""}}', []),
        (of_block, BLOCK, ["/data/a"]),
    ],
)
def test_a_message_tells_of_the_files_that_are_there(
    paths: Callable[[bytes], Iterable[str]], body: bytes, told: list[str]
) -> None:
    """Whatever its form; deletions and directories are not counted."""
    assert list(paths(body)) == told


def test_a_configuration_holds_no_password() -> None:
    """It is found in the credentials by the rest of the URL."""
    assert sarracenia.without_password(URL) == "amqp://user@127.0.0.1:5673/"
    assert sarracenia.without_password("amqp://user:secret@host/a%2Fb") == "amqp://user@host/a%2Fb"
    assert sarracenia.without_password("amqp://host/") == "amqp://host/"


def test_sarracenia_has_a_home_of_its_own(tmp_path: Path) -> None:
    """Nothing of the user's is read or written."""
    env = sarracenia.make_home(tmp_path / "home", URL, "xs_queue", Path("/data"))
    settings = tmp_path / "home/.config/sr3"
    lines = (settings / "watch/arrival.conf").read_text().splitlines()
    assert {"post_exchange xs_queue", "path /data", "post_broker amqp://user@127.0.0.1:5673/"} <= set(lines)
    assert (settings / "credentials.conf").read_text() == f"{URL}\n"
    assert all(value.startswith(str(tmp_path)) for value in env.values())


def test_the_cpu_of_a_broker_that_is_not_ours_is_not_told() -> None:
    """It may run on another machine; nothing is made up for it."""
    ours = Burst(1000.0, 9000.0, 0, 20.0, broker_us=12.34)
    assert cells(found())["at full speed: CPU of the broker for a file"] == "-"
    assert cells(found(fast=ours))["at full speed: CPU of the broker for a file"] == "12.3 us"
    assert Site("", Path(), Path()).broker_pid is None


def test_what_was_still_coming_is_not_called_lost() -> None:
    """A side that is too slow for the time it has is not one that loses files."""
    slow = Burst(100.0, 9000.0, 15_000, 900.0, is_cut=True)
    column = cells(found(fast=slow))
    assert column["at full speed: lost"] == "15,000 not there after 60 s"
    assert column["at 10,000 a second: lost"] == "0"


def test_latencies_of_fewer_files_say_of_how_many() -> None:
    """A percentile of forty is not one of two hundred."""
    few = Latency(400.0, 690.0, 0, 40)
    column = cells(found(alone=few))
    assert column["close to message, idle, blockSize 1: p50 / p99"] == "400.0 / 690.0 ms (of 40)"
    assert column["the same to a quorum queue: p50 / p99"] == "1.0 / 2.0 ms"


def test_a_side_without_all_rounds_is_named() -> None:
    """Its medians are of less than those of the others."""
    assert short_of_rounds({"whole": found(rounds=ROUNDS), "slow": found()}) == [
        f"slow: 1 of {ROUNDS} rounds, after which more than {SIDE_SECONDS} s were over."
    ]


def test_the_figure_shows_every_side_in_every_panel() -> None:
    """With what each round has found of it."""
    panels = figure({"ours": found(rounds=3), "theirs": found(rounds=1)}).panels
    assert len(panels) == 5
    for panel in panels:
        assert isinstance(panel, Bars)
        assert {name: len(values) for name, values in panel.bars.items()} == {"ours": 3, "theirs": 1}
    assert panels[2].bars["theirs"] == [BURST.cpu_us]
