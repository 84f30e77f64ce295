"""The queries whose whole request bodies are kept, and the plans made of them."""

from __future__ import annotations

from typing import Any

from es_xmodal.query.model import Query
from es_xmodal.query.plan import Found, Plan, Request, build_plan
from tests.support.plans import plan_for, signals, view

FOUND = {
    "identifier": Found(ids=("p3",), top=1.0, total=1),
    "lexical": Found(ids=("p1", "p2"), top=8.0, total=2),
    "text": Found(ids=("p2", "p3"), top=0.875, total=2),
    "image": Found(ids=("p4",), top=0.75, total=1),
    "visual": Found(ids=("p5",), top=0.9375, total=1),
}


def quantised() -> Plan:
    return build_plan(Query(text="red mug"), signals(), view(quantised=True))


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
    "text_rrf": plan_for(fusion="rrf"),
    "text_boost": plan_for(fusion="boost", filters=["price<=20"]),
    "image": plan_for(text="", pictures=("p.jpg",)),
    "image_boost": plan_for(text="", pictures=("p.jpg",), fusion="boost"),
    "text_and_image": plan_for(pictures=("p.jpg",)),
}


def requests_of(plan: Plan) -> list[Request]:
    """All requests of a plan, as if each leg had found what `FOUND` says."""
    last = plan.rank({leg.name: FOUND[leg.name] for leg in plan.legs})
    assert last is not None
    return [plan.retrieve, last] if plan.two_trips else [last]


def as_json(plan: Plan) -> list[dict[str, Any]]:
    return [
        {"endpoint": one.endpoint, "params": dict(one.params), "bodies": list(one.bodies)}
        for one in requests_of(plan)
    ]
