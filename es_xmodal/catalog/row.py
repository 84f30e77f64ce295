"""From one row, as JSON values, to a product or a reject."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from es_xmodal.catalog.clean import clean_line, clean_text
from es_xmodal.catalog.deletion import Deletion, is_deletion
from es_xmodal.catalog.images import read_images
from es_xmodal.catalog.product import FIELDS, IDENTIFIERS, LANGUAGE_FIELD, Product, Reject
from es_xmodal.catalog.values import (
    MAX_ID_BYTES,
    MAX_WORD_CHARS,
    FieldProblem,
    availability,
    kept,
    long_text,
    price,
    scalar_text,
    show,
    word,
)

_DOTTED: Final = re.compile(r"(attributes|identifiers)\.(.+)", re.DOTALL)
_REMEMBERED_CHARS: Final = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    """What follows from the names of a row's fields alone; most rows of a catalogue have the same."""

    odd: bool
    """Some of them must be cleaned."""
    dotted: bool
    """Some of them belong into `attributes` or `identifiers`."""
    titles: tuple[tuple[str, str], ...]
    """Field and language."""
    descriptions: tuple[tuple[str, str], ...]
    extra: tuple[str, ...]
    """Fields that the format does not know."""


def parse_row(
    row: Any, *, line: int, sources: Mapping[str, str] | None = None
) -> Product | Deletion | Reject:
    """Check one row.

    Args:
        row: the row as JSON values, after renames.
        line: its number in the source.
        sources: renames (field to the name it has in the file), for messages about absent fields.

    Returns:
        The product; that it is gone; or a reject that names the field and the reason.
    """
    try:
        if not isinstance(row, dict):
            raise FieldProblem("", "not_an_object", f"a row must be an object, this is {show(row)}")
        names = _names(row)
        cleaned = row
        if names.odd or names.dotted:
            cleaned = _nested(_clean_names(row))
            names = _names(cleaned)
        if is_deletion(cleaned):
            return Deletion(id=_id(cleaned, sources or {}), line=line, row=row)
        return _product(cleaned, names, line, sources or {})
    except FieldProblem as problem:
        return reject_of(row, problem, line)


def reject_of(row: Any, problem: FieldProblem, line: int) -> Reject:
    """Refuse a row for one of its fields.

    Args:
        row: the row as it was read.
        problem: what is wrong.
        line: its number in the source.
    """
    return Reject(
        line=line,
        id=row_id(row),
        stage="row",
        field=clean_line(problem.field)[:200] or None,
        reason=clean_line(str(problem)),
        row=row,
    )


def row_id(row: Any) -> str | None:
    """Read the id of a row that may be wrong in every way.

    Args:
        row: anything.

    Returns:
        The id as far as it can be shown, or None.
    """
    value = row.get("id") if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        text = clean_line(scalar_text(value, "id"))
    except FieldProblem:
        return None
    return (text if len(text) <= MAX_ID_BYTES else text[:64] + "…") or None


def _names(row: dict[str, Any]) -> _Names:
    keys = tuple(row)
    short = len("".join(keys)) <= _REMEMBERED_CHARS  # what is remembered must not grow with hostile rows
    return _remembered_names(keys) if short else _read_names(keys)


def _read_names(keys: Iterable[str]) -> _Names:
    languages = [(key, match[1], match[2]) for key in keys if (match := LANGUAGE_FIELD.fullmatch(key))]
    named = {key for key, _, _ in languages}
    return _Names(
        odd=any(clean_text(key) != key for key in keys),
        dotted=any("." in key and _DOTTED.fullmatch(key) for key in keys),
        titles=tuple((key, language) for key, field, language in languages if field == "title"),
        descriptions=tuple((key, language) for key, field, language in languages if field == "description"),
        extra=tuple(key for key in keys if key not in FIELDS and key not in named),
    )


_remembered_names = lru_cache(maxsize=256)(_read_names)


def _product(row: dict[str, Any], names: _Names, line: int, sources: Mapping[str, str]) -> Product:
    identifier = _id(row, sources)
    title = long_text(_present(row, "title", sources), "title", lines=False)
    if not title:
        raise FieldProblem("title", "empty", "the title is empty")
    amount, written = price(row.get("price"))
    identifiers, others = _identifiers(row.get("identifiers"))
    images, notes = read_images(row.get("images"))
    extra = {name: kept(row[name], name) for name in names.extra}
    return Product(
        id=identifier,
        title=title,
        titles=_languages(row, names.titles, lines=False),
        description=long_text(row.get("description"), "description", lines=True),
        descriptions=_languages(row, names.descriptions, lines=True),
        brand=word(row.get("brand"), "brand"),
        category=_category(row.get("category")),
        price=amount,
        currency=word(row.get("currency"), "currency") or written,
        identifiers=identifiers,
        attributes=_attributes(row.get("attributes")),
        images=images,
        image_notes=notes,
        url=word(row.get("url"), "url"),
        group_id=word(row.get("group_id"), "group_id"),
        available=availability(row.get("available")),
        extra={**extra, "identifiers": others} if others else extra,
        line=line,
    )


def _clean_names(row: dict[str, Any]) -> dict[str, Any]:
    """Clean the names of fields; one that becomes the same as another is kept beside it."""
    odd = [key for key in row if clean_text(key) != key]
    named = {key: value for key, value in row.items() if key not in odd}
    for key in odd:
        name = clean_text(key)
        named[name if name not in named else f"replaced.{name}"] = row[key]
    return named


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Move flat `attributes.colour` and `identifiers.sku` into their objects."""
    result = {key: value for key, value in row.items() if not _DOTTED.fullmatch(key)}
    for key, value in row.items():
        match = _DOTTED.fullmatch(key)
        if match:
            parent = result.get(match[1]) or {}
            if not isinstance(parent, dict):
                text = f"{match[1]} is no object, and {show(key)} is there"
                raise FieldProblem(match[1], "wrong_type", text)
            result[match[1]] = {**parent, match[2]: value}
    return result


def _present(row: Mapping[str, Any], field: str, sources: Mapping[str, str]) -> Any:
    value = row.get(field)
    if value is None:
        source = sources.get(field)
        reason = f"--map {field}={source}: the row has no {source}" if source else f"the row has no {field}"
        raise FieldProblem(field, "missing", reason)
    return value


def _id(row: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    value = _present(row, "id", sources)
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise FieldProblem("id", "wrong_type", f"id must be text or a whole number, not {show(value)}")
    text = clean_line(scalar_text(value, "id"))
    if not text:
        raise FieldProblem("id", "missing", "the id is empty")
    size = len(text.encode("utf-8"))
    if size > MAX_ID_BYTES:
        raise FieldProblem("id", "too_long", f"id has {size} bytes, at most {MAX_ID_BYTES}")
    return text


def _languages(row: Mapping[str, Any], fields: Iterable[tuple[str, str]], *, lines: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, language in fields:
        text = long_text(row[field], field, lines=lines)
        if text:
            found[language] = text
    return found


def _category(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(">")
    items = _items(value, "category", word)
    return tuple(items)


def _items(value: Any, field: str, read: Callable[[Any, str], str | None]) -> list[str]:
    """Read the items of a list, or a single item; empty ones are left out."""
    if isinstance(value, dict):
        raise FieldProblem(field, "wrong_type", f"{field} must be a list, not {show(value)}")
    values = value if isinstance(value, (list, tuple)) else [value]
    items = (read(item, f"{field}[{i}]") for i, item in enumerate(values))
    return [item for item in items if item]


def _identifiers(value: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the identifiers; those that the format does not know are kept as they are."""
    known: dict[str, str] = {}
    others: dict[str, Any] = {}
    for key, item in _object(value, "identifiers", '{"sku": "A-1"}').items():
        name = clean_line(key).lower()
        if name not in IDENTIFIERS:
            others[clean_text(key)] = kept(item, f"identifiers.{key}")
            continue
        text = word(item, f"identifiers.{name}")
        if text:
            known[name] = text
    return known, others


def _attributes(value: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, item in _object(value, "attributes", '{"colour": "red"}').items():
        name = clean_line(key)
        field = f"attributes.{name}"
        if not name or len(name) > MAX_WORD_CHARS:
            code = "too_long" if name else "empty"
            raise FieldProblem("attributes", code, f"attributes has a name of {len(name)} characters")
        values = item if isinstance(item, (list, tuple)) else [item]
        texts = [_attribute_text(v, field) for v in values if v is not None]
        merged = found.get(name, ()) + tuple(text for text in texts if text)
        if merged:
            found[name] = merged
    return found


def _attribute_text(value: Any, field: str) -> str:
    if isinstance(value, (dict, list)):
        value = json.dumps(kept(value, field), ensure_ascii=False)
    return long_text(scalar_text(value, field), field, lines=True)


def _object(value: Any, field: str, example: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise FieldProblem(field, "wrong_type", f"{field} must be an object such as {example}, not {show(value)}")
