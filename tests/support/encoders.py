"""An encoder without a model, for tests of what is built on encoders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import Encoder, EncoderInfo, Space

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture


class HashEncoder(Encoder):
    """Deterministic vectors from hashes: equal input, equal vector; words shared, vectors near.

    A text is the sum of its words' vectors (single characters for words without spaces, too, so that
    Chinese titles share parts); a picture is placed by its content hash, and in `joint` also by its
    mean colour's name (`red`, `green`, `blue`), so that the text "red" is near a red picture.

    Attributes:
        calls: ("texts" | "pictures", number of items) for each batch that was encoded.
    """

    def __init__(self, *, fingerprint: str = "hash-0000000000000001", batch_size: int = 16) -> None:
        self.batch_size = batch_size
        self.calls: list[tuple[str, int]] = []
        self.info = EncoderInfo(
            spec="hash",
            fingerprint=fingerprint,
            spaces=(
                Space(name="joint", dim=32, modalities=frozenset({"text", "picture"})),
                Space(name="visual", dim=16, modalities=frozenset({"picture"})),
                Space(name="text", dim=24, modalities=frozenset({"text"})),
            ),
            text_space="text",
            languages=("en", "zh"),
            licence="Apache-2.0",
            picture_side=32,
        )

    def prepare(self, picture: Picture) -> Any:
        pixel = picture.image.convert("RGB").resize((1, 1)).tobytes()
        return picture.content_hash, tuple(pixel)

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        self.calls.append(("pictures", len(batch)))
        joint = [_words(_colour(rgb), 32) + 0.3 * _noise(key, 32) for key, rgb in batch]
        return {"joint": np.stack(joint), "visual": np.stack([_noise(key, 16) for key, _ in batch])}

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        self.calls.append(("texts", len(batch)))
        return {
            name: np.stack([_words(t, dim) for t in batch]) for name, dim in (("joint", 32), ("text", 24))
        }


def _noise(key: str, dim: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dim)


def _words(text: str, dim: int) -> NDArray[np.float64]:
    words = text.lower().split()
    parts = words + [c for c in text if ord(c) > 0x2E80] or [""]
    total: NDArray[np.float64] = np.sum([_noise(word, dim) for word in parts], axis=0)
    return total


def _colour(rgb: tuple[int, ...]) -> str:
    return ("red", "green", "blue")[int(np.argmax(rgb))]
