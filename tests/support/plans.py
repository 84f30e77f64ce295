"""Plans and answers without a server: a tiny model of what Elasticsearch does with a plan's requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from es_xmodal.query.compose import compose, parts_of
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.fusion import AffineFusion
from es_xmodal.query.model import Composed, Query
from es_xmodal.query.plan import Found, Plan, build_plan
from es_xmodal.query.profile import DEFAULT_PROFILE
from es_xmodal.query.view import Calibration, IndexView, Signals
from es_xmodal.text.grams import grams

FIELDS = {
    "id": "keyword",
    "title": "text",
    "titles": "object",
    "description": "text",
    "brand": "keyword",
    "category": "keyword",
    "price": "double",
    "currency": "keyword",
    "identifiers": "object",
    "identifiers.sku": "keyword",
    "identifier_keys": "keyword",
    "identifiers.ean": "keyword",
    "attribute_pairs": "keyword",
    "images": "nested",
    "images.joint": "dense_vector",
    "images.visual": "dense_vector",
    "text_vector": "dense_vector",
    "group_id": "keyword",
    "collapse_key": "keyword",
    "available": "boolean",
    "url": "keyword",
}
CALIBRATION = {
    "text": Calibration(floor=0.5, spread=0.05),
    "image": Calibration(floor=0.52, spread=0.04),
    "visual": Calibration(floor=0.6, spread=0.05),
}
TOP = {name: kind for name, kind in FIELDS.items() if name not in ("images.joint", "images.visual")}
MEAN = {**TOP, "image_vector": "dense_vector", "visual_vector": "dense_vector"}
"""Fields of an index that keeps the mean of a product's pictures."""
FUSED = {
    **{name: kind for name, kind in TOP.items() if name != "text_vector"},
    "fused_vector": "dense_vector",
}
"""Fields of an index with one vector for text and pictures."""
FUSED_CALIBRATION = {
    "fused": Calibration(floor=0.5, spread=0.05),
    "fused_photo": Calibration(floor=0.6, spread=0.04),
}
Scores = Mapping[str, Mapping[str, float]]
"""Leg name to (product id to raw score); a product that lacks the leg is absent."""


def view(**changes: object) -> IndexView:
    values: dict[str, object] = {"alias": "shop", "shards": 1, "fields": FIELDS, "calibration": CALIBRATION}
    return IndexView(**{**values, **changes})  # type: ignore[arg-type]


def signals(
    *, picture: bool = False, terms: Sequence[str] = ("red", "mug"), read: Sequence[str] = ()
) -> Signals:
    """Of words and a picture; `read` are the words that stand on it."""
    one = np.array([0.6, 0.8], dtype=np.float32)
    vectors = {"text": one, "image": one}
    return Signals(
        terms=tuple(terms),
        vectors={**vectors, "visual": one} if picture else vectors,
        read={"picture": tuple(read)} if read else {},
        grams=tuple(grams(read)),
    )


def ocr_view(**changes: object) -> IndexView:
    """The view of an index that knows the words on its pictures."""
    fields = {**FIELDS, "tokens.ocr": "text", "tokens.grams": "text"}
    calibration = {**CALIBRATION, "ocr": Calibration(floor=0.0, spread=2.0)}
    return view(**{"fields": fields, "calibration": calibration, **changes})


def server_view(**changes: object) -> IndexView:
    """The view of a server whose licence covers its own fusions."""
    return view(**{"retrievers": frozenset({"linear", "rrf"}), "weighted_rrf": True, **changes})


def fused_plan(how: Composed = "early", similarity: str = "cosine", **options: object) -> Plan:
    """A plan of words, a photo, or both, on one vector for text and pictures."""
    query = Query(**{"text": "red mug", "composition": how, **options})  # type: ignore[arg-type]
    one, two = (np.array(pair, dtype=np.float32) for pair in ((0.6, 0.8), (0.8, 0.6)))
    vectors = {"text": {"fused": one}, "picture": {"fused": two}}
    made = compose(parts_of(query, DEFAULT_PROFILE), vectors, how)
    words = ("red", "mug") if query.text else ()
    asked = Signals(terms=words, vectors=made.vectors, shares=made.shares, composition=made.how)
    seen = view(fields=FUSED, calibration=FUSED_CALIBRATION, similarities={"fused_vector": similarity})
    return build_plan(query, asked, seen)


def plan_for(*, seen: IndexView | None = None, **options: Any) -> Plan:
    filters = tuple(parse_filter(str(one)) for one in options.pop("filters", ()))
    read = options.pop("read", ())
    query = Query(**{"text": "red mug", "filters": filters, **options})
    return build_plan(query, signals(picture=bool(query.pictures), read=read), seen or view())


def composed_plan(how: Composed, **options: object) -> Plan:
    """A plan of words, a picture and a word to move away from, each with a vector of its own."""
    asked = {"text": "red mug", "pictures": ("p.jpg",), "minus": ("blue",), "composition": how}
    query = Query(**{**asked, **options})  # type: ignore[arg-type]
    parts = parts_of(query, DEFAULT_PROFILE)
    one, two, three = (np.array(pair, dtype=np.float32) for pair in ((0.6, 0.8), (0.8, 0.6), (1.0, 0.0)))
    vectors = {
        "text": {"text": one, "image": one},
        "picture": {"image": two, "visual": two},
        "minus-1": {"text": three, "image": three},
    }
    made = compose(parts, vectors, how)
    composed = Signals(terms=("red", "mug"), vectors=made.vectors, shares=made.shares, composition=made.how)
    return build_plan(query, composed, view())


def found_in(scores: Scores, window: int) -> dict[str, Found]:
    """What each leg's first round trip gives: its best products, ties by id."""
    found = {}
    for leg, by_product in scores.items():
        ids = sorted(by_product, key=lambda one: (-by_product[one], one))[:window]
        top = by_product[ids[0]] if ids else None
        raws = tuple(by_product[one] for one in ids)
        found[leg] = Found(ids=tuple(ids), top=top, total=len(by_product), scores=raws)
    return found


def fused(plan: Plan, scores: Scores) -> list[tuple[str, float]]:
    """The whole ranking as the server and the ledger give it: exact scores for every candidate."""
    found = found_in(scores, plan.window)
    how = plan.fuse(found)
    scales = how.scales if isinstance(how, AffineFusion) else {}
    ids = {product for leg in found.values() for product in leg.ids}
    totals = {}
    for product in ids:
        boosted = {
            leg: scores[leg][product] * scale.boost for leg, scale in scales.items() if product in scores[leg]
        }
        totals[product] = how.ledger(product, boosted).score
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))
