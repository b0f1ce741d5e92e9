"""File queries against a bare pika echo that returns as many bytes, in turns on one broker.

Also SHA-1 against `sha1sum`, a listing of 10,000 entries against scandir, stat and JSON in one process, and the
memory of the service after all of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.asker import Asker
from bench.site import Site, resident_bytes, site
from bench.table import markdown

ROUNDS = 7
MIB = 1 << 20


def main() -> str:
    """Runs the comparison and returns its table."""
    with site() as place:
        service = place.serve(FSHERALD_READ_LIMIT_BYTES=str(4 * MIB))
        place.spawn(sys.executable, "-m", "bench.echo", place.url, "bench.echo")
        rows = [*small_queries(place), *blocks(place), digest(place), listing(place), *beside(place)]
        used = resident_bytes(service.pid) / MIB
        rows.append(["memory of the service at its largest", f"{used:.0f} MiB", "-", "-", "bounded"])
    return markdown(["what", "fsherald", "instead", "ratio", "goal"], rows)


def small_queries(place: Site) -> list[list[str]]:
    path = place.root / "small"
    path.write_bytes(b"x" * 100)
    ours = Asker(place.url, "fsherald.files", _request("getSize", fileId=str(path)))
    ours.ask(50, 1)
    echo = Asker(place.url, "bench.echo", str(len(ours.last_reply)).encode())
    alone, together = [], []
    echo.ask(50, 1)
    for _ in range(ROUNDS):
        alone.append([_median(asker.ask(300, 1)[0]) for asker in (ours, echo)])
        together.append([2000 / asker.ask(2000, 32)[1] for asker in (ours, echo)])
    ours.close()
    echo.close()
    p50 = [_median([row[side] for row in alone]) * 1e3 for side in (0, 1)]
    rate = [_median([row[side] for row in together]) for side in (0, 1)]
    return [
        _row("small query alone, p50", "{:.2f} ms", p50, p50[0] / p50[1], "<= 1.3"),
        _row("small queries, 32 in flight", "{:.0f} /s", rate, rate[1] / rate[0], "<= 1.3"),
    ]


def blocks(place: Site) -> list[list[str]]:
    path = place.root / "large"
    path.write_bytes(os.urandom(4 * MIB))
    rows = []
    for size in (MIB, 4 * MIB):
        request = _request("readBlock", fileId=str(path), offset=0, size=size)
        ours = Asker(place.url, "fsherald.files", request, {"accept": "application/octet-stream"})
        echo = Asker(place.url, "bench.echo", str(size).encode())
        count = 64 * MIB // size
        rates = [[count / asker.ask(count, 4)[1] for asker in (ours, echo)] for _ in range(ROUNDS)]
        assert len(ours.last_reply) == size
        ours.close()
        echo.close()
        rate = [_median([row[side] for row in rates]) * size / MIB for side in (0, 1)]
        what = f"readBlock of {size // MIB} MiB, 4 in flight"
        rows.append(_row(what, "{:.0f} MiB/s", rate, rate[0] / rate[1], ">= 0.8"))
    return rows


def digest(place: Site) -> list[str]:
    path = place.root / "digest"
    with path.open("wb") as f:
        for _ in range(512):
            f.write(os.urandom(MIB))
    ours = Asker(place.url, "fsherald.files", _request("getSHA1", fileId=str(path)))

    def sha1sum() -> None:
        subprocess.run(["sha1sum", str(path)], check=True, stdout=subprocess.DEVNULL)

    times = [[_timed(lambda: ours.ask(1, 1)), _timed(sha1sum)] for _ in range(ROUNDS)]
    ours.close()
    path.unlink()
    rate = [512 / _median([row[side] for row in times]) for side in (0, 1)]
    return _row("getSHA1 of 512 MiB against sha1sum", "{:.0f} MiB/s", rate, rate[0] / rate[1], ">= 0.9")


def listing(place: Site) -> list[str]:
    directory = place.root / "many"
    directory.mkdir()
    for number in range(10_000):
        (directory / f"file{number:05d}").touch()
    ours = Asker(place.url, "fsherald.files", _request("getBulkDirectory", absPath=str(directory), filter=""))
    times = [
        [_timed(lambda: ours.ask(1, 1)), _timed(lambda: in_one_process(directory))] for _ in range(ROUNDS)
    ]
    assert len(json.loads(ours.last_reply)["result"]) == 10_000
    ours.close()
    seconds = [_median([row[side] for row in times]) * 1e3 for side in (0, 1)]
    what = "getBulkDirectory of 10,000 entries against scandir, stat, JSON"
    return _row(what, "{:.0f} ms", seconds, seconds[0] / seconds[1], "<= 2")


def beside(place: Site) -> list[list[str]]:
    """A small query while something large is under way: a page of a million entries, a SHA-1 of 4 GiB."""
    many = place.root / "million"
    many.mkdir()
    for number in range(1_000_000):
        os.close(os.open(f"{many}/{number}", os.O_CREAT | os.O_WRONLY))
    large = place.root / "sparse"
    large.touch()
    os.truncate(large, 4096 * MIB)
    small = Asker(place.url, "fsherald.files", _request("getSize", fileId=str(large)))
    idle = _median(small.ask(300, 1)[0]) * 1e3
    rows = []
    for what, request in (
        ("a million entries are listed", _request("getDirectory", absPath=str(many), filter="", limit=100)),
        ("4 GiB are digested", _request("getSHA1", fileId=str(large))),
    ):
        with ThreadPoolExecutor(1) as pool:
            other = Asker(place.url, "fsherald.files", request)
            under_way = pool.submit(other.ask, 1, 1)
            times: list[float] = []
            while not under_way.done():
                times += small.ask(10, 1)[0]
            other.close()
        busy = _median(times) * 1e3
        rows.append(
            _row(f"small query, p50, while {what}", "{:.2f} ms", [busy, idle], busy / idle, "no stall")
        )
    small.close()
    return rows


def in_one_process(directory: Path) -> str:
    """What the same answer costs a script on the host itself."""
    with os.scandir(directory) as entries:
        found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    return json.dumps(
        [
            {
                "baseName": name,
                "owner": str(status.st_uid),
                "size": status.st_size,
                "mTime": status.st_mtime,
                "cTime": status.st_ctime,
                "aTime": status.st_atime,
                "type": "File",
            }
            for name, status in found
        ]
    )


def _request(method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _row(what: str, form: str, values: list[float], ratio: float, goal: str) -> list[str]:
    return [what, form.format(values[0]), form.format(values[1]), f"{ratio:.2f}", goal]
