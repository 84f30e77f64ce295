"""The queries whose whole request bodies are kept, and the plans made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from es_xmodal.query.facets import Facet, parse_facet
from es_xmodal.query.model import Query
from es_xmodal.query.order import parse_sort
from es_xmodal.query.plan import Found, Plan, Request, build_plan
from tests.support.plans import (
    MEAN,
    composed_plan,
    fused_plan,
    ocr_view,
    plan_for,
    server_view,
    signals,
    view,
)

FOUND = {
    "identifier": Found(ids=("p3",), top=1.0, total=1),
    "lexical": Found(ids=("p1", "p2"), top=8.0, total=2),
    "text": Found(ids=("p2", "p3"), top=0.875, total=2),
    "image": Found(ids=("p4",), top=0.75, total=1),
    "visual": Found(ids=("p5",), top=0.9375, total=1),
    "fused": Found(ids=("p4", "p2"), top=0.875, total=2),
    "ocr": Found(ids=("p2", "p5"), top=12.0, total=2),
}
RANKED = {"p2": 0.5, "p1": 0.25, "p5": 0.0}
"""What a retriever of the server ranked, where it has a part."""


def quantised() -> Plan:
    return build_plan(Query(text="red mug"), signals(), view(quantised=True))


def facets(*typed: str) -> tuple[Facet, ...]:
    return tuple(parse_facet(one) for one in typed)


def similar_by(similarity: str) -> dict[str, str]:
    return dict.fromkeys(("text_vector", "images.joint", "images.visual"), similarity)


def with_scores(found: Found) -> Found:
    """The same; the products after the best one score a quarter less each."""
    assert found.top is not None
    return replace(found, scores=tuple(found.top * 0.75**place for place in range(len(found.ids))))


CASES: dict[str, Plan] = {
    "text": plan_for(),
    "text_second_page": plan_for(size=5, offset=5),
    "text_filters": plan_for(
        filters=[
            "brand=Apple",
            "price=10..20",
            "available=true",
            "images=*",
            "attributes.colour=red",
            "sku=a-1",
        ]
    ),
    "text_lexical_only": plan_for(weights={"text": 0.0, "image": 0.0}),
    "text_quantised": quantised(),
    "text_identifier": plan_for(text="AW-SOF-TN"),
    "text_own_query": plan_for(lexical_query={"match": {"title": "{{query}}"}}),
    "text_cutoff": plan_for(cutoff=1.0),
    "text_boost_cutoff": plan_for(fusion="boost", cutoff=0.5),
    "image_cutoff": plan_for(text="", pictures=("p.jpg",), cutoff=2.0),
    "text_rrf": plan_for(fusion="rrf"),
    "text_boost": plan_for(fusion="boost", filters=["price<=20"]),
    "text_filters_any_not": plan_for(
        filters=["brand=Apple|Sony", "price!=10..20", "images!=*", "attributes.colour=red|blue", "brand!=X"]
    ),
    "text_facets": plan_for(facets=facets("brand", "price", "attributes.a.b-c@filter", "category@window")),
    "text_facets_own_filters": plan_for(
        filters=["brand=Apple", "price<=20", "attributes.colour=red"],
        facets=facets("brand", "price:0,10,20@filter", "attributes.colour@window", "available"),
    ),
    "text_boost_facets": plan_for(
        fusion="boost",
        filters=["brand=Apple", "price<=20"],
        facets=facets("brand@window", "category", "currency@filter", "group_id@window"),
    ),
    "text_facets_cutoff": plan_for(
        cutoff=0.5,
        filters=["brand=Apple", "category=Mugs"],
        facets=facets("attributes", "brand@lexical", "category@window", "attributes.colour@filter"),
    ),
    "text_boost_facets_cutoff": plan_for(
        fusion="boost",
        cutoff=0.5,
        filters=["brand=Apple"],
        facets=facets("attributes@window", "brand@window"),
    ),
    "text_sort_collapse": plan_for(sort=tuple(map(parse_sort, ("-price", "brand", "-score"))), collapse=True),
    "text_boost_sort_collapse": plan_for(fusion="boost", sort=(parse_sort("price"),), collapse=True),
    "image_facets": plan_for(text="", pictures=("p.jpg",), filters=["brand=A"], facets=facets("brand")),
    "image_boost_facets": plan_for(
        text="", pictures=("p.jpg",), fusion="boost", filters=["brand=A"], facets=facets("brand")
    ),
    "image": plan_for(text="", pictures=("p.jpg",)),
    "image_boost": plan_for(text="", pictures=("p.jpg",), fusion="boost"),
    "text_and_image": plan_for(pictures=("p.jpg",)),
    "text_server_rrf": plan_for(fusion="server-rrf", filters=["brand=Apple"], seen=server_view()),
    "text_server_rrf_unweighted": plan_for(fusion="server-rrf", seen=server_view(weighted_rrf=False)),
    "text_server_linear": plan_for(
        fusion="server-linear", filters=["price<=20"], size=5, offset=5, cutoff=0.5, seen=server_view()
    ),
    "text_and_image_server_linear": plan_for(
        fusion="server-linear", pictures=("p.jpg",), facets=facets("brand"), collapse=True, seen=server_view()
    ),
    "image_ocr": plan_for(
        text="", pictures=("p.jpg",), read=("Arla", "MJÖLK 1,5%"), cutoff=2.0, seen=ocr_view()
    ),
    "image_ocr_boost": plan_for(
        text="", pictures=("p.jpg",), read=("牛奶",), fusion="boost", filters=["brand=A"], seen=ocr_view()
    ),
    "text_and_image_ocr_rrf": plan_for(
        pictures=("p.jpg",), read=("Arla",), fusion="rrf", facets=facets("brand"), seen=ocr_view()
    ),
    "composed_early": composed_plan("early"),
    "composed_late": composed_plan("late"),
    "composed_like": composed_plan("early", like=("p1", "p4")),
    "composed_late_boost": composed_plan("late", fusion="boost"),
    "mean_text_and_image": plan_for(pictures=("p.jpg",), seen=view(fields=MEAN)),
    "mean_image_cutoff": plan_for(text="", pictures=("p.jpg",), cutoff=1.0, seen=view(fields=MEAN)),
    "dot_text_cutoff": plan_for(cutoff=1.0, seen=view(similarities=similar_by("dot_product"))),
    "l2_text_and_image_cutoff": plan_for(
        pictures=("p.jpg",), cutoff=1.0, seen=view(similarities=similar_by("l2_norm"))
    ),
    "l2_image_cutoff_too_high": plan_for(
        text="", pictures=("p.jpg",), cutoff=10.0, seen=view(similarities=similar_by("l2_norm"))
    ),
    "fused_text": fused_plan(),
    "fused_image_l2_cutoff": fused_plan(text="", pictures=("p.jpg",), similarity="l2_norm", cutoff=2.0),
    "fused_late": fused_plan("late", pictures=("p.jpg",)),
    "fused_boost": fused_plan(fusion="boost", filters=()),
}


def requests_of(plan: Plan) -> list[Request]:
    """All requests of a plan, as if each leg had found what `FOUND` says."""
    windows = {one.facet.field: ["p1", "p2", "p3"] for one in plan.facets if one.needs_window}
    last = plan.rank({leg.name: with_scores(FOUND[leg.kind]) for leg in plan.legs}, windows, RANKED)
    assert last is not None
    return [*([plan.server] if plan.server else []), *([plan.retrieve] if plan.two_trips else []), last]


def as_json(plan: Plan) -> list[dict[str, Any]]:
    return [
        {"endpoint": one.endpoint, "params": dict(one.params), "bodies": list(one.bodies)}
        for one in requests_of(plan)
    ]
