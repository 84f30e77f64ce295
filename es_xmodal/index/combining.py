"""How the pictures and texts of a product become the vectors of an index, and which fields hold them.

An index keeps this in its `_meta`, so that searches and later ingests follow it. docs/pictures.md says what
each choice is for, with numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from es_xmodal.encoders.base import JOINT, VISUAL, Space
from es_xmodal.errors import SettingsError
from es_xmodal.query.legs import MEAN_FIELDS, VECTOR_FIELDS
from es_xmodal.vectors import MAX_DIM

Pictures = Literal["best", "mean"]
Fuse = Literal["none", "add", "concat"]
Similarity = Literal["cosine", "dot_product", "l2_norm"]
IMAGE_LEGS = {JOINT: "image", VISUAL: "visual"}
"""Space of pictures -> the leg that looks at it."""
MAX_WEIGHT = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Combining:
    """How pictures and texts are combined.

    Attributes:
        pictures: `best`: a vector each, and the best match counts; `mean`: one vector, their average.
        fuse: `none`: a field for texts and fields for pictures; `add`, `concat`: one field for both.
        text_share: the text's part in one field for both, between 0 and 1.
        similarity: of all vector fields; None: as the encoder says of each space.
        role_weights: role of a picture -> its weight, where the row gives none; other roles have 1.

    Raises:
        SettingsError: a value makes no sense, or could have no effect.
    """

    pictures: Pictures = "best"
    fuse: Fuse = "none"
    text_share: float = 0.5
    similarity: Similarity | None = None
    role_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("pictures", self.pictures, get_args(Pictures))
        _one_of("fuse", self.fuse, get_args(Fuse))
        if self.similarity is not None:
            _one_of("similarity", self.similarity, get_args(Similarity))
        if not 0 < self.text_share < 1:
            raise SettingsError(f"text_share {self.text_share} is not between 0 and 1")
        if self.fuse != "none" and self.pictures == "best":
            raise SettingsError(
                "pictures: one field for text and pictures holds their mean, so `best` does not go with fuse",
                hint="leave pictures out, or say mean",
            )
        for role, weight in self.role_weights.items():
            if not role or not (math.isfinite(weight) and 0 <= weight <= MAX_WEIGHT):
                raise SettingsError(f"role weight {role}={weight}: a number from 0 to {MAX_WEIGHT:.0f}")
            if weight not in (0, 1) and self.pictures == "best":
                raise SettingsError(
                    f"role weight {role}={weight:g} has no effect on the best of a product's pictures",
                    hint="0 leaves the role out of the search; other weights need pictures mean, or fuse",
                )

    def weight(self, role: str | None, weight: float | None) -> float:
        """Weight of one picture: its own, else that of its role, else 1."""
        return self.role_weights.get(role or "", 1.0) if weight is None else weight

    def to_json(self) -> dict[str, Any]:
        """What `_meta` and reports show."""
        return {
            "pictures": self.pictures,
            "fuse": self.fuse,
            "similarity": self.similarity,
            "role_weights": dict(self.role_weights),
            "text_share": self.text_share,
        }

    def __str__(self) -> str:
        parts = [f"pictures {self.pictures}", f"fuse {self.fuse}"]
        parts += [f"text share {self.text_share:g}"] if self.fuse != "none" else []
        parts += [f"similarity {self.similarity}"] if self.similarity else []
        roles = ", ".join(f"{role}={weight:g}" for role, weight in sorted(self.role_weights.items()))
        return "; ".join([*parts, f"role weights {roles}"] if roles else parts)


def parse_combining(found: Mapping[str, Any]) -> Combining:
    """Read what `Combining.to_json` wrote; an index without it is of the defaults.

    Raises:
        SettingsError: a value makes no sense.
    """
    return Combining(
        pictures=found.get("pictures", "best"),
        fuse=found.get("fuse", "none"),
        text_share=float(found.get("text_share", 0.5)),
        similarity=found.get("similarity"),
        role_weights={role: float(one) for role, one in found.get("role_weights", {}).items()},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CombiningWish:
    """What a caller asks for; None: as the index that serves has it, else the default."""

    pictures: Pictures | None = None
    fuse: Fuse | None = None
    text_share: float | None = None
    similarity: Similarity | None = None
    role_weights: Mapping[str, float] | None = None

    def over(self, base: Combining | None) -> Combining:
        """Fill in what was not asked for.

        Args:
            base: of the index that serves; None: there is none.

        Returns:
            The combining.

        Raises:
            SettingsError: what was asked for makes no sense, or could have no effect.
        """
        base = base or Combining()
        fuse = self.fuse or base.fuse
        if self.text_share is not None and fuse == "none":
            raise SettingsError("text_share has no effect without fuse", hint="say fuse add or concat too")
        roles = base.role_weights if self.role_weights is None else self.role_weights
        mean = "mean" if fuse != "none" else base.pictures
        pictures = self.pictures or mean
        if self.role_weights is None and pictures == "best":
            roles = {role: weight for role, weight in roles.items() if weight in (0, 1)}
        return Combining(
            pictures=pictures,
            fuse=fuse,
            text_share=base.text_share if self.text_share is None else self.text_share,
            similarity=self.similarity or base.similarity,
            role_weights={role.lower(): float(weight) for role, weight in roles.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorField:
    """One vector field of an index.

    Attributes:
        path: dotted name.
        dim: length of its vectors.
        similarity: as in Elasticsearch's `dense_vector`.
    """

    path: str
    dim: int
    similarity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One part of a concatenated vector.

    Attributes:
        name: `text` (words against a product's text), `joint` (words or a photo against its pictures) or
            `visual` (a photo against its pictures).
        space: the encoder's space that fills it.
        dim: numbers in it.
        share: its part in the score; the shares add up to 1.
    """

    name: str
    space: str
    dim: int
    share: float


def text_source(combining: Combining, text_space: str | None) -> str | None:
    """The space in which a product's text is embedded; None: it is not."""
    if combining.fuse == "none":
        return text_space
    return JOINT if combining.fuse == "add" else text_space or JOINT


def blocks_of(combining: Combining, spaces: Sequence[Space], text_space: str | None) -> tuple[Block, ...]:
    """Lay out a concatenated vector; empty where vectors are not concatenated.

    The pictures' part of the shares is split evenly where the encoder has two spaces for them.

    Args:
        combining: see `Combining`.
        spaces: of the encoder.
        text_space: of the encoder.

    Returns:
        The blocks in order; behind them stand `further` more numbers.
    """
    if combining.fuse != "concat":
        return ()
    dims = {space.name: space.dim for space in spaces}
    source = text_source(combining, text_space) or JOINT
    pictured = [JOINT, VISUAL] if VISUAL in dims else [JOINT]
    share = (1 - combining.text_share) / len(pictured)
    text = Block(name="text", space=source, dim=dims[source], share=combining.text_share)
    return (text, *(Block(name=name, space=name, dim=dims[name], share=share) for name in pictured))


def further(blocks: Sequence[Block]) -> int:
    """How many numbers stand behind the blocks: one for each, see `fused.join`, and a 0 where that is odd.

    Elasticsearch's `int4` takes vectors of even length only.
    """
    return len(blocks) + (sum(block.dim for block in blocks) + len(blocks)) % 2


def vector_fields(
    combining: Combining, spaces: Sequence[Space], text_space: str | None
) -> dict[str, VectorField]:
    """Which vector fields an index has.

    Args:
        combining: see `Combining`.
        spaces: of the encoder.
        text_space: of the encoder.

    Returns:
        Leg to its field.

    Raises:
        SettingsError: one field for both would be longer than Elasticsearch allows, or the encoder's own
            similarity is one that the length of the vectors changes.
    """
    known = {space.name: space for space in spaces}
    if combining.fuse != "none":
        return {"fused": _fused_field(combining, spaces, text_space)}
    own = combining.similarity
    found = {}
    if text_space is not None:
        space = known[text_space]
        found["text"] = VectorField(
            path=VECTOR_FIELDS["text"], dim=space.dim, similarity=own or space.similarity
        )
    for name, leg in IMAGE_LEGS.items():
        if name in known and "picture" in known[name].modalities:
            path = (VECTOR_FIELDS if combining.pictures == "best" else MEAN_FIELDS)[leg]
            found[leg] = VectorField(path=path, dim=known[name].dim, similarity=own or known[name].similarity)
    return found


def _fused_field(combining: Combining, spaces: Sequence[Space], text_space: str | None) -> VectorField:
    joint = next(space for space in spaces if space.name == JOINT)
    blocks = blocks_of(combining, spaces, text_space)
    dim = sum(block.dim for block in blocks) + further(blocks) if blocks else joint.dim
    if dim > MAX_DIM:
        parts = " + ".join(f"{block.dim} {block.name}" for block in blocks)
        raise SettingsError(
            f"fuse concat: {parts} + {further(blocks)} = {dim} dimensions, Elasticsearch takes {MAX_DIM}",
            hint="use fuse add, or an encoder with smaller spaces",
        )
    return VectorField(
        path=VECTOR_FIELDS["fused"], dim=dim, similarity=combining.similarity or joint.similarity
    )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name}: {value!r} is none", hint=f"one of {', '.join(known)}")
