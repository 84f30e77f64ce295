"""What the columns of a CSV mean, and how their cells become the fields of a row."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from es_xmodal.catalog.product import FIELDS, IDENTIFIERS
from es_xmodal.catalog.renames import Renames, is_field
from es_xmodal.catalog.values import FieldProblem, show
from es_xmodal.errors import CatalogError

_DELIMITERS: Final = (",", ";", "\t")

# Exports of shop systems that are known by their header. A file of one of them needs no --map.
_SHOPS: Final[tuple[Mapping[str, str], ...]] = (
    {"name": "title", "slug": "id", "assets": "images", "facets": "facets"},  # Vendure
    {
        "handle": "id",
        "body (html)": "description",
        "vendor": "brand",
        "variant sku": "identifiers.sku",
        "variant barcode": "identifiers.gtin",
        "variant price": "price",
        "image src": "images",
    },  # Shopify
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The field of each column of a table.

    Attributes:
        fields: for each column the fields that take its value; several where two renames name one column.
    """

    fields: tuple[tuple[str, ...], ...]

    @property
    def first_is_id(self) -> bool:
        """Whether the first column is the id, which then can be told even of a broken record."""
        return bool(self.fields) and "id" in self.fields[0]

    def row(self, cells: Sequence[str]) -> dict[str, Any]:
        """Turn the cells of one record into a row.

        Args:
            cells: trimmed cells; there may be fewer than columns.

        Returns:
            The row as in JSON; empty cells have no field.

        Raises:
            FieldProblem: a cell with several values does not have the form for that.
        """
        row: dict[str, Any] = {}
        for names, cell in zip(self.fields, cells, strict=False):
            for name in names if cell else ():
                if name == "facets":
                    _add_facets(row, cell)
                else:
                    row[name] = _cell(name, cell)
        return row


def find_delimiter(header: str, renames: Renames) -> str:
    """Tell what separates the cells.

    Args:
        header: the first line.
        renames: names of fields in the file, which also count as known.

    Returns:
        Comma, semicolon or tab: the one that gives most known columns, then most columns.
    """
    known = {*renames.pairs.values(), *(name for shop in _SHOPS for name in shop)}

    def score(delimiter: str) -> tuple[int, int]:
        try:
            names = [
                name.strip() for name in next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter), [])
            ]
        except csv.Error:
            return 0, 0
        hits = sum(
            1 for name in names if name in known or name.lower() in known or is_field(_canonical(name))
        )
        return hits, len(names)

    return max(_DELIMITERS, key=score)


def plan_columns(header: Sequence[str], renames: Renames, path: str, *, partial: bool = False) -> Columns:
    """Decide which field each column fills.

    Args:
        header: the names of the columns, cleaned.
        renames: names of fields in the file; they go before everything else.
        path: the file, for messages.
        partial: rows need no title.

    Returns:
        The columns.

    Raises:
        CatalogError: nothing fills `id` or `title`, or a renamed column does not exist.
    """
    names = _distinct(header)
    renames.check_columns(names, f"catalogue {path}")
    by_source: dict[str, list[str]] = {}
    for target, source in renames.pairs.items():
        if source in names:
            by_source.setdefault(source, []).append(target)
    taken = {target for targets in by_source.values() for target in targets}
    shop = next((shop for shop in _SHOPS if shop.keys() <= {name.lower() for name in names}), {})
    fields: list[tuple[str, ...]] = []
    for name in names:
        if name in by_source:
            fields.append(tuple(by_source[name]))
            continue
        field = shop.get(name.lower()) or _canonical(name)
        fields.append((f"replaced.{name}" if field in taken else field,))
        taken.add(field)
    needed = ("id",) if partial or "deleted" in taken else ("id", "title")
    missing = [field for field in needed if field not in taken]
    if missing:
        raise CatalogError(
            f"catalogue {path} has no column {' and no column '.join(missing)}",
            hint=f"name the column, for example --map {missing[0]}=COLUMN; columns are {_listed(names)}",
        )
    return Columns(fields=tuple(fields))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(show(name, 30).strip('"') for name in names[:20]) + (", …" if len(names) > 20 else "")


def _distinct(header: Sequence[str]) -> list[str]:
    names: list[str] = []
    for number, name in enumerate(header, 1):
        unique = name or f"column_{number}"
        while unique in names:
            unique = f"{unique}_{number}"
        names.append(unique)
    return names


def _canonical(name: str) -> str:
    """Find the field that a column means: `SKU`, `Title`, `Attributes.Colour`; else the name itself."""
    lower = name.lower()
    if lower in IDENTIFIERS:
        return f"identifiers.{lower}"
    if lower in FIELDS:
        return lower
    parent, dot, child = name.partition(".")
    if dot and child and parent.lower() == "attributes":
        return f"attributes.{child}"
    return lower if is_field(lower) else name


def _cell(field: str, cell: str) -> Any:
    if field in {"images", "category", "attributes", "identifiers"} and cell[0] in "[{":
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            pass  # text that happens to begin with a bracket
    if field == "images":
        return [part.strip() for part in cell.split("|") if part.strip()]
    if field == "category":
        return [part.strip() for part in cell.split(">") if part.strip()]
    if field in {"attributes", "identifiers"}:
        return _pairs(field, cell)
    if field.startswith("attributes."):
        return [part.strip() for part in cell.split("|") if part.strip()]
    return cell


def _pairs(field: str, cell: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in (part.strip() for part in cell.split("|")):
        name, equals, value = part.partition("=")
        if part and not (equals and name.strip()):
            raise FieldProblem(
                field, "not_pairs", f"{field} must be like name=value|name=value, not {show(part)}"
            )
        if value.strip() and field == "identifiers":
            found[name.strip()] = value.strip()
        elif value.strip():
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def _add_facets(row: dict[str, Any], cell: str) -> None:
    """Sort `category:Shoes|brand:Acme|colour:red` into category, brand and attributes."""
    for part in cell.split("|"):
        name, _, value = (text.strip() for text in part.partition(":"))
        if not value:
            continue
        if name == "category":
            row.setdefault("category", []).append(value)
        elif name == "brand":
            row.setdefault("brand", value)
        else:
            row.setdefault(f"attributes.{name}", []).append(value)
