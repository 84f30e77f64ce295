"""Text to piece numbers: SentencePiece's unigram model over the pieces of multilingual-e5-small.

Written out here because the vocabulary is the shipped one and loads in some 50 ms as a dictionary; the
`tokenizers` library builds a trie for the same answer in about ten times the time and memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_SPACE = "\u2581"
_UNKNOWN_PENALTY = 10.0
_MAX_CACHED_CHARS = 24
_CACHE_WORDS = 20_000


class Pieces:
    """Splits normalised text into the most probable pieces (Kudo, arXiv 1804.10959).

    Args:
        pieces: the vocabulary; the number of a piece is its place.
        scores: log probability of each piece.
        normal: character -> replacement, applied first.
        unknown: number for a character that no piece covers.
    """

    def __init__(
        self, *, pieces: Sequence[str], scores: Sequence[float], normal: Mapping[int, str], unknown: int
    ) -> None:
        self._known = {piece: (number, scores[number]) for number, piece in enumerate(pieces)}
        for number in range(4):  # <s> <pad> </s> <unk> are never read from text
            self._known.pop(pieces[number], None)
        self._longest = max(map(len, self._known))
        self._normal = dict(normal)
        self._unknown = unknown
        self._floor = min(scores) - _UNKNOWN_PENALTY
        self._cache: dict[str, tuple[int, ...]] = {}

    def numbers(self, text: str, *, limit: int) -> list[int]:
        """Return the piece numbers of a text, at most `limit`."""
        found: list[int] = []
        for word in text.translate(self._normal).split(" "):
            if word:
                found.extend(self._word(_SPACE + word))
            if len(found) >= limit:
                break
        return found[:limit]

    def _word(self, word: str) -> tuple[int, ...]:
        known = self._cache.get(word)
        if known is None:
            known = self._split(word)
            if len(word) <= _MAX_CACHED_CHARS and len(self._cache) < _CACHE_WORDS:
                self._cache[word] = known
        return known

    def _split(self, word: str) -> tuple[int, ...]:
        """Viterbi: best[i] is the score of the best split of the first i characters."""
        size = len(word)
        best = [0.0] + [float("-inf")] * size
        back = [(0, self._unknown)] * (size + 1)
        for start in range(size):
            base = best[start]
            for end in range(start + 1, min(size, start + self._longest) + 1):
                hit = self._known.get(word[start:end])
                if hit is not None and base + hit[1] > best[end]:
                    best[end], back[end] = base + hit[1], (start, hit[0])
            if base + self._floor > best[start + 1]:
                best[start + 1], back[start + 1] = base + self._floor, (start, self._unknown)
        found: list[int] = []
        while size:
            size, number = back[size]
            found.append(number)
        return tuple(reversed(found))
