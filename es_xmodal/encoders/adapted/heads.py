"""The heads of an adapted encoder: what they compute, and how they lie on disk."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from es_xmodal.encoders.adapted.gate import Gate
from es_xmodal.encoders.adapted.tower import Floats, Tower
from es_xmodal.errors import EncoderError
from es_xmodal.vectors import Matrix

VERSION = 1
"""Raised whenever the code changes what the same file computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A picture head and a text head that were trained together.

    Args:
        picture: for pictures.
        text: for texts; of the same length.
        weight: of its cosine in that of the ensemble.
    """

    picture: Tower
    text: Tower
    weight: float

    def __post_init__(self) -> None:
        if self.picture.dim != self.text.dim or not 0 < self.weight <= 1:
            raise EncoderError("the heads for pictures and texts do not fit each other")


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """All that stands on top of the base.

    Args:
        members: their cosines are added by weight.
        gate: how far a text is trusted to be one of the shop's.
        picture_gate: the same of a picture.
        joint_share: of the adapted part in the cosine of the joint space.
        visual_share: of the adapted part in the cosine of the visual space; 0 leaves that space alone.

    Raises:
        EncoderError: they do not fit each other.
    """

    members: Sequence[Member]
    gate: Gate
    picture_gate: Gate
    joint_share: float
    visual_share: float

    def __post_init__(self) -> None:
        sizes = {(member.picture.features, member.text.features) for member in self.members}
        shares = (self.joint_share, self.visual_share)
        if len(sizes) != 1 or not all(0 <= share <= 1 for share in shares):
            raise EncoderError("the heads do not fit each other")

    @property
    def dim(self) -> int:
        """Length of the adapted part."""
        return sum(member.picture.dim for member in self.members)

    @property
    def picture_features(self) -> int:
        """Numbers that it reads of a picture."""
        return self.members[0].picture.features

    @property
    def text_features(self) -> int:
        """Numbers that it reads of a text."""
        return self.members[0].text.features

    def pictures(self, features: Floats) -> Matrix:
        """Return the adapted part of pictures: shape [n, dim], rows of length 1."""
        return np.concatenate(
            [self._root(one) * one.picture(features) for one in self.members], axis=1, dtype=np.float32
        )

    def texts(self, features: Floats) -> Matrix:
        """Return the adapted part of texts before the gate: shape [n, dim], rows of length 1."""
        return np.concatenate(
            [self._root(one) * one.text(features) for one in self.members], axis=1, dtype=np.float32
        )

    def _root(self, member: Member) -> np.float32:
        total = sum(one.weight for one in self.members)
        root: np.float32 = np.float32(math.sqrt(member.weight / total))
        return root

    def to_bytes(self) -> bytes:
        """Write all numbers as an .npz; equal heads give equal bytes."""
        arrays: dict[str, np.ndarray] = {
            "version": np.array(VERSION),
            "weights": np.array([member.weight for member in self.members]),
            "shares": np.array([self.joint_share, self.visual_share]),
            **{f"gate.{name}": array for name, array in self.gate.arrays().items()},
            **{f"picture_gate.{name}": array for name, array in self.picture_gate.arrays().items()},
        }
        for number, member in enumerate(self.members):
            for side, tower in (("picture", member.picture), ("text", member.text)):
                arrays |= {f"{number}.{side}.{name}": array for name, array in tower.arrays().items()}
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes a keyword for an array
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: Path) -> Heads:
        """Read what `to_bytes` wrote.

        Args:
            content: the file.
            where: its path, for the message.

        Raises:
            EncoderError: it is damaged, or of another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if int(arrays["version"]) != VERSION:
                raise EncoderError(
                    f"encoder {where}: written by another version of es_xmodal", hint="run adapt again"
                )
            joint_share, visual_share = arrays["shares"].tolist()
            return cls(
                members=[_member(arrays, number) for number in range(len(arrays["weights"]))],
                gate=Gate.of(_below(arrays, "gate.")),
                picture_gate=Gate.of(_below(arrays, "picture_gate.")),
                joint_share=joint_share,
                visual_share=visual_share,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise EncoderError(f"encoder {where} is damaged: {error}", hint="run adapt again") from None


def _member(arrays: Mapping[str, np.ndarray], number: int) -> Member:
    return Member(
        picture=Tower.of(_below(arrays, f"{number}.picture.")),
        text=Tower.of(_below(arrays, f"{number}.text.")),
        weight=float(arrays["weights"][number]),
    )


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
