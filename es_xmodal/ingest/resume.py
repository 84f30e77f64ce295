"""What a build does besides, where it goes on with an index that a dead run left half built.

Rows that the index holds already are neither encoded nor sent. They must count all the same: for what is
deleted in the end (documents of the dead run that this one would not have written), and for the calibration,
which samples all rows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from es_xmodal.catalog.product import Product
from es_xmodal.ingest.ahead import batched
from es_xmodal.ingest.assemble import Assembler
from es_xmodal.ingest.calibrate import Sampled
from es_xmodal.ingest.edits_missing import Named
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.rows import Loader

TOGETHER: Final = 32
"""Rows whose pictures may be in memory at once."""


class Kept:
    """The ids whose documents belong into the index; noted from any thread."""

    def __init__(self) -> None:
        self.named = Named()
        self._lock = threading.Lock()

    def add(self, id_: str) -> None:
        """Note that the index holds what the catalogue says of this id."""
        with self._lock:
            self.named.add_id(id_)


def completed(
    sample: Sequence[Sampled | Product], *, loader: Loader, embedder: Embedder, assembler: Assembler
) -> list[Sampled]:
    """Give the sampled rows that were not sent what those have that were sent.

    Args:
        sample: rows that the index held already stand in it as products.
        loader: reads their pictures again, at most as many as a sample has.
        embedder: takes their vectors from the store, or encodes them where the store lacks them.
        assembler: knows what calibration looks at.

    Returns:
        The sample in its order, as a run from nothing would have taken it.

    Raises:
        StoreError: the vector store cannot be used.
        EncoderServiceError: the encoder as a whole is out of order.
    """
    afresh = replace(loader, known_marks=lambda ids: {})
    products = [one for one in sample if isinstance(one, Product)]
    found: list[Sampled] = []
    for some in batched(iter(products), TOGETHER):
        rows = [afresh.decode(row) for row in afresh.load(some)]
        embedder.embed(rows)
        found += [assembler.sampled(row) for row in rows]
    later = iter(found)
    return [next(later) if isinstance(one, Product) else one for one in sample]
