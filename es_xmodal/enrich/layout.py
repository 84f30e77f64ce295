"""Which of a shop's fields are parts of a product, which of them serve searches, and what is added. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from es_xmodal.catalog.product import FIELDS, IDENTIFIERS, LANGUAGE_FIELD
from es_xmodal.catalog.renames import Renames, nearest
from es_xmodal.errors import IndexStateError, SettingsError
from es_xmodal.index.foreign import product_fields
from es_xmodal.index.traps import walk
from es_xmodal.query.fields import NUMBERS, OBJECT, TEXTS, WORDS

Mapped = Mapping[str, Mapping[str, Any]]
"""Dotted name -> mapping of a field."""

_ALWAYS = ("id", "tokens", "images", "row_hash", "collapse_key")
_SERVED: Mapping[str, frozenset[str]] = {
    "id": WORDS,
    "title": TEXTS,
    "description": TEXTS,
    "brand": WORDS,
    "brand.text": TEXTS,
    "category": WORDS,
    "category.text": TEXTS,
    "price": NUMBERS,
    "currency": WORDS,
    "group_id": WORDS,
    "available": frozenset({"boolean"}),
    **{f"identifiers.{kind}": WORDS for kind in IDENTIFIERS},
}
"""Part of a product -> the types of a shop's field that does what ours would."""
_PARTS_OF = {"brand.text": "brand", "category.text": "category"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How one index of a shop is read, and what is added to it.

    Attributes:
        paths: field of the catalogue format to its dotted path in the documents.
        own: part of a product to the shop's field that filters, facets and orders ask.
        properties: mapping of our fields, below `es_xmodal`.
    """

    paths: Mapping[str, str]
    own: Mapping[str, str]
    properties: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of everything that documents depend on; 16 hex digits."""
        text = json.dumps([self.properties, self.paths, self.own], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def includes(self) -> list[str]:
        """What is read of `_source`."""
        ours = ("row_hash", "price", "currency", "available")
        return [*dict.fromkeys(self.paths.values()), *(f"{OBJECT}.{name}" for name in ours)]

    def copies(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out of a document what the shop's own fields hold.

        Args:
            document: as for an index of our own.

        Returns:
            What stands below `es_xmodal`.
        """
        found = {name: value for name, value in document.items() if name in self.properties}
        if "identifiers" in found:
            copied = self.properties["identifiers"]["properties"]
            found["identifiers"] = {name: one for name, one in found["identifiers"].items() if name in copied}
        return found


def choose_paths(index: str, asked: Mapping[str, str], mappings: Mapping[str, Any]) -> dict[str, str]:
    """Find the parts of a product among a shop's fields.

    Args:
        index: its name, for messages.
        asked: field of the catalogue format to the shop's, as a person wrote them.
        mappings: of the index.

    Returns:
        What was asked, and fields that already have the name that the catalogue format gives them.

    Raises:
        CatalogError: the catalogue format has no such field.
        SettingsError: the index has no such field, or none is named for the title.
    """
    Renames(asked)
    fields = dict(walk(mappings.get("properties") or {}))
    for part, path in asked.items():
        if part == "deleted":
            raise SettingsError("--map deleted: a document that is gone is no document; delete it")
        if not _is_there(path, fields, mappings):
            near = nearest(path, (name for name in fields if not name.startswith(f"{OBJECT}.")))
            hint = f"the nearest is {near}" if near else "fields are dotted, such as vendor.name"
            raise SettingsError(f"--map {part}={path}: index {index} has no field {path}", hint=hint)
    found = {part: path for part, path in _same_names(fields) if part not in asked}
    found |= asked
    if "title" not in found:
        guesses = product_fields(mappings).get("title", [])
        like = f"such as --map title={guesses[0]}" if guesses else "write --map title=FIELD"
        raise SettingsError(f"index {index}: no field is named for the title", hint=like)
    return found


def _same_names(fields: Mapped) -> Iterator[tuple[str, str]]:
    for name in fields:
        if LANGUAGE_FIELD.fullmatch(name) or (name in FIELDS and name not in ("id", "deleted")):
            yield name, name
        elif name in IDENTIFIERS and "identifiers" not in fields:
            yield f"identifiers.{name}", name


def _is_there(path: str, fields: Mapped, mappings: Mapping[str, Any]) -> bool:
    """A field that is not mapped may still be in the documents, where the mapping says that it looks away."""
    if path in fields or str(mappings.get("dynamic", "true")).lower() == "false":
        return True
    pieces = path.split(".")
    parents = [".".join(pieces[:end]) for end in range(1, len(pieces))]
    blind = [fields[one] for one in parents if one in fields]
    return any(
        one.get("enabled") is False
        or one.get("type") == "flattened"
        or str(one.get("dynamic", "true")).lower() == "false"
        for one in blind
    )


def choose_layout(paths: Mapping[str, str], mappings: Mapping[str, Any], ours: Mapping[str, Any]) -> Layout:
    """Choose which of the shop's fields serve, and which parts are kept beside them.

    Args:
        paths: see `choose_paths`.
        mappings: of the shop's index.
        ours: `properties` of an index of our own, with its vectors.

    Returns:
        The layout.
    """
    fields = dict(walk(mappings.get("properties") or {}))
    own = {}
    for part, types in _SERVED.items():
        path = paths.get(_PARTS_OF.get(part, part))
        name = _serving(path, types, fields) if path else None
        if name:
            own[part] = name
    return Layout(paths=dict(paths), own=own, properties=dict(_added(paths, own, ours)))


def _serving(path: str, types: frozenset[str], fields: Mapped) -> str | None:
    """The field itself or one of its multi-fields, where it can be asked as ours would be."""
    pieces = path.split(".")
    parents = (".".join(pieces[:end]) for end in range(1, len(pieces)))
    if path not in fields or any(fields.get(one, {}).get("type") == "nested" for one in parents):
        return None
    inner = (f"{path}.{name}" for name in fields[path].get("fields") or {})
    for name in (path, *inner):
        one = fields[name]
        searchable = one.get("index", True) and (types == TEXTS or one.get("doc_values", True))
        if one.get("type") in types and searchable:
            return name
    return None


def _added(
    paths: Mapping[str, str], own: Mapping[str, str], ours: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for name, one in ours.items():
        if name in _ALWAYS or one.get("type") == "dense_vector" or name in _wanted(paths, own):
            yield name, one
    kinds = [kind for kind in IDENTIFIERS if _has_identifier(paths, kind)]
    if kinds:
        yield "identifier_keys", ours["identifier_keys"]
    lacking = [kind for kind in kinds if f"identifiers.{kind}" not in own]
    if lacking:
        inner = ours["identifiers"]["properties"]
        yield "identifiers", {"properties": {kind: inner[kind] for kind in lacking}}
    for several, single in (("titles", "title"), ("descriptions", "description")):
        languages = [
            found[2] for part in paths if (found := LANGUAGE_FIELD.fullmatch(part)) and found[1] == single
        ]
        if languages:
            yield several, {"properties": dict.fromkeys(sorted(languages), ours[single])}


def _wanted(paths: Mapping[str, str], own: Mapping[str, str]) -> set[str]:
    """Parts that are kept beside the shop's fields, since those do not serve."""
    plain = ("title", "description", "brand", "category", "price", "currency", "group_id", "available")
    found = {part for part in plain if part in paths and part not in own}
    found |= {part for text, part in _PARTS_OF.items() if part in paths and text not in own}
    if any(part.partition(".")[0] == "attributes" for part in paths):
        found |= {"attributes", "attribute_pairs"}
    if "price" in paths and "currency" not in paths:
        found |= {"currency"}  # "19.90 €" says it
    return found


def _has_identifier(paths: Mapping[str, str], kind: str) -> bool:
    return "identifiers" in paths or f"identifiers.{kind}" in paths


def check_name_is_free(index: str, mappings: Mapping[str, Any]) -> None:
    """Refuse where the shop has a field of its own under our name.

    Args:
        index: its name, for messages.
        mappings: of the index.

    Raises:
        IndexStateError: it has; the error names both types.
    """
    there = (mappings.get("properties") or {}).get(OBJECT)
    if there is None:
        return
    kind = str(there.get("type", "object"))
    if kind == "object" and "row_hash" in (there.get("properties") or {}):
        return
    kind = "an object with fields of the shop" if kind == "object" else kind
    raise IndexStateError(
        f"index {index}: the shop has a field {OBJECT} of its own, as {kind}, where an object of our fields"
        " would have to be",
        hint="give that field another name in a new index, then enrich that",
    )


def check_room(index: str, mappings: Mapping[str, Any], layout: Layout) -> None:
    """Refuse where the mapping has something else under a name of ours.

    Args:
        index: its name, for messages.
        mappings: of the index.
        layout: what is to be added.

    Raises:
        IndexStateError: a field is of another type; the error names the field and both types.
    """
    check_name_is_free(index, mappings)
    there = (mappings.get("properties") or {}).get(OBJECT) or {}
    existing = dict(walk(there.get("properties") or {}))
    for name, one in walk(layout.properties):
        if name in existing and _kind(existing[name]) != _kind(one):
            raise IndexStateError(
                f"index {index}: the field {OBJECT}.{name} is there as {_kind(existing[name])}, and"
                f" {_kind(one)} is needed; a mapping cannot be changed",
                hint="--to NEW makes an index beside it and copies the documents there",
            )


def _kind(one: Mapping[str, Any]) -> str:
    kind = str(one.get("type", "object"))
    return f"dense_vector of {one.get('dims')} dimensions" if kind == "dense_vector" else kind
