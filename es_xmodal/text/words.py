"""Terms of words, numbers, units and model numbers.

A compound is what stands between blanks: letters and digits with single connectors between them. It
gives its parts and its joined form, so that `iphone-14`, `iphone14` and `iphone 14` find each other,
as do `350ml` and `350 ml`, `200*230cm` and `200 x 230 cm`, `USB-C` and `usbc`, `GB18401-2010` and `gb18401`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

Piece = tuple[str, int, int]
"""A term before stemming and its place in the normalised text."""

_UNITS = """
mm cm dm m km in inch ft yd mm2 cm2 m2 cm3 m3 nm mg g kg t lb lbs oz gsm den ml cl dl l gal
w kw wh kwh mwh v mv kv a ma ah mah hz khz mhz ghz kb mb gb tb k p mp px fps dpi rpm lm lx db pa kpa bar
d s h min pcs pc ct pk tc
"""
UNITS: Final = frozenset(_UNITS.split())

COMPOUND: Final = re.compile(
    r"[ad][adm]*(?:(?:[-_./&'+*×]|(?<=d),(?=ddd(?!d)))[ad][adm]*)*(?:%|[+#]{1,2}(?![adhkgt]))?"
)
"""A compound, as a pattern over character classes."""

_SIDES = re.compile(r"[^/+*×]+")
_AMOUNT = r"\d{1,6}(?:\.\d{1,4})?"
_SIZE = re.compile(
    rf"(?<![\w.]){_AMOUNT}(?: ?[a-z]{{1,2}})?(?: ?[x*×] ?{_AMOUNT}(?: ?[a-wyz]{{1,2}})?){{1,2}}(?![\w.])"
)
_SIZE_SIDE = re.compile(r"([\d.]+) ?([a-wyz]*)")
_PART = re.compile(r"(?:\d+(?:,\d{3})+(?!\d)|[^\W_]|(?<=\d)\.(?=\d)|[^\w\-.&',])+")
_ATOM = re.compile(r"[\d.]*\d|[^\d.]+")
_LONG_NUMBER = 8
_MAX_JOINED_PARTS = 8


def compound_pieces(text: str, at: int) -> Iterator[Piece]:
    """Yield the pieces of one compound.

    Args:
        text: the compound, normalised.
        at: where it starts in the normalised text.

    Yields:
        `(term, start, end)`; may repeat itself.
    """
    if text.isalpha():
        yield text, at, at + len(text)
        return
    body = text.rstrip("%+#")
    if body != text:
        yield text, at, at + len(text)
    for side in _SIDES.finditer(body):
        yield from _side_pieces(side[0], at + side.start())


def size_pieces(text: str) -> Iterator[Piece]:
    """Yield the pieces of sizes such as `200*230cm` or `200 x 230 cm`.

    Args:
        text: the whole normalised text.

    Yields:
        One canonical term with and without the unit (`200x230`, `200x230cm`), and each side with it.
    """
    for size in _SIZE.finditer(text):
        sides = list(_SIZE_SIDE.finditer(size[0]))
        unit = sides[-1][2]
        bare = "x".join(side[1] for side in sides)
        yield bare, *size.span()
        if unit:
            yield bare + unit, *size.span()
            for side in sides:
                start = size.start() + side.start()
                yield side[1] + (side[2] or unit), start, start + len(side[0].rstrip())


def _side_pieces(text: str, at: int) -> Iterator[Piece]:
    parts = [(match[0], at + match.start()) for match in _PART.finditer(text)]
    for part, start in parts:
        if len(part) > 1 or text[start - at - 1] != "'" or start == at:  # not the s of men's
            yield from _part_pieces(part, start)
    if 1 < len(parts) <= _MAX_JOINED_PARTS:
        joined = "".join(part for part, _ in parts)
        start, end = parts[0][1], parts[-1][1] + len(parts[-1][0])
        # 2-3 is not 23, but 978-7-111-12345-6 is one number.
        if not joined.isdigit() or len(joined) >= _LONG_NUMBER:
            yield joined, start, end
        else:
            yield text, at, at + len(text)


def _part_pieces(part: str, at: int) -> Iterator[Piece]:
    end = at + len(part)
    whole = part.replace(",", "")
    if whole.count(".") > 1:  # a date or a version: 2024.01.05
        yield whole, at, end
        yield from ((m[0], at + m.start(), at + m.end()) for m in re.finditer(r"\w+", part))
        return
    yield whole, at, end
    atoms = [(m[0], at + m.start()) for m in _ATOM.finditer(part)]
    if "," in part or len(atoms) < 2:
        return
    for index, (atom, start) in enumerate(atoms):
        before = atoms[index - 1][0] if index else ""
        if _stands_alone(atom, before):
            yield atom, start, start + len(atom)
        if before and len(atoms) > 2 and (_is_number(atom) or atom in UNITS):
            yield before + atom, start - len(before), start + len(atom)


def _stands_alone(atom: str, before: str) -> bool:
    """Whether a run of letters or digits inside a word is worth a term of its own (not the k of 4k)."""
    if _is_number(atom):
        return len(atom) > 1 or len(before) > 1
    return len(atom) > 1 and not (before and atom in UNITS)


def _is_number(text: str) -> bool:
    return text[0].isdigit()


def joined_neighbours(
    compounds: Sequence[Piece], text: str, stop_words: frozenset[str] = frozenset()
) -> Iterator[Piece]:
    """Yield the joined form of neighbours that are often written as one word.

    `iphone 14` gives `iphone14`, `350 ml` gives `350ml`, `type c` gives `typec`.

    Args:
        compounds: the compounds of a text in order.
        text: the normalised text that they are from.
        stop_words: words that are joined with nothing.
    """
    for (left, start, left_end), (right, right_start, end) in pairwise(compounds):
        if text[left_end:right_start] != " " or left in stop_words or right in stop_words:
            continue
        head = _ATOM.match(right) if right[0].isdigit() and left.isalpha() else None
        if head:
            yield left + head[0], start, right_start + len(head[0])
        elif right.isalpha() and _joins(left, right):
            yield left + right, start, end


def _joins(left: str, right: str) -> bool:
    if _is_number(left):
        return right in UNITS and left[-1].isdigit()
    return left.isalpha() and (len(left) == 1) != (len(right) == 1)
