"""How the scores of several legs become one score, and the ledger that shows it.

`convex` is the convex combination with theoretical minimum and observed maximum ("TM2C2") of
S. Bruch, S. Gai, A. Ingber: An Analysis of Fusion Functions for Hybrid Retrieval (arXiv 2210.11934),
with one change: where a leg was calibrated, its minimum is the mean score of unrelated pairs, and its
maximum is at least a few spreads above that, so that a leg in which nothing fits is not blown up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from es_xmodal.query.legs import Clause, Leg


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


@dataclass(frozen=True, kw_only=True, slots=True)
class AffineFusion:
    """A weighted sum of scores, each on its leg's scale: `convex` and `boost`.

    Attributes:
        scales: leg name to scale; a leg without one takes no part.
    """

    scales: Mapping[str, Scale]

    def clauses(self, legs: Sequence[Leg], only: Clause | None, count: int) -> list[Clause]:
        """The `should` clauses whose sum is the fused score, up to a constant.

        Args:
            legs: the legs of the plan.
            only: filter on the products to score; None means the best `count` of each shard.
            count: number of products.
        """
        taking_part = [(leg, self.scales[leg.name]) for leg in legs if leg.name in self.scales]
        found = [
            (leg.score(scale.boost, only, count), leg.without(scale.offset)) for leg, scale in taking_part
        ]
        return [clause for pair in found for clause in pair if clause]

    def ledger(self, product: str, boosted: Mapping[str, float]) -> Ledger:
        """Account for one hit.

        Args:
            product: its id.
            boosted: leg name to the score that Elasticsearch reported for it, with the boost in it.

        Returns:
            The ledger. A leg that did not report contributes 0.
        """
        return Ledger({name: _leg_score(scale, boosted.get(name)) for name, scale in self.scales.items()})


RRF_CONSTANT = 60
"""`k` of G. V. Cormack, C. L. A. Clarke, S. Büttcher: Reciprocal Rank Fusion (SIGIR 2009)."""
_WHISPER = 1e-12
"""Boost of the legs beside the fused score: so small that no sum changes, and still reported by name."""
_ALL_EQUAL = 1e-6
"""Scores no further apart than this are one score to the server's `minmax`."""


def _constant(product: str, score: float) -> Clause:
    return {"constant_score": {"filter": {"ids": {"values": [product]}}, "boost": score}}


@dataclass(frozen=True, kw_only=True, slots=True)
class RrfFusion:
    """Weighted reciprocal ranks: the sum over the legs of `weight / (60 + rank)`.

    Attributes:
        weights: leg name to weight.
        ranks: leg name to (product id to its rank in the leg, from 1).
    """

    weights: Mapping[str, float]
    ranks: Mapping[str, Mapping[str, int]]

    def _score(self, product: str) -> float:
        return sum(self._part(name, product) for name in self.weights)

    def _part(self, name: str, product: str) -> float:
        rank = self.ranks.get(name, {}).get(product)
        return self.weights[name] / (RRF_CONSTANT + rank) if rank else 0.0

    def clauses(self, legs: Sequence[Leg], only: Clause | None, count: int) -> list[Clause]:
        """The fused score of each product as a constant, and the legs so quiet that they only report."""
        products = sorted({product for ranks in self.ranks.values() for product in ranks})
        fused = [_constant(product, self._score(product)) for product in products]
        return fused + [leg.score(_WHISPER, only, count) for leg in legs]

    def ledger(self, product: str, boosted: Mapping[str, float]) -> Ledger:
        """Account for one hit; the normalised score of a leg is `1 / (60 + rank)`."""
        return Ledger({name: self._leg_score(name, product, boosted.get(name)) for name in self.weights})

    def _leg_score(self, name: str, product: str, boosted: float | None) -> LegScore:
        part, weight = self._part(name, product), self.weights[name]
        raw = None if boosted is None else boosted / _WHISPER
        return LegScore(raw=raw, normalised=part / weight, weight=weight, contribution=part)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFusion:
    """The score that a retriever of the server gave; the ledger works its formula out beside it.

    Attributes:
        weights: leg name to weight.
        raws: leg name to (product to raw score) within the leg's window.
        parts: leg name to (product to normalised score); a product outside the window has none.
        scores: product to the server's score.
    """

    weights: Mapping[str, float]
    raws: Mapping[str, Mapping[str, float]]
    parts: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, float]

    def clauses(self, legs: Sequence[Leg], only: Clause | None, count: int) -> list[Clause]:
        """The server's score of each product as a constant, and the legs so quiet that they only report."""
        constants = [_constant(product, score) for product, score in sorted(self.scores.items())]
        return constants + [leg.score(_WHISPER, only, count) for leg in legs]

    def ledger(self, product: str, boosted: Mapping[str, float]) -> Ledger:
        """Account for one hit by the documented formula."""
        return Ledger({name: self._leg_score(name, product, boosted.get(name)) for name in self.weights})

    def _leg_score(self, name: str, product: str, boosted: float | None) -> LegScore:
        raw = self.raws.get(name, {}).get(product)
        if raw is None and boosted is not None:
            raw = boosted / _WHISPER
        part, weight = self.parts.get(name, {}).get(product, 0.0), self.weights[name]
        return LegScore(raw=raw, normalised=part, weight=weight, contribution=weight * part)

    def notes(self, products: Sequence[str]) -> tuple[str, ...]:
        """Say for how many products the server counted otherwise than the ledger.

        Equal scores in another order, another copy of a shard, or another version's formula can do that.
        """
        scores = [(self.scores.get(one, 0.0), self.ledger(one, {}).score) for one in products]
        other = sum(abs(server - ours) > 1e-6 + 1e-5 * abs(ours) for server, ours in scores)
        if not other:
            return ()
        return (f"the server's own score of {other} of {len(scores)} hits is not that of the ledger",)


def minmax(scores: Mapping[str, float]) -> dict[str, float]:
    """The server's normaliser `minmax`: `(score - min) / (max - min)`, 1 where all are equal."""
    if not scores:
        return {}
    least, most = min(scores.values()), max(scores.values())
    if most - least < _ALL_EQUAL:
        return dict.fromkeys(scores, 1.0)
    return {product: (score - least) / (most - least) for product, score in scores.items()}


Fused = AffineFusion | RrfFusion | ServerFusion
"""How the legs of one plan become one score, once it is known what they found."""


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
    total = sum(leg.weight for leg in legs if not leg.pinned) or 1.0
    scales = {}
    for leg in legs:
        if leg.name not in tops:
            continue
        floor, least = leg.bounds(min_spreads)
        span = max(tops[leg.name] - floor, least)
        if span > 0:
            weight = leg.weight if leg.pinned else leg.weight / total
            scales[leg.name] = Scale(weight=weight, floor=floor, span=span)
    return scales


def boost_scales(legs: Sequence[Leg]) -> dict[str, Scale]:
    """The scales of the fusion `boost`: raw scores times weights."""
    return {leg.name: Scale(weight=leg.weight, floor=0.0, span=1.0) for leg in legs}


def _leg_score(scale: Scale, boosted: float | None) -> LegScore:
    if boosted is None:
        return LegScore(raw=None, normalised=0.0, weight=scale.weight, contribution=0.0)
    raw = boosted / scale.boost
    normalised = (raw - scale.floor) / scale.span
    return LegScore(
        raw=raw, normalised=normalised, weight=scale.weight, contribution=scale.weight * normalised
    )
