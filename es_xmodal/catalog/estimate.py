"""How many products and pictures a catalogue will give, told from its first rows and its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.catalog.source import Source, inspect, reading

ROWS = 2_000
"""Rows that are read; a catalogue with no more is counted, not estimated."""
_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogSize:
    """How large a catalogue is.

    Attributes:
        products: rows that are products.
        pictures: references to pictures, over all products.
        several: whether a product has more than one.
        counted: the numbers are counted; otherwise they are estimated.
    """

    products: int
    pictures: int
    several: bool
    counted: bool

    def scaled(self, products: int) -> CatalogSize:
        """The same catalogue with so many products.

        Args:
            products: as somebody expects it.
        """
        share = self.pictures / max(self.products, 1)
        return CatalogSize(
            products=products, pictures=round(products * share), several=self.several, counted=False
        )


def estimate_size(path: Path, *, renames: Mapping[str, str]) -> CatalogSize:
    """Count the first rows, and take the rest from the size of the file.

    Lines are counted where rows are lines (JSON Lines, CSV), and Parquet says how many rows it has; a long
    JSON array and gzipped Parquet are read to their end.

    Args:
        path: the catalogue.
        renames: as for `read_catalog`.

    Returns:
        The size.

    Raises:
        CatalogError: the file as a whole cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    rows = read_catalog(path, renames=renames, report_duplicates=False)
    head = list(islice(rows, ROWS))
    products = [one for one in head if isinstance(one, Product)]
    pictures = sum(len(one.images) for one in products)
    several = any(len(one.images) > 1 for one in products)
    size = CatalogSize(products=len(products), pictures=pictures, several=several, counted=True)
    following = next(rows, None)
    if following is None or not products:
        return size
    return size.scaled(max(round(_rows(path, head, rows) * len(products) / ROWS), len(products)))


def _rows(
    path: Path, head: Sequence[Product | Deletion | Reject], rest: Iterator[Product | Deletion | Reject]
) -> float:
    """How many rows there are in all."""
    source = inspect(path)
    if source.kind == "parquet" and not source.gzipped:
        from pyarrow import parquet

        return float(parquet.read_metadata(path).num_rows)
    if source.kind in ("lines", "table"):
        lines = _count(source, b"\r" if source.newline == "\r" else b"\n")
        return lines * len(head) / max(head[-1].line, len(head))
    return len(head) + 1.0 + sum(1 for _ in rest)


def _count(source: Source, what: bytes) -> int:
    """Occurrences of a byte in the file."""
    total = 0
    with reading(source.path), source.open_bytes() as stream:
        while chunk := stream.read(_CHUNK):
            total += chunk.count(what)
    return total
