"""What the service measures of itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters and histograms of one service.

    Attributes:
        content_type: of `text()`.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "es_xmodal_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "es_xmodal_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.stages = Histogram(
            "es_xmodal_stage_seconds",
            "Parts of a search: words, encode, plan, retrieve, rank, read.",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.legs = Histogram(
            "es_xmodal_leg_seconds",
            "What Elasticsearch took to find the candidates of a leg.",
            ["leg"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.empty = Counter(
            "es_xmodal_empty_results", "Searches without a hit.", ["class"], registry=self._registry
        )
        self.errors = Counter(
            "es_xmodal_errors", "Requests that ended in an error.", ["kind"], registry=self._registry
        )
        self.batches = Histogram(
            "es_xmodal_encoder_batch",
            "Items that the encoder got at once.",
            ["kind"],
            buckets=_SIZES,
            registry=self._registry,
        )
        self._running = Gauge("es_xmodal_running", "Requests that are worked on.", registry=self._registry)
        self._waiting = Gauge("es_xmodal_waiting", "Requests that wait.", registry=self._registry)

    def watch(self, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Read the two gauges from here whenever somebody looks.

        Args:
            running: requests that are worked on.
            waiting: requests that wait.
        """
        self._running.set_function(running)
        self._waiting.set_function(waiting)

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self._registry)
