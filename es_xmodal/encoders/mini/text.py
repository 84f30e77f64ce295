"""The side that reads: multilingual-e5-small in 4 bit, on the pieces of Latin and Chinese script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.mini.files import open_session
from es_xmodal.encoders.mini.tokens import Pieces
from es_xmodal.vectors import Matrix

DIM = 384
MAX_TOKENS = 256
_START, _PAD, _END, _UNKNOWN = 0, 1, 2, 3
_PROMPT = "query: "  # what the model was trained with when both sides are short (its model card)
_TOKENS_PER_CALL = 1024  # bounds what a call of the model holds to some 50 MB


class TextTower:
    """Texts to sentence vectors.

    Args:
        folder: where the shipped files lie.
        threads: cores that the runtime may use; None: all, at most 8.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        pieces = (folder / "pieces.txt").read_text(encoding="utf-8").split("\n")
        scores = np.load(folder / "scores.npy")
        normal = json.loads((folder / "normal.json").read_text(encoding="utf-8"))
        self._pieces = Pieces(
            pieces=pieces,
            scores=scores.tolist(),
            normal={int(code): text for code, text in normal.items()},
            unknown=_UNKNOWN,
        )
        # Mapped, not read: a query touches a dozen rows of 27 MB.
        self._words: NDArray[np.uint8] = np.load(folder / "words.npy", mmap_mode="r")
        self._session = open_session(folder / "text.onnx", threads)

    def sentences(self, texts: Sequence[str]) -> Matrix:
        """Return the mean of the token vectors of each text: float32, shape [n, 384], not unit."""
        numbers = [self.numbers(text) for text in texts]
        rows = np.empty((len(texts), DIM), np.float32)
        for group in _groups([len(row) for row in numbers]):
            rows[group] = self._run([numbers[i] for i in group])
        return rows

    def numbers(self, text: str) -> list[int]:
        """Return the piece numbers that the model reads for a text."""
        return [_START, *self._pieces.numbers(_PROMPT + text, limit=MAX_TOKENS - 2), _END]

    def _run(self, numbers: Sequence[Sequence[int]]) -> Matrix:
        longest = max(map(len, numbers))
        padded = np.full((len(numbers), longest), _PAD)
        mask = np.zeros((len(numbers), longest), np.float32)
        for row, found in enumerate(numbers):
            padded[row, : len(found)] = found
            mask[row, : len(found)] = 1
        (sentence,) = self._session.run(
            ["sentence"], {"rows": unpack_rows(self._words[padded]), "mask": mask}
        )
        return np.asarray(sentence, np.float32)


def unpack_rows(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Widen 4-bit rows: blocks of 32 weights as a float16 scale and 16 bytes, w = (nibble - 8) * scale.

    Args:
        packed: uint8, shape [..., 12 * 18].

    Returns:
        float32, shape [..., 384].
    """
    blocks = np.asarray(packed).reshape(*packed.shape[:-1], DIM // 32, 18)
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1)
    wide: NDArray[np.float32] = (nibbles.astype(np.float32) - np.float32(8)) * scales
    return wide.reshape(*packed.shape[:-1], DIM)


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group texts of like length so that no call holds more than `_TOKENS_PER_CALL` tokens."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[i] > _TOKENS_PER_CALL:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
