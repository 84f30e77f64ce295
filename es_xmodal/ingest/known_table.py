"""What the index holds of all its products, in 16 bytes and a bit for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from es_xmodal.catalog.seen import text_hash
from es_xmodal.ingest.known import mark_of_hit

Words: TypeAlias = NDArray[np.uint64]

_PARTS: Final = 16


class KnownTable:
    """A table of documents, by id; filled by one thread, then read by any.

    An id is kept as 64 bits of its hash. Where two ids share one, which happens among 5 million with a
    probability of one in a million, a product is compared with the other's document, differs from it (the
    row's hash holds the id), and is written once more than needed.

    The hashes lie in parts, which are sorted and grown one after the other: what is there twice meanwhile is
    a part only.

    Args:
        documents: how many are expected; there may be more or fewer.
    """

    def __init__(self, documents: int) -> None:
        self._parts = [_Part(documents // _PARTS) for _ in range(_PARTS)]

    def __len__(self) -> int:
        return sum(part.count for part in self._parts)

    def add(self, pages: Sequence[Mapping[str, Any]]) -> None:
        """Take documents.

        Args:
            pages: the `fields` of hits: `id`, `row_hash` and those of `COMPARED`, each a list.
        """
        keys = np.array([text_hash(fields["id"][0]) for fields in pages], np.uint64)
        marks = np.array([mark_of_hit({"fields": fields}) for fields in pages], np.uint64)
        owners = keys % np.uint64(_PARTS)
        for number, part in enumerate(self._parts):
            own = owners == number
            part.add(keys[own], marks[own])

    def close(self) -> None:
        """Called when every document was added."""
        for part in self._parts:
            part.close()

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """Look up documents.

        Args:
            ids: some ids.

        Returns:
            The marks of those that there are.
        """
        return {one: mark for one in ids if (mark := self._find(text_hash(one))) is not None}

    def name(self, id_: str) -> bool | None:
        """Note that the catalogue names a product.

        Args:
            id_: of the product.

        Returns:
            True the first time, False from then on; None where there is no such document.
        """
        key = text_hash(id_)
        return self._part(key).name(key)

    def _find(self, key: int) -> int | None:
        return self._part(key).find(key)

    def _part(self, key: int) -> _Part:
        return self._parts[key % _PARTS]


class _Part:
    """The documents whose hashes leave the same remainder."""

    def __init__(self, expected: int) -> None:
        self._keys = np.empty(expected, np.uint64)
        self._marks = np.empty(expected, np.uint64)
        self._named = bytearray()
        self.count = 0

    def add(self, keys: Words, marks: Words) -> None:
        end = self.count + len(keys)
        if end > len(self._keys):
            size = end + end // 32  # hashes spread evenly, so that little is lacking
            self._keys, self._marks = (_resized(one, size) for one in (self._keys, self._marks))
        self._keys[self.count : end] = keys
        self._marks[self.count : end] = marks
        self.count = end

    def close(self) -> None:
        order = np.argsort(self._keys[: self.count])
        self._keys = self._keys[order]
        self._marks = self._marks[order]
        self._named = bytearray(self.count // 8 + 1)

    def find(self, key: int) -> int | None:
        place = self._place(key)
        return None if place is None else int(self._marks[place])

    def name(self, key: int) -> bool | None:
        place = self._place(key)
        if place is None:
            return None
        byte, bit = place >> 3, 1 << (place & 7)
        first = not self._named[byte] & bit
        self._named[byte] |= bit
        return first

    def _place(self, key: int) -> int | None:
        keys = self._keys.data  # a single number comes out of it in half the time
        place = bisect_left(keys, key)
        return place if place < self.count and keys[place] == key else None


def _resized(array: Words, size: int) -> Words:
    found = np.empty(size, array.dtype)
    found[: len(array)] = array
    return found
