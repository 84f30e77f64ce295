"""Pieces of words that survive a misread letter: what is read off a picture is compared by these.

A word becomes its runs of three letters, with a mark at both ends (`milk` → `_mi mil ilk lk_`), so that
`milkk` or `nilk` still share most of them. Chinese, Japanese and Korean, whose words are short, become pairs
of characters. A number stays whole with its percent sign: `1,5%` and `3%` are different milks, and share
nothing.

Each piece counts once, however often it stands there: with BM25's IDF the match of two sets of pieces is the
IDF-weighted number of shared ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from es_xmodal.text.folding import traditional_to_simplified
from es_xmodal.text.normalise import normalise

FORMAT: Final = 1
"""Raised when the same text gives other pieces than before."""
_EDGE: Final = "_"
_LEAST_LETTERS: Final = 3
_MOST_LETTERS: Final = 40
_CJK: Final = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7ff\U00020000-\U000323af"
_PARTS: Final = re.compile(
    rf"(?P<number>\d+(?:[.,]\d+)*%?)|(?P<cjk>[{_CJK}]+)|(?P<letters>(?:(?![\d_{_CJK}])\w)+)"
)


def grams(texts: Iterable[str]) -> list[str]:
    """Cut texts into pieces.

    Args:
        texts: any strings; words do not reach over the end of one.

    Returns:
        Each piece once, in the order of its first place; no white space and no U+001F in it.
    """
    fold = traditional_to_simplified()
    return list(dict.fromkeys(one for text in texts for one in _pieces(fold(normalise(text).text))))


def _pieces(text: str) -> Iterator[str]:
    for part in _PARTS.finditer(text):
        found = part[0]
        if part["number"]:
            yield found.replace(",", ".")
        elif part["cjk"]:
            yield from (found[at : at + 2] for at in range(max(1, len(found) - 1)))
        elif len(found) >= _LEAST_LETTERS:
            edged = f"{_EDGE}{found[:_MOST_LETTERS]}{_EDGE}"
            yield from (edged[at : at + 3] for at in range(len(edged) - 2))
