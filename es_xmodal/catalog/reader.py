"""Reading a catalogue: each row becomes a product or a reject."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from es_xmodal.catalog.columnar import parquet_rows
from es_xmodal.catalog.jsonstream import json_row, json_rows
from es_xmodal.catalog.product import REJECT_KEYS, STAGES, Product, Reject
from es_xmodal.catalog.renames import Renames
from es_xmodal.catalog.row import parse_row
from es_xmodal.catalog.seen import SeenTexts
from es_xmodal.catalog.source import inspect, reading
from es_xmodal.catalog.table import table_rows
from es_xmodal.errors import CatalogError

_LOGGER = logging.getLogger(__name__)
_NO_RENAMES: Final[Mapping[str, str]] = MappingProxyType({})


def read_catalog(
    path: Path, *, renames: Mapping[str, str] = _NO_RENAMES, report_duplicates: bool = True
) -> Iterator[Product | Reject]:
    """Read a catalogue row by row, in memory that does not grow with it.

    JSON arrays, JSON Lines, CSV and Parquet, each also compressed with gzip, are told apart by their content.
    A rejects file is read as a catalogue of the rows in it.

    Args:
        path: the file.
        renames: field of the catalogue format to its name in the file, such as `{"title": "name"}`.
        report_duplicates: reject a row whose id an earlier product has; keeps 8 to 16 bytes for each product.

    Returns:
        An iterator: one product or reject for each row, in order.

    Raises:
        CatalogError: the file as a whole cannot be read, or has no row. Damage that is found further on (an
            array or a gzip file that is cut off) raises while iterating.
        MissingExtraError: Parquet without pyarrow.
    """
    rows = _read(Path(path), Renames(renames), report_duplicates)
    first = next(rows, None)
    if first is None:
        raise CatalogError(f"catalogue {path} has no rows", hint="an empty catalogue would empty the index")
    return _resumed(first, rows)


def _resumed(first: Product | Reject, rest: Iterator[Product | Reject]) -> Iterator[Product | Reject]:
    yield first
    yield from rest


def _read(path: Path, renames: Renames, report_duplicates: bool) -> Iterator[Product | Reject]:
    source = inspect(path)
    with reading(path):
        if source.kind == "table":
            # Columns are renamed in the header, before cells are taken apart.
            yield from _checked(table_rows(source, renames), renames, report_duplicates, rename=False)
        elif source.kind == "parquet":
            yield from _checked(parquet_rows(source, renames), renames, report_duplicates)
        else:
            yield from _checked(json_rows(source), renames, report_duplicates)
            renames.finish()


def _checked(
    rows: Iterable[Reject | tuple[int, Any]],
    renames: Renames,
    report_duplicates: bool,
    *,
    rename: bool = True,
) -> Iterator[Product | Reject]:
    ids, repeats = SeenTexts(), SeenTexts()
    for read in rows:
        item = read if isinstance(read, Reject) else _unwrapped(read)
        if isinstance(item, Reject):
            yield item
            continue
        line, value = item
        # In a rejects file one product may stand once for each of its bad pictures.
        if item is not read and not repeats.add(json.dumps(value, sort_keys=True, default=str)):
            _LOGGER.debug("line %d repeats an earlier row", line)
            continue
        row = renames.apply(value) if rename and isinstance(value, dict) else value
        result = parse_row(row, line=line, sources=renames.pairs)
        if report_duplicates and isinstance(result, Product) and not ids.add(result.id):
            reason = "duplicate: an earlier row has this id"
            result = Reject(line=line, id=result.id, stage="row", field="id", reason=reason, row=row)
        yield result


def _unwrapped(read: tuple[int, Any]) -> Reject | tuple[int, Any]:
    """Take the row out of a line of a rejects file.

    A row that was no JSON is kept as text there, where someone may have mended it.
    """
    line, value = read
    if not (isinstance(value, dict) and value.keys() == REJECT_KEYS and value["stage"] in STAGES):
        return read
    row = value["row"]
    return json_row(line, row) if isinstance(row, str) else (line, row)
