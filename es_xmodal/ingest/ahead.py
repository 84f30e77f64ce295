"""Work that is done ahead of the reader, in threads, in order, and never too far ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TRY_AGAIN: Final = 16
"""Calls that go to threads until the next one tells whether they still should."""
SLOW_CALLS: Final = 2
"""Such calls one after the other, not one: that may be a collection of garbage."""
LONG_S: Final = 0.02
"""Processor time of a call above which more than Python is at work, which threads do side by side."""
WAITS: Final = 1.5
"""Elapsed by processor time of a call above which it waits, for a server or a disk."""


def ahead(
    pool: Executor,
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    depth: int,
    skip: Callable[[T], R | None] = lambda item: None,
) -> Iterator[R]:
    """Map in threads; results come in the order of the items.

    Args:
        pool: where the work is done.
        work: what is done to each item.
        items: read only as far ahead as `depth`.
        depth: how many items are in work or waiting to be taken, at most: the bound of the memory.
        skip: returns the result of an item that needs no work, else None.

    Yields:
        One result for each item.

    Raises:
        Exception: whatever `work` raises, when its turn comes.
    """
    waiting: deque[R | Future[R]] = deque()

    def take() -> R:
        first = waiting.popleft()
        return first.result() if isinstance(first, Future) else first

    try:
        for item in items:
            known = skip(item)
            waiting.append(pool.submit(work, item) if known is None else known)
            if len(waiting) >= depth:
                yield take()
        while waiting:
            yield take()
    finally:
        for one in waiting:
            if isinstance(one, Future):
                one.cancel()


class WhereItPays(Executor):
    """Calls at once, in the caller's thread, as long as the calls neither wait nor take long.

    Threads that run nothing but Python wait for each other, and handing things over costs more than it
    brings: a second ingest of rows with small pictures takes two thirds of the processor time without.

    Args:
        pool: takes the calls that do; not shut down with this.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._in_threads = 0
        self._slow = 0

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Call a function, now or in a thread; what it raises is in the future, in either case."""
        if self._in_threads > 0:
            self._in_threads -= 1
            return self._pool.submit(fn, *args, **kwargs)
        done: Future[R] = Future()
        start_s, start_busy_s = time.perf_counter(), time.thread_time()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # whoever asks for the result gets it
            done.set_exception(error)
        busy_s = time.thread_time() - start_busy_s
        slow = busy_s > LONG_S or time.perf_counter() - start_s > WAITS * busy_s
        self._slow = self._slow + 1 if slow else 0
        if self._slow >= SLOW_CALLS:
            self._in_threads = TRY_AGAIN
        return done


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists.

    Args:
        items: any number.
        size: length of each list but the last.

    Yields:
        Lists that are not empty.
    """
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
