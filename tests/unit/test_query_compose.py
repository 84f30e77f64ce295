"""Terms with weights, and how several become one vector a leg or a leg each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import QueryError
from es_xmodal.query.compose import compose, held_by, parts_of
from es_xmodal.query.cursor import plan_digest
from es_xmodal.query.model import Composed, Query
from es_xmodal.query.plan import Found, Plan, build_plan
from es_xmodal.query.profile import DEFAULT_PROFILE, Profile
from es_xmodal.query.terms import Term, parse_minus
from es_xmodal.query.view import Signals
from es_xmodal.vectors import Vector
from tests.support.plans import composed_plan, fused, view

pytestmark = pytest.mark.unit


def vector(*numbers: float) -> Vector:
    raw = np.array(numbers, dtype=np.float32)
    return np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)


X, Y, Z = vector(1, 0, 0), vector(0, 1, 0), vector(0, 0, 1)


def image(**by_label: Vector) -> dict[str, dict[str, Vector]]:
    return {label.replace("_", "-"): {"image": one} for label, one in by_label.items()}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"minus": ("black",)}, "minus"),
        ({"text": "x", "minus": ("",)}, "minus"),
        ({"text": "x", "minus": " \u0000 "}, "minus"),
        ({"text": "x", "minus": (Term(kind="sound", value="x"),)}, "minus"),  # type: ignore[arg-type]
        ({"text": "x", "minus": (Term(kind="text", value="x", weight=float("nan")),)}, "minus"),
        ({"text": "x", "minus": (Term(kind="text", value="x", weight=-1.0),)}, "minus"),
        ({"text": "x", "minus": (Term(kind="text", value="x", weight=0.0),)}, "minus"),
        ({"text": "x", "minus": (Term(kind="text", value=b"x"),)}, "minus"),
        ({"like": ("",)}, "like"),
        ({"like": ("a" * 513,)}, "like"),
        ({"like": ("é" * 257,)}, "like"),
        ({"like": "abc"}, "like"),
        ({"like": (Term(kind="text", value="x"),)}, "like"),
        ({"like": ("a",) * 33}, "terms"),
        ({"text": "x", "minus": ("a",) * 33}, "terms"),
        ({"pictures": (Term(kind="image", value="p", weight=float("inf")),)}, "image"),
        ({"pictures": (b"",)}, "image"),
        ({"text": "x", "pictures": ("p",), "text_weight": -1.0}, "text_weight"),
        ({"pictures": ("p",), "text_weight": 1.0}, "text_weight"),
        ({"text": "x", "composition": "middle"}, "composition"),
        ({"text": "x", "keep_like": True}, "keep_like"),
    ],
)
def test_refused(options: dict[str, object], field: str) -> None:
    with pytest.raises(QueryError) as caught:
        Query(**options)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_accepted_at_the_limits() -> None:
    assert Query(like=("a" * 512,)).mode == "text+image"
    assert len(Query(like=("a",) * 32).like) == 32


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("black", "text", "black"),
        ("image:a/b.jpg", "image", "a/b.jpg"),
        ("id:4711", "id", "4711"),
        ("text:id:4711", "text", "id:4711"),
        ("size: XL", "text", "size: XL"),
    ],
)
def test_minus_as_it_is_typed(text: str, kind: str, value: str) -> None:
    assert parse_minus(text) == Term(kind=kind, value=value)  # type: ignore[arg-type]


def test_default_weights() -> None:
    query = Query(
        text="a", pictures=("p", "q"), like=("1", "2", "3", "4"), minus=("b", Term(kind="id", value="5"))
    )
    weights = {part.label: part.weight for part in parts_of(query, Profile(minus_weight=0.25))}
    assert weights == {
        "text": 1.0,
        "picture-1": 0.5,
        "picture-2": 0.5,
        **{f"like-{n}": 0.25 for n in (1, 2, 3, 4)},
        "minus-1": 0.25,
        "minus-2": 0.25,
    }


def test_a_term_keeps_its_own_weight() -> None:
    heavy = Term(kind="image", value="p", weight=3.0)
    query = Query(
        text="a", text_weight=2.0, pictures=(heavy, "q"), minus=(Term(kind="text", value="b", weight=0.1),)
    )
    assert [part.weight for part in parts_of(query, DEFAULT_PROFILE)] == [2.0, 3.0, 0.5, 0.1]


def test_early_is_the_unit_sum() -> None:
    parts = parts_of(Query(text="a", text_weight=3.0, pictures=("p",)), DEFAULT_PROFILE)
    found = compose(parts, image(text=X, picture=Y), "early")
    assert list(found.vectors) == ["image"]
    assert found.vectors["image"] == pytest.approx(vector(3, 1, 0), abs=1e-6)


def test_minus_is_subtracted_in_every_leg_it_has() -> None:
    parts = parts_of(Query(text="a", minus=("b",)), Profile(minus_weight=0.5))
    vectors = {"text": {"image": X, "text": Y}, "minus-1": {"image": Z, "text": Z}}
    found = compose(parts, vectors, "early")
    assert found.vectors["image"] == pytest.approx(vector(1, 0, -0.5), abs=1e-6)
    assert found.vectors["text"] == pytest.approx(vector(0, 1, -0.5), abs=1e-6)


def test_a_leg_with_nothing_but_minus_is_left_out() -> None:
    parts = parts_of(Query(text="a", minus=(Term(kind="image", value="p"),)), DEFAULT_PROFILE)
    found = compose(parts, {"text": {"image": X}, "minus-1": {"image": Y, "visual": Z}}, "early")
    assert list(found.vectors) == ["image"]


def test_late_gives_every_wanted_term_its_share() -> None:
    query = Query(
        text="a", text_weight=3.0, pictures=("p",), minus=(Term(kind="text", value="b", weight=2.0),)
    )
    found = compose(parts_of(query, DEFAULT_PROFILE), image(text=X, picture=Y, minus_1=Z), "late")
    assert found.shares == {"image:text": 0.75, "image:picture": 0.25}
    assert found.vectors["image:text"] == pytest.approx(vector(1, 0, -0.5), abs=1e-6)
    assert found.vectors["image:picture"] == pytest.approx(vector(0, 1, -0.5), abs=1e-6)


def test_late_with_one_term_a_leg_splits_nothing() -> None:
    found = compose(parts_of(Query(text="a"), DEFAULT_PROFILE), image(text=X), "late")
    assert list(found.vectors) == ["image"]


@pytest.mark.parametrize("how", ["early", "late"])
def test_minus_that_leaves_nothing_is_refused(how: str) -> None:
    query = Query(text="a", minus=(Term(kind="text", value="a", weight=1.0),))
    with pytest.raises(QueryError, match="leaves nothing") as caught:
        compose(parts_of(query, DEFAULT_PROFILE), image(text=X, minus_1=X), how)  # type: ignore[arg-type]
    assert caught.value.field == "minus"


def test_late_has_a_limit() -> None:
    parts = parts_of(Query(like=tuple("abcdefghi")), DEFAULT_PROFILE)
    with pytest.raises(QueryError, match="at most 8"):
        compose(parts, image(**{part.label.replace("-", "_"): X for part in parts}), "late")


@given(st.lists(st.floats(min_value=0.01, max_value=100), min_size=1, max_size=6))
def test_shares_add_up_and_vectors_are_unit(weights: list[float]) -> None:
    terms = tuple(Term(kind="id", value=str(n), weight=weight) for n, weight in enumerate(weights))
    parts = parts_of(Query(like=terms), DEFAULT_PROFILE)
    given_vectors = {part.label: {"text": vector(1, n, 1)} for n, part in enumerate(parts)}
    hows: tuple[Composed, ...] = ("early", "late")
    for how in hows:
        found = compose(parts, given_vectors, how)
        assert sum(found.shares.values()) == pytest.approx(1.0)
        assert all(np.linalg.norm(one) == pytest.approx(1.0, abs=1e-6) for one in found.vectors.values())


def test_held_by() -> None:
    parts = parts_of(Query(text="a", minus=("b",)), DEFAULT_PROFILE)
    vectors = image(text=X, minus_1=Y)
    assert [held_by(part, vectors) for part in parts] == [{"identifier", "lexical", "image"}, {"image"}]


def test_the_plan_splits_the_weight_and_says_how_it_composed() -> None:
    plan = composed_plan("late")
    weights = {leg.name: leg.weight for leg in plan.legs}
    whole = {leg.name: leg.weight for leg in composed_plan("early").legs}
    assert plan.composition == "late"
    assert composed_plan("early").composition == "early"
    assert weights["image:text"] + weights["image:picture"] == pytest.approx(whole["image"])
    assert {name: weights[name] for name in ("lexical", "text", "visual")} == {
        name: whole[name] for name in ("lexical", "text", "visual")
    }
    assert {leg.name: leg.calibration for leg in plan.legs}["image:text"] == view().calibration["image"]


def test_the_ledger_of_a_late_plan_adds_up() -> None:
    plan = composed_plan("late")
    scores = {leg.name: {"a": 0.9, "b": 0.7} for leg in plan.legs}
    (first, top), (second, low) = fused(plan, scores)
    assert (first, second) == ("a", "b")
    assert top == pytest.approx(1.0) and low < top


def test_compositions_have_cursors_of_their_own() -> None:
    assert plan_digest(composed_plan("late")) != plan_digest(composed_plan("early"))


def like_plan(**options: object) -> Plan:
    query = Query(like=("p1", "a"), **options)  # type: ignore[arg-type]
    return build_plan(query, Signals(vectors={"text": vector(1, 0)}), view())


def test_like_leaves_its_products_out() -> None:
    out = {"bool": {"must_not": [{"ids": {"values": ["a", "p1"]}}]}}
    assert out in like_plan().filters
    assert like_plan(keep_like=True).filters == ()
    assert json.dumps(out) in json.dumps(like_plan().retrieve.bodies)
    boost = like_plan(fusion="boost").rank({"text": Found(ids=("x",), top=1.0, total=1)})
    assert boost is not None and json.dumps(out) in json.dumps(boost.bodies)


def test_what_no_leg_looks_at_is_said() -> None:
    query = Query(text="mug", minus=("black",), weights={"text": 0, "image": 0}, composition="late")
    held = {"text": frozenset({"lexical", "text"}), "minus 'black'": frozenset({"text", "image"})}
    plan = build_plan(query, Signals(terms=("mug",), held=held, composition="late"), view())
    assert plan.warnings == (
        "minus 'black' has no effect: no leg of this search looks at it",
        "the composition late changes nothing: no leg looks at more than one term",
    )
