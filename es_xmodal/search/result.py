"""What a search gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from es_xmodal.query.facet_counts import FacetCounts
from es_xmodal.query.fusion import Ledger
from es_xmodal.query.profile import DEFAULT_PROFILE, ProfileName
from es_xmodal.search.timing import Timings

Marker = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Product row to the marked texts of its fields."""
Matcher = Callable[[Mapping[str, Any]], Mapping[str, tuple[str, ...]]]
"""Product row to the words of its fields that were asked for."""


def _no_marks(source: Mapping[str, Any]) -> Mapping[str, str]:
    return {}


def _no_words(source: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One product of the ranking.

    Attributes:
        id: the product.
        rank: place in the whole ranking, from 1.
        score: the fused score; the sum of the ledger's contributions.
        ledger: raw score, normalised score, weight and contribution of every leg.
        source: the product as a catalogue row.
        best_image: the product's picture that fits best; None when no picture took part.
        leg_ranks: leg name to the product's place among what that leg found, from 1; a leg that did not find
            it by itself is absent, and so are all legs where there was one round trip.
        variants: products of the same group among those that were ranked, this one included; None where
            variants are hits of their own.
        marker: makes `highlight`.
        matcher: makes `matched`.
    """

    id: str
    rank: int
    score: float
    ledger: Ledger
    source: Mapping[str, Any]
    best_image: str | None = None
    leg_ranks: Mapping[str, int] = field(default_factory=dict)
    variants: int | None = None
    marker: Marker = field(default=_no_marks, repr=False, compare=False)
    matcher: Matcher = field(default=_no_words, repr=False, compare=False)

    @cached_property
    def highlight(self) -> Mapping[str, str]:
        """Field to its text with `<em>` around the words that were asked for; fields without one are absent.

        The rest of the text is as the shop wrote it, so escape it before it goes into a page. Made when it
        is first read: tokenising the texts of a page takes longer than everything else that search does here.
        """
        return self.marker(self.source)

    @cached_property
    def matched(self) -> Mapping[str, tuple[str, ...]]:
        """Field to the words of it that were asked for, as the shop wrote them; made when first read."""
        return self.matcher(self.source)

    def to_json(self) -> dict[str, Any]:
        """The hit as JSON values."""
        legs = {
            name: {
                "raw": leg.raw,
                "normalised": leg.normalised,
                "weight": leg.weight,
                "contribution": leg.contribution,
            }
            for name, leg in self.ledger.legs.items()
        }
        return {
            "id": self.id,
            "score": self.score,
            "rank": self.rank,
            "source": dict(self.source),
            "legs": legs,
            "highlight": dict(self.highlight),
            "best_image": self.best_image,
            **({} if self.variants is None else {"variants": self.variants}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """How many products fit.

    Attributes:
        value: products that match by words, or candidates where that is more.
        at_least: the number is a lower bound, since every product is more or less near in a vector leg.
        reachable: how many hits paging can reach: the candidates of all legs; where variants collapse, so
            many products as there are among them.
    """

    value: int
    at_least: bool
    reachable: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """One page of hits.

    Attributes:
        hits: best first.
        total: how many there are.
        took_ms: milliseconds from the query to this answer, encoding included.
        fusion: how the legs became one score.
        legs: the legs that took part.
        composition: how several terms became query vectors, `early` or `late`.
        query_class: what kind of query it was taken for: `short`, `long`, `identifier`, or its mode.
        profile: the profile that the weights come from.
        requests: round trips to Elasticsearch.
        cursor: give it to the next search for the next page; None on the last page.
        facets: field, as it was asked for, to its counts.
        sort: the order, where it is not by score: over the candidates, not over all that the index holds.
        collapse: all variants of a product are one hit.
        warnings: what the caller should know.
        timings: where the time went.
    """

    hits: tuple[Hit, ...]
    total: Total
    took_ms: float
    fusion: str
    legs: tuple[str, ...]
    requests: int
    composition: str = "early"
    query_class: str = "text"
    profile: ProfileName = DEFAULT_PROFILE.label
    cursor: str | None = None
    facets: Mapping[str, FacetCounts] = field(default_factory=dict)
    sort: tuple[str, ...] = ()
    collapse: bool = False
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)

    def to_json(self) -> dict[str, Any]:
        """The result as the command line prints it with `--json`."""
        return {
            "total": {
                "value": self.total.value,
                "relation": "gte" if self.total.at_least else "eq",
                "reachable": self.total.reachable,
            },
            "took_ms": round(self.took_ms, 2),
            "plan": {
                "fusion": self.fusion,
                "legs": list(self.legs),
                "composition": self.composition,
                "class": self.query_class,
                "profile": self.profile.to_json(),
                "requests": self.requests,
                "sort": list(self.sort),
                "collapse": self.collapse,
            },
            "hits": [hit.to_json() for hit in self.hits],
            "facets": {name: counts.to_json() for name, counts in self.facets.items()},
            "cursor": self.cursor,
            "warnings": list(self.warnings),
        }
