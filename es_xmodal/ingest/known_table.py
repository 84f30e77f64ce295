"""What the index holds of all its products, in about 40 bytes for each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from es_xmodal.catalog.seen import text_hash
from es_xmodal.ingest.known import EDITED, Known

BYTES_A_DOCUMENT: Final = 39
_MAX_CURRENCIES: Final = 1000
_HASH: Final = re.compile(r"[0-9a-f]{32}")
_NOT_AVAILABLE, _AVAILABLE, _ODD = 1, 2, 4
_ROW: Final = np.dtype([("hash", "V16"), ("price", "<f8"), ("currency", "<u2"), ("flags", "u1")])


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
        self._rows = np.zeros(len(self._keys), _ROW)
        self._order = np.empty(0, np.uint32)
        self._count = 0
        self._currencies: dict[str, int] = {}
        self._names: list[str] = [""]

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
        self._rows[place] = [self._row(fields) for fields in pages]
        self._count = end

    def close(self) -> None:
        """Called when every document was added."""
        keys = self._keys[: self._count]
        self._order = np.argsort(keys, kind="stable").astype(np.uint32)
        self._keys = keys[self._order]

    def find(self, ids: Sequence[str]) -> dict[str, Known]:
        """Look up documents.

        Args:
            ids: some ids.

        Returns:
            Those that there are.
        """
        if not self._count or not ids:
            return {}
        asked = np.array([text_hash(one) for one in ids], np.uint64)
        places = np.searchsorted(self._keys, asked).clip(max=self._count - 1)
        there = np.flatnonzero(self._keys[places] == asked)
        rows = self._rows[self._order[places[there]]]
        hashes = rows["hash"].tobytes().hex()
        cells = zip(
            there.tolist(),
            rows["price"].tolist(),
            rows["currency"].tolist(),
            rows["flags"].tolist(),
            strict=True,
        )
        return {
            ids[at]: Known(
                hash=EDITED if flags & _ODD else hashes[32 * nth : 32 * nth + 32],
                edited=self._edited(price, currency, flags),
            )
            for nth, (at, price, currency, flags) in enumerate(cells)
        }

    def _grow(self, least: int) -> None:
        size = max(least, len(self._keys) + len(self._keys) // 8)
        self._keys = np.concatenate([self._keys, np.zeros(size - len(self._keys), np.uint64)])
        self._rows = np.concatenate([self._rows, np.zeros(size - len(self._rows), _ROW)])

    def _row(self, fields: Mapping[str, Any]) -> tuple[bytes, float, int, int]:
        written = str(fields.get("row_hash", ("",))[0])
        price = fields.get("price", (np.nan,))[0]
        available = fields.get("available")
        flags = 0 if available is None else _AVAILABLE if available[0] else _NOT_AVAILABLE
        currency = self._currency(fields["currency"][0]) if "currency" in fields else 0
        if currency is None or _HASH.fullmatch(written) is None:
            return bytes(16), price, currency or 0, flags | _ODD  # equal to no row: it is written anew
        return bytes.fromhex(written), price, currency, flags

    def _currency(self, name: str) -> int | None:
        """The place of a name among the few that there are; None where they are not few."""
        found = self._currencies.get(name)
        if found is None and len(self._names) <= _MAX_CURRENCIES:
            found = self._currencies[name] = len(self._names)
            self._names.append(name)
        return found

    def _edited(self, price: float, currency: int, flags: int) -> dict[str, Any]:
        edited: dict[str, Any] = {}
        if not math.isnan(price):
            edited["price"] = price
        if currency:
            edited["currency"] = self._names[currency]
        if flags & (_AVAILABLE | _NOT_AVAILABLE):
            edited["available"] = bool(flags & _AVAILABLE)
        return edited
