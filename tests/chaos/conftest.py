"""Seeds and scenes: each round of a seeded test has a seed of its own, which names the test that fails.

`FSHERALD_CHAOS_SEED` is the seed of the first round (1 unless set), `FSHERALD_CHAOS_ROUNDS` how many there are (1).
To run a failure again, take the seed from the test's name: `test_x[seed-417]` is `FSHERALD_CHAOS_SEED=417`, one round.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.brokers import Broker, Brokers, NoBrokerError, VirtualHost, broker_names
from tests.chaos.kit.faults import Mounts
from tests.chaos.kit.proxy import NetworkProxy
from tests.chaos.kit.scene import QUICK, Scene
from tests.clients.service import Service

SEED = int(os.environ.get("FSHERALD_CHAOS_SEED", "1"))
ROUNDS = int(os.environ.get("FSHERALD_CHAOS_ROUNDS", "1"))

HERE = Path(__file__).parent

OpenScene = Callable[..., Scene]


def pytest_report_header() -> str:
    """Says which seeds this run has."""
    return f"chaos: FSHERALD_CHAOS_SEED={SEED} FSHERALD_CHAOS_ROUNDS={ROUNDS}"


LONG = pytest.mark.long
"""What a run of one round leaves out: what waits for half a minute, and the variants of what it has shown already."""

ENDINGS = pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGTERM, id="SIGTERM", marks=LONG), pytest.param(signal.SIGKILL, id="SIGKILL")],
)
"""The service ends in good order, and by a kill; the kill alone in a short run."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run of one round leaves out what is long, and shows it on one broker."""
    left_out = [item for item in items if ROUNDS == 1 and _is_long(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_long(item: pytest.Item) -> bool:
    if HERE not in item.path.parents:
        return False
    parameters = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    other_broker = parameters.get("broker", broker_names()[0]) != broker_names()[0]
    return other_broker or item.get_closest_marker("long") is not None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each round that takes a `seed`."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [pytest.param(SEED + n, id=f"seed-{SEED + n}") for n in range(ROUNDS)])


@pytest.fixture(scope="session")
def one_broker(brokers: Brokers) -> Broker:
    """The first broker that can be had: most faults are the machine's, and look the same to every broker."""
    problems = []
    for name in broker_names():
        try:
            return brokers.get(name)
        except NoBrokerError as exc:
            problems.append(str(exc))
    pytest.skip("; ".join(problems))


@pytest.fixture
def chaos_vhost(one_broker: Broker) -> Iterator[VirtualHost]:
    """A fresh virtual host of that broker."""
    with one_broker.virtual_host("chaos") as fresh:
        yield fresh


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Mounts that end with the test, after the service."""
    with Mounts() as mounted:
        yield mounted


@pytest.fixture
def proxy(chaos_vhost: VirtualHost) -> Iterator[NetworkProxy]:
    """An open proxy in front of the broker."""
    with NetworkProxy(chaos_vhost) as between:
        between.open()
        yield between


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, so that the capture is tested and not the disk."""
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_scene(mounts: Mounts, chaos_vhost: VirtualHost, tmp_path: Path) -> Iterator[OpenScene]:
    """Start a service: `open_scene(root, vhost=..., proxy=..., prefix=..., FSHERALD_X=...)`; all of it optional.

    With a proxy the service reaches the broker through that one, which is open; listeners go past it.
    """
    with ExitStack() as opened:

        def start(
            root: Path | None = None,
            *,
            vhost: VirtualHost = chaos_vhost,
            proxy: NetworkProxy | None = None,
            prefix: tuple[str, ...] = (),
            **settings: str,
        ) -> Scene:
            watched = root or tmp_path / "root"
            watched.mkdir(exist_ok=True)
            url = vhost.url if proxy is None else proxy.url
            service = Service(url, [watched], tmp_path, prefix=prefix, **{**QUICK, **settings})
            opened.enter_context(service)
            return opened.enter_context(Scene(service, vhost, watched))

        yield start


@pytest.fixture
def scene(open_scene: OpenScene) -> Scene:
    """A service that watches a directory on the disk."""
    return open_scene()
