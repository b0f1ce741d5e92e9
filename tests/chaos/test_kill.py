"""kill -9 at any moment, under load: nothing is missing, nothing is told twice, no number is skipped or used again."""

from __future__ import annotations

import random
import subprocess
import time

from tests.chaos.conftest import OpenScene
from tests.chaos.kit.load import Load
from tests.chaos.kit.proxy import NetworkProxy
from tests.chaos.kit.scene import Scene, Witness
from tests.clients.service import Service
from tests.waiting import eventually

KILLS = 6
_STEPS = (20, 250)


class Killer:
    """Kills the service while a load runs, at moments that its seed decides."""

    def __init__(self, scene: Scene, load: Load, seed: int) -> None:
        self._service = scene.service
        self._load = load
        self._random = random.Random(f"kill {seed}")

    def kill(self) -> None:
        """Under load, then perhaps again while it starts, then it runs; the load goes on all the time."""
        steps = self._random.randint(*_STEPS)
        at = self._load.done + self._random.randrange(steps)
        self._load.start(steps)
        eventually(lambda: self._load.done >= at, every_seconds=0.001)
        self._service.kill()
        self._load.join()
        if self._random.random() < 0.5:
            self._change_in_another_second()
        self._load.start(self._random.randint(*_STEPS))
        self._service.start()
        if self._random.random() < 0.3 and runs_for(self._service, self._random.uniform(0.0, 1.5)):
            self._service.kill()
            self._service.start()
        self._service.wait_until_ready()
        self._load.join()

    def _change_in_another_second(self) -> None:
        """While it is down, at a time that no report of before can have: the judge tells such reports apart."""
        second = int(time.time())
        eventually(lambda: int(time.time()) > second)
        self._load.run(20)


def runs_for(service: Service, seconds: float) -> bool:
    """Let it run for so long, whatever it does; whether it still runs."""
    try:
        service.wait(seconds=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def begin(scene: Scene, seed: int, **params: object) -> tuple[Witness, Load]:
    witness = scene.watch(**params)
    # While it goes on, a file that stays open is reported as it grows, and once more at its close.
    load = Load(scene.root, seed, counts_closes=True)
    load.run(100)
    return witness, load


def test_killed_at_any_moment_under_load_everything_is_told_once(scene: Scene, seed: int) -> None:
    """What exists in its final state, what is gone deleted; numbers contiguous, redelivered messages identical."""
    witness, load = begin(scene, seed)
    killer = Killer(scene, load, seed)
    for _ in range(KILLS):
        killer.kill()
        witness.hear()
    witness.settle(load=load)


def test_killed_while_the_broker_is_away_everything_is_told_once(
    open_scene: OpenScene, proxy: NetworkProxy, seed: int
) -> None:
    """What was recorded for the broker survives with its numbers and its bytes, however often the service dies."""
    scene = open_scene(proxy=proxy)
    witness, load = begin(scene, seed, blockSize=5)
    draw = random.Random(f"away {seed}")
    for _ in range(2):
        if draw.random() < 0.5:
            proxy.close()
        else:
            proxy.cut()
        load.run(draw.randint(*_STEPS))
        scene.service.kill()
        load.run(draw.randint(0, 50))
        scene.service.start()
        eventually(lambda: scene.service.has_started_monitors(1))
        load.run(draw.randint(*_STEPS))
        proxy.open()
        scene.service.wait_until_ready()
    witness.settle(load=load)
