"""How far a text or a picture is trusted to be one of the shop's.

A head knows nothing outside of what it was trained on: asked for a thing that the shop does not sell, it
answers with the nearest thing that it does. So the adapted part counts by the likeness to what was learned
from, and what is of another domain is left to the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from es_xmodal.encoders.adapted.tower import Floats, unit
from es_xmodal.errors import EncoderError


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """clip((m - low) / (high - low), 0, 1), m the best centred cosine to one of the training.

    Args:
        centre: what all have in common: shape [dim].
        known: centred unit rows of the training: float16, shape [n, dim].
        low: below this likeness the adapted part does not count.
        high: from this likeness it counts in full.

    Raises:
        EncoderError: the parts do not fit each other.
    """

    centre: Floats
    known: np.ndarray
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.known.ndim != 2 or not len(self.known) or self.centre.shape != self.known.shape[1:]:
            raise EncoderError("the gate's parts do not fit each other")
        if not (np.isfinite(self.known).all() and np.isfinite(self.centre).all() and self.low < self.high):
            raise EncoderError("the gate holds numbers that are none")

    @property
    def dim(self) -> int:
        """Length of the vectors that it reads."""
        return int(self.known.shape[1])

    def __call__(self, vectors: Floats) -> Floats:
        """Say how much the adapted part of each counts.

        Args:
            vectors: of the base, shape [n, dim].

        Returns:
            float32, shape [n], 0 to 1.
        """
        likeness = self.likeness(vectors)
        found: Floats = np.clip((likeness - np.float32(self.low)) / np.float32(self.high - self.low), 0, 1)
        return found

    def likeness(self, vectors: Floats) -> Floats:
        """Return the best centred cosine of each to one of the training: shape [n]."""
        found: Floats = (unit(vectors - self.centre) @ self.known.astype(np.float32).T).max(axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its parts by name, to be saved."""
        return {"centre": self.centre, "known": self.known, "limits": np.array([self.low, self.high])}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Gate:
        """Make a gate of its saved parts.

        Raises:
            EncoderError: they do not fit each other.
        """
        low, high = arrays["limits"].tolist()
        return cls(centre=arrays["centre"], known=arrays["known"], low=low, high=high)
