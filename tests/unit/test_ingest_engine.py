"""The local engine: what is done beside what, and what an error ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from es_xmodal.errors import EncoderServiceError
from es_xmodal.ingest.engine import ROWS_TOGETHER, LocalEngine

pytestmark = pytest.mark.unit


@dataclass
class Row:
    number: int
    unchanged: bool = False
    undecoded: list[Any] = field(default_factory=list)


class Loader:
    """Makes rows of numbers; nothing is to be decoded."""

    def load(self, numbers: Sequence[int]) -> list[Row]:
        return [Row(number, unchanged=number < 0) for number in numbers]

    def waits_for_nothing(self, row: Row) -> bool:
        return True

    def decode(self, row: Row) -> Row:
        raise AssertionError("nothing is to be decoded")


class Embedder:
    def __init__(self, on_group: Callable[[int], None] = lambda first: None) -> None:
        self.threads: set[str] = set()
        self._on_group = on_group

    def embed(self, rows: Sequence[Row]) -> None:
        self.threads.add(threading.current_thread().name)
        self._on_group(rows[0].number)


def rows_of(numbers: Sequence[int], embedder: Embedder) -> Iterator[list[Row]]:
    engine = LocalEngine(cast(Any, Loader()), cast(Any, embedder), batch_size=16)
    return cast("Iterator[list[Row]]", engine.rows(cast(Any, iter(numbers))))


def test_a_group_is_embedded_while_the_one_before_is_sent() -> None:
    second = threading.Event()
    embedder = Embedder(lambda first: second.set() if first == ROWS_TOGETHER else None)
    groups = rows_of(range(3 * ROWS_TOGETHER), embedder)
    first = next(groups)
    assert second.wait(10)  # before the caller asks for it
    numbers = [row.number for group in (first, *groups) for row in group]
    assert numbers == list(range(3 * ROWS_TOGETHER))
    assert len(embedder.threads) == 1


def test_rows_that_did_not_change_do_not_wait_for_the_encoder() -> None:
    embedder = Embedder()
    assert sum(len(group) for group in rows_of([-1] * 300, embedder)) == 300
    assert embedder.threads == set()


def test_an_encoder_that_is_out_of_order_ends_the_rows_and_its_threads() -> None:
    def fail(first: int) -> None:
        if first:
            raise EncoderServiceError("the service is gone")

    groups = rows_of(range(5 * ROWS_TOGETHER), Embedder(fail))
    assert len(next(groups)) == ROWS_TOGETHER
    with pytest.raises(EncoderServiceError, match="gone"):
        list(groups)
    names = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    assert not names & {"embed", "load"}
