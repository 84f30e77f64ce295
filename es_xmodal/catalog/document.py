"""From a product to the fields of an Elasticsearch document that come from its row alone, and back."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from es_xmodal.catalog.images import from_stored, write_images
from es_xmodal.catalog.product import FIELDS, IDENTIFIERS, Product

_PLAIN = ("id", "title", "description", "brand", "price", "currency", "url", "group_id", "available")


def identifier_key(text: str) -> str:
    """Normalise an identifier, so that `SKU-12 a` and `sku12A` are the same.

    Args:
        text: an identifier as someone wrote it.

    Returns:
        Its letters and digits in lower case; empty where it has none.
    """
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def collapse_key(p: Product) -> str:
    """Name what a product is a variant of.

    Elasticsearch collapses all documents without a value into one hit, so every product needs a value, and a
    product that stands alone needs one that no group has.

    Args:
        p: the product.

    Returns:
        `g:` and its group, or `p:` and its id.
    """
    return f"g:{p.group_id}" if p.group_id else f"p:{p.id}"


def to_document(p: Product) -> dict[str, Any]:
    """Build the part of the Elasticsearch document that follows from the row alone.

    Args:
        p: the product.

    Returns:
        Fields as in `mappings/product.json`, without tokens, images, vectors and the row's hash; absent
        values have no key. It can be written as JSON.
    """
    fields: dict[str, Any] = {name: getattr(p, name) for name in _PLAIN}
    fields |= {
        "titles": dict(p.titles),
        "descriptions": dict(p.descriptions),
        "category": list(p.category),
        "identifiers": dict(p.identifiers),
        "identifier_keys": _unique(identifier_key(text) for text in _all_identifiers(p)),
        "attributes": {name: list(values) for name, values in p.attributes.items()},
        "attribute_pairs": _unique(f"{k}={v}".lower() for k, values in p.attributes.items() for v in values),
        "collapse_key": collapse_key(p),
        "extra": dict(p.extra),
    }
    return {name: value for name, value in fields.items() if value or value == 0}  # a price of 0, False


def from_document(source: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the `_source` of a document back into a row of a catalogue.

    Args:
        source: a document of this project.

    Returns:
        The row: `title_zh` and the like flat again, unknown fields beside the known ones, images as a list of
        references (objects where they have a role or a weight); vectors, tokens and the like are gone.
    """
    extra = dict(source.get("extra") or {})
    identifiers = {**(extra.pop("identifiers", None) or {}), **(source.get("identifiers") or {})}
    row: dict[str, Any] = {name: source[name] for name in FIELDS if source.get(name) is not None}
    for plural, singular in (("titles", "title"), ("descriptions", "description")):
        row |= {f"{singular}_{language}": text for language, text in (source.get(plural) or {}).items()}
    row |= {"identifiers": identifiers, "images": from_stored(source.get("images") or ())}
    known = {name: value for name, value in row.items() if value not in ("", [], {})}
    return {**known, **extra}


def to_row(p: Product) -> dict[str, Any]:
    """Write a product as a row of a catalogue, for rejects and exports.

    Args:
        p: the product.

    Returns:
        A row that reads as the same product.
    """
    images = write_images(p.images, p.image_notes)
    return {**from_document(to_document(p)), **({"images": images} if images else {})}


def _all_identifiers(p: Product) -> Iterator[str]:
    """Identifiers of the product and of its variants, so that the number of a variant finds the product."""
    yield from p.identifiers.values()
    yield from _scalars(p.extra.get("identifiers"))
    variants = p.extra.get("variants")
    for variant in variants if isinstance(variants, list) else ():
        if isinstance(variant, dict):
            yield from _scalars({name: variant.get(name) for name in IDENTIFIERS})
            yield from _scalars(variant.get("identifiers"))


def _scalars(value: Any) -> Iterator[str]:
    for item in value.values() if isinstance(value, dict) else ():
        if isinstance(item, (str, int)) and not isinstance(item, bool):
            yield str(item)


def _unique(items: Iterator[str]) -> list[str]:
    return [item for item in dict.fromkeys(items) if item]
