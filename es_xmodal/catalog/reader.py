"""Reading a catalogue: each row becomes a product or a reject."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from es_xmodal.catalog.columnar import parquet_rows
from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.edit import Edit, parse_edit
from es_xmodal.catalog.jsonstream import json_row, json_rows
from es_xmodal.catalog.product import REJECT_KEYS, STAGES, Product, Reject
from es_xmodal.catalog.renames import Renames
from es_xmodal.catalog.row import parse_row, reject_of, row_id
from es_xmodal.catalog.seen import GrowingSet, SeenTexts
from es_xmodal.catalog.source import inspect, reading
from es_xmodal.catalog.table import table_rows
from es_xmodal.catalog.values import FieldProblem
from es_xmodal.catalog.version import version_of
from es_xmodal.errors import CatalogError

_LOGGER = logging.getLogger(__name__)
_NO_RENAMES: Final[Mapping[str, str]] = MappingProxyType({})
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    """How rows are read."""

    renames: Renames
    ids: GrowingSet
    report_duplicates: bool = True
    partial: bool = False
    version_field: str | None = None


def read_catalog(
    path: Path,
    *,
    renames: Mapping[str, str] = _NO_RENAMES,
    report_duplicates: bool = True,
    version_field: str | None = None,
    ids: GrowingSet | None = None,
) -> Iterator[Product | Deletion | Reject]:
    """Read a catalogue row by row, in memory that does not grow with it.

    JSON arrays, JSON Lines, CSV and Parquet, each also compressed with gzip, are told apart by their content.
    A rejects file is read as a catalogue of the rows in it.

    Args:
        path: the file.
        renames: field of the catalogue format to its name in the file, such as `{"title": "name"}`.
        report_duplicates: reject a row whose id an earlier product has.
        version_field: field of each row that says which of several rows of one id is the newest; those rows
            are then no duplicates.
        ids: tells whether an id is new; None: `SeenTexts`, 12 to 24 bytes for each product.

    Returns:
        An iterator: one product, deletion or reject for each row, in order.

    Raises:
        CatalogError: the file as a whole cannot be read, or has no row. Damage that is found further on (an
            array or a gzip file that is cut off) raises while iterating.
        MissingExtraError: Parquet without pyarrow.
    """
    how = _How(
        renames=Renames(renames),
        report_duplicates=report_duplicates and version_field is None,
        version_field=version_field,
        ids=SeenTexts() if ids is None else ids,
    )
    return _not_empty(_read(Path(path), how, parse_row), path)


def read_edits(path: Path, *, renames: Mapping[str, str] = _NO_RENAMES) -> Iterator[Edit | Deletion | Reject]:
    """Read partial rows: an `id`, and the fields that are to change.

    Args:
        path: the file, as for `read_catalog`.
        renames: as for `read_catalog`.

    Returns:
        An iterator: one edit, deletion or reject for each row, in order.

    Raises:
        CatalogError: as for `read_catalog`.
        MissingExtraError: Parquet without pyarrow.
    """
    how = _How(renames=Renames(renames), ids=SeenTexts(), partial=True)
    return _not_empty(_read(Path(path), how, parse_edit), path)


def _not_empty(rows: Iterator[_T], path: Path) -> Iterator[_T]:
    first = next(rows, None)
    if first is None:
        raise CatalogError(f"catalogue {path} has no rows", hint="an empty catalogue would empty the index")
    return _resumed(first, rows)


def _resumed(first: _T, rest: Iterator[_T]) -> Iterator[_T]:
    yield first
    yield from rest


_Parse = Callable[..., _T | Deletion | Reject]


def _read(path: Path, how: _How, parse: _Parse[_T]) -> Iterator[_T | Deletion | Reject]:
    source = inspect(path)
    with reading(path):
        if source.kind == "table":
            # Columns are renamed in the header, before cells are taken apart.
            yield from _checked(
                table_rows(source, how.renames, partial=how.partial), how, parse, rename=False
            )
        elif source.kind == "parquet":
            yield from _checked(parquet_rows(source, how.renames, partial=how.partial), how, parse)
        else:
            yield from _checked(json_rows(source), how, parse)
            how.renames.finish()


def _checked(
    rows: Iterable[Reject | tuple[int, Any]], how: _How, parse: _Parse[_T], *, rename: bool = True
) -> Iterator[_T | Deletion | Reject]:
    repeats = SeenTexts()
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
        row = how.renames.apply(value) if rename and isinstance(value, dict) else value
        result = parse(row, line=line, sources=how.renames.pairs)
        if not isinstance(result, Reject):
            result = _settled(result, row, line, how)
        yield result


def _settled(result: Any, row: Any, line: int, how: _How) -> Any:
    """Look at other rows of the same id: the version tells which one counts, or the first one does."""
    if how.version_field is not None:
        try:
            return replace(result, version=version_of(row, how.version_field))
        except FieldProblem as problem:
            return reject_of(row, problem, line)
    if how.report_duplicates and not how.ids.add(result.id):
        return _duplicate(result.id, row, line)
    return result


def _duplicate(id_: str | None, row: Any, line: int) -> Reject:
    reason = "duplicate: an earlier row has this id"
    return Reject(line=line, id=id_, stage="row", field="id", reason=reason, row=row)


def _unwrapped(read: tuple[int, Any]) -> Reject | tuple[int, Any]:
    """Take the row out of a line of a rejects file.

    A row that was no JSON is kept as text there, where someone may have mended it.
    """
    line, value = read
    if not (isinstance(value, dict) and value.keys() == REJECT_KEYS and value["stage"] in STAGES):
        return read
    row = value["row"]
    if str(value["reason"]).startswith("duplicate:") and value["id"] and row_id(row) == value["id"]:
        return _duplicate(value["id"], row, line)  # not mended: it would take the first one's place
    return json_row(line, row) if isinstance(row, str) else (line, row)
