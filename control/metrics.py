"""What the service counts, for Prometheus: requests as they happen, everything else when it is asked for."""

from __future__ import annotations

from collections import Counter as Tally
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from schemas.monitors import MonitorState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from control.intake import Intake
    from control.registry import Registry
    from publisher.outbox import Outbox
    from publisher.relay import Relay

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Metrics:
    """The service's own registry of metrics; any thread."""

    def __init__(self) -> None:
        """Counts nothing yet."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "fsherald_requests",
            "Requests by method and outcome.",
            ["method", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "fsherald_request_seconds",
            "Time to serve a request.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._count = cache(self._requests.labels)
        self._time = cache(self._seconds.labels)

    def observe_request(self, method: str, outcome: str, seconds: float) -> None:
        """A request was served, or could not be; `method` is empty if it is not known."""
        self._count(method or "unknown", outcome).inc()
        self._time(method or "unknown").observe(seconds)

    def observe_expired(self) -> None:
        """A request came too late to be served."""
        self._requests.labels("unknown", "expired").inc()

    def observe_service(self, registry: Registry, outbox: Outbox, relay: Relay, intake: Intake) -> None:
        """Has these asked whenever metrics are."""
        self.registry.register(_ServiceCollector(registry, outbox, relay, intake))

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class _ServiceCollector(Collector):
    def __init__(self, registry: Registry, outbox: Outbox, relay: Relay, intake: Intake) -> None:
        self._registry = registry
        self._outbox = outbox
        self._relay = relay
        self._intake = intake

    def collect(self) -> Iterable[Metric]:
        yield from self._monitors()
        yield from self._publishing()
        intake, replies = self._intake, self._intake.replies
        yield _count("fsherald_replies_returned", "Replies that found nobody.", replies.returned)
        yield _count("fsherald_replies_dropped", "Replies that the broker does not take.", replies.dropped)
        yield _count("fsherald_request_reconnects", "Connections for requests made again.", intake.reconnects)

    def _monitors(self) -> Iterable[Metric]:
        monitors = self._registry.all()
        states = Tally(monitor.state for monitor in monitors)
        gauge = GaugeMetricFamily("fsherald_monitors", "Monitors by state.", labels=["state"])
        for state in MonitorState:
            gauge.add_metric([state.value], states[state])
        yield gauge
        counters = [monitor.counters for monitor in monitors]
        yield _count("fsherald_events", "Events recorded.", sum(each.events for each in counters))
        yield _count("fsherald_blocks", "Blocks recorded.", sum(each.blocks for each in counters))
        yield _count("fsherald_filtered", "Events filtered out.", sum(each.filtered for each in counters))
        yield _count("fsherald_gaps", "Times that events were given up.", sum(each.gaps for each in counters))

    def _publishing(self) -> Iterable[Metric]:
        entries, size_bytes = self._outbox.size()
        yield GaugeMetricFamily("fsherald_outbox_entries", "Blocks not confirmed yet.", value=entries)
        yield GaugeMetricFamily("fsherald_outbox_bytes", "Bytes of these.", value=size_bytes)
        status = self._relay.status()
        yield GaugeMetricFamily(
            "fsherald_broker_connected", "Whether blocks can go out.", value=status.connected
        )
        yield GaugeMetricFamily(
            "fsherald_broker_blocked", "Whether the broker is in alarm.", value=status.blocked
        )
        yield GaugeMetricFamily(
            "fsherald_monitors_held", "Monitors nobody listens to.", value=len(status.held)
        )
        yield _count("fsherald_blocks_confirmed", "Blocks that the broker has taken.", status.confirmed)
        yield _count("fsherald_blocks_returned", "Blocks that no queue took.", status.returned)
        yield _count("fsherald_blocks_refused", "Blocks that the broker could not keep.", status.nacked)
        yield _count("fsherald_event_reconnects", "Connections for events made again.", status.reconnects)


def _count(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)
