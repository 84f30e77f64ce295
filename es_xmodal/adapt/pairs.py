"""The shop's own pairs beside the catalogue: photos of products, and queries that led to a product."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from es_xmodal.errors import CatalogError

_IDS = ("product_id", "id", "product", "productid", "sku")
_PATHS = ("path", "picture", "image", "photo", "file", "images")
_QUERIES = ("query", "text", "q")
_WEIGHTS = ("weight", "clicks", "count")
_SPLITS = ("split",)
_TRAINING = ("", "train", "training")
_LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """A photo of a product: its id, and where the picture lies."""

    product: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Click:
    """A query that led to a product, and how often."""

    product: str
    query: str
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Photos:
    """What a file of photos held.

    Args:
        photos: in the order of the file.
        other_split: rows that stand for another split than `train`, and were left out.
    """

    photos: tuple[Photo, ...] = ()
    other_split: int = 0


def read_photos(path: Path) -> Photos:
    """Read a file of photos: JSON Lines, or a table with tabs or commas.

    A table has a header with a column for the product (`product_id`, `id`, ...) and one for the picture
    (`path`, `image`, ...), or no header and these two in that order. A column `split` leaves out what is not
    `train`, so that the photos of a test stay unseen.

    Args:
        path: the file, UTF-8.

    Returns:
        The photos.

    Raises:
        CatalogError: the file cannot be read, or a row has no product or no picture; the line is named.
    """
    found: list[Photo] = []
    other = 0
    for line, row in _rows(path, (_IDS, _PATHS), (_SPLITS,)):
        if row.get(_SPLITS[0], "").lower() not in _TRAINING:
            other += 1
        elif not row[_IDS[0]] or not row[_PATHS[0]]:
            raise CatalogError(
                f"{path}, line {line}: no product or no picture", hint="product id, picture path"
            )
        else:
            found.append(Photo(product=row[_IDS[0]], path=row[_PATHS[0]]))
    if not found:
        raise CatalogError(f"{path} names no photo", hint="a line each: product id, picture path")
    return Photos(photos=tuple(found), other_split=other)


def read_clicks(path: Path) -> tuple[Click, ...]:
    """Read a file of clicks: query, product id and, if known, a weight.

    The forms are those of `read_photos`; without a header the order is query, product, weight.

    Args:
        path: the file, UTF-8.

    Returns:
        The clicks.

    Raises:
        CatalogError: the file cannot be read, or a row lacks a part; the line is named.
    """
    found: list[Click] = []
    for line, row in _rows(path, (_QUERIES, _IDS), (_WEIGHTS,)):
        query, product = " ".join(row[_QUERIES[0]].split()), row[_IDS[0]]
        if not query or not product:
            raise CatalogError(
                f"{path}, line {line}: no query or no product", hint="query, product id, weight"
            )
        found.append(
            Click(product=product, query=query, weight=_weight(row.get(_WEIGHTS[0], ""), path, line))
        )
    if not found:
        raise CatalogError(f"{path} names no click", hint="a line each: query, product id, weight")
    return tuple(found)


def _weight(text: str, path: Path, line: int) -> float:
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        weight = 0.0
    if not 0 < weight <= _LARGEST_WEIGHT:
        raise CatalogError(f"{path}, line {line}: weight {text!r} is no number above 0")
    return weight


class _Tabs(csv.Dialect):
    delimiter = "\t"
    quoting = csv.QUOTE_NONE
    lineterminator = "\n"


_Names = Sequence[Sequence[str]]


def _rows(path: Path, wanted: _Names, optional: _Names) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row, its fields under the first of their names."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CatalogError(f"{path} cannot be read: {reason}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and lines[0][1].lstrip().startswith("{"):
        yield from _json_rows(path, lines, wanted, optional)
    elif lines:
        yield from _table_rows(path, lines, wanted, optional)


def _json_rows(
    path: Path, lines: Sequence[tuple[int, str]], wanted: _Names, optional: _Names
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise CatalogError(f"{path}, line {number}: no JSON object")
        yield number, _named(path, number, row, wanted, optional)


def _table_rows(
    path: Path, lines: Sequence[tuple[int, str]], wanted: _Names, optional: _Names
) -> Iterator[tuple[int, dict[str, str]]]:
    mark = "\t" if "\t" in lines[0][1] else ","
    # A table with tabs has no quoting: a quotation mark in it is an inch.
    form = _Tabs if mark == "\t" else csv.excel
    head = [cell.strip().lower() for cell in next(csv.reader([lines[0][1]], dialect=form))]
    has_head = all(any(name in head for name in names) for names in wanted)
    names = head if has_head else [choice[0] for choice in (*wanted, *optional)]
    for number, line in lines[1 if has_head else 0 :]:
        try:
            cells = next(csv.reader([line], dialect=form, strict=True))
        except csv.Error as error:
            raise CatalogError(f"{path}, line {number}: {error}") from None
        row = {name: cell.strip() for name, cell in zip(names, cells)}  # noqa: B905 - short rows are named below
        yield number, _named(path, number, row, wanted, optional)


def _named(
    path: Path, number: int, row: Mapping[str, object], wanted: _Names, optional: _Names
) -> dict[str, str]:
    found = {}
    for names in (*wanted, *optional):
        name = next((name for name in names if name in row), None)
        if name is None and names in wanted:
            raise CatalogError(f"{path}, line {number}: no {names[0]}", hint=f"one of {', '.join(names)}")
        value = "" if name is None else row[name]
        found[names[0]] = str(value if value is not None else "").strip()
    return found
