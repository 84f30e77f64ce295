"""From products to rows with their vectors, on one machine."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from es_xmodal.catalog.product import Product
from es_xmodal.ingest.ahead import WhereItPays, ahead, batched
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.rows import Loader, Row

ROWS_TOGETHER = 128
"""Rows that are loaded, and asked about, at once."""
BATCHES_AHEAD = 3
GROUPS_AHEAD = 2
MAX_WORKERS = 4


class Engine(Protocol):
    """Where pictures are fetched, decoded and embedded."""

    def rows(self, products: Iterator[Product]) -> Generator[list[Row], None, None]:
        """Turn products into rows that have everything a document is made of.

        Args:
            products: read as they are needed, never far ahead.

        Yields:
            Some rows at a time, all of them in the order of the products; unchanged ones without vectors.

        Raises:
            StoreError: the vector store cannot be used.
            EncoderServiceError: the encoder as a whole is out of order.
            ClusterError: the index cannot be asked what it holds.
        """
        ...


class LocalEngine:
    """Threads of this process load and decode; one embeds, while the caller sends the group before.

    Args:
        loader: reads and decodes pictures.
        embedder: gives the vectors.
        batch_size: pictures that the encoder takes at once.
    """

    def __init__(self, loader: Loader, embedder: Embedder, *, batch_size: int) -> None:
        self._loader = loader
        self._embedder = embedder
        self._batch_size = batch_size

    def rows(self, products: Iterator[Product]) -> Generator[list[Row], None, None]:
        """See `Engine`."""
        pool = ThreadPoolExecutor(min(MAX_WORKERS, (os.cpu_count() or 1) + 1), "load")
        embedding = ThreadPoolExecutor(1, "embed")  # one: what it keeps, the next group finds
        try:
            yield from ahead(
                embedding, self._embed, self._groups(products, pool), depth=GROUPS_AHEAD, skip=_all_unchanged
            )
        finally:
            embedding.shutdown(cancel_futures=True)
            pool.shutdown(cancel_futures=True)

    def _embed(self, rows: list[Row]) -> list[Row]:
        self._embedder.embed(rows)
        return rows

    def _groups(self, products: Iterator[Product], pool: ThreadPoolExecutor) -> Iterator[list[Row]]:
        """Rows with decoded pictures, in groups that fill the encoder's batches."""
        loader = self._loader
        together = batched(products, ROWS_TOGETHER)
        batches = ahead(WhereItPays(pool), loader.load, together, depth=BATCHES_AHEAD)
        rows = (row for batch in batches for row in batch)
        ready = ahead(
            pool,
            loader.decode,
            rows,
            depth=2 * self._batch_size,
            skip=lambda row: row if loader.waits_for_nothing(row) else None,
        )
        yield from grouped(ready, self._batch_size)


def _all_unchanged(rows: list[Row]) -> list[Row] | None:
    return rows if all(row.unchanged for row in rows) else None


def grouped(rows: Iterable[Row], batch_size: int) -> Iterator[list[Row]]:
    """Cut rows into groups that fill the encoder's batches.

    Args:
        rows: in the order of the products.
        batch_size: pictures that the encoder takes at once.

    Yields:
        At most `ROWS_TOGETHER` rows, the last of them the one whose pictures fill the batch.
    """
    group: list[Row] = []
    pictures = 0
    for row in rows:
        group.append(row)
        pictures += 0 if row.unchanged else len(row.undecoded)
        if pictures >= batch_size or len(group) >= ROWS_TOGETHER:
            yield group
            group, pictures = [], 0
    if group:
        yield group
