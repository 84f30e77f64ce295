"""Which words of the titles go with an attribute: `blue` with 蓝色, `tshirts` with "t-shirt"."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

HAN = re.compile("[\u3400-\u9fff]")
_UNITS = re.compile(r"[^\W\u3400-\u9fff]+(?:[-'][^\W\u3400-\u9fff]+)*|[\u3400-\u9fff]")
_LONGEST = 120
_LONGEST_HAN = 6
_LONGEST_WORDS = 2
_FEWEST = 3
_CLOSE = 0.5


def learn_words(titles: Sequence[str], values: Sequence[Iterable[str]]) -> Mapping[str, str]:
    """Find the piece of the titles that stands where a value does, and nowhere else.

    The measure is the correlation of the two (phi, the root of Cramer's V for two by two): pointwise mutual
    information would take a word that two titles share for certain.

    Args:
        titles: in one language.
        values: of the products with these titles.

    Returns:
        Value to piece; values that no piece stands for are left out.
    """
    rest = [title.lower() for title in titles]
    pieces = [_pieces(title) for title in rest]
    seen = Counter(piece for found in pieces for piece in found)
    holders: dict[str, list[int]] = defaultdict(list)
    for row, owned in enumerate(values):
        for value in owned:
            holders[value].append(row)
    words: dict[str, str] = {}
    for value, rows in sorted(holders.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        if not _FEWEST <= len(rows) < len(titles):
            continue
        piece = _closest(rows, pieces, seen)
        if not piece:
            continue
        words[value] = piece
        # What is known is cut out, so that no later piece has the end of it.
        for row in rows:
            if piece in pieces[row]:
                seen.subtract(pieces[row])
                rest[row] = rest[row].replace(piece, "\n")
                pieces[row] = _pieces(rest[row])
                seen.update(pieces[row])
    return words


def _closest(rows: Sequence[int], pieces: Sequence[set[str]], seen: Mapping[str, int]) -> str:
    """The piece that goes with these titles most, the longest of equals; empty where none does."""
    both = Counter(piece for row in rows for piece in pieces[row])
    scores = (
        (_phi(there, len(rows), seen[piece], len(pieces)), len(piece), piece)
        for piece, there in both.items()
        if 2 * there >= len(rows)
    )
    best = max(scores, default=(0.0, 0, ""))
    return best[2] if best[0] >= _CLOSE else ""


def joined(parts: Sequence[str]) -> str:
    """Return one phrase: Chinese words stand together, others apart; a part within another is left out."""
    kept = [
        part
        for at, part in enumerate(parts)
        if part
        and not any(part in other and (part != other or at > b) for b, other in enumerate(parts) if b != at)
    ]
    return ("" if all(HAN.search(part) for part in kept) else " ").join(kept)


def _pieces(title: str) -> set[str]:
    """All runs of a few words, or of a few characters where there is Chinese; none goes over a cut."""
    longest, between = (_LONGEST_HAN, "") if HAN.search(title) else (_LONGEST_WORDS, " ")
    found: set[str] = set()
    for part in title[:_LONGEST].split("\n"):
        units = _UNITS.findall(part)
        found |= {between.join(units[at : at + n]) for n in range(1, longest + 1) for at in range(len(units))}
    return found


def _phi(both: int, first: int, second: int, total: int) -> float:
    """Correlation of two yes-or-no properties from how many have both, each, and how many there are."""
    spread = first * (total - first) * second * (total - second)
    return float((both * total - first * second) / spread**0.5) if spread else 0.0
