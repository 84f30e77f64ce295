"""Work that is done ahead of the reader, in threads, in order, and never too far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
