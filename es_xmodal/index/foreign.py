"""Which fields of an index that this project did not make look like parts of a product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from es_xmodal.index.advice import Diagnosis, found
from es_xmodal.index.traps import walk
from es_xmodal.query.fields import OBJECT

_TEXT = frozenset(
    {"text", "match_only_text", "keyword", "constant_keyword", "wildcard", "search_as_you_type"}
)
_WORDS = frozenset({"keyword", "constant_keyword", "wildcard", "text", "long", "integer", "unsigned_long"})
_NUMBERS = frozenset(
    {"double", "float", "half_float", "scaled_float", "long", "integer", "short", "byte", "unsigned_long"}
)
# Part of a product -> words that a field's last name is made of, and the types that can hold it.
_PARTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "id": (r"id|(product|item|article|goods|offer|variant)id|handle|商品id", _WORDS),
    "title": (r"title|name|headline|标题|名称|品名", _TEXT),
    "description": (r"description|desc|summary|body|content|brief|details?|描述|简介|详情", _TEXT),
    "images": (r"images?|imgs?|pictures?|pics?|photos?|thumbs?|thumbnails?|图片|主图", _TEXT),
    "identifiers": (r"skus?|ean(13)?|gtin(13|14)?|upc|mpn|isbn(13)?|barcode|asin|货号|条码", _WORDS),
    "price": (r"price|amount|cost|价格|售价", _NUMBERS),
    "brand": (r"brand|manufacturer|vendor|maker|品牌", _TEXT),
    "category": (r"categor(y|ies)|taxonomy|collection|department|类目|分类", _TEXT),
    "group_id": (r"parent|parentid|group|groupid|variantof|itemgroupid|spu", _WORDS),
    "available": (r"available|availability|instock|stock|库存", _NUMBERS | {"boolean"}),
    "attributes": (
        r"colou?rs?|sizes?|materials?|attributes?|颜色|尺寸|材质",
        _TEXT | {"object", "flattened"},
    ),
}
_MOST = 4
"""Fields that are named for one part."""
_SPLIT = re.compile(r"[_\-\s]+|(?<=[a-z0-9])(?=[A-Z])")


def product_fields(mappings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Guess, by name and type, which fields could be mapped.

    Args:
        mappings: of an index, as Elasticsearch answers them.

    Returns:
        Part of a product, in the words of a catalogue row -> dotted field names, those with the plainest name
        first. `vectors` are named with their dimension. Parts without a field are left out.
    """
    guesses: dict[str, list[tuple[int, str]]] = {}
    vectors: list[str] = []
    for name, one in _own_fields(mappings.get("properties") or {}):
        kind = str(one.get("type", "object"))
        if kind == "dense_vector":
            vectors.append(f"{name} ({one.get('dims', '?')} dimensions, {one.get('similarity', 'no index')})")
            continue
        part = _part_of(name, kind)
        if part is not None:
            guesses.setdefault(part, []).append((len(name.split(".")) * 100 + len(name), name))
    fields = {part: [name for _, name in sorted(guesses[part])[:_MOST]] for part in _PARTS if part in guesses}
    return {**fields, "vectors": vectors} if vectors else fields


def foreign_findings(index: str, mappings: Mapping[str, Any]) -> list[Diagnosis]:
    """Say that an index is not ours, and what in it could be of use.

    Args:
        index: its name.
        mappings: as Elasticsearch answers them.

    Returns:
        Notes.
    """
    fields = product_fields(mappings)
    findings = [found("foreign", index, "no _meta.es_xmodal in its mapping")]
    if fields:
        detail = "; ".join(f"{part}: {', '.join(names)}" for part, names in fields.items())
        findings.append(found("fields", index, detail))
    return findings


def _own_fields(properties: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every field but multi-fields: those hold what their parent holds."""
    inner = {f"{name}.{sub}" for name, one in walk(properties) for sub in (one.get("fields") or {})}
    left = (*inner, OBJECT)  # what an enrichment left behind is no field of the shop
    return [
        (name, one)
        for name, one in walk(properties)
        if name not in left and not name.startswith(f"{OBJECT}.")
    ]


def _part_of(name: str, kind: str) -> str | None:
    """The last piece of the name decides, else the one before: `price`, `list_price`, `images.url`."""
    pieces = name.split(".")
    for piece in reversed(pieces[-2:]):
        words = [word.lower() for word in _SPLIT.split(piece) if word]
        tries = ["".join(words), *words]
        for part, (pattern, types) in _PARTS.items():
            if kind in types and any(re.fullmatch(pattern, word) for word in tries):
                return part
    return None
