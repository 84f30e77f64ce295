"""How far a text is trusted to be one of the shop's.

A head knows nothing outside of what it was trained on: asked for a thing that the shop does not sell, it
answers with the nearest thing that it does. So the adapted part of a text counts by its likeness to the
texts of the training, and a text of another domain is left to the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from es_xmodal.encoders.adapted.tower import Floats, unit
from es_xmodal.errors import EncoderError


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """clip((m - low) / (high - low), 0, 1), m the best centred cosine to a text of the training.

    Args:
        centre: mean of texts about anything: shape [dim].
        texts: centred unit rows of texts of the training: float16, shape [n, dim].
        low: below this likeness the adapted part does not count.
        high: from this likeness it counts in full.

    Raises:
        EncoderError: the parts do not fit each other.
    """

    centre: Floats
    texts: np.ndarray
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.texts.ndim != 2 or not len(self.texts) or self.centre.shape != self.texts.shape[1:]:
            raise EncoderError("the gate's parts do not fit each other")
        if not (np.isfinite(self.texts).all() and np.isfinite(self.centre).all() and self.low < self.high):
            raise EncoderError("the gate holds numbers that are none")

    @property
    def dim(self) -> int:
        """Length of the vectors that it reads."""
        return int(self.texts.shape[1])

    def __call__(self, vectors: Floats) -> Floats:
        """Say how much the adapted part of each text counts.

        Args:
            vectors: of the base, shape [n, dim].

        Returns:
            float32, shape [n], 0 to 1.
        """
        likeness = self.likeness(vectors)
        found: Floats = np.clip((likeness - np.float32(self.low)) / np.float32(self.high - self.low), 0, 1)
        return found

    def likeness(self, vectors: Floats) -> Floats:
        """Return the best centred cosine of each text to one of the training: shape [n]."""
        found: Floats = (unit(vectors - self.centre) @ self.texts.astype(np.float32).T).max(axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its parts by name, to be saved."""
        return {"centre": self.centre, "texts": self.texts, "limits": np.array([self.low, self.high])}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Gate:
        """Make a gate of its saved parts.

        Raises:
            EncoderError: they do not fit each other.
        """
        low, high = arrays["limits"].tolist()
        return cls(centre=arrays["centre"], texts=arrays["texts"], low=low, high=high)
