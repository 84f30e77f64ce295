"""A base encoder and its heads behind the interface of all encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.adapted.heads import Heads
from es_xmodal.encoders.base import JOINT, VISUAL, Encoder, EncoderInfo, Space
from es_xmodal.errors import EncoderError
from es_xmodal.vectors import Matrix

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture


class AdaptedEncoder(Encoder):
    """The base's vectors with the adapted part behind them.

    With a the share of the adapted part and g the gate of a text or picture, a vector of the joint
    space is unit [sqrt(1 - a) base | g sqrt(a) adapted], so that a cosine is a weighted sum of both cosines.

    Args:
        base: the encoder below; closed with this one.
        heads: trained on it.
        spec: the string that loads it again.
        fingerprint: of base and heads.

    Raises:
        EncoderError: the vectors would be longer than Elasticsearch takes.
    """

    def __init__(self, base: Encoder, heads: Heads, *, spec: str, fingerprint: str) -> None:
        self.base = base
        self.heads = heads
        self.batch_size = base.batch_size
        self._shares = {JOINT: heads.joint_share, VISUAL: heads.visual_share}
        self.info: EncoderInfo = replace(
            base.info,
            spec=spec,
            fingerprint=fingerprint,
            spaces=tuple(self._longer(space) for space in base.info.spaces),
        )

    def prepare(self, picture: Picture) -> Any:
        """As the base does."""
        return self.base.prepare(picture)

    def close(self) -> None:
        """Close the base."""
        self.base.close()

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return self.place_pictures(*self.base.picture_features(batch))

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return self.place_texts(*self.base.text_features(batch))

    def place_pictures(self, vectors: Mapping[str, Matrix], features: Matrix) -> dict[str, Matrix]:
        """Return a picture's vectors from what the base says of it.

        Args:
            vectors: space -> [n, dim], of the base.
            features: [n, features], of the base.
        """
        self._check(features, self.heads.picture_features)
        trust = self.heads.picture_gate(vectors[VISUAL if VISUAL in vectors else JOINT])
        return self._placed(vectors, np.asarray(self.heads.pictures(features) * trust[:, None], np.float32))

    def place_texts(self, vectors: Mapping[str, Matrix], features: Matrix) -> dict[str, Matrix]:
        """Return a text's vectors from what the base says of it; see `place_pictures`."""
        self._check(features, self.heads.text_features)
        trust = self.heads.gate(vectors[self.base.info.text_space or JOINT])
        adapted = np.asarray(self.heads.texts(features) * trust[:, None], np.float32)
        return self._placed(vectors, adapted)

    def _placed(self, vectors: Mapping[str, Matrix], adapted: Matrix) -> dict[str, Matrix]:
        found = {}
        for name, base in vectors.items():
            share = self._shares.get(name, 0.0)
            parts = [np.float32((1 - share) ** 0.5) * base, np.float32(share**0.5) * adapted]
            found[name] = np.concatenate(parts, axis=1) if share else base
        return found

    def _longer(self, space: Space) -> Space:
        return replace(space, dim=space.dim + self.heads.dim) if self._shares.get(space.name) else space

    def _check(self, features: Matrix, wanted: int) -> None:
        if features.shape[1] != wanted:
            raise EncoderError(
                f"encoder {self.info.spec}: its heads read {wanted} numbers, and the base gives"
                f" {features.shape[1]}",
                hint="run `es-xmodal adapt` again",
            )
