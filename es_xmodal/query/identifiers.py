"""Which parts of a query may be an identifier: SKU, EAN, manufacturer's number."""

from __future__ import annotations

import re

from es_xmodal.catalog.document import identifier_key

_MAX_WORDS = 4
_JOINED = re.compile(r"\w+(?:[-_/.]\w+)+")
_MIN_CHARS, _MAX_CHARS = 3, 64


def possible_identifiers(text: str) -> tuple[str, ...]:
    """Return the keys under which an identifier in the query would be indexed.

    A key has letters and digits only, in lower case, so `AW-SOF-TN` and `aw sof tn` are the same.

    Args:
        text: the query.

    Returns:
        The key of the whole query where it is short, then those of its words; each once. Only what holds a
        digit, or a mark inside one word (`AW-SOF-TN`), can be an identifier.
    """
    words = text.split()
    whole = [text] if len(words) <= _MAX_WORDS else []
    parts = [part for part in [*whole, *words] if _has_digit(part) or _JOINED.fullmatch(part)]
    keys = dict.fromkeys(identifier_key(one) for one in parts)
    return tuple(key for key in keys if _MIN_CHARS <= len(key) <= _MAX_CHARS)


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)
