"""What the plan may know of an index and of a query's signals. Plain values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.vectors import Vector


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How a leg scores pairs that have nothing to do with each other.

    Attributes:
        floor: mean of `(1 + cosine) / 2` of unrelated pairs, which is their `_score` for most similarities.
        spread: standard deviation of it.
    """

    floor: float
    spread: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexView:
    """The part of an index that a plan depends on.

    Attributes:
        alias: the name to search.
        shards: number of primary shards.
        fields: part of a product, by its dotted name in an index of our own, to Elasticsearch type.
        names: what those parts are called in this index.
        quantised: the vectors are quantised, so scores are approximate unless rescored
            (Elasticsearch 8.18 and later).
        oversample: vector field, named as in `fields`, to the number of times `k` that is rescored; one
            that is not named has exact scores, and where none is named all quantised ones take 2.
        calibration: leg name to its calibration; a leg without one starts at 0.
        similarities: vector field to its similarity where that is not the cosine.
        retrievers: the server's own fusions that may be asked for, `linear` and `rrf`.
        weighted_rrf: the server's `rrf` takes weights (9.2 and later).
    """

    alias: str
    shards: int
    fields: Mapping[str, str]
    names: Fields = OUR_OWN
    quantised: bool = False
    oversample: Mapping[str, float] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    similarities: Mapping[str, str] = field(default_factory=dict)
    retrievers: frozenset[str] = frozenset()
    weighted_rrf: bool = False


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What was made of a query by the tokeniser and the encoder.

    Attributes:
        terms: normalised words, in order, each once.
        vectors: leg name (`text`, `image`, `visual`) to the query vector of that leg, unit length; where a
            leg was split by a late composition, `leg:term` to a vector each.
        shares: the part of the leg's weight that a vector has; 1 where it is not named.
        composition: how several terms became these vectors, `early` or `late`.
        held: name of each term, as a warning says it, to the legs that its vectors are in.
        read: label of a picture (`picture`, `picture-2`) to the words that stand on it.
        grams: their pieces, each once (`text/grams.py`).
    """

    terms: tuple[str, ...] = ()
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    composition: Literal["early", "late"] = "early"
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)
    read: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grams: tuple[str, ...] = ()
