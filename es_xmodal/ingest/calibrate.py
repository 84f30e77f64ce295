"""How unrelated things score in each vector leg: the floor that a real match must rise above."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_xmodal.catalog.product import Product
from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.index.fused import Fusing
from es_xmodal.index.meta import LegCalibration
from es_xmodal.ingest.combine import Combiner
from es_xmodal.vectors import Matrix, Vector

SAMPLE = 512
"""Pictures and texts that are kept."""
TITLES = 64
"""Titles of the sample that are encoded as queries."""
_SEED = 20_210


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """One sampled product: its vectors, its title, and what its variants share."""

    group: str
    """Variants of one product share it; they are no unrelated pair."""
    title: str
    text: Vector | None
    joint: Vector | None
    visual: Vector | None
    """In `visual`, or in `joint` where the encoder has no such space."""
    fused: Vector | None = None
    """The one vector for text and pictures, where the index has such a field."""
    said: frozenset[str] = frozenset()
    """Pieces of title, brand and the words on its pictures, where those are read."""
    shown: frozenset[str] = frozenset()
    """Pieces of the words on its pictures alone."""


class Reservoir:
    """An even sample of a stream of unknown length; the same stream gives the same sample.

    Algorithm R (Vitter 1985, "Random sampling with a reservoir").
    """

    def __init__(self, size: int = SAMPLE) -> None:
        self._size = size
        self._seen = 0
        self._random = random.Random(_SEED)
        self.items: list[Sampled | Product] = []
        """Products: rows that were not sent, see `es_xmodal.ingest.resume`."""

    def add(self, make: Callable[[], Sampled | Product]) -> None:
        """Offer one item.

        Args:
            make: called where the item is taken; it may displace another one.
        """
        self._seen += 1
        if len(self.items) < self._size:
            self.items.append(make())
            return
        place = self._random.randrange(self._seen)
        if place < self._size:
            self.items[place] = make()


def calibrate(
    sample: Sequence[Sampled],
    *,
    combiner: Combiner,
    encode_titles: Callable[[Sequence[str]], Mapping[str, Matrix]],
) -> dict[str, LegCalibration]:
    """Score unrelated pairs in each leg.

    Args:
        sample: see `Reservoir`.
        combiner: how the index combines pictures and texts.
        encode_titles: titles -> space -> float32, shape [n, dim], unit rows.

    Returns:
        Leg -> mean and standard deviation; a leg without pairs is left out. For one field for both, `fused`
        is that of words and `fused_photo` that of photos.
    """
    # A product whose text could not be embedded has a title that cannot be either.
    asked = [one for one in sample if one.text is not None or combiner.text_space is None][:TITLES]
    titles = encode_titles([one.title for one in asked]) if asked else {}
    legs = _separate(sample, asked, titles, combiner.text_space)
    floors = {name: 2 * leg.floor - 1 for name, leg in legs.items()}
    fusing = combiner.fusing(floors)
    if fusing is None:
        return {name: leg for name, leg in legs.items() if name in combiner.fields}
    found = {name: legs[name] for name in fusing.needs if name in legs}
    return found | _fused(sample, asked, titles, fusing)


def _separate(
    sample: Sequence[Sampled],
    asked: Sequence[Sampled],
    titles: Mapping[str, Matrix],
    text_space: str | None,
) -> dict[str, LegCalibration]:
    """Each leg by itself; `photo` is that of photos in the joint space."""
    legs: dict[str, LegCalibration | None] = {}
    pictures = [(one, one.joint) for one in sample if one.joint is not None]
    if JOINT in titles:
        legs["image"] = _leg(asked, titles[JOINT], pictures)
    seen = [(one, one.visual) for one in sample if one.visual is not None]
    for name, pairs in (("visual", seen), ("photo", pictures)):
        if pairs:
            legs[name] = _leg([one for one, _ in pairs], np.stack([vector for _, vector in pairs]), pairs)
    if text_space is not None and text_space in titles:
        texts = [(one, one.text) for one in sample if one.text is not None]
        legs["text"] = _leg(asked, titles[text_space], texts)
    return {name: leg for name, leg in legs.items() if leg is not None}


def _fused(
    sample: Sequence[Sampled], asked: Sequence[Sampled], titles: Mapping[str, Matrix], fusing: Fusing
) -> dict[str, LegCalibration]:
    """Words and photos as queries against the one vector of text and pictures."""
    found = [(one, one.fused) for one in sample if one.fused is not None]
    words = [fusing.of_text({space: rows[at] for space, rows in titles.items()}) for at in range(len(asked))]
    shown = [one for one in sample if one.joint is not None and one.visual is not None]
    photos = [
        fusing.of_picture({JOINT: one.joint, VISUAL: one.visual})
        for one in shown
        if one.joint is not None and one.visual is not None
    ]
    legs = {
        "fused": _leg(asked, np.stack(words), found) if words else None,
        "fused_photo": _leg(shown, np.stack(photos), found) if photos else None,
    }
    return {name: leg for name, leg in legs.items() if leg is not None}


def _leg(
    asked: Sequence[Sampled], queries: Matrix, found: Sequence[tuple[Sampled, Vector]]
) -> LegCalibration | None:
    """Mean and deviation of (1 + cos) / 2 over unrelated pairs."""
    if not found or not len(queries):
        return None
    targets = np.stack([vector for _, vector in found]).astype(np.float64)
    unrelated = _differ(asked, [one for one, _ in found])
    if unrelated.sum() < 2:
        return None
    scores = (1.0 + (queries.astype(np.float64) @ targets.T)[unrelated]) / 2.0
    return LegCalibration(floor=round(float(scores.mean()), 6), spread=round(float(scores.std()), 6))


def _differ(left: Sequence[Sampled], right: Sequence[Sampled]) -> NDArray[np.bool_]:
    groups = np.array([one.group for one in left])[:, None] != np.array([one.group for one in right])[None, :]
    titles = np.array([one.title for one in left])[:, None] != np.array([one.title for one in right])[None, :]
    differ: NDArray[np.bool_] = groups & titles
    return differ
