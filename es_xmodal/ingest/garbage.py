"""The collector of garbage, while many rows are on their way."""

from __future__ import annotations

import gc
import threading
from typing import Final

ALLOCATIONS: Final = 20_000
"""More than the objects of the rows on their way, which a reference count frees in any case."""


class RareCollections:
    """A context in which garbage is collected less often than by an interpreter that knows nothing of rows.

    With CPython's 700 allocations a row lives long enough to be taken for an old object, and every two
    thousand rows all that the process has is looked through: a fifth of the time of a second ingest. A
    threshold that is higher already, or zero, stays. Contexts may overlap; the last one puts back what was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._open == 0:
                self._before, *others = gc.get_threshold()
                if 0 < self._before < ALLOCATIONS:
                    gc.set_threshold(ALLOCATIONS, *others)
            self._open += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                gc.set_threshold(self._before, *gc.get_threshold()[1:])


RARE_COLLECTIONS: Final = RareCollections()
"""One for the process: so is the collector."""
