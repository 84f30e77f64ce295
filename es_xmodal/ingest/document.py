"""From a product and its vectors to the document that is indexed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from es_xmodal.catalog.product import Product
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import Vector

FORMAT = 2
"""Raised when the same row gives another document than before; every row then counts as changed."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|[。!?\n]")
_MAX_SENTENCE_CHARS = 300
_REMEMBERED_CHARS = 64

WriteVector = Callable[[Vector], Any]


def text_for_vector(product: Product) -> str:
    """Return the text that stands for the product in the text space.

    Args:
        product: a row.

    Returns:
        Title, titles in other languages, first sentence of the description.
    """
    sentence = _SENTENCE_END.split(product.description.strip(), maxsplit=1)[0][:_MAX_SENTENCE_CHARS]
    parts = (product.title, *product.titles.values(), sentence)
    return "\n".join(dict.fromkeys(part.strip() for part in parts if part.strip()))


def token_fields(product: Product, analyzer: Analyzer) -> dict[str, str]:
    """Return the token fields of a document.

    Args:
        product: a row.
        analyzer: the tokeniser of the index.

    Returns:
        `title`, `description`, `attributes`: terms joined with U+001F.
    """
    attributes: list[str] = [product.brand or "", *product.category]
    attributes += [value for values in product.attributes.values() for value in values]
    attributes += product.identifiers.values()
    title = (product.title, *product.titles.values())
    description = (product.description, *product.descriptions.values())
    return {
        "title": _joined(analyzer.index_text(_unique(title))),
        "description": _joined(analyzer.index_text(_unique(description))),
        "attributes": _joined(_remembered(analyzer, text) for text in _unique(attributes)),
    }


def word_fields(product: Product, words: Iterable[str], analyzer: Analyzer) -> dict[str, str]:
    """Return the token fields for what stands on a product's pictures.

    Args:
        product: a row.
        words: what was read off its pictures.
        analyzer: the tokeniser of the index.

    Returns:
        `ocr`, the words as terms, and `grams`, pieces of them and of title and brand: what a photo shows is
        compared with what the shop wrote and with what its own pictures show. Joined with U+001F.
    """
    read = list(_unique(words))
    said = (product.title, *product.titles.values(), product.brand or "")
    terms = dict.fromkeys(term for text in analyzer.index_text(read) for term in text.split(SEPARATOR))
    return {"ocr": _joined(terms), "grams": _joined(grams((*said, *read)))}


def row_hash(document: Mapping[str, Any], pictures: Iterable[str], *, encoder: str, text: str) -> str:
    """Return a digest of everything that the indexed document depends on.

    Args:
        document: the fields that come from the row alone.
        pictures: content hash of each picture; `!` and a code for one that cannot be used.
        encoder: fingerprint of the encoder.
        text: fingerprint of the tokeniser.

    Returns:
        32 hex digits.
    """
    parts = [FORMAT, document, list(pictures), encoder, text]
    return hashlib.sha256(dump_json(parts, sort=True)).hexdigest()[:32]


def dump_json(value: Any, *, sort: bool = False) -> bytes:
    """Write JSON fast; whole numbers beyond 64 bits, which orjson refuses, are written too.

    Args:
        value: JSON values and numpy arrays.
        sort: sort the keys.

    Returns:
        One line of UTF-8.
    """
    option = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_SORT_KEYS if sort else 0)
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        text = json.dumps(
            value, sort_keys=sort, ensure_ascii=True, separators=(",", ":"), default=lambda v: v.tolist()
        )
        return text.encode("ascii")


def as_floats(vector: Vector) -> Any:
    """Write a vector as JSON numbers: every server reads them."""
    return vector


def as_base64(vector: Vector) -> Any:
    """Write a vector as base64 of big-endian float32: half the bytes; read by servers from 9.3 on."""
    return base64.b64encode(vector.astype(">f4").tobytes()).decode("ascii")


def _unique(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(text for text in texts if text)


def _joined(tokens: Iterable[str]) -> str:
    return SEPARATOR.join(one for one in tokens if one)


def _remembered(analyzer: Analyzer, text: str) -> str:
    """Brands, categories and attribute values come again and again."""
    return _short(analyzer, text) if len(text) <= _REMEMBERED_CHARS else analyzer.index_text([text])[0]


@lru_cache(maxsize=4096)
def _short(analyzer: Analyzer, text: str) -> str:
    return analyzer.index_text([text])[0]
