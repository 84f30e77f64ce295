"""The server's own fusions: what stands in for them, their bodies, and their formulas beside the ledger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.query.cursor import plan_digest
from es_xmodal.query.fusion import ServerFusion, minmax
from es_xmodal.query.model import Fusion
from es_xmodal.query.plan import Found
from tests.support.plans import found_in, fused, plan_for, server_view

pytestmark = pytest.mark.unit

WEIGHTS = {"lexical": 0.3, "text": 0.7, "image": 0.0}
SCORES = {"lexical": {"p1": 8.0, "p2": 5.0, "p3": 2.0}, "text": {"p2": 0.875, "p4": 0.75, "p1": 0.625}}
FOUND = {
    name: Found(ids=tuple(one), top=max(one.values()), total=3, scores=tuple(one.values()))
    for name, one in SCORES.items()
}


@pytest.mark.parametrize(("fusion", "instead"), [("server-rrf", "rrf"), ("server-linear", "convex")])
def test_without_the_retriever_the_client_form_ranks_and_says_so(fusion: str, instead: str) -> None:
    name = fusion.removeprefix("server-")
    others = server_view(retrievers=frozenset({"linear", "rrf"} - {name}))
    plan = plan_for(fusion=fusion, seen=others)
    assert plan.fusion == instead
    assert plan.server is None
    assert f"{instead} ranks instead" in plan.warnings[0]
    assert f"no retriever {name}, or its licence" in plan.warnings[0]
    own = plan_for(fusion=instead)
    assert plan.retrieve == own.retrieve
    assert plan_digest(plan) == plan_digest(own), "the cursor of one page fits the next, whoever ranks it"
    there = plan_for(fusion=fusion, seen=server_view())
    assert there.fusion == fusion
    assert there.warnings == ()
    assert plan_digest(there) != plan_digest(own)


def test_rrf_of_one_leg_is_not_asked_for() -> None:
    alone = {"text": 0.0, "image": 0.0}
    plan = plan_for(fusion="server-rrf", weights=alone, seen=server_view())
    assert (plan.fusion, plan.server) == ("rrf", None)
    assert "two legs" in plan.warnings[0]
    assert plan_for(fusion="server-linear", weights=alone, seen=server_view()).server is not None


def test_older_servers_rank_without_weights_and_it_is_said() -> None:
    old = server_view(weighted_rrf=False)
    plan = plan_for(fusion="server-rrf", weights=WEIGHTS, seen=old)
    assert "weights have no effect" in plan.warnings[0]
    assert plan.server is not None
    parts = plan.server.bodies[0]["retriever"]["rrf"]["retrievers"]
    assert [list(part) for part in parts] == [["standard"], ["knn"]]
    assert plan.fuse(FOUND, {"p1": 0.1}).ledger("p1", {}).score == pytest.approx(1 / 61 + 1 / 63)
    equal = plan_for(fusion="server-rrf", weights={"lexical": 2.0, "text": 2.0, "image": 2.0}, seen=old)
    assert equal.warnings == ()


@pytest.mark.parametrize("fusion", ["server-rrf", "server-linear"])
def test_the_window_weights_and_filters_reach_the_server(fusion: str) -> None:
    plan = plan_for(
        fusion=fusion, weights=WEIGHTS, window=30, size=5, offset=10, filters=["brand=A"], seen=server_view()
    )
    assert plan.server is not None
    body = plan.server.bodies[0]
    how = body["retriever"][fusion.removeprefix("server-")]
    assert (how["rank_window_size"], body["size"]) == (30, 30), "the page is cut by the last request"
    assert [part["weight"] for part in how["retrievers"]] == [0.3, 0.7]
    standard, knn = (part["retriever"] for part in how["retrievers"])
    assert standard["standard"]["query"]["bool"]["filter"] == list(plan.filters)
    assert (knn["knn"]["filter"], knn["knn"]["k"]) == (list(plan.filters), 30)
    assert how.get("rank_constant") == (60 if fusion == "server-rrf" else None)
    assert {part.get("normalizer") for part in how["retrievers"]} == {
        "minmax" if fusion == "server-linear" else None
    }
    assert "search_type" not in plan.server.params
    assert "search_type" not in plan.retrieve.params, "a retriever takes the statistics of each shard"
    last = plan.rank(FOUND, {}, {"p1": 0.5, "p2": 0.25})
    assert last is not None
    assert (last.bodies[0]["from"], last.bodies[0]["size"]) == (10, 5)
    assert "search_type" not in last.params


def test_linear_weights_add_up_to_1() -> None:
    plan = plan_for(fusion="server-linear", weights={"lexical": 3, "text": 3, "image": 2}, seen=server_view())
    assert plan.server is not None
    parts = plan.server.bodies[0]["retriever"]["linear"]["retrievers"]
    assert [part["weight"] for part in parts] == [0.375, 0.375, 0.25]


def ranking(plan_fusion: Fusion, ranked: dict[str, float]) -> ServerFusion:
    plan = plan_for(fusion=plan_fusion, weights=WEIGHTS, seen=server_view())
    how = plan.fuse(FOUND, ranked)
    assert isinstance(how, ServerFusion)
    return how


def test_ledger_of_linear() -> None:
    how = ranking("server-linear", {"p2": 0.85, "p4": 0.35, "p1": 0.3, "p3": 0.0})
    ledger = how.ledger("p2", {})
    assert ledger.legs["lexical"].raw == 5.0
    assert ledger.legs["lexical"].normalised == pytest.approx(0.5)
    assert ledger.legs["lexical"].contribution == pytest.approx(0.15)
    assert ledger.legs["text"].contribution == pytest.approx(0.7)
    assert ledger.score == pytest.approx(0.85)
    outside = how.ledger("p4", {"lexical": 3e-12}).legs["lexical"]
    assert outside.raw == pytest.approx(3.0), "scored by the last request, outside the leg's window"
    assert (outside.normalised, outside.contribution) == (0.0, 0.0)
    assert how.notes(["p2", "p4", "p1", "p3"]) == ()


def test_a_score_that_the_formula_does_not_give_is_said() -> None:
    how = ranking("server-linear", {"p2": 0.85, "p4": 0.36, "p1": 0.3})
    assert how.notes(["p2", "p4", "p1"]) == (
        "the server's own score of 1 of 3 hits is not that of the ledger",
    )


def test_no_answer_of_the_server_is_no_hit() -> None:
    plan = plan_for(fusion="server-rrf", seen=server_view())
    assert plan.rank(FOUND, {}, {}) is None


@pytest.mark.parametrize(
    ("scores", "normalised"),
    [({}, {}), ({"a": 7.0}, {"a": 1.0}), ({"a": 2.0, "b": 2.0 + 1e-7}, {"a": 1.0, "b": 1.0})],
)
def test_minmax_at_its_edges(scores: dict[str, float], normalised: dict[str, float]) -> None:
    assert minmax(scores) == normalised


LEG = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.125, 1), min_size=1)


@given(LEG, LEG)
def test_rrf_here_and_there_is_one_formula(lexical: dict[str, float], text: dict[str, float]) -> None:
    scores = {"lexical": lexical, "text": text}
    here = fused(plan_for(fusion="rrf", weights=WEIGHTS), scores)
    plan = plan_for(fusion="server-rrf", weights=WEIGHTS, seen=server_view())
    found = found_in(scores, plan.window)
    there = plan.fuse(found, dict(here))
    assert isinstance(there, ServerFusion)
    for product, score in here:
        assert there.ledger(product, {}).score == pytest.approx(score, abs=1e-12)
    assert there.notes([product for product, _ in here]) == ()
