"""jieba with a dictionary of its own.

The module's global tokenizer is never used: another part of the shop's process may have changed it. The
word list is read straight from jieba's `dict.txt` into a private `jieba.Tokenizer`; that takes half a
second, no longer than jieba's own cache file, which lies in a shared temporary folder.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

from es_xmodal.errors import SettingsError

_ONE_BLOCK = re.compile(r"[\u4e00-\u9fd5a-zA-Z0-9+#&._%\-]+")
"""What jieba looks up in its dictionary at once."""
_LINE = re.compile(r"^(?P<word>.+?)(?:\s+(?P<freq>\d+))?(?:\s+(?P<tag>[a-zA-Z]+))?$")


class UserWord(NamedTuple):
    """A word of the shop. `frequency` None: high enough to be kept whole; 0: never one word."""

    word: str
    frequency: int | None


def read_user_words(source: Path | Iterable[str] | None, spell: Callable[[str], str]) -> tuple[UserWord, ...]:
    """Read the shop's dictionary.

    Args:
        source: a UTF-8 file, or its lines.
        spell: how words are normalised, the same way as the texts.

    Returns:
        The words in order; blank lines and lines that start with `#` are left out.

    Raises:
        SettingsError: the file cannot be read or is not UTF-8.
    """
    if source is None:
        return ()
    lines = _file_lines(source) if isinstance(source, Path) else list(source)
    words = []
    for line in lines:
        match = _LINE.match(line.strip().lstrip("\ufeff").strip())
        if not match or match["word"].startswith("#"):
            continue
        word = spell(match["word"]).strip()
        if word:
            words.append(UserWord(word, int(match["freq"]) if match["freq"] else None))
    return tuple(words)


def _file_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error}"
        raise SettingsError(f"the dictionary {path} {reason}", hint="one word a line, UTF-8") from error


class Segmenter:
    """Cuts runs of Chinese into words.

    Args:
        user_words: the shop's own words, normalised.
    """

    def __init__(self, user_words: tuple[UserWord, ...] = ()) -> None:
        table, total = _word_table()
        self._tokenizer = _private_tokenizer(dict(table) if user_words else table, total)
        self._frequencies: dict[str, int] = self._tokenizer.FREQ
        self._split: set[str] = set()
        for word, frequency in user_words:
            self._add(word, frequency)

    def words(self, run: str) -> Iterator[tuple[str, int]]:
        """Yield the words of a run and where they start in it."""
        at = 0
        # HMM=False: jieba's guesses at unknown words depend on what stands beside them, so that a query
        # and a title often got different ones (docs/text.md has the numbers); they also take quadratic time.
        words = self._best_words(run) if _ONE_BLOCK.fullmatch(run) else self._tokenizer.cut(run, HMM=False)
        for word in words:
            if word in self._split:
                yield from ((char, at + index) for index, char in enumerate(word))
            else:
                yield word, at
            at += len(word)

    def _best_words(self, block: str) -> list[str]:
        """The likeliest words of a block, as jieba's `cut` without HMM gives them, in half its time.

        The likelihood of a cut is the product of its words' frequencies; from the end to the beginning, the
        best cut of each rest follows from those of the shorter rests. Letters and digits that are no word of
        the dictionary stay together.
        """
        frequencies, size = self._frequencies, len(block)
        log_total = math.log(self._tokenizer.total)
        scores, ends = [0.0] * (size + 1), [0] * size
        for start in range(size - 1, -1, -1):
            best, best_end, end = -math.inf, 0, start + 1
            while (frequency := frequencies.get(block[start:end])) is not None:
                # The same sums in the same order as jieba's: the same words win; of equals the longest.
                if frequency and (score := math.log(frequency) - log_total + scores[end]) >= best:
                    best, best_end = score, end
                if end == size:
                    break
                end += 1
            scores[start] = best if best_end else scores[start + 1] - log_total
            ends[start] = best_end or start + 1
        words: list[str] = []
        at, joins = 0, False
        while at < size:
            word = block[at : ends[at]]
            at = ends[at]
            single = len(word) == 1 and word.isascii() and word.isalnum()
            if single and joins:
                words[-1] += word
            else:
                words.append(word)
            joins = single
        return words

    def inner_words(self, word: str) -> Iterator[tuple[str, int]]:
        """Yield the dictionary's words of two and three characters inside a longer word."""
        for size in (2, 3):
            if len(word) > size:
                for start in range(len(word) - size + 1):
                    inner = word[start : start + size]
                    if self._frequencies.get(inner):
                        yield inner, start

    def _add(self, word: str, frequency: int | None) -> None:
        if frequency is None:
            frequency = self._tokenizer.suggest_freq(word)
        if frequency == 0:
            self._split.add(word)
        self._tokenizer.total += frequency - self._frequencies.get(word, 0)
        self._frequencies[word] = frequency
        for end in range(1, len(word)):
            self._frequencies.setdefault(word[:end], 0)


def _private_tokenizer(table: dict[str, int], total: int) -> Any:
    with warnings.catch_warnings():  # jieba 0.42 imports pkg_resources and has unescaped patterns
        warnings.simplefilter("ignore")
        import jieba
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total, tokenizer.initialized = table, total, True
    return tokenizer


@lru_cache(maxsize=1)
def _word_table() -> tuple[dict[str, int], int]:
    """Return jieba's table and the sum of its frequencies; whoever changes the table copies it first.

    It has every word with its frequency and every beginning of a word with 0, in lower case, as the
    texts are: `T恤` is in the dictionary, `t恤` in the texts.
    """
    dictionary = _dictionary_path().read_text(encoding="utf-8")
    cells = dictionary.lower().split()
    words = cells[0::3]
    table = dict(zip(words, map(int, cells[1::3]), strict=True))
    total = sum(table.values())
    size, longer = 1, [word for word in words if len(word) > 1]
    beginnings: set[str] = set()
    while longer:
        beginnings.update([word[:size] for word in longer])
        size += 1
        longer = [word for word in longer if len(word) > size]
    table.update(dict.fromkeys(beginnings.difference(table), 0))
    return table, total


def _dictionary_path() -> Path:
    spec = util.find_spec("jieba")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError("jieba is not installed", hint="pip install jieba")
    return Path(spec.submodule_search_locations[0]) / "dict.txt"


@lru_cache(maxsize=1)
def dictionary_fingerprint() -> str:
    """Return jieba's version and the SHA-256 of its word list, without importing jieba."""
    digest = hashlib.sha256(_dictionary_path().read_bytes()).hexdigest()
    return f"jieba {metadata.version('jieba')} {digest}"
