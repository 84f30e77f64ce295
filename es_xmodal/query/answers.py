"""Reading Elasticsearch's answers to a plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from es_xmodal.catalog.images import primary_image
from es_xmodal.query.facets import PlannedFacet
from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.fusion import Fused, Ledger
from es_xmodal.query.legs import PICTURE_LEGS, Leg, leg_kind
from es_xmodal.query.order import COLLAPSE_KEY
from es_xmodal.query.plan import Found

Answer = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedHit:
    """One hit of the last round trip.

    Attributes:
        id: the product.
        rank: place in the whole ranking, from 1.
        ledger: the account of its score.
        source: the stored document, without tokens and vectors.
        best_image: reference of the picture that fits best, or of the product's first one where its
            pictures share one vector; None when no picture took part.
        collapse_key: what it is a variant of; None where variants are hits of their own.
    """

    id: str
    rank: int
    ledger: Ledger
    source: Mapping[str, Any]
    best_image: str | None
    collapse_key: str | None = None


def read_found(legs: Sequence[Leg], answers: Sequence[Answer]) -> dict[str, Found]:
    """Read the answers of the first round trip.

    Args:
        legs: the plan's legs.
        answers: one answer a leg, in the same order; more may follow.

    Returns:
        Leg name to what it found.
    """
    own = answers[: len(legs)]
    return {leg.name: _found(answer) for leg, answer in zip(legs, own, strict=True)}


def read_windows(
    legs: Sequence[Leg], facets: Sequence[PlannedFacet], answers: Sequence[Answer]
) -> dict[str, list[str]]:
    """Read what the facets that count a window of their own found in the first round trip.

    Args:
        legs: the plan's legs.
        facets: the plan's facets.
        answers: all answers of the round trip.

    Returns:
        Field of the facet to the products in its window, in the order of their ids.
    """
    rest = answers[len(legs) :]
    windows = {}
    for number, one in enumerate(one for one in facets if one.needs_window):
        own = rest[number * len(legs) : (number + 1) * len(legs)]
        windows[one.facet.field] = sorted({row["_id"] for answer in own for row in answer["hits"]["hits"]})
    return windows


def leg_ranks(found: Mapping[str, Found], products: Iterable[str]) -> dict[str, dict[str, int]]:
    """Where each leg placed the products that it found by itself.

    Args:
        found: leg name to what it found.
        products: those that are asked about.

    Returns:
        Product to (leg name to place, from 1). A leg that did not find the product is absent: its score was
        filled in by the last round trip.
    """
    ranks: dict[str, dict[str, int]] = {product: {} for product in products}
    for name, leg in found.items():
        for place, product in enumerate(leg.ids, start=1):
            if product in ranks:
                ranks[product][name] = place
    return ranks


def _found(answer: Answer) -> Found:
    hits = answer["hits"]
    rows = hits["hits"]
    total = hits.get("total") or {"value": len(rows), "relation": "eq"}
    return Found(
        ids=tuple(map(itemgetter("_id"), rows)),
        top=float(rows[0]["_score"]) if rows else None,
        total=total["value"],
        at_least=total["relation"] == "gte",
        scores=tuple(map(float, map(itemgetter("_score"), rows))),
    )


def read_ranked(answer: Answer) -> dict[str, float]:
    """Read what a retriever of the server answered.

    Args:
        answer: of `Plan.server`.

    Returns:
        Product to the server's score, best first.
    """
    return {row["_id"]: float(row["_score"]) for row in answer["hits"]["hits"]}


def read_hits(
    answer: Answer,
    fused: Fused,
    *,
    offset: int,
    names: Fields = OUR_OWN,
    document: Callable[[Answer], Mapping[str, Any]] = lambda hit: hit["_source"],
) -> list[RankedHit]:
    """Read the page.

    Args:
        answer: the answer of the last round trip.
        fused: the fusion that the request was built with.
        offset: hits before this page.
        names: what the index calls its fields.
        document: a hit to its document in the form of an index of our own.

    Returns:
        The hits, best first.
    """
    rows = answer["hits"]["hits"]
    key = names.at(COLLAPSE_KEY)
    return [_hit(row, document(row), fused, rank, key) for rank, row in enumerate(rows, start=offset + 1)]


def _hit(row: Answer, source: Mapping[str, Any], fused: Fused, rank: int, key: str) -> RankedHit:
    ledger = fused.ledger(row["_id"], row.get("matched_queries", {}))
    return RankedHit(
        id=row["_id"],
        rank=rank,
        ledger=ledger,
        source=source,
        best_image=_best_image(row.get("inner_hits", {})) or _first_image(source, ledger),
        collapse_key=next(iter(row.get("fields", {}).get(key, ())), None),
    )


def _best_image(inner: Mapping[str, Any]) -> str | None:
    names = (name for kind in PICTURE_LEGS for name in inner if leg_kind(name) == kind)
    for leg in names:
        for hit in inner[leg].get("hits", {}).get("hits", []):
            ref: str | None = hit["_source"].get("ref")
            return ref
    return None


def _first_image(source: Mapping[str, Any], ledger: Ledger) -> str | None:
    """Where pictures were compared as one, none of them fits best: the product's first one is shown."""
    compared = any(
        leg_kind(name) in PICTURE_LEGS and leg.raw is not None for name, leg in ledger.legs.items()
    )
    return primary_image(source.get("images") or ()) if compared else None
