"""Not more documents a second than the shop allows."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Waits so that no second sees more than so many documents, and no burst follows a pause.

    Args:
        docs_per_second: above 0; None: never waits.
        clock: seconds that never go back.
        sleep: how to wait.
    """

    def __init__(
        self,
        docs_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap_s = 0.0 if docs_per_second is None else 1.0 / docs_per_second
        self._clock, self._sleep = clock, sleep
        self._next_s = clock()

    def take(self) -> None:
        """Return when the next document may be sent."""
        now = self._clock()
        wait_s = self._next_s - now
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_s = max(now, self._next_s) + self._gap_s
