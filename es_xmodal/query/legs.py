"""Legs: one way each to score a product, as Query DSL.

A leg can be put in two forms. `retrieve` finds its best products among all. `score` gives its exact score
to products that are already named by id, under a `_name`, so that Elasticsearch reports it on its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.similarity import DEFAULT, LINEAR, least_similarity, score_of
from es_xmodal.query.view import Calibration
from es_xmodal.vectors import Vector

Clause = dict[str, Any]

VECTOR_FIELDS = {
    "text": "text_vector",
    "image": "images.joint",
    "visual": "images.visual",
    "fused": "fused_vector",
}
MEAN_FIELDS = {"image": "image_vector", "visual": "visual_vector"}
"""Where an index that keeps the mean of a product's pictures has it."""
PICTURE_LEGS = ("visual", "image", "fused")
"""Legs that look at pictures, the one whose best picture is shown first."""
MAX_CANDIDATES = 10_000
"""Elasticsearch's limit for `num_candidates`."""
DEFAULT_OVERSAMPLE = 2.0
"""So many times `k` candidates are scored again exactly where vectors are quantised."""


def fields_of(fields: Collection[str]) -> dict[str, str]:
    """Which vector fields an index has.

    Args:
        fields: dotted names of its fields.

    Returns:
        Leg to its field, in the order of the legs; a leg that the index cannot answer is absent.
    """
    found = {}
    for leg, field in VECTOR_FIELDS.items():
        for name in (field, MEAN_FIELDS.get(leg, "")):
            if name in fields:
                found[leg] = name
                break
    return found


def leg_kind(name: str) -> str:
    """`image` of `image:picture-2`: a late composition splits a leg by terms."""
    return name.partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class LexicalLeg:
    """BM25, the caller's own query, or the match of an identifier.

    Attributes:
        weight: share of the leg in the fused score.
        clause: the query.
        pinned: the weight stands beside the other legs' weights and does not dilute them.
        strict: what a product must match to be relevant; None: any match is.
    """

    weight: float
    clause: Clause
    strict: Clause | None = None
    name: str = "lexical"
    calibration: Calibration | None = None
    pinned: bool = False

    @property
    def kind(self) -> str:
        """The leg as weights name it."""
        return self.name

    def retrieve(self, window: int, filters: Sequence[Clause]) -> Clause:
        """The body that finds the leg's best `window` products."""
        query = {"bool": {"must": [self.clause], "filter": list(filters)}} if filters else self.clause
        return {"query": query, "size": window}

    def retriever(self, window: int, filters: Sequence[Clause]) -> Clause:
        """The same as a part of a retriever."""
        return {"standard": {"query": self.retrieve(window, filters)["query"]}}

    def score(self, boost: float, ids: Clause | None, count: int) -> Clause:
        """The clause that scores named products; `ids` and `count` matter to vector legs only."""
        return {"bool": {"must": [self.clause], "boost": boost, "_name": self.name}}

    def bounds(self, spreads: float) -> tuple[float, float]:
        """Raw score that is the leg's floor, and the least span above it.

        Args:
            spreads: how many spreads a leg must reach to fill its scale.
        """
        return 0.0, self.calibration.spread * spreads if self.calibration else 0.0

    def relevant(self, spreads: float, ids: Clause | None, count: int) -> Clause:
        """The clause that products meet which are relevant by their words."""
        return self.strict or self.clause

    def without(self, constant: float) -> None:
        """A product that does not match has the raw score 0, which is the leg's floor."""


@dataclass(frozen=True, kw_only=True)
class VectorLeg:
    """kNN of one query vector against one field.

    Attributes:
        name: `text`, `image` or `visual`; `image:picture-2` where a late composition split it.
        weight: share of the leg in the fused score.
        vector: the query vector.
        calibration: floor and spread of unrelated pairs, as `(1 + cosine) / 2`.
        path: the field, as an index of our own names it; empty: the one of `VECTOR_FIELDS`.
        names: what the fields are called in this index.
        similarity: of that field.
        quantised: ask for exact scores by rescoring (Elasticsearch 8.18 and later).
        oversample: how many times `k` candidates are rescored.
        pinned: see `LexicalLeg`.
    """

    name: str
    weight: float
    vector: Vector
    calibration: Calibration | None = None
    path: str = ""
    names: Fields = OUR_OWN
    similarity: str = DEFAULT
    quantised: bool = False
    oversample: float = DEFAULT_OVERSAMPLE
    pinned: bool = False

    @property
    def kind(self) -> str:
        """The leg as weights name it."""
        return leg_kind(self.name)

    @property
    def field(self) -> str:
        """The index's field."""
        return self.names.at(self._part)

    @property
    def _part(self) -> str:
        return self.path or VECTOR_FIELDS[self.kind]

    @property
    def _images(self) -> str:
        return self.names.at("images")

    @property
    def nested(self) -> bool:
        """Whether the field lies in the nested `images`."""
        return self._part.startswith("images.")

    @cached_property
    def _numbers(self) -> list[float]:
        # Seven decimals keep float32's precision for a unit vector, and bodies short.
        rounded: list[float] = self.vector.astype(float).round(7).tolist()
        return rounded

    def _knn(self, k: int, filters: Sequence[Clause]) -> Clause:
        knn: Clause = {
            "field": self.field,
            "query_vector": self._numbers,
            "k": k,
            "num_candidates": min(MAX_CANDIDATES, max(2 * k, ceil(k * self._rescored), 200)),
        }
        if filters:
            knn["filter"] = list(filters)
        if self.quantised:
            knn["rescore_vector"] = {"oversample": self.oversample}
        return knn

    @property
    def _rescored(self) -> float:
        return self.oversample if self.quantised else 0.0

    def retrieve(self, window: int, filters: Sequence[Clause]) -> Clause:
        """The body that finds the leg's best `window` products; top level, so `k` holds over all shards."""
        return {"knn": self._knn(window, filters), "size": window}

    def retriever(self, window: int, filters: Sequence[Clause]) -> Clause:
        """The same as a part of a retriever."""
        return {"knn": self._knn(window, filters)}

    def score(self, boost: float, ids: Clause | None, count: int) -> Clause:
        """The clause that scores named products.

        With an `ids` filter no larger than `k`, Lucene compares every vector, so the score is exact.

        Args:
            boost: factor on the score.
            ids: the products; None means the best `count` of each shard.
            count: number of products.
        """
        knn = self._knn(count, [ids] if ids else [])
        if not self.nested:
            return {"knn": {**knn, "boost": boost, "_name": self.name}}
        return {
            "nested": {
                "path": self._images,
                "score_mode": "max",
                "query": {"knn": knn},
                "boost": boost,
                "_name": self.name,
                "inner_hits": {"name": self.name, "size": 1, "_source": [self.names.at("images.ref")]},
            }
        }

    def bounds(self, spreads: float) -> tuple[float, float]:
        """Where the leg's scale begins.

        Args:
            spreads: how many spreads above the floor a leg must reach to fill its scale.

        Returns:
            Raw score of unrelated pairs, and the least span above it; 0 where the leg was not calibrated.
        """
        if self.calibration is None:
            return 0.0, 0.0
        level, above = self.calibration.floor, self.calibration.spread * spreads
        floor = score_of(self.similarity, level)
        if self.similarity in LINEAR:
            return floor, above
        return floor, score_of(self.similarity, level + above) - floor

    def relevant(self, spreads: float, ids: Clause | None, count: int) -> Clause | None:
        """The clause that products meet which lie well above what unrelated pairs score.

        Args:
            spreads: how many spreads above the floor.
            ids: as for `score`.
            count: as for `score`.

        Returns:
            None where the leg was not calibrated, so that nothing is known of unrelated pairs.
        """
        if self.calibration is None:
            return None
        least = least_similarity(self.similarity, self.calibration.floor + spreads * self.calibration.spread)
        if least is None:
            return {"match_none": {}}
        knn: Clause = {"knn": {**self._knn(count, [ids] if ids else []), "similarity": least}}
        return {"nested": {"path": self._images, "query": knn}} if self.nested else knn

    def without(self, constant: float) -> Clause | None:
        """The clause that gives products without this vector the score of the floor.

        Args:
            constant: the floor times the boost.
        """
        if constant <= 0:
            return None
        exists: Clause = {"exists": {"field": self.field}}
        if self.nested:
            exists = {"nested": {"path": self._images, "query": exists}}
        return {"constant_score": {"filter": {"bool": {"must_not": [exists]}}, "boost": constant}}


Leg = LexicalLeg | VectorLeg


def relevance(legs: Sequence[Leg], cutoff: float | None, scope: Clause | None, count: int) -> list[Clause]:
    """What a product must meet to be a hit at all: one leg at least must find it relevant.

    Args:
        legs: the plan's legs.
        cutoff: spreads above unrelated pairs; None: everything is relevant.
        scope: the products that are asked about, as for `VectorLeg.score`.
        count: how many they are.

    Returns:
        One clause, or none where there is no cut-off.
    """
    if cutoff is None:
        return []
    ways = [leg.relevant(cutoff, scope, count) for leg in legs]
    return [{"bool": {"should": [way for way in ways if way], "minimum_should_match": 1}}]
