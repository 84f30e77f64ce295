"""The pure plan: which legs, which requests, which scales."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import QueryError
from es_xmodal.query.answers import read_found, read_hits
from es_xmodal.query.console import console_text
from es_xmodal.query.cursor import check_cursor, read_cursor, write_cursor
from es_xmodal.query.fusion import RRF_CONSTANT, AffineFusion, Scale
from es_xmodal.query.identifiers import possible_identifiers
from es_xmodal.query.legs import VectorLeg
from es_xmodal.query.model import Query
from es_xmodal.query.plan import Found, Plan, build_plan
from tests.support.plans import FIELDS, found_in, fused, plan_for, signals, view

pytestmark = pytest.mark.unit

FOUND = {
    "lexical": Found(ids=("a", "b"), top=8.0, total=2),
    "text": Found(ids=("b", "c"), top=0.9, total=2),
    "image": Found(ids=("d",), top=0.8, total=1),
}
SCORES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.floats(min_value=0.01, max_value=1.0, allow_subnormal=False), max_size=8
)


def affine(plan: Plan, found: Mapping[str, Found]) -> Mapping[str, Scale]:
    how = plan.fuse(found)
    assert isinstance(how, AffineFusion)
    return how.scales


def legs_of(**options: Any) -> list[str]:
    return [leg.name for leg in plan_for(**options).legs]


def test_legs_by_mode() -> None:
    assert legs_of() == ["lexical", "text", "image"]
    assert legs_of(text="", pictures=("p",)) == ["image", "visual"]
    assert legs_of(pictures=("p",)) == ["lexical", "text", "image", "visual"]


def test_an_encoder_without_a_picture_space_has_one_picture_leg() -> None:
    fields = {name: kind for name, kind in FIELDS.items() if name != "images.visual"}
    plan = build_plan(Query(pictures=("p",)), signals(picture=True), view(fields=fields))
    assert [leg.name for leg in plan.legs] == ["image"]


def test_weight_zero_leaves_a_leg_out() -> None:
    assert legs_of(weights={"text": 0.0, "image": 0.0}) == ["lexical"]
    with pytest.raises(QueryError, match="lexical, text, image"):
        legs_of(weights={"lexical": 0.0, "text": 0.0, "image": 0.0})


def test_weights_reach_the_scales_and_add_up_to_one() -> None:
    plan = plan_for(weights={"lexical": 3.0, "text": 1.0, "image": 0.0})
    scales = affine(plan, FOUND)
    assert {name: scale.weight for name, scale in scales.items()} == {"lexical": 0.75, "text": 0.25}


def test_the_same_arguments_give_the_same_requests() -> None:
    one, two = plan_for(), plan_for()
    assert one.retrieve == two.retrieve
    shuffled = {name: FOUND[name] for name in ("image", "text", "lexical")}
    assert json.dumps(one.rank(FOUND).bodies) == json.dumps(two.rank(shuffled).bodies)  # type: ignore[union-attr]


def test_the_window_does_not_depend_on_the_page() -> None:
    assert plan_for(size=5).retrieve == plan_for(size=50, offset=20).retrieve
    assert plan_for(window=30).retrieve.bodies[0]["size"] == 30


def test_every_candidate_is_scored_in_every_leg() -> None:
    request = plan_for().rank(FOUND)
    assert request is not None
    query = request.bodies[0]["query"]["bool"]
    assert query["filter"] == [{"ids": {"values": ["a", "b", "c", "d"]}}]
    text = json.dumps(query["should"])
    assert all(f'"_name": "{leg}"' in text for leg in ("lexical", "text", "image"))
    knn = next(clause["knn"] for clause in query["should"] if "knn" in clause)
    assert knn["k"] >= 4, "k below the number of candidates would not score all of them"
    assert knn["filter"] == [{"ids": {"values": ["a", "b", "c", "d"]}}]


def test_nothing_found_needs_no_second_request() -> None:
    assert plan_for().rank({"lexical": Found(ids=(), top=None, total=0)}) is None


def test_filters_stand_in_every_leg() -> None:
    bodies = plan_for(filters=["price<=20"]).retrieve.bodies
    clause = {"range": {"price": {"lte": 20.0}}}
    assert bodies[0]["query"]["bool"]["filter"] == [clause]
    assert all(body["knn"]["filter"] == [clause] for body in bodies[1:])


def test_boost_is_one_request_with_the_filters_in_it() -> None:
    plan = plan_for(fusion="boost", filters=["brand=x"])
    request = plan.rank({})
    assert not plan.two_trips
    assert request is not None
    query = request.bodies[0]["query"]["bool"]
    assert query["filter"] == [{"term": {"brand": "x"}}]
    assert query["minimum_should_match"] == 1
    assert "ids" not in json.dumps(query)


def test_a_page_ends_where_the_server_ends() -> None:
    request = plan_for(fusion="boost", offset=9_995, size=50).rank({})
    assert request is not None
    assert (request.bodies[0]["from"], request.bodies[0]["size"]) == (9_995, 5)


def test_quantised_vectors_are_rescored() -> None:
    plan = build_plan(Query(text="x"), signals(), view(quantised=True))
    assert [leg.quantised for leg in plan.legs if isinstance(leg, VectorLeg)] == [True, True]
    assert plan.retrieve.bodies[1]["knn"]["rescore_vector"] == {"oversample": 2.0}
    assert "rescore_vector" not in plan_for().retrieve.bodies[1]["knn"]


def test_too_many_words_are_said() -> None:
    plan = build_plan(Query(text="x"), signals(terms=[f"w{n}" for n in range(100)]), view())
    assert "64 of 100" in plan.warnings[0]
    assert "w64" not in json.dumps(plan.retrieve.bodies[0])


@given(st.text(max_size=300).filter(lambda text: bool(text.strip("\x00 "))))
def test_no_text_breaks_out_of_the_query(text: str) -> None:
    try:
        query = Query(text=text)
    except QueryError:
        return
    plan = build_plan(query, signals(terms=query.text.split()[:5]), view())
    body = next(
        body for leg, body in zip(plan.legs, plan.retrieve.bodies, strict=True) if leg.name == "lexical"
    )
    assert list(body) == ["query", "size", "sort", "_source", "track_total_hits"]
    parts = body["query"]["bool"]["should"]
    (original,) = [part for part in parts if "title^3" in part["multi_match"]["fields"]]
    assert original["multi_match"]["query"] == query.text[:512]
    json.dumps(body).encode("utf-8")


def test_console_text_runs_as_pasted() -> None:
    plan = plan_for()
    first = console_text("shop", plan.retrieve).split("\n")
    assert first[0] == "GET shop/_msearch"
    assert [json.loads(line) for line in first[1::2]] == [{"search_type": "dfs_query_then_fetch"}] * 3
    second = console_text("my shop", plan.rank(FOUND))  # type: ignore[arg-type]
    head, body = second.split("\n", 1)
    assert head.startswith("GET my%20shop/_search?search_type=dfs_query_then_fetch")
    assert json.loads(body) == plan.rank(FOUND).bodies[0]  # type: ignore[union-attr]
    assert any(line.count(",") >= 1 and "query_vector" in line for line in body.split("\n"))


def test_cursor_belongs_to_its_query() -> None:
    plan = plan_for()
    read = read_cursor(write_cursor(plan, offset=30))
    digest, offset = read.digest, read.offset
    assert offset == 30
    check_cursor(digest, plan_for(size=50, offset=30))
    for other in (
        plan_for(text="blue mug"),
        plan_for(filters=["brand=x"]),
        plan_for(window=50),
        plan_for(weights={"text": 0.9}),
        plan_for(fusion="boost"),
    ):
        with pytest.raises(QueryError, match="another query"):
            check_cursor(digest, other)


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_cursor(text: str) -> None:
    with pytest.raises(QueryError):
        read_cursor(text)


@given(st.fixed_dictionaries({"lexical": SCORES, "text": SCORES, "image": SCORES}))
def test_contributions_add_up_and_order_is_total(scores: dict[str, dict[str, float]]) -> None:
    ranking = fused(plan_for(), scores)
    assert {product for product, _ in ranking} == {one for leg in scores.values() for one in leg}
    assert [score for _, score in ranking] == sorted((score for _, score in ranking), reverse=True)


@given(SCORES.filter(bool), SCORES, st.sampled_from(["text", "image"]))
def test_one_weight_equals_the_single_leg(leg: dict[str, float], other: dict[str, float], name: str) -> None:
    weights = {"lexical": 0.0, "text": 0.0, "image": 0.0, name: 1.0}
    plan = plan_for(weights=weights)
    ranking = fused(plan, {name: leg})
    # Two scores that differ in the last bit may become one on the leg's scale.
    assert sorted(product for product, _ in ranking) == sorted(leg)
    raws = [leg[product] for product, _ in ranking]
    assert all(one >= two - 1e-9 for one, two in itertools.pairwise(raws))


@given(st.fixed_dictionaries({"lexical": SCORES, "text": SCORES}), st.floats(0.01, 0.5))
def test_a_better_leg_score_never_ranks_lower(scores: dict[str, dict[str, float]], more: float) -> None:
    plan = plan_for(weights={"image": 0.0})
    if len(scores["text"]) < 2:
        return
    found = found_in(scores, plan.window)
    product = sorted(scores["text"], key=lambda one: scores["text"][one])[0]
    better = min(scores["text"][product] + more, max(scores["text"].values()))
    raised = {**scores, "text": {**scores["text"], product: better}}
    before = [one for one, _ in fused(plan, scores)].index(product)
    after = [one for one, _ in fused(plan, raised)].index(product)
    assert found["text"].top == max(scores["text"].values())
    assert after <= before


def test_a_leg_in_which_nothing_fits_is_not_blown_up() -> None:
    plan = plan_for(weights={"lexical": 0.0, "image": 0.0})
    weak = affine(plan, {"text": Found(ids=("a",), top=0.52, total=1)})["text"]
    strong = affine(plan, {"text": Found(ids=("a",), top=0.95, total=1)})["text"]
    assert (0.52 - weak.floor) / weak.span < 0.2
    assert (0.95 - strong.floor) / strong.span == pytest.approx(1.0)


@given(st.fixed_dictionaries({"lexical": SCORES, "text": SCORES, "image": SCORES}))
def test_rrf_is_its_formula(scores: dict[str, dict[str, float]]) -> None:
    plan = plan_for(fusion="rrf", weights={"lexical": 1.0, "text": 2.0, "image": 0.5})
    found = found_in(scores, plan.window)
    for product, score in fused(plan, scores):
        expected = sum(
            weight / (RRF_CONSTANT + found[leg].ids.index(product) + 1)
            for leg, weight in (("lexical", 1.0), ("text", 2.0), ("image", 0.5))
            if product in found[leg].ids
        )
        assert score == pytest.approx(expected, abs=1e-12)


def test_rrf_sends_each_candidate_its_score() -> None:
    request = plan_for(fusion="rrf").rank(FOUND)
    assert request is not None
    should = request.bodies[0]["query"]["bool"]["should"]
    constants = [clause["constant_score"] for clause in should if "constant_score" in clause]
    assert [one["filter"]["ids"]["values"] for one in constants] == [["a"], ["b"], ["c"], ["d"]]
    assert constants[1]["boost"] == pytest.approx(0.4 / 62 + 0.4 / 61)
    assert sum("constant_score" not in clause for clause in should) == 3


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("AW-SOF-TN", ("awsoftn",)),
        ("kp mk 77", ("kpmk77",)),
        ("tent 2000010000036 green", ("tent2000010000036green", "2000010000036")),
        ("red mug", ()),
        ("mug", ()),
        ("a 1", ()),
        ("five words with number 12345", ("12345",)),
        ("x" * 70 + "1", ()),
    ],
)
def test_possible_identifiers(text: str, keys: tuple[str, ...]) -> None:
    assert possible_identifiers(text) == keys


@given(SCORES.filter(bool), SCORES, st.sampled_from(["convex", "rrf", "boost"]))
def test_an_identifier_is_pinned(lexical: dict[str, float], text: dict[str, float], fusion: str) -> None:
    plan = plan_for(text="AW-SOF-TN", fusion=fusion, weights={"image": 0.0})
    found = {"identifier": {"z": 1.0}, "lexical": lexical, "text": text}
    how = plan.fuse(found_in(found, plan.window))
    assert [leg.name for leg in plan.legs] == ["identifier", "lexical", "text"]
    if isinstance(how, AffineFusion):
        boosts = {name: scale.boost for name, scale in how.scales.items()}
        pinned = how.ledger("z", {"identifier": boosts["identifier"]}).score
        best = {name: max(found[name].values(), default=0.0) * boosts.get(name, 0.0) for name in found}
        assert pinned > how.ledger("y", {name: best[name] for name in ("lexical", "text")}).score
    else:
        assert fused(plan, found)[0][0] == "z"


def test_the_shop_s_own_query_is_the_lexical_leg() -> None:
    own = {"query": {"match": {"title": {"query": "{{query}}", "operator": "and"}}}}
    plan = plan_for(text='a "b" {{query}} }', lexical_query=own)
    assert plan.retrieve.bodies[0]["query"] == {
        "match": {"title": {"query": 'a "b" {{query}} }', "operator": "and"}}
    }


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"match": {"title": "x"}}, "nowhere holds"),
        ({}, "must be one query"),
        ({"query": {"match": {"t": "{{query}}"}}, "size": 3}, "not size"),
        ({"query": ["{{query}}"]}, "must be one query"),
    ],
)
def test_own_queries_that_cannot_be_a_leg(own: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        plan_for(lexical_query=own)


def test_the_cutoff_is_a_filter_that_any_leg_may_pass() -> None:
    request = plan_for(cutoff=2.0).rank(FOUND)
    assert request is not None
    ids, relevance = request.bodies[0]["query"]["bool"]["filter"]
    assert "ids" in ids
    words, text, image = relevance["bool"]["should"]
    assert words["multi_match"]["minimum_should_match"] == "67%"
    # text: floor .5, spread .05, so a _score of .6, which is a cosine of .2
    assert text["knn"]["similarity"] == pytest.approx(0.2)
    assert image["nested"]["query"]["knn"]["similarity"] == pytest.approx(2 * (0.52 + 2 * 0.04) - 1)
    assert relevance["bool"]["minimum_should_match"] == 1


def test_a_leg_without_calibration_says_nothing_about_relevance() -> None:
    plan = build_plan(Query(text="x", cutoff=1.0), signals(), view(calibration={}))
    request = plan.rank(FOUND)
    assert request is not None
    (way,) = request.bodies[0]["query"]["bool"]["filter"][1]["bool"]["should"]
    assert "multi_match" in way


def test_reading_answers() -> None:
    plan = plan_for()
    answers: list[dict[str, Any]] = [
        {"hits": {"total": {"value": 7, "relation": "eq"}, "hits": [{"_id": "a", "_score": 4.0}]}},
        {"hits": {"hits": [{"_id": "b", "_score": 0.9}]}},
        {"hits": {"hits": []}},
    ]
    found = read_found(plan.legs, answers)
    assert found["lexical"] == Found(ids=("a",), top=4.0, total=7, scores=(4.0,))
    assert found["image"].top is None
    fused_ = plan.fuse(found)
    scales = affine(plan, found)
    assert set(scales) == {"lexical", "text"}
    row = {
        "_id": "a",
        "_source": {"title": "A"},
        "matched_queries": {"lexical": 4.0 * scales["lexical"].boost},
        "inner_hits": {"image": {"hits": {"hits": [{"_source": {"ref": "a.jpg"}}]}}},
    }
    (hit,) = read_hits({"hits": {"hits": [row]}}, fused_, offset=20)
    assert (hit.rank, hit.best_image) == (21, "a.jpg")
    assert hit.ledger.legs["lexical"].raw == pytest.approx(4.0)
    assert hit.ledger.legs["lexical"].normalised == pytest.approx(1.0)
    assert hit.ledger.legs["text"].raw is None
    assert hit.ledger.score == pytest.approx(scales["lexical"].weight)


def test_a_weight_without_effect_is_said() -> None:
    assert plan_for(weights={"image": 0.5}).warnings == ()
    (warning,) = plan_for(weights={"visual": 0.5}).warnings
    assert "visual has no effect" in warning
