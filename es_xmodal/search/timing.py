"""Where the time of one search goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from es_xmodal.search.tracing import past_span, span


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Seconds of one search.

    Attributes:
        stages: `words`, `encode`, `retrieve`, `rank` to what they took here, the network included.
        legs: leg to what Elasticsearch says that finding its candidates took.
    """

    stages: Mapping[str, float] = field(default_factory=dict)
    legs: Mapping[str, float] = field(default_factory=dict)


class Watch:
    """Times the stages of one search; one thread uses it."""

    def __init__(self) -> None:
        self._stages: dict[str, float] = {}
        self._legs: dict[str, float] = {}
        self._began_ns = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            with span(f"search.{name}"):
                self._began_ns = time.time_ns()
                yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - start

    def leg(self, name: str, took_ms: float) -> None:
        """Note what the cluster says that a leg took; call it within the stage that asked."""
        self._legs[name] = took_ms / 1000
        # The legs of one request start together, as far as can be told from here.
        past_span(f"leg.{name}", began_ns=self._began_ns, seconds=took_ms / 1000)

    def timings(self) -> Timings:
        """Return what was measured."""
        return Timings(stages=dict(self._stages), legs=dict(self._legs))
