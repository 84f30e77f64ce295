"""One vector for the texts and pictures of a product, and the query vectors that meet it. Pure.

`add`: the sum of text and mean picture in the joint space; a query is its vector in that space.

`concat`: blocks side by side, each times the root of its share on both sides, so that the inner product of
query and product is the sum of the blocks' cosines, each times its share. A product without a picture (or
text) has nothing there, and as its vector is of unit length all the same, the rest would count for more.
So each block has one more number: 1 in a product that lacks the block, the mean cosine of unrelated pairs in
a query that has it. What a product lacks then counts as what is unrelated, as it does with separate legs.
(An inner product kept by further dimensions: Y. Bachrach et al., RecSys 2014.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT, VISUAL, Space
from es_xmodal.index.combining import Block, Combining, blocks_of, further
from es_xmodal.index.meta import IndexMeta
from es_xmodal.vectors import Vector, unit_rows

TEXT_FLOORS = {"text": "text", "joint": "image"}
"""Block that words look at -> calibration of unrelated pairs there."""
PHOTO_FLOORS = {"joint": "photo", "visual": "visual"}
"""The same for a photo."""
_NOTHING_LEFT = 1e-6


def unit(vector: NDArray[np.floating]) -> Vector | None:
    """Return the vector with length 1; None where it has hardly any."""
    if np.linalg.norm(vector) < _NOTHING_LEFT:
        return None
    made: Vector = unit_rows(np.asarray(vector, dtype=np.float64)[None])[0]
    return made


def join(blocks: Sequence[Block], parts: Mapping[str, Vector], pads: Mapping[str, float]) -> Vector:
    """Concatenate.

    Args:
        blocks: the layout.
        parts: block name to unit vector; an absent one is filled with zeros.
        pads: block name to the further number of that block; an absent one is 0.

    Returns:
        Unit vector; one part or pad at least must be there.
    """
    rows = [
        (block.share**0.5) * parts[block.name].astype(np.float64)
        if block.name in parts
        else np.zeros(block.dim)
        for block in blocks
    ]
    behind = np.zeros(further(blocks))
    behind[: len(blocks)] = [(block.share**0.5) * pads.get(block.name, 0.0) for block in blocks]
    joined: Vector = unit_rows(np.concatenate([*rows, behind])[None])[0]
    return joined


@dataclass(frozen=True, kw_only=True)
class Fusing:
    """Makes the query vectors of the leg `fused`.

    Attributes:
        combining: of the index; its `fuse` is not `none`.
        blocks: of a concatenated vector; none for `add`.
        floors: calibration's name to the mean cosine of unrelated pairs; an absent one counts as 0.
    """

    combining: Combining
    blocks: tuple[Block, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """The calibrations whose floors a query vector has in it."""
        if not self.blocks:
            return ()
        names = {block.name for block in self.blocks}
        both = [*TEXT_FLOORS.items(), *PHOTO_FLOORS.items()]
        return tuple(dict.fromkeys(floor for block, floor in both if block in names))

    def of_text(self, found: Mapping[str, Vector]) -> Vector:
        """The query vector of words.

        Args:
            found: space to unit vector of the words.

        Returns:
            Unit vector.
        """
        return self._query(found, TEXT_FLOORS)

    def of_picture(self, found: Mapping[str, Vector]) -> Vector:
        """The query vector of a photo.

        Args:
            found: space to unit vector of the photo.

        Returns:
            Unit vector.
        """
        return self._query(found, PHOTO_FLOORS)

    def of_product(self, stored: Vector) -> Vector | None:
        """The query vector of a product of the index: its own, without what marks an absent block.

        Args:
            stored: unit vector of the product.

        Returns:
            Unit vector; None where nothing else is in it.
        """
        if not self.blocks:
            return stored
        bare = stored.astype(np.float64)
        bare[-further(self.blocks) :] = 0.0
        return unit(bare)

    def _query(self, found: Mapping[str, Vector], floors: Mapping[str, str]) -> Vector:
        if not self.blocks:
            return found[JOINT]
        able = [block for block in self.blocks if block.name in floors]
        parts = {block.name: found[block.space] for block in able}
        pads = {block.name: self.floors.get(floors[block.name], 0.0) for block in able}
        return join(self.blocks, parts, pads)


def fusing_of(meta: IndexMeta) -> Fusing | None:
    """How queries meet the one vector of a product of an index.

    Args:
        meta: what the index says about itself.

    Returns:
        None where the index has separate fields.
    """
    if meta.combining.fuse == "none":
        return None
    floors = {name: 2 * one.floor - 1 for name, one in meta.calibration.items()}
    blocks = blocks_of(meta.combining, spaces_of(meta), meta.encoder.text_space)
    return Fusing(combining=meta.combining, blocks=blocks, floors=floors)


def spaces_of(meta: IndexMeta) -> tuple[Space, ...]:
    """The spaces of the encoder that built an index, as far as its fields depend on them.

    Args:
        meta: what the index says about itself.

    Returns:
        The spaces; `joint` and `visual` hold pictures.
    """
    return tuple(
        Space(
            name=name,
            dim=one.dim,
            similarity=one.similarity,
            modalities=frozenset({"picture"} if name in (JOINT, VISUAL) else {"text"}),
        )
        for name, one in meta.encoder.spaces.items()
    )
