"""Which kind of character is this: the classes that the token patterns are written in.

`char_classes` maps a normalised string to one of the same length in which each character is its class:
a letter of a script that is written with spaces, d digit, m mark, h Han, k kana, g Hangul, t a script
without spaces (Thai, Lao, Khmer, Myanmar, Tibetan), s symbol or emoji; connectors stand for themselves;
a blank for the rest.
"""

from __future__ import annotations

import unicodedata
from typing import Final

CONNECTORS: Final = frozenset("-_./&'+*×,%#")

_RANGES: Final = (
    # Han, its extensions, and the signs that repeat or count as one: 々 〇
    ("h", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))),
    ("h", ((0x3005, 0x3007), (0x3021, 0x3029), (0x303B, 0x303B))),
    ("k", ((0x3041, 0x3096), (0x309D, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0x1AFF0, 0x1B16F))),
    ("g", ((0xAC00, 0xD7FB), (0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C))),
    ("t", ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF), (0xA9E0, 0xA9FE), (0xAA60, 0xAA7F))),
    (" ", ((0x1F3FB, 0x1F3FF),)),  # skin tones
    ("s", ((0x1F000, 0x1FAFF),)),  # emoji that this Python may not know yet
)
_CATEGORIES: Final = {"L": "a", "N": "a", "So": "s"}


def _char_class(code: int) -> str:
    char = chr(code)
    category = unicodedata.category(char)
    if char in CONNECTORS:
        return char
    if category[0] == "M":
        return "m"
    if category == "Nd":
        return "d"
    named = (name for name, ranges in _RANGES if any(low <= code <= high for low, high in ranges))
    return next(named, _CATEGORIES.get(category[0], _CATEGORIES.get(category, " ")))


class _Classes(dict[int, str]):
    """A table for `str.translate` that fills itself: at most one entry for each code point."""

    def __missing__(self, code: int) -> str:
        value = self[code] = _char_class(code)
        return value


_CLASSES: Final = _Classes()


def char_classes(text: str) -> str:
    """Return the class of each character of a normalised string, as a string of the same length."""
    return text.translate(_CLASSES)
