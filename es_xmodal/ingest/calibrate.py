"""How unrelated things score in each vector leg: the floor that a real match must rise above."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT
from es_xmodal.index.meta import LegCalibration
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


class Reservoir:
    """An even sample of a stream of unknown length; the same stream gives the same sample.

    Algorithm R (Vitter 1985, "Random sampling with a reservoir").
    """

    def __init__(self, size: int = SAMPLE) -> None:
        self._size = size
        self._seen = 0
        self._random = random.Random(_SEED)
        self.items: list[Sampled] = []

    def add(self, make: Callable[[], Sampled]) -> None:
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
    text_space: str | None,
    encode_titles: Callable[[Sequence[str]], Mapping[str, Matrix]],
) -> dict[str, LegCalibration]:
    """Score unrelated pairs in each leg.

    Args:
        sample: see `Reservoir`.
        text_space: space of the text leg, if the encoder has one.
        encode_titles: titles -> space -> float32, shape [n, dim], unit rows.

    Returns:
        Leg -> mean and standard deviation; a leg without pairs is left out.
    """
    asked = list(sample[:TITLES])
    titles = encode_titles([one.title for one in asked]) if asked else {}
    pictures = [one for one in sample if one.joint is not None]
    legs: dict[str, LegCalibration | None] = {}
    if JOINT in titles:
        legs["image"] = _leg(asked, titles[JOINT], pictures, [one.joint for one in pictures])
    seen = [one for one in sample if one.visual is not None]
    if seen:
        views = [one.visual for one in seen if one.visual is not None]
        legs["visual"] = _leg(seen, np.stack(views), seen, views)
    if text_space is not None and text_space in titles:
        texts = [one for one in sample if one.text is not None]
        legs["text"] = _leg(asked, titles[text_space], texts, [one.text for one in texts])
    return {name: leg for name, leg in legs.items() if leg is not None}


def _leg(
    asked: Sequence[Sampled], queries: Matrix, found: Sequence[Sampled], vectors: Sequence[Vector | None]
) -> LegCalibration | None:
    """Mean and deviation of (1 + cos) / 2, Elasticsearch's `_score` for cosine, over unrelated pairs."""
    targets = [vector for vector in vectors if vector is not None]
    if not targets or not len(queries):
        return None
    cosines = queries.astype(np.float64) @ np.stack(targets).astype(np.float64).T
    unrelated = _differ(asked, found)
    if unrelated.sum() < 2:
        return None
    scores = (1.0 + cosines[unrelated]) / 2.0
    return LegCalibration(floor=round(float(scores.mean()), 6), spread=round(float(scores.std()), 6))


def _differ(left: Sequence[Sampled], right: Sequence[Sampled]) -> NDArray[np.bool_]:
    groups = np.array([one.group for one in left])[:, None] != np.array([one.group for one in right])[None, :]
    titles = np.array([one.title for one in left])[:, None] != np.array([one.title for one in right])[None, :]
    differ: NDArray[np.bool_] = groups & titles
    return differ
