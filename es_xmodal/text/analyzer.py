"""Text to tokens, for the index and for queries."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property, lru_cache
from importlib import metadata
from operator import itemgetter

from es_xmodal.errors import SettingsError
from es_xmodal.text.dictionary import Segmenter, dictionary_fingerprint, read_user_words
from es_xmodal.text.folding import folding_hash, traditional_to_simplified
from es_xmodal.text.highlight import mark_spans
from es_xmodal.text.normalise import normalise
from es_xmodal.text.options import MAX_TERM_CHARS, SEPARATOR, TextOptions, Token
from es_xmodal.text.scripts import char_classes
from es_xmodal.text.stopwords import STOP_WORDS
from es_xmodal.text.words import COMPOUND, Piece, compound_pieces, joined_neighbours, size_pieces

FORMAT = 1
"""Raised when the same options give other tokens than before."""

_HAN_RUN = re.compile(r"[hadm\-+#&_.%]+")
_PLACE = itemgetter(1, 2)
_OTHER_RUN = re.compile(r"[k][km]*|[g][gm]*|[t][tm]*|s")


class Analyzer:
    """Turns text into terms; thread-safe; jieba is loaded when the first Chinese text comes.

    Args:
        options: the choices that the fingerprint covers.

    Raises:
        SettingsError: the dictionary cannot be read, or there is no stemmer for the language.
    """

    def __init__(self, options: TextOptions = TextOptions()) -> None:  # noqa: B008 - frozen
        self.options = options
        self._lock = threading.Lock()
        self._fold = traditional_to_simplified() if options.fold_traditional else str
        self._stem = _stemmer(options.stem_language) if options.stemming else str
        self._user_words = read_user_words(options.user_dictionary, self._spell)
        words = STOP_WORDS if options.stop_words is None else options.stop_words
        self._stop_words = frozenset(self._spell(word).strip() for word in words)
        self._stop_terms = frozenset(self._term(word) for word in self._stop_words)

    @cached_property
    def fingerprint(self) -> str:
        """`text-` and 16 hexadecimal digits; two analyzers with the same one give the same terms."""
        options = self.options
        parts = {
            "format": FORMAT,
            "jieba": dictionary_fingerprint(),
            "user": self._user_words,
            "stop": sorted(self._stop_words),
            "stem": (options.stem_language, metadata.version("snowballstemmer"))
            if options.stemming
            else None,
            "fold": folding_hash() if options.fold_traditional else None,
            "query": options.query_mode,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"text-{digest[:16]}"

    def tokens(self, text: str) -> list[Token]:
        """Return the tokens of the index, in order of their place; they may overlap.

        Args:
            text: any string.
        """
        return [Token(*found) for found in self._tokens(text, inner=True)]

    def index_text(self, texts: Iterable[str]) -> list[str]:
        """Return one string a text for a token field: its terms joined with U+001F."""
        return [SEPARATOR.join([term for term, _, _ in self._tokens(text, inner=True)]) for text in texts]

    def query_terms(self, text: str) -> list[str]:
        """Return the terms of a query.

        Args:
            text: what a person typed.

        Returns:
            Each term once, in order, without stop words unless nothing else is left; every one of
            them is among the tokens of the same text. Empty where the text has no letter, digit or symbol.
        """
        tokens = self._tokens(text, inner=self.options.query_mode == "search")
        terms = list(dict.fromkeys(term for term, _, _ in tokens))
        return [term for term in terms if term not in self._stop_terms] or terms

    def mark(
        self,
        text: str,
        terms: Collection[str],
        *,
        pre: str = "<em>",
        post: str = "</em>",
        escape: bool = False,
    ) -> str:
        """Return the original text with marks around what the terms stand for.

        Args:
            text: the original, unspaced text.
            terms: terms of `query_terms`.
            pre: goes before each marked part.
            post: goes after it; parts that touch or overlap are one.
            escape: make the text itself safe for HTML; without it that is the caller's task.
        """
        wanted = frozenset(terms)
        spans = [(token.start, token.end) for token in self.tokens(text) if token.term in wanted]
        return mark_spans(text, spans, pre=pre, post=post, escape=escape)

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(self._user_words)

    def _spell(self, text: str) -> str:
        return self._fold(normalise(text).text)

    def _term(self, piece: str) -> str:
        if len(piece) > 2 and piece.isascii() and piece.isalpha():
            piece = self._stem(piece[:MAX_TERM_CHARS])
        return piece[:MAX_TERM_CHARS]

    def _tokens(self, text: str, *, inner: bool) -> list[tuple[str, int, int]]:
        """What `Token` holds, as plain tuples: a row has hundreds of them."""
        normalised = normalise(text)
        folded, starts, ends = self._fold(normalised.text), normalised.starts, normalised.ends
        classes = char_classes(folded)
        pieces = self._word_pieces(folded, classes)
        if not folded.isascii():
            if "h" in classes:
                pieces += self._han_pieces(folded, classes, inner=inner)
            pieces += _other_pieces(folded, classes)
        term = self._term
        unique = dict.fromkeys([(term(piece), starts[start], ends[end - 1]) for piece, start, end in pieces])
        return sorted(unique, key=_PLACE)

    def _word_pieces(self, text: str, classes: str) -> list[Piece]:
        spans = [match.span() for match in COMPOUND.finditer(classes)]
        compounds = [(text[start:end], start, end) for start, end in spans]
        pieces: list[Piece] = []
        for compound in compounds:
            if compound[0].isalpha():
                pieces.append(compound)
            else:
                pieces += compound_pieces(compound[0], compound[1])
        pieces += joined_neighbours(compounds, text, self._stop_words)
        if "d" in classes:
            pieces += size_pieces(text)
        return pieces

    def _han_pieces(self, text: str, classes: str, *, inner: bool) -> list[Piece]:
        with self._lock:
            segmenter = self._segmenter
        pieces: list[Piece] = []
        for match in _HAN_RUN.finditer(classes):
            if "h" not in match[0]:
                continue
            first, last = match.span()
            for word, at in segmenter.words(text[first:last]):
                start = first + at
                if "h" not in classes[start : start + len(word)]:
                    continue
                pieces.append((word, start, start + len(word)))
                if inner and len(word) > 2:
                    for piece, offset in segmenter.inner_words(word):
                        pieces.append((piece, start + offset, start + offset + len(piece)))
        return pieces


def _other_pieces(text: str, classes: str) -> Iterator[Piece]:
    """Scripts without spaces: the run itself and its pairs of characters; symbols one by one."""
    for match in _OTHER_RUN.finditer(classes):
        start, end = match.span()
        kind = classes[start]
        marks = [i for i in range(start, end) if classes[i] != "m"] + [end]
        if kind != "t" or len(marks) <= 2:
            yield text[start:end], start, end
        for index in range(len(marks) - 2):
            first, last = marks[index], marks[index + 2]
            if last - first < end - start or kind == "t":
                yield text[first:last], first, last


@lru_cache(maxsize=8)
def _stemmer(language: str) -> Callable[[str], str]:
    """Return a thread-safe stemmer with a memory."""
    import snowballstemmer

    known = sorted(snowballstemmer.algorithms())
    if language not in known:
        raise SettingsError(f"no stemmer for {language!r}", hint=f"one of {', '.join(known)}")
    stemmer = snowballstemmer.stemmer(language)
    lock = threading.Lock()

    @lru_cache(maxsize=1 << 16)
    def stem(word: str) -> str:
        with lock:  # a snowballstemmer object keeps the word that it works on
            return str(stemmer.stemWord(word)) or word

    return stem
