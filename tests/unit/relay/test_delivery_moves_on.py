"""Whatever a broker answers in whatever order, everything is published in the end: no lane is left standing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.amqp import Refusal
from publisher.forgetting import BUSY_SECONDS
from tests.unit.relay.scene import Scene

SECONDS_OF_PATIENCE = 30
STEPS = ("record", "confirm", "confirm up to", "return", "refuse", "turn", "wait", "be late", "close", "lose")


class Broker:
    """Answers to what is on its way on the open channel, each message once."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.answered: dict[int, set[int]] = {}

    def waiting(self) -> list[int]:
        """The tags that have no answer yet."""
        channel = self.scene.connection.channel
        if channel is None or not channel.is_open:
            return []
        answered = self.answered.setdefault(id(channel), set())
        return [tag for tag in channel.published if tag not in answered]

    def answer(self, what: str, number: int) -> None:
        """One of the answers to one of the messages, if there is any."""
        waiting = self.waiting()
        if not waiting:
            return
        channel = self.scene.connection.publishing()
        tag = waiting[number % len(waiting)]
        meant = [each for each in waiting if each <= tag] if what == "confirm up to" else [tag]
        self.answered[id(channel)].update(meant)
        if what == "return":
            channel.turn_back(tag)
        if what == "refuse":
            channel.nack(tag)
        else:
            channel.confirm(tag, multiple=what == "confirm up to")

    def confirm_everything(self) -> None:
        """Until nothing is left, or patience is at an end; bit by bit, and the last of what waits late."""
        for _ in range(SECONDS_OF_PATIENCE * 2):
            while self.waiting():
                for _ in range(2):
                    self.answer("confirm", 0)
                    self.scene.connection.advance()
                self.scene.connection.now += BUSY_SECONDS
                self.answer("confirm up to", len(self.waiting()) - 1)
                self.scene.connection.advance()
            self.scene.connection.advance(0.5)


def step(scene: Scene, broker: Broker, what: str, number: int) -> None:
    """One thing that happens."""
    if what == "record":
        scene.outbox.put("mn"[number % 2], number % 7 + 1)
    elif what == "turn":
        scene.connection.advance()
    elif what == "wait":
        scene.connection.advance(number / 1000)
    elif what == "be late":
        scene.connection.now += number / 1000
    elif what == "close":
        if broker.waiting():
            scene.connection.publishing().close_with(Refusal(406, "what is this"))
    elif what == "lose":
        if scene.connection.channel is not None and scene.connection.channel.is_open:
            scene.connection.lose()
            scene.connect()
    else:
        broker.answer(what, number)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 29)), max_size=80))
def test_everything_is_published_in_the_end(steps: list[tuple[str, int]]):
    """In the order of the numbers, each at least once, and nothing is left in the outbox or on its way."""
    scene = Scene()
    broker = Broker(scene)
    scene.connect()
    for what, number in steps:
        step(scene, broker, what, number)
    scene.outbox.put("m", 20)
    broker.confirm_everything()
    assert scene.outbox.size() == (0, 0)
    assert not scene.delivery.busy
    for monitor in "mn":
        sent = scene.connection.sequences(monitor)
        first = list(dict.fromkeys(sent))
        assert first == list(range(1, len(first) + 1))
