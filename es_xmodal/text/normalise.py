"""One spelling for each character, with the way back into the original string.

Each character (with the marks that combine with it) becomes its NFKC form in lower case, without
width, without accents on Latin letters, its digits 0-9. Characters that nobody sees vanish; every
kind of blank becomes a space.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_MAX_CLUSTER = 32
_BLANKS: Final = frozenset(" \t\n\v\f\r")
_SPECIAL: Final = {
    "™": " ",
    "℠": " ",
    "®": " ",
    "©": " ",
    "’": "'",
    "‘": "'",
    "ʼ": "'",
    "′": "'",
    "–": "-",
    "—": "-",
    "−": "-",
    "℃": "°c",
    "℉": "°f",
}
_LETTERS: Final = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True, slots=True)
class Normalised:
    """A normalised string whose characters know where they came from.

    Args:
        text: the normalised string.
        starts: for each of its characters, where its source begins in the original.
        ends: for each of its characters, where its source ends in the original.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the place in the original of the non-empty slice `text[start:end]`."""
        return self.starts[start], self.ends[end - 1]


def normalise(text: str) -> Normalised:
    """Return `text` in one spelling, with offsets.

    Args:
        text: any string, lone surrogates and control characters too.

    Returns:
        The normalised string. Traditional Chinese is still Traditional in it.
    """
    size = len(text)
    if text.isascii() and text.isprintable():
        return Normalised(text.lower(), range(size), range(1, size + 1))
    chars = set(text)
    odd = chars - _ONE_TO_ONE.chars
    odd -= {char for char in odd if _ONE_TO_ONE.takes(char)}
    if not odd:
        return Normalised(text.translate(_ONE_TO_ONE), range(size), range(1, size + 1))
    if any(map(_extends, odd)):
        return _by_cluster(text)
    return _by_char(text, {char: _spelling(char) for char in odd})


class _OneToOne(dict[int, str]):
    """A table for `str.translate`: the characters that stand alone and are spelled with one character.

    It is filled as they come; there are no more of them than code points.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chars: set[str] = set()

    def takes(self, char: str) -> bool:
        """Whether a character is such a one; it is in the table then."""
        if _extends(char):
            return False
        spelled = _spelling(char)
        if len(spelled) != 1:
            return False
        self[ord(char)] = spelled
        self.chars.add(char)  # last: who finds it here, in another thread, finds it in the table
        return True


_ONE_TO_ONE: Final = _OneToOne()


def _by_char(text: str, odd: Mapping[str, str]) -> Normalised:
    """Normalise a text without marks that combine.

    Args:
        text: the text.
        odd: its characters that are spelled with none or several.
    """
    places = [at for at, char in enumerate(text) if char in odd]
    pieces: list[str] = []
    starts: list[int] = []
    last = 0
    for at in places:
        spelled = odd[text[at]]
        pieces += (text[last:at].translate(_ONE_TO_ONE), spelled)
        starts += range(last, at)
        starts += [at] * len(spelled)
        last = at + 1
    pieces.append(text[last:].translate(_ONE_TO_ONE))
    starts += range(last, len(text))
    return Normalised("".join(pieces), starts, [start + 1 for start in starts])


def _by_cluster(text: str) -> Normalised:
    """Normalise any text: each character together with the marks that combine with it."""
    size = len(text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    start = 0
    while start < size:
        end = start + 1
        while end < size and _extends(text[end]) and end - start < _MAX_CLUSTER:
            end += 1
        piece = _spelling(text[start:end])
        pieces.append(piece)
        if len(piece) == 1:
            starts.append(start)
            ends.append(end)
        else:
            starts.extend([start] * len(piece))
            ends.extend([end] * len(piece))
        start = end
    return Normalised("".join(pieces), starts, ends)


@lru_cache(maxsize=1 << 16)
def _extends(char: str) -> bool:
    """Whether NFKC may merge this character into the one before it."""
    if char < "\u0300" or char == "\ufffd":
        return False
    spelled = unicodedata.normalize("NFKC", char)
    return unicodedata.combining(spelled[0]) != 0 or "\u1160" <= spelled[0] <= "\u11ff"


@lru_cache(maxsize=1 << 16)
def _spelling(cluster: str) -> str:
    special = _SPECIAL.get(cluster)
    if special is not None:
        return special
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cluster).casefold())
    if "\u2044" in folded:  # ½ is 1⁄2; the space keeps 1½ from becoming 11/2
        folded = " " + folded.replace("\u2044", "/")
    return "".join(_plain(char) for char in _without_accents(folded))


def _without_accents(text: str) -> str:
    """Drop the marks on Latin letters: é is found by e. Other scripts keep theirs."""
    if text.isascii():
        return text
    split = unicodedata.normalize("NFD", text)
    if not (split[0].isascii() and split[0].isalpha()):
        return text.translate(_LETTERS)
    return "".join(char for char in split if not unicodedata.combining(char)).translate(_LETTERS)


def _plain(char: str) -> str:
    if char in _BLANKS:
        return " "
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category[0] == "Z" or category == "Cs":
        return " "
    if category in ("Cc", "Cf") or _is_variation_selector(char):
        return ""
    return "-" if category == "Pd" else char


def _is_variation_selector(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
