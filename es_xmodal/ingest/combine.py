"""From the vectors of a product's text and pictures to those of its document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from es_xmodal.encoders.base import JOINT, EncoderInfo
from es_xmodal.index.combining import (
    IMAGE_LEGS,
    Combining,
    blocks_of,
    text_source,
    vector_fields,
)
from es_xmodal.index.fused import Fusing, join, unit
from es_xmodal.ingest.rows import Shot
from es_xmodal.vectors import Vector


def weighted_mean(rows: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """Average vectors of one product.

    Args:
        rows: unit vectors, one at least.
        weights: one for each, above 0.

    Returns:
        The weighted mean with length 1; the heaviest vector (of equals the first) where the others cancel it.
    """
    mean = unit(np.average(np.stack(rows).astype(np.float64), axis=0, weights=weights))
    return rows[int(np.argmax(weights))] if mean is None else mean


class Combiner:
    """Makes the vectors of a document.

    Args:
        combining: how pictures and texts are combined.
        info: the encoder's.

    Raises:
        SettingsError: the encoder's spaces do not allow it.
    """

    def __init__(self, combining: Combining, info: EncoderInfo) -> None:
        self.combining = combining
        self.fields = vector_fields(combining, info.spaces, info.text_space)
        self.text_space = text_source(combining, info.text_space)
        self._blocks = blocks_of(combining, info.spaces, info.text_space)
        pictured = {space.name for space in info.spaces_of("picture")}
        self._picture_legs = {space: leg for space, leg in IMAGE_LEGS.items() if space in pictured}

    @property
    def image_spaces(self) -> list[str]:
        """The spaces that have a vector for each picture."""
        nested = [one.path.rpartition(".")[2] for one in self.fields.values() if "." in one.path]
        return [space for space in self._picture_legs if space in nested]

    def fusing(self, floors: Mapping[str, float]) -> Fusing | None:
        """How queries meet the one vector of a product; None where there is no such vector.

        Args:
            floors: calibration's name to the mean cosine of unrelated pairs.
        """
        if self.combining.fuse == "none":
            return None
        return Fusing(combining=self.combining, blocks=self._blocks, floors=floors)

    def means(self, shots: Sequence[Shot]) -> dict[str, Vector]:
        """Average the pictures of a product; the frames of one film share its weight.

        Args:
            shots: its pictures; those that failed, or that have the weight 0, do not count.

        Returns:
            Space to unit vector; empty without a picture.
        """
        used = [shot for shot in shots if shot.failure is None and shot.vectors and shot.weight > 0]
        frames = Counter(shot.ref for shot in used)
        found = {}
        for space in self._picture_legs:
            able = [shot for shot in used if space in shot.vectors]
            if able:
                weights = [shot.weight / frames[shot.ref] for shot in able]
                found[space] = weighted_mean([shot.vectors[space] for shot in able], weights)
        return found

    def document(self, text: Vector | None, shots: Sequence[Shot]) -> dict[str, Vector]:
        """Make the vectors that stand at the top of a document.

        Args:
            text: of the product's text in `text_space`; None: there is none.
            shots: its pictures.

        Returns:
            Leg to unit vector.
        """
        if self.combining.fuse != "none":
            fused = self.fuse(text, self.means(shots))
            return {} if fused is None else {"fused": fused}
        found = {} if text is None or "text" not in self.fields else {"text": text}
        if self.combining.pictures == "mean":
            found |= {self._picture_legs[space]: mean for space, mean in self.means(shots).items()}
        return found

    def fuse(self, text: Vector | None, pictures: Mapping[str, Vector]) -> Vector | None:
        """Make one vector of text and pictures.

        Args:
            text: as for `document`.
            pictures: as `means` gives them.

        Returns:
            Unit vector; what the product lacks does not count. None where it has neither.
        """
        if text is None and not pictures:
            return None
        if not self._blocks:
            return self._added(text, pictures.get(JOINT))
        parts = {"text": text, **pictures}
        there = {name: vector for name, vector in parts.items() if vector is not None}
        absent = {block.name: 1.0 for block in self._blocks if block.name not in there}
        return join(self._blocks, there, absent)

    def _added(self, text: Vector | None, picture: Vector | None) -> Vector | None:
        if text is None or picture is None:
            return picture if text is None else text
        share = self.combining.text_share
        total = share * text.astype(np.float64) + (1 - share) * picture.astype(np.float64)
        found = unit(total)
        return text if found is None else found
