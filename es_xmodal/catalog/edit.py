"""A partial row: some fields of a product that the index has already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from es_xmodal.catalog.clean import clean_line
from es_xmodal.catalog.deletion import FIELD, Deletion
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.row import parse_row, reject_of
from es_xmodal.catalog.values import FieldProblem

PLAIN: Final = ("price", "currency", "url", "available")
"""Fields on which nothing else in the document depends."""
_DOTTED: Final = re.compile(r"(attributes|identifiers)\.(.+)", re.DOTALL)
_NO_TITLE: Final = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Some fields of one product.

    Attributes:
        line: number of the row in its source, from 1.
        row: as it was read, for the rejects file.
        fields: what is to change; None takes a field away.
    """

    id: str
    line: int
    row: Mapping[str, Any]
    fields: Mapping[str, Any]

    @property
    def plain(self) -> bool:
        """Whether no token, vector or other derived field depends on what changes."""
        return self.fields.keys() <= set(PLAIN)


def parse_edit(row: Any, *, line: int, sources: Mapping[str, str] | None = None) -> Edit | Deletion | Reject:
    """Check a partial row.

    Args:
        row: the row as JSON values, after renames; only `id` is required.
        line: its number in the source.
        sources: as for `parse_row`.

    Returns:
        The edit, or a reject that names the field and the reason.
    """
    given = isinstance(row, dict) and row.get("title") is not None
    checked = parse_row(
        row if given or not isinstance(row, dict) else {**row, "title": _NO_TITLE}, line=line, sources=sources
    )
    if isinstance(checked, Deletion):
        return Deletion(id=checked.id, line=line, row=row)
    if isinstance(checked, Reject):
        return Reject(
            line=line, id=checked.id, stage=checked.stage, field=checked.field, reason=checked.reason, row=row
        )
    try:
        return Edit(id=checked.id, line=line, row=row, fields=_fields(row, checked))
    except FieldProblem as problem:
        return reject_of(row, problem, line)


def _fields(row: Mapping[str, Any], checked: Product) -> dict[str, Any]:
    """What the row gives; plain values as the document has them."""
    given = {name: value for name, value in row.items() if name not in ("id", FIELD)}
    if not given:
        raise FieldProblem("", "nothing_to_change", "the row gives no field but its id")
    if "title" in given and given["title"] is None:
        raise FieldProblem("title", "missing", "a product cannot lose its title")
    if checked.price is not None and checked.currency and "currency" not in given:
        given["currency"] = checked.currency  # a sign beside the amount
    return {name: getattr(checked, name) if name in PLAIN else value for name, value in given.items()}


def overlay(stored: Mapping[str, Any], edit: Edit) -> Product | Reject:
    """Put an edit over the product that the index has.

    `attributes` and `identifiers` as objects replace all that there were; `attributes.colour` changes one.

    Args:
        stored: the row of the product; see `es_xmodal.catalog.document.from_document`.
        edit: what changes.

    Returns:
        The whole product, with the line of the edit; or why the two do not go together.
    """
    row = {name: value for name, value in stored.items() if name != FIELD}
    for name, value in edit.fields.items():
        if not _DOTTED.fullmatch(name):
            row[name] = value
    for name, value in edit.fields.items():
        match = _DOTTED.fullmatch(name)
        if match:
            row[match[1]] = _with_one(row.get(match[1]) or {}, clean_line(match[2]), value)
    found = parse_row({name: value for name, value in row.items() if value is not None}, line=edit.line)
    if isinstance(found, Product):
        return found
    reason = found.reason if isinstance(found, Reject) else "wrong_type: it is no product"
    field = found.field if isinstance(found, Reject) else None
    return Reject(line=edit.line, id=edit.id, stage="row", field=field, reason=reason, row=edit.row)


def _with_one(values: Any, name: str, value: Any) -> Any:
    if not isinstance(values, Mapping):
        return values  # refused as a whole a little later
    others = {key: one for key, one in values.items() if key != name}
    return others if value is None else {**others, name: value}
