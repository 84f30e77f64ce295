"""What the index holds of all its products, in 16 bytes and a bit for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from es_xmodal.catalog.seen import text_hash
from es_xmodal.ingest.known import mark_of_hit

BYTES_A_DOCUMENT: Final = 16


class KnownTable:
    """A table of documents, by id; filled by one thread, then read by any.

    An id is kept as 64 bits of its hash. Where two ids share one, which happens among 5 million with a
    probability of one in a million, a product is compared with the other's document, differs from it (the
    row's hash holds the id), and is written once more than needed.

    Args:
        documents: how many are expected; there may be more or fewer.
    """

    def __init__(self, documents: int) -> None:
        self._keys = np.zeros(max(documents, 1), np.uint64)
        self._marks = np.zeros(len(self._keys), np.uint64)
        self._count = 0
        self._named = bytearray()

    def __len__(self) -> int:
        return self._count

    def add(self, pages: Sequence[Mapping[str, Any]]) -> None:
        """Take documents.

        Args:
            pages: the `fields` of hits: `id`, `row_hash` and those of `COMPARED`, each a list.
        """
        end = self._count + len(pages)
        if end > len(self._keys):
            self._grow(end)
        place = slice(self._count, end)
        self._keys[place] = [text_hash(fields["id"][0]) for fields in pages]
        self._marks[place] = [mark_of_hit({"fields": fields}) for fields in pages]
        self._count = end

    def close(self) -> None:
        """Called when every document was added."""
        order = np.argsort(self._keys[: self._count])
        self._keys = self._keys[order]
        self._marks = self._marks[order]
        self._named = bytearray(self._count // 8 + 1)

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """Look up documents.

        Args:
            ids: some ids.

        Returns:
            The marks of those that there are.
        """
        if not self._count or not ids:
            return {}
        asked = np.array([text_hash(one) for one in ids], np.uint64)
        places = np.searchsorted(self._keys, asked).clip(max=self._count - 1)
        there = np.flatnonzero(self._keys[places] == asked)
        marks = self._marks[places[there]]
        return {ids[at]: found for at, found in zip(there.tolist(), marks.tolist(), strict=True)}

    def name(self, id_: str) -> bool | None:
        """Note that the catalogue names a product.

        Args:
            id_: of the product.

        Returns:
            True the first time, False from then on; None where there is no such document.
        """
        key = np.uint64(text_hash(id_))
        place = int(self._keys.searchsorted(key))
        if place >= self._count or self._keys[place] != key:
            return None
        byte, bit = place >> 3, 1 << (place & 7)
        first = not self._named[byte] & bit
        self._named[byte] |= bit
        return first

    def _grow(self, least: int) -> None:
        more = max(least, len(self._keys) + len(self._keys) // 8) - len(self._keys)
        self._keys = np.concatenate([self._keys, np.zeros(more, np.uint64)])
        self._marks = np.concatenate([self._marks, np.zeros(more, np.uint64)])
