"""Facets as typed, what each of them counts, and their answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import QueryError
from es_xmodal.query.answers import read_windows
from es_xmodal.query.cursor import plan_digest
from es_xmodal.query.facet_counts import FacetCounts, join_ranges, read_facets
from es_xmodal.query.facets import LADDER, Facet, parse_facet
from es_xmodal.query.model import Query
from es_xmodal.query.plan import Found, Plan, build_plan
from tests.support.plans import plan_for, signals, view

pytestmark = pytest.mark.unit

FOUND = {"lexical": Found(ids=("a", "b"), top=8.0, total=2)}


def planned(*typed: str, **options: Any) -> Plan:
    return plan_for(facets=tuple(map(parse_facet, typed)), **options)


TERMS = {"sum_other_doc_count": 0, "doc_count_error_upper_bound": 0}


def aggregation(plan: Plan, number: int = 0, **windows: Sequence[str]) -> dict[str, Any]:
    request = plan.rank(FOUND if plan.two_trips else {}, windows)
    assert request is not None
    found: dict[str, Any] = request.bodies[0]["aggs"][f"facet{number}"]
    return found


@pytest.mark.parametrize(
    ("typed", "facet"),
    [
        ("brand", Facet(field="brand")),
        (" brand @ filter ", Facet(field="brand", scope="filter")),
        ("price:0,50,1e2", Facet(field="price", edges=(0.0, 50.0, 100.0))),
        ("price:0@window", Facet(field="price", edges=(0.0,), scope="window")),
        ("attributes.a:b@c", Facet(field="attributes.a:b@c")),
        ("attributes.a:1,2@lexical", Facet(field="attributes.a:1,2", scope="lexical")),
    ],
)
def test_as_typed(typed: str, facet: Facet) -> None:
    assert parse_facet(typed) == facet


@pytest.mark.parametrize(
    ("typed", "field", "says"),
    [
        ("", "facets", "needs a field"),
        ("price:", "facets.price", "ends of ranges are missing"),
        ("price:a", "facets.price", "'a' is not a number"),
        ("price:2,1", "facets.price", "must go up"),
        ("price:1,1", "facets.price", "must go up"),
        ("price:nan", "facets.price", "finite"),
        ("brand@all", "facets.brand", "'all' is not one of lexical, window, filter"),
        ("brand@", "facets.brand", "'' is not one of"),
        ("prise", "facets.prise", "did you mean price?"),
        ("colour", "facets.colour", "attributes.colour"),
        ("title", "facets.title", "no such field to count by"),
        ("images", "facets.images", "no such field to count by"),
        ("brand:1,2", "facets.brand", "no ranges"),
        ("attributes.", "facets.attributes", "needs a name"),
        ("attributes." + "x" * 200, "facets", "longer than 200"),
    ],
)
def test_nonsense_is_one_line(typed: str, field: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        planned(typed)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits() -> None:
    with pytest.raises(QueryError, match="comes twice"):
        planned("brand", "brand@filter")
    with pytest.raises(QueryError, match="more than 20 facets"):
        planned(*(f"attributes.{number}" for number in range(21)))
    with pytest.raises(QueryError, match="size"):
        Facet(field="brand", size=0)
    with pytest.raises(QueryError, match="more than 50"):
        Facet(field="price", edges=tuple(map(float, range(51))))


@given(st.text())
def test_any_text_is_a_facet_or_one_line(typed: str) -> None:
    try:
        plan = planned(typed)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert len(plan.facets) == 1


def test_the_scope_follows_the_mode() -> None:
    assert planned("brand").facets[0].scope == "lexical"
    assert planned("brand", weights={"lexical": 0.0}).facets[0].scope == "window"
    assert planned("brand", text="", pictures=("p",)).facets[0].scope == "window"
    with pytest.raises(QueryError, match="lexical needs words"):
        planned("brand@lexical", weights={"lexical": 0.0})


def test_what_is_counted() -> None:
    filters = ["brand=A", "price<=9"]
    price = {"range": {"price": {"lte": 9.0}}}
    words = aggregation(planned("brand", filters=filters))["aggs"]["in"]["filter"]["bool"]["filter"]
    assert words[0] == price
    assert "multi_match" in str(words[1]) and "knn" not in str(words)
    everything = aggregation(planned("category@filter", filters=filters))
    assert everything["aggs"]["in"]["filter"] == {"bool": {"filter": [{"term": {"brand": "A"}}, price]}}
    assert aggregation(planned("category@window", filters=filters))["filter"] == {"match_all": {}}
    own = aggregation(planned("brand@window", filters=filters), brand=["c", "a"])
    assert own["aggs"]["in"]["filter"] == {"bool": {"filter": [{"ids": {"values": ["a", "c"]}}]}}


@pytest.mark.parametrize(
    ("facet", "condition", "own"),
    [
        ("brand", "brand=A", True),
        ("brand", "brand=A|B", True),
        ("brand", "brand!=A", False),
        ("brand", "category=A", False),
        ("price", "price>=3", True),
        ("attributes.Colour", "attributes.colour=red", True),
        ("attributes.colour", "attributes.size=red", False),
    ],
)
def test_ones_own_filter(facet: str, condition: str, own: bool) -> None:
    (one,) = planned(f"{facet}@filter", filters=[condition]).facets
    assert one.relaxed is own
    assert len(one.filters) == (0 if own else 1)


def test_another_window_is_retrieved_beside_that_of_the_hits() -> None:
    plan = planned("brand@window", "category@window", filters=["brand=A", "price<=9"])
    bodies = plan.retrieve.bodies
    assert len(bodies) == 6, "three legs, and again for the facet whose own filter is left out"
    assert bodies[3]["query"]["bool"]["filter"] == [{"range": {"price": {"lte": 9.0}}}]
    answers = [{"hits": {"hits": [{"_id": f"{number}"}, {"_id": "x"}]}} for number in range(6)]
    assert read_windows(plan.legs, plan.facets, answers) == {"brand": ["3", "4", "5", "x"]}


def test_one_shard_looks_at_no_more_values_than_are_shown() -> None:
    for shards, most in ((1, 10), (3, 50)):
        plan = build_plan(Query(text="x", facets=(Facet(field="brand"),)), signals(), view(shards=shards))
        assert plan.facets[0].counting()["values"]["terms"]["shard_size"] == most


def test_no_candidate_still_counts() -> None:
    empty = {"lexical": Found(ids=(), top=None, total=0)}
    request = planned("brand").rank(empty)
    assert request is not None
    assert request.bodies[0]["query"] == {"match_none": {}}
    assert plan_for().rank(empty) is None


def test_facets_do_not_change_page_or_cursor() -> None:
    with_facets, without = planned("brand", "price"), plan_for()
    assert plan_digest(with_facets) == plan_digest(without)
    body, bare = (dict(plan.rank(FOUND).bodies[0]) for plan in (with_facets, without))  # type: ignore[union-attr]
    del body["aggs"]
    assert body == bare
    assert planned("brand", size=50).retrieve == planned("brand", size=5, offset=5).retrieve


@given(st.text(min_size=1, max_size=20).map(str.strip).filter(bool))
def test_the_name_of_an_attribute_is_no_expression(name: str) -> None:
    try:
        plan = planned(f"attributes.{name}")
    except QueryError:
        return
    include = aggregation(plan)["aggs"]["in"]["aggs"]["values"]["terms"]["include"]
    escaped = include.removesuffix("=.*")
    assert re.fullmatch(r"(?:\\[^\w\s]|\w|\s)*", escaped), "every mark has a backslash, no letter has one"
    assert re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL) == plan.facets[0].attribute


def answer(*counted: dict[str, Any]) -> dict[str, Any]:
    return {"aggregations": {f"facet{number}": {"values": one} for number, one in enumerate(counted)}}


def bucket(key: str, count: int, **source: Any) -> dict[str, Any]:
    return {"key": key, "doc_count": count, "one": {"hits": {"hits": [{"_source": source}]}}}


def test_values_are_spelt_as_the_shop_spells_them() -> None:
    plan = planned("brand", "category", "attributes.Colour", "available")
    found = read_facets(
        plan.facets,
        answer(
            {"buckets": [bucket("qu", 2, brand="QU"), bucket("ı", 1, brand="I")], **TERMS},
            {"buckets": [bucket("mugs", 3, category=["Home", "Mugs"])], **TERMS, "sum_other_doc_count": 4},
            {
                "buckets": [bucket("colour=dark red", 1, attributes={"Size": ["x"], "colour": ["Dark Red"]})],
                "sum_other_doc_count": 0,
                "doc_count_error_upper_bound": 2,
            },
            {"buckets": [{"key": 1, "key_as_string": "true", "doc_count": 5}], **TERMS},
        ),
    )
    assert {name: [(one.value, one.count) for one in facet.values] for name, facet in found.items()} == {
        "brand": [("QU", 2), ("ı", 1)],
        "category": [("Mugs", 3)],
        "attributes.Colour": [("Dark Red", 1)],
        "available": [(True, 5)],
    }
    assert found["category"].other == 4
    assert [one.exact for one in found.values()] == [True, True, False, True]
    assert found["brand"].to_json() == {
        "scope": "lexical",
        "values": [{"value": "QU", "count": 2}, {"value": "ı", "count": 1}],
        "other": 0,
        "exact": True,
    }


def pair(key: str, count: int) -> dict[str, Any]:
    return {"key": key, "doc_count": count}


def attributes_of(products: int, *pairs: tuple[str, int], **sources: Any) -> FacetCounts:
    """The facet of all attributes, where the spelling of the given products is known."""
    plan = planned("attributes@filter")
    spelt = {"hits": {"hits": [{"_source": {"attributes": one}} for one in sources.values()]}}
    counted = {"buckets": [pair(*one) for one in pairs], **TERMS}
    within = {"doc_count": products, "values": counted, "spelt": spelt}
    return read_facets(plan.facets, {"aggregations": {"facet0": {"in": within}}})["attributes"]


def test_which_attributes_there_are() -> None:
    found = attributes_of(
        9,
        ("size=l", 5),
        ("colour=dark red", 4),
        ("size=m", 3),
        ("colour=a=b", 2),
        ("colour=ünknown", 1),
        one={"Size": ["L", "M"], "Colour": "Dark Red"},
        two={"colour": ["A=B"], "Size": []},
    )
    assert found.scope == "filter"
    size, colour = found.values
    assert (size.value, size.count, colour.value, colour.count) == ("Size", 8, "Colour", 7)
    assert [(one.value, one.count) for one in size.values] == [("L", 5), ("M", 3)]
    assert [one.value for one in colour.values] == ["Dark Red", "A=B", "ünknown"]
    assert found.to_json()["values"][0] == {
        "value": "Size",
        "count": 8,
        "values": [{"value": "L", "count": 5}, {"value": "M", "count": 3}],
        "other": 0,
    }


def test_the_name_of_an_attribute_may_have_the_mark_between_name_and_value() -> None:
    (one,) = attributes_of(9, ("a=b=c", 3), ("a=b=d=e", 2), one={"A=B": ["C", "D=E"]}).values
    assert (one.value, [value.value for value in one.values]) == ("A=B", ["C", "D=E"])


def test_attributes_that_tell_nothing_apart_are_left_out() -> None:
    serial = [(f"serial={number}", 1) for number in range(20)]
    many = [(f"many={number:02d}", 3) for number in range(20)]
    texts = [(f"care={'wash warm and dry flat in the shade, ' * 2}{number}", 5) for number in range(3)]
    found = attributes_of(20, ("all=yes", 20), ("some=yes", 12), ("one=x", 1), *many, *serial, *texts)
    assert [(one.value, one.count) for one in found.values] == [("many", 60), ("some", 12)]
    assert (len(found.values[0].values), found.values[0].other) == (10, 30)


def test_no_more_attributes_than_asked_for() -> None:
    plan = plan_for(facets=(Facet(field="attributes", size=1),))
    counted = {"buckets": [pair("a=1", 3), pair("b=1", 2)], **TERMS, "sum_other_doc_count": 4}
    read = read_facets(plan.facets, {"aggregations": {"facet0": {"in": {"doc_count": 9, "values": counted}}}})
    assert [one.value for one in read["attributes"].values] == ["a"]
    assert read["attributes"].other == 6


def test_the_cutoff_holds_for_counts_too() -> None:
    def conditions(facet: str, **options: Any) -> Any:
        plan = planned(facet, **{"cutoff": 1.0, **options})
        return aggregation(plan, brand=["a", "b"])["aggs"]["in"]["filter"]

    words = conditions("brand")["bool"]["filter"][0]["bool"]["should"]
    assert words != conditions("brand", cutoff=None)["bool"]["filter"][0]["bool"]["should"]
    assert "minimum_should_match" in str(words)
    ids, relevant = conditions("brand@window", filters=["brand=A"])["bool"]["filter"]
    assert ids == {"ids": {"values": ["a", "b"]}}
    assert all(str(ids) in str(way) for way in relevant["bool"]["should"] if "knn" in str(way))
    assert len(relevant["bool"]["should"]) == 3
    boost = conditions("brand@window", filters=["brand=A"], fusion="boost")["bool"]["filter"]
    assert len(boost) == 2 and "similarity" in str(boost[-1]) and "similarity" not in str(boost[0])
    everything = planned("brand@filter", cutoff=1.0)
    assert aggregation(everything)["aggs"]["in"]["filter"] == {"match_all": {}}
    nobody = aggregation(planned("brand@window", filters=["brand=A"], cutoff=1.0), brand=[])
    assert nobody["aggs"]["in"]["filter"] == {"bool": {"filter": [{"ids": {"values": []}}]}}


def test_given_ranges_are_kept_and_what_lies_outside_is_shown() -> None:
    plan = planned("price:0,50,100")
    ranges = aggregation(plan)["aggs"]["in"]["aggs"]["values"]["range"]["ranges"]
    assert ranges == [{"to": 0.0}, {"from": 0.0, "to": 50.0}, {"from": 50.0, "to": 100.0}, {"from": 100.0}]
    buckets = [{**one, "doc_count": count} for one, count in zip(ranges, (0, 0, 3, 1), strict=True)]
    counts = read_facets(plan.facets, answer({"buckets": buckets}))["price"]
    assert [one.to_json() for one in counts.values] == [
        {"value": "0..50", "from": 0.0, "to": 50.0, "count": 0},
        {"value": "50..100", "from": 50.0, "to": 100.0, "count": 3},
        {"value": "100..", "from": 100.0, "to": None, "count": 1},
    ]


def test_automatic_ranges_begin_small() -> None:
    ranges = aggregation(planned("price"))["aggs"]["in"]["aggs"]["values"]["range"]["ranges"]
    assert ranges[0] == {"to": 0.01}
    assert ranges[-1] == {"from": 8e6}
    assert list(LADDER) == sorted(set(LADDER))


@given(st.lists(st.integers(min_value=0, max_value=50), min_size=1, max_size=40), st.integers(2, 8))
def test_joined_ranges_have_no_gaps_and_lose_nothing(numbers: list[int], parts: int) -> None:
    counted = [(float(place), float(place + 1), number) for place, number in enumerate(numbers)]
    joined = join_ranges(counted, parts)
    assert sum(one[2] for one in joined) == sum(numbers)
    assert len(joined) <= parts
    assert all(one[1] == other[0] for one, other in pairwise(joined))
    for low, high, count in joined:
        assert low is not None and high is not None
        assert count == sum(numbers[int(low) : int(high)])
    if joined:
        assert numbers[int(joined[0][0] or 0)] and numbers[int(joined[-1][1] or 0) - 1]


def test_joined_ranges_hold_about_as_many() -> None:
    counted = [(float(place), float(place + 1), 10) for place in range(20)]
    assert [one[2] for one in join_ranges(counted, 5)] == [40, 40, 40, 40, 40]
