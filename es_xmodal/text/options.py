"""The choices that a shop can make about its text, and the token that comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

SEPARATOR: Final = "\x1f"
"""U+001F joins the terms of one field; Elasticsearch's `whitespace` analyzer splits there."""

MAX_TERM_CHARS: Final = 120
"""Longer terms are cut. Even as UTF-16 pairs this stays below the 255 of Lucene's whitespace tokenizer."""

QueryMode = Literal["precise", "search"]


class Token(NamedTuple):
    """One term and the part of the original string that it stands for.

    Args:
        term: normalised; never empty, no whitespace, no U+001F, at most `MAX_TERM_CHARS` characters.
        start: index of its first character in the ORIGINAL string.
        end: index after its last character in the ORIGINAL string.
    """

    term: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How an `Analyzer` reads text. Every field is part of its fingerprint.

    Args:
        user_dictionary: the shop's own words: a UTF-8 file, or its lines, each `word [frequency] [tag]`
            as jieba reads them. A frequency of 0 means: never make this one word.
        stop_words: words that a query drops; None for the built-in English and Chinese lists.
        stemming: cut Latin words to their stem (`mugs` finds `mug`).
        stem_language: a language of snowballstemmer.
        fold_traditional: write Traditional Chinese as Simplified, so that each finds the other.
        query_mode: how Chinese of a query is cut: `search` adds the words inside long words,
            as the index has them; `precise` does not.
    """

    user_dictionary: Path | Iterable[str] | None = None
    stop_words: Iterable[str] | None = None
    stemming: bool = True
    stem_language: str = "english"
    fold_traditional: bool = True
    query_mode: QueryMode = "search"
