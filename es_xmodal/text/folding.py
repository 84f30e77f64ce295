"""Traditional Chinese written as Simplified, character by character.

The tables are those of OpenCC (Apache-2.0), read from the `opencc-python-reimplemented` package: one for
characters, and one for words in which a character keeps another form (乾隆 keeps 乾, 乾淨 becomes 干净). Both
sides have the same length, so offsets stay as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from es_xmodal.errors import SettingsError

_PACKAGE = "opencc-python-reimplemented"
_FILES = ("TSCharacters.txt", "TSPhrases.txt")

Fold = Callable[[str], str]


@lru_cache(maxsize=1)
def traditional_to_simplified() -> Fold:
    """Return the function that folds a normalised string; its result has the same length.

    Raises:
        SettingsError: the tables are not installed.
    """
    characters, phrases = (_pairs(text) for text in _tables())
    table = {ord(key): value for key, value in characters.items() if len(key) == len(value) == 1}
    # Only words that the character table alone would get wrong.
    words = {k: v for k, v in phrases.items() if len(k) == len(v) and k.translate(table) != v}
    marked = frozenset(char for word in words for char in word if ord(char) in table)
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))

    def fold(text: str) -> str:
        if text.isascii():
            return text
        if marked.isdisjoint(text):
            return text.translate(table)
        parts, last = [], 0
        for match in pattern.finditer(text):
            parts += [text[last : match.start()].translate(table), words[match[0]]]
            last = match.end()
        return "".join([*parts, text[last:].translate(table)])

    return fold


@lru_cache(maxsize=1)
def folding_hash() -> str:
    """Return the SHA-256 of the tables, for the fingerprint."""
    return hashlib.sha256("\0".join(_tables()).encode()).hexdigest()


def _tables() -> list[str]:
    try:
        package = metadata.distribution(_PACKAGE)
        paths = [Path(str(package.locate_file(f"opencc/dictionary/{name}"))) for name in _FILES]
        return [path.read_text(encoding="utf-8") for path in paths]
    except (metadata.PackageNotFoundError, OSError) as error:
        raise SettingsError(
            f"the tables of Traditional Chinese cannot be read: {error}",
            hint=f"pip install {_PACKAGE}, or switch fold_traditional off",
        ) from error


def _pairs(text: str) -> dict[str, str]:
    """Read `key TAB value [other values]` lines; the first value is the usual one."""
    rows = (line.split("\t") for line in text.splitlines() if "\t" in line)
    return {key: values.split(" ")[0] for key, values in rows}
