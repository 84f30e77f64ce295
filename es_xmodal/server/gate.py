"""Who may come in: a bounded number at once, a bounded queue behind them, and no caller too often."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from es_xmodal.server.problems import Problem

_LATELY = 0.1
"""Share of the newest visit in what visits take lately."""
_CALLERS = 10_000
"""Buckets that are kept; the caller that was quiet longest is forgotten first."""


class Gate:
    """Lets `running` requests work at once and `waiting` more wait.

    Whoever would wait too long, by what visits took lately, is refused at the door: a queue that is longer
    than that only makes everybody late, and the service busy for a while after the rush.

    Args:
        running: places.
        waiting: places in the queue.
        wait_s: longest stay in the queue.
        clock: seconds; tests replace it.
    """

    def __init__(
        self, running: int, waiting: int, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = anyio.Semaphore(running)
        self._most_running = running
        self._most_waiting = waiting
        self._wait_s = wait_s
        self._clock = clock
        self._visit_s = 0.0
        self.waiting = 0
        self.running = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; wait for one where there is room to wait.

        Raises:
            Problem: 503 where the queue is full, or the wait too long or likely to be.
        """
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait()
        self.running += 1
        begun = self._clock()
        try:
            yield
        finally:
            self._visit_s += _LATELY * (self._clock() - begun - self._visit_s)
            self.running -= 1
            self._places.release()

    async def _wait(self) -> None:
        if self.waiting >= self._most_waiting:
            raise _full(f"{self.running} requests run and {self.waiting} wait")
        likely_s = (self.waiting + 1) * self._visit_s / self._most_running
        if likely_s > self._wait_s:
            raise _full(f"a place would be free in about {likely_s:.1f} s", wait_s=likely_s)
        self.waiting += 1
        try:
            with anyio.fail_after(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise _full(f"no place became free within {self._wait_s:g} s") from None
        finally:
            self.waiting -= 1


class RateLimit:
    """A token bucket for each caller.

    Args:
        per_s: tokens a second; 0: no limit.
        burst: size of a bucket.
        clock: seconds; tests replace it.
    """

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one token.

        Args:
            caller: who calls.

        Raises:
            Problem: 429 where the bucket is empty.
        """
        if self._per_s <= 0:
            return
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_s)
        if tokens < 1:
            self._buckets[caller] = (tokens, now)
            wait_s = math.ceil((1 - tokens) / self._per_s)
            raise Problem(
                429,
                f"more than {self._per_s:g} requests a second",
                kind="too-many-requests",
                headers={"Retry-After": str(wait_s)},
            )
        self._buckets[caller] = (tokens - 1, now)
        while len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)


def _full(why: str, *, wait_s: float = 1.0) -> Problem:
    headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
    return Problem(503, f"the service is busy: {why}", kind="queue-full", headers=headers)
