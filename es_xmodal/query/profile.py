"""The numbers behind the default ranking. docs/ranking.md shows the table behind each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from es_xmodal.query.model import Composed, Fusion, Mode, Query

Weights = Mapping[str, float]


def _convex() -> dict[Mode, Weights]:
    return {
        "text": {"lexical": 0.4, "text": 0.4, "image": 0.2},
        "image": {"visual": 0.8, "image": 0.2},
        "text+image": {"lexical": 0.2, "text": 0.2, "image": 0.2, "visual": 0.4},
    }


def _boost() -> dict[Mode, Weights]:
    # Raw scores: BM25 has no upper end, a cosine `_score` lies in [0, 1].
    return {
        "text": {"lexical": 1.0, "text": 20.0, "image": 10.0},
        "image": {"visual": 1.0, "image": 0.25},
        "text+image": {"lexical": 1.0, "text": 10.0, "image": 10.0, "visual": 20.0},
    }


def _original_boosts() -> dict[str, float]:
    return {
        "title": 3.0,
        "titles.*": 3.0,
        "brand.text": 1.5,
        "category.text": 1.5,
        "attribute_pairs.text": 1.5,
        "description": 1.0,
        "descriptions.*": 1.0,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Field boosts and leg weights.

    Attributes:
        field_boosts: token field to its boost in the lexical leg.
        original_boosts: un-tokenised field to its boost; they cover what the token fields cover.
        relevant_words: share of the words that a product must have to be relevant by them (`cutoff`).
        typo_boost: boost of Latin words that differ by one or two letters; 0 leaves them out.
        convex: weights by mode for the fusions `convex`, where they are divided by their sum, and `rrf`.
        boost: weights by mode for the fusion `boost`.
        min_spreads: a vector leg whose best hit lies less than this many spreads above its floor
            does not reach a normalised score of 1.
        minus_weight: weight of a term to move away from, where it names none.
        composition: what `auto` means.
        pins: by fusion, the weight of a product whose identifier was asked for; more than all other legs.
        max_terms: words beyond these are left out of the lexical leg.
    """

    field_boosts: Mapping[str, float] = field(
        default_factory=lambda: {"tokens.title": 3.0, "tokens.attributes": 1.5, "tokens.description": 1.0}
    )
    original_boosts: Mapping[str, float] = field(default_factory=_original_boosts)
    relevant_words: str = "67%"
    typo_boost: float = 0.2
    convex: Mapping[Mode, Weights] = field(default_factory=_convex)
    boost: Mapping[Mode, Weights] = field(default_factory=_boost)
    min_spreads: float = 3.0
    pins: Mapping[Fusion, float] = field(default_factory=lambda: {"convex": 2.0, "rrf": 2.0, "boost": 1000.0})
    max_terms: int = 64
    minus_weight: float = 0.7
    composition: Composed = "early"

    def weights(self, query: Query) -> dict[str, float]:
        """The weight of every leg for this query, in the order of the legs.

        Args:
            query: its mode chooses the row, its own weights win over the row's.

        Returns:
            Leg name to weight; legs of weight 0 are left out.
        """
        table: Mapping[Fusion, Mapping[Mode, Weights]] = {
            "convex": self.convex,
            "rrf": self.convex,
            "boost": self.boost,
        }
        pin = {"identifier": self.pins[query.fusion]} if query.text else {}
        merged = {**pin, **table[query.fusion][query.mode], **query.weights}
        return {leg: weight for leg, weight in merged.items() if weight > 0}


DEFAULT_PROFILE = Profile()
