"""CSV: records that are whole, columns with a meaning, continuation rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, Final

from es_xmodal.catalog.columns import Columns, plan_columns
from es_xmodal.catalog.product import Reject
from es_xmodal.catalog.records import Broken, Records
from es_xmodal.catalog.renames import Renames
from es_xmodal.catalog.row import row_id
from es_xmodal.catalog.source import ESCAPED_BYTE, MAX_ROW_CHARS, Source, bounded_lines
from es_xmodal.catalog.values import FieldProblem, price

MAX_VARIANTS: Final = 10_000


def table_rows(
    source: Source, renames: Renames, *, partial: bool = False
) -> Iterator[Reject | tuple[int, Any]]:
    """Read the rows of a CSV file; continuation rows are joined to the product above them.

    Args:
        source: the file.
        renames: names of fields in the file.
        partial: rows need no title, and none continues another.

    Yields:
        The number (of the record, from 1 after the header) and the row, or a reject.

    Raises:
        CatalogError: the header does not fit.
    """
    if csv.field_size_limit() < MAX_ROW_CHARS:
        csv.field_size_limit(
            MAX_ROW_CHARS
        )  # a setting of the whole process; its default is less than a picture
    with source.open_text() as stream:
        records = Records(bounded_lines(stream, source.newline))
        header = records.header(renames, str(source.path))
        columns = plan_columns(header, renames, str(source.path), partial=partial)
        yield from _joined(records, columns, partial)


def _joined(records: Records, columns: Columns, partial: bool) -> Iterator[Reject | tuple[int, Any]]:
    """Turn records into rows, and continuation rows into variants of the row above."""
    above: _Open | None = None
    for number, cells in enumerate(records, 1):
        row = cells if isinstance(cells, Broken) else _expanded(cells, columns)
        if isinstance(row, dict) and above is not None and not partial and above.takes(row):
            continue
        if above is not None:
            yield above.line, above.row()
        above = None
        if isinstance(row, Broken):
            name = row_id({"id": row.cells[0]}) if columns.first_is_id and row.cells else None
            yield Reject(line=number, id=name, stage="read", field=None, reason=row.reason, row=row.cells)
        else:
            above = _Open(number, row)
    if above is not None:
        yield above.line, above.row()


def _expanded(cells: list[str], columns: Columns) -> dict[str, Any] | Broken:
    for cell in cells:
        match = ESCAPED_BYTE.search(cell)
        if match:
            byte = ord(match.group()) - 0xDC00
            return Broken(cells, f"not_utf8: byte 0x{byte:02X} is not text in the encoding of this file")
    try:
        return columns.row(cells)
    except FieldProblem as problem:
        return Broken(cells, str(problem))


class _Open:
    """A product whose continuation rows may still follow."""

    def __init__(self, line: int, first: dict[str, Any]) -> None:
        self.line, self._first = line, first
        self._variants: list[dict[str, Any]] = []

    def takes(self, row: dict[str, Any]) -> bool:
        """Add a row as a variant, if it has no title and no id, or the id of this product."""
        if (
            row.get("title")
            or row.get("deleted")
            or row.get("id", self._first.get("id")) != self._first.get("id")
        ):
            return False
        if not self._first.get("id") or len(self._variants) >= MAX_VARIANTS:
            return False
        self._variants.append({name: value for name, value in row.items() if name != "id"})
        return True

    def row(self) -> dict[str, Any]:
        """The product with its variants, of which the product's own record is the first."""
        if not self._variants:
            return self._first
        varying = {name for variant in self._variants for name in variant}
        own = {name: value for name, value in self._first.items() if name in varying}
        pictures = [p for row in (self._first, *self._variants) for p in row.get("images", ())]
        variants = [_variant(variant) for variant in (own, *self._variants)]
        # A cell of JSON may hold objects, which are no keys.
        images = {"images": list({json.dumps(p): p for p in pictures}.values())} if pictures else {}
        return {
            **self._first,
            **images,
            "variants" if "variants" not in self._first else "variant_rows": variants,
        }


def _variant(record: dict[str, Any]) -> dict[str, Any]:
    """Write the fields of a variant plainly: `sku` at the top, the price as a number where it is one."""
    variant = {name.removeprefix("identifiers."): value for name, value in record.items()}
    try:
        amount = price(variant.get("price"))[0]
    except FieldProblem:
        return variant
    return variant if amount is None else {**variant, "price": amount}
