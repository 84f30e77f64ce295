"""The tokeniser as it says what it does: character by character, and with jieba's own `cut`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from es_xmodal.text import words
from es_xmodal.text.analyzer import _HAN_RUN, Analyzer, _other_pieces
from es_xmodal.text.normalise import _MAX_CLUSTER, Normalised, _extends, _spelling
from es_xmodal.text.options import Token
from es_xmodal.text.scripts import char_classes
from es_xmodal.text.words import COMPOUND, Piece, compound_pieces, size_pieces


def normalise(text: str) -> Normalised:
    """Every cluster of a character and the marks on it, one after the other."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and _extends(text[end]) and end - start < _MAX_CLUSTER:
            end += 1
        piece = _spelling(text[start:end])
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))
        start = end
    return Normalised("".join(pieces), starts, ends)


def tokens(analyzer: Analyzer, text: str) -> list[Token]:
    """The tokens of the index."""
    plain = normalise(text)
    folded = Normalised(analyzer._fold(plain.text), plain.starts, plain.ends)
    classes = char_classes(folded.text)
    pieces = [
        *_word_pieces(analyzer, folded.text, classes),
        *_han_pieces(analyzer, folded.text, classes),
        *_other_pieces(folded.text, classes),
    ]
    found = {Token(analyzer._term(piece), *folded.span(start, end)): None for piece, start, end in pieces}
    return sorted(found, key=lambda token: (token.start, token.end))


def _word_pieces(analyzer: Analyzer, text: str, classes: str) -> Iterator[Piece]:
    compounds = [(text[m.start() : m.end()], m.start(), m.end()) for m in COMPOUND.finditer(classes)]
    for compound, start, _ in compounds:
        yield from compound_pieces(compound, start)
    for (left, start, left_end), (right, right_start, end) in pairwise(compounds):
        stop = left in analyzer._stop_words or right in analyzer._stop_words
        if text[left_end:right_start] != " " or stop:
            continue
        head = words._ATOM.match(right)
        if left.isalpha() and head and words._is_number(head[0]):
            yield left + head[0], start, right_start + len(head[0])
        elif right.isalpha() and words._joins(left, right):
            yield left + right, start, end
    yield from size_pieces(text)


def _han_pieces(analyzer: Analyzer, text: str, classes: str) -> Iterator[Piece]:
    segmenter = analyzer._segmenter
    for match in _HAN_RUN.finditer(classes):
        at = match.start()
        for found in segmenter._tokenizer.cut(text[slice(*match.span())], HMM=False):
            for word in found if found in segmenter._split else [found]:
                start, at = at, at + len(word)
                if "h" in match[0] and "h" in classes[start:at]:
                    yield word, start, at
                    for piece, offset in segmenter.inner_words(word):
                        yield piece, start + offset, start + offset + len(piece)
