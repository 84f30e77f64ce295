"""A text as the tower reads it: the `tokenizers` library, without transformers and torch."""

from __future__ import annotations

import html
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.onnx.manifest import TOKENIZER_FILE, broken
from es_xmodal.errors import MissingExtraError

if TYPE_CHECKING:
    from es_xmodal.encoders.onnx.manifest import Text

_OPEN_CLIP = ("lower", "whitespace", "canonicalize")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Reader:
    """Texts to token numbers.

    Args:
        folder: where `tokenizer.json` lies; it carries the truncation.
        how: cleaning and padding.

    Raises:
        MissingExtraError: `tokenizers`, or `ftfy` where the cleaning needs it, is not installed.
        EncoderError: the file is none that the library can read.
    """

    def __init__(self, folder: Path, how: Text) -> None:
        self.how = how
        self._fix = _fixer() if how.cleaning in _OPEN_CLIP else None
        self._tokenizer = _tokenizer(folder)

    def clean(self, text: str) -> str:
        """Return the text as the tokenizer gets it, after the functions of those names in the sources."""
        how = self.how.cleaning
        if how == "siglip":
            return " ".join(text.lower().translate(_NO_PUNCTUATION).split())
        if self._fix is None:
            return text
        text = html.unescape(html.unescape(self._fix(text))).strip()
        if how == "canonicalize":
            text = text.replace("_", " ").translate(_NO_PUNCTUATION).lower()
        text = " ".join(text.split())
        return text.lower() if how == "lower" else text

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token numbers of each text, cut to the length that the tower reads, not padded."""
        cleaned = [self.clean(text) for text in texts]
        if len(cleaned) == 1:  # no threads for one text
            return [self._tokenizer.encode(cleaned[0]).ids]
        return [found.ids for found in self._tokenizer.encode_batch(cleaned)]

    def inputs(self, numbers: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
        """Return what the tower takes: each int64, shape [n, tokens]; the mask is 1 where a token is."""
        longest = self.how.length if self.how.fixed else max(1, *map(len, numbers))
        ids = np.full((len(numbers), longest), self.how.pad, np.int64)
        mask = np.zeros((len(numbers), longest), np.int64)
        for row, found in enumerate(numbers):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        if self.how.zeroed is not None:
            ids[ids == self.how.zeroed] = 0
        every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: every[name] for name in self.how.inputs}


def _tokenizer(folder: Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtraError("the tokenizer of an exported encoder", extra="onnx") from None
    path = folder / TOKENIZER_FILE
    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise broken(folder, f"{TOKENIZER_FILE} cannot be read: {error.strerror}") from None
    except Exception as error:  # the library raises plain Exception
        raise broken(folder, f"{TOKENIZER_FILE} is no tokenizer: {error}") from None


def _fixer() -> Any:
    try:
        import ftfy
    except ImportError:
        raise MissingExtraError("the text cleaning of an exported encoder (ftfy)", extra="onnx") from None
    return ftfy.fix_text
