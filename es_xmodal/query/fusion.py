"""How the scores of several legs become one score, and the ledger that shows it.

`convex` is the convex combination with theoretical minimum and observed maximum ("TM2C2") of
S. Bruch, S. Gai, A. Ingber: An Analysis of Fusion Functions for Hybrid Retrieval (arXiv 2210.11934),
with one change: where a leg was calibrated, its minimum is the mean score of unrelated pairs, and its
maximum is at least a few spreads above that, so that a leg in which nothing fits is not blown up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from es_xmodal.query.legs import Leg


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """The affine map from a leg's raw score to its normalised one: `(raw - floor) / span`.

    Attributes:
        weight: the leg's weight; for `convex` the weights of a plan add up to 1.
        floor: raw score that becomes 0.
        span: raw score above the floor that becomes 1.
    """

    weight: float
    floor: float
    span: float

    @property
    def boost(self) -> float:
        """The factor on the raw score that gives the contribution, up to a constant."""
        return self.weight / self.span

    @property
    def offset(self) -> float:
        """That constant."""
        return self.boost * self.floor


@dataclass(frozen=True, kw_only=True, slots=True)
class LegScore:
    """One leg's part of one hit's score.

    Attributes:
        raw: Elasticsearch's `_score` of the leg; None when the product lacks what the leg looks at.
        normalised: the raw score on the leg's scale.
        weight: the leg's weight.
        contribution: weight times normalised; the contributions of a hit add up to its score.
    """

    raw: float | None
    normalised: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole account of one hit's score, leg by leg."""

    legs: Mapping[str, LegScore]

    @property
    def score(self) -> float:
        """The sum of the contributions."""
        return sum(leg.contribution for leg in self.legs.values())


def convex_scales(legs: Sequence[Leg], tops: Mapping[str, float], min_spreads: float) -> dict[str, Scale]:
    """Fix the scale of every leg that found something.

    Args:
        legs: the legs of the plan.
        tops: leg name to the best raw score that the leg found; legs that found nothing are absent.
        min_spreads: least span of a calibrated leg, in spreads.

    Returns:
        Leg name to scale. Weights keep their ratio and add up to 1 over all legs of the plan, so that an
        empty leg does not raise the others' scores.
    """
    total = sum(leg.weight for leg in legs)
    scales = {}
    for leg in legs:
        if leg.name not in tops:
            continue
        floor = leg.calibration.floor if leg.calibration else 0.0
        least = leg.calibration.spread * min_spreads if leg.calibration else 0.0
        span = max(tops[leg.name] - floor, least)
        if span > 0:
            scales[leg.name] = Scale(weight=leg.weight / total, floor=floor, span=span)
    return scales


def boost_scales(legs: Sequence[Leg]) -> dict[str, Scale]:
    """The scales of the fusion `boost`: raw scores times weights."""
    return {leg.name: Scale(weight=leg.weight, floor=0.0, span=1.0) for leg in legs}


def ledger(scales: Mapping[str, Scale], boosted: Mapping[str, float]) -> Ledger:
    """Account for one hit.

    Args:
        scales: leg name to scale.
        boosted: leg name to the score that Elasticsearch reported for it, with the boost in it.

    Returns:
        The ledger. A leg that did not report contributes 0.
    """
    return Ledger({name: _leg_score(scale, boosted.get(name)) for name, scale in scales.items()})


def _leg_score(scale: Scale, boosted: float | None) -> LegScore:
    if boosted is None:
        return LegScore(raw=None, normalised=0.0, weight=scale.weight, contribution=0.0)
    raw = boosted / scale.boost
    normalised = (raw - scale.floor) / scale.span
    return LegScore(
        raw=raw, normalised=normalised, weight=scale.weight, contribution=scale.weight * normalised
    )
