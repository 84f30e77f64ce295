"""Several pictures of a product, one vector for text and pictures, similarities: the formulas, no server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.catalog.document import from_document, to_row
from es_xmodal.catalog.images import from_stored, primary_image, read_images
from es_xmodal.catalog.product import ImageNote, Product
from es_xmodal.catalog.row import parse_row
from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.errors import IndexStateError, SettingsError
from es_xmodal.index.combining import (
    Block,
    Combining,
    CombiningWish,
    blocks_of,
    parse_combining,
    vector_fields,
)
from es_xmodal.index.fused import Fusing, join
from es_xmodal.index.meta import parse_meta
from es_xmodal.ingest.combine import Combiner, weighted_mean
from es_xmodal.ingest.rows import Shot
from es_xmodal.query.answers import read_hits
from es_xmodal.query.fusion import AffineFusion, Scale, convex_scales
from es_xmodal.query.legs import VectorLeg, fields_of
from es_xmodal.query.model import Query
from es_xmodal.query.profile import DEFAULT_PROFILE, Profile
from es_xmodal.query.similarity import least_similarity, score_of
from es_xmodal.query.view import Calibration
from es_xmodal.vectors import Vector, unit_rows
from tests.support.encoders import HashEncoder
from tests.support.plans import FIELDS, FUSED, MEAN, fused_plan

pytestmark = pytest.mark.unit

INFO = HashEncoder().info
COSINES = st.floats(-1, 1)
KINDS = ("cosine", "dot_product", "l2_norm", "max_inner_product")


def one(*numbers: float) -> Vector:
    found: Vector = unit_rows(np.array([numbers], dtype=np.float64))[0]
    return found


def random(seed: int, dim: int) -> Vector:
    return one(*np.random.default_rng(seed).standard_normal(dim))


def shot(ref: str, joint: Vector, *, weight: float = 1.0, **more: Any) -> Shot:
    return Shot(number=0, ref=ref, vectors={"joint": joint}, weight=weight, **more)


# -- pictures of a row


def test_pictures_as_objects() -> None:
    row = {
        "id": "1",
        "title": "Mug",
        "images": [
            "a.jpg",
            {"url": "b.jpg", "role": " Detail "},
            {"ref": "c.jpg", "weight": 0},
            {"ref": "d.jpg"},
        ],
    }
    product = parse_row(row, line=1)
    assert isinstance(product, Product)
    assert product.images == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert product.image_notes == {"b.jpg": ImageNote(role="detail"), "c.jpg": ImageNote(weight=0.0)}
    written = to_row(product)["images"]
    assert written == ["a.jpg", {"ref": "b.jpg", "role": "detail"}, {"ref": "c.jpg", "weight": 0.0}, "d.jpg"]
    again = parse_row(to_row(product), line=1)
    assert again == product


def test_a_single_object_is_a_list_of_one() -> None:
    assert read_images({"ref": "a.jpg", "role": "main"}) == (("a.jpg",), {"a.jpg": ImageNote(role="main")})


def test_frames_of_one_film_are_one_picture_of_the_row() -> None:
    stored = [{"ref": "a.mp4"}, {"ref": "a.mp4"}, {"ref": "b.jpg", "role": "main"}]
    assert from_stored(stored) == ["a.mp4", {"ref": "b.jpg", "role": "main"}]
    assert from_document({"id": "1", "images": stored})["images"] == from_stored(stored)


@pytest.mark.parametrize(
    ("images", "first"),
    [
        ([], None),
        (["a", "b"], "a"),
        ([{"ref": "a"}, {"ref": "b", "role": "main"}], "b"),
        ([{"ref": "a", "weight": 0}, {"ref": "b"}], "b"),
        ([{"ref": "a", "weight": 0}], "a"),
        ([{"ref": "a", "role": "main", "weight": 0.0}, "b"], "b"),
    ],
)
def test_the_picture_that_stands_for_a_product(images: list[Any], first: str | None) -> None:
    assert primary_image(images) == first


# -- what may be chosen


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"pictures": "all"}, "pictures: 'all' is none"),
        ({"fuse": "multiply"}, "fuse: 'multiply' is none"),
        ({"similarity": "cosinus"}, "similarity"),
        ({"fuse": "add"}, "does not go with fuse"),
        ({"text_share": 0.0}, "not between 0 and 1"),
        ({"text_share": float("nan")}, "not between 0 and 1"),
        ({"role_weights": {"detail": 0.5}}, "no effect on the best"),
        ({"pictures": "mean", "role_weights": {"detail": float("inf")}}, "a number from 0"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Combining(**values)


def test_a_wish_is_filled_in_from_the_index() -> None:
    base = Combining(pictures="mean", role_weights={"detail": 0.5}, similarity="l2_norm")
    assert CombiningWish().over(None) == Combining()
    assert CombiningWish().over(base) == base
    assert CombiningWish(fuse="add").over(None).pictures == "mean"
    assert CombiningWish(pictures="best").over(base) == Combining(similarity="l2_norm")
    assert CombiningWish(role_weights={"Back": 1}).over(None).role_weights == {"back": 1.0}
    with pytest.raises(SettingsError, match="no effect without fuse"):
        CombiningWish(text_share=0.2).over(None)
    assert CombiningWish(text_share=0.2).over(Combining(pictures="mean", fuse="add")).text_share == 0.2


def test_an_index_keeps_it() -> None:
    chosen = Combining(
        pictures="mean", fuse="concat", text_share=0.3, similarity="l2_norm", role_weights={"a": 2.0}
    )
    assert parse_combining(chosen.to_json()) == chosen
    assert parse_combining({}) == Combining()
    assert str(chosen) == "pictures mean; fuse concat; text share 0.3; similarity l2_norm; role weights a=2"
    with pytest.raises(IndexStateError, match="damaged"):
        parse_meta("shop-v1", {"_meta": {"es_xmodal": {"format": 1, "combining": {"pictures": "all"}}}})


def test_the_fields_of_each_choice() -> None:
    def paths(**values: Any) -> dict[str, tuple[str, int]]:
        found = vector_fields(Combining(**values), INFO.spaces, INFO.text_space)
        return {leg: (field.path, field.dim) for leg, field in found.items()}

    assert paths() == {
        "text": ("text_vector", 24),
        "image": ("images.joint", 32),
        "visual": ("images.visual", 16),
    }
    assert paths(pictures="mean") == {
        "text": ("text_vector", 24),
        "image": ("image_vector", 32),
        "visual": ("visual_vector", 16),
    }
    assert paths(pictures="mean", fuse="add") == {"fused": ("fused_vector", 32)}
    assert paths(pictures="mean", fuse="concat") == {"fused": ("fused_vector", 24 + 32 + 16 + 3 + 1)}, (
        "of even length"
    )
    assert fields_of(FIELDS) == {"text": "text_vector", "image": "images.joint", "visual": "images.visual"}
    assert fields_of(MEAN)["image"] == "image_vector"
    assert fields_of(FUSED) == {"fused": "fused_vector"}


def test_one_field_has_an_end() -> None:
    wide = (Space(name="joint", dim=4090, modalities=frozenset({"text", "picture"})),)
    combining = Combining(pictures="mean", fuse="concat")
    with pytest.raises(SettingsError, match=r"4090 text \+ 4090 joint \+ 2 = 8182 dimensions") as raised:
        vector_fields(combining, wide, None)
    assert "fuse add" in raised.value.hint
    assert vector_fields(Combining(pictures="mean", fuse="add"), wide, None)["fused"].dim == 4090


# -- means


@given(st.lists(st.tuples(st.integers(0, 99), st.floats(0.01, 10)), min_size=1, max_size=6))
def test_the_mean_of_pictures(drawn: list[tuple[int, float]]) -> None:
    rows = [random(seed, 5) for seed, _ in drawn]
    weights = [weight for _, weight in drawn]
    mean = weighted_mean(rows, weights)
    total = np.sum([weight * row.astype(float) for weight, row in zip(weights, rows, strict=True)], axis=0)
    if np.linalg.norm(total) > 1e-3:
        assert mean == pytest.approx(total / np.linalg.norm(total), abs=1e-5)
    assert np.linalg.norm(mean.astype(float)) == pytest.approx(1, abs=1e-6)
    assert weighted_mean(rows[:1], [7.0]) == pytest.approx(rows[0], abs=1e-7)


def test_pictures_that_cancel_each_other_leave_the_heaviest() -> None:
    assert weighted_mean([one(1, 0), one(-1, 0)], [1.0, 1.0]).tolist() == [1.0, 0.0]
    found = weighted_mean([one(1, 0), one(-1, 0), one(-1, 0)], [1.0, 0.5, 0.5])
    assert found.tolist() == [1.0, 0.0]


def test_weights_frames_and_failures() -> None:
    combiner = Combiner(Combining(pictures="mean"), INFO)
    broken = shot("x.jpg", one(0, 0, 1), failure=("picture", "missing", "gone"))
    hidden = shot("y.jpg", one(0, 0, 1), weight=0.0)
    shots = [shot("a.jpg", one(1, 0, 0), weight=2.0), shot("b.jpg", one(0, 1, 0)), broken, hidden]
    assert combiner.means(shots)["joint"] == pytest.approx(one(2, 1, 0))
    film = [shot("f.mp4", one(0, 1, 0)), shot("f.mp4", one(0, 1, 0)), shot("a.jpg", one(1, 0, 0))]
    assert combiner.means(film)["joint"] == pytest.approx(one(1, 1, 0)), "frames share the film's weight"
    assert combiner.means([broken, hidden]) == {}
    assert combiner.document(None, [broken]) == {}


# -- one vector for text and pictures


def test_added() -> None:
    combiner = Combiner(Combining(pictures="mean", fuse="add", text_share=0.25), INFO)
    text, picture = one(1, 0), one(0, 1)
    assert combiner.fuse(text, {"joint": picture}) == pytest.approx(one(0.25, 0.75))
    assert combiner.fuse(text, {}) is text
    assert combiner.fuse(None, {"joint": picture}) is picture
    assert combiner.fuse(None, {}) is None
    even = Combiner(Combining(pictures="mean", fuse="add"), INFO)
    assert even.fuse(text, {"joint": one(-1, 0)}) is text, "nothing is left of their sum"
    assert (even.text_space, combiner.image_spaces) == ("joint", [])


BLOCKS = blocks_of(Combining(pictures="mean", fuse="concat", text_share=0.4), INFO.spaces, "text")
FLOORS = {"text": 0.8, "image": 0.2, "photo": 0.5, "visual": 0.3}


def test_the_layout_of_a_concatenated_vector() -> None:
    text, joint, visual = BLOCKS
    assert text == Block(name="text", space="text", dim=24, share=0.4)
    assert joint == Block(name="joint", space="joint", dim=32, share=0.3)
    assert visual == Block(name="visual", space="visual", dim=16, share=0.3)
    alone = blocks_of(Combining(pictures="mean", fuse="concat"), INFO.spaces[:1], None)
    assert [(block.name, block.space, block.share) for block in alone] == [
        ("text", "joint", 0.5),
        ("joint", "joint", 0.5),
    ]
    assert blocks_of(Combining(), INFO.spaces, "text") == ()


@pytest.mark.parametrize("has_text", [True, False])
@pytest.mark.parametrize("has_picture", [True, False])
@given(seed=st.integers(0, 10_000))
def test_an_inner_product_is_the_weighted_sum_of_cosines(
    has_text: bool, has_picture: bool, seed: int
) -> None:
    combining = Combining(pictures="mean", fuse="concat", text_share=0.4)
    combiner = Combiner(combining, INFO)
    text, joint, visual = random(seed, 24), random(seed + 1, 32), random(seed + 2, 16)
    made = combiner.fuse(
        text if has_text else None, {"joint": joint, "visual": visual} if has_picture else {}
    )
    if made is None:
        assert not has_text
        return
    assert np.linalg.norm(made.astype(float)) == pytest.approx(1, abs=1e-6)
    fusing = combiner.fusing(FLOORS)
    assert fusing is not None
    asked = {"text": random(seed + 3, 24), "joint": random(seed + 4, 32), "visual": random(seed + 5, 16)}
    words, photo = fusing.of_text(asked), fusing.of_picture(asked)
    parts = {
        "text": float(text @ asked["text"]) if has_text else FLOORS["text"],
        "words": float(joint @ asked["joint"]) if has_picture else FLOORS["image"],
        "photo": float(joint @ asked["joint"]) if has_picture else FLOORS["photo"],
        "visual": float(visual @ asked["visual"]) if has_picture else FLOORS["visual"],
    }
    length = np.sqrt(0.4 * (1 + 0.8**2) + 0.3 * (1 + 0.2**2))
    assert float(made @ words) * length == pytest.approx(0.4 * parts["text"] + 0.3 * parts["words"], abs=1e-5)
    length = np.sqrt(0.3 * (1 + 0.5**2) + 0.3 * (1 + 0.3**2))
    assert float(made @ photo) * length == pytest.approx(0.3 * (parts["photo"] + parts["visual"]), abs=1e-5)
    again = fusing.of_product(made)
    assert again is not None
    assert again[-4:].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_a_product_as_a_query_needs_something_in_it() -> None:
    bare = join(BLOCKS, {}, dict.fromkeys(("text", "joint", "visual"), 1.0))
    combining = Combining(pictures="mean", fuse="concat", text_share=0.4)
    assert Fusing(combining=combining, blocks=BLOCKS).of_product(bare) is None


def test_encoders_without_a_space_for_texts() -> None:
    alone = EncoderInfo(
        spec="clip",
        fingerprint="clip-1",
        spaces=(Space(name="joint", dim=4, modalities=frozenset({"text", "picture"})),),
        text_space=None,
        languages=("en",),
        licence="MIT",
        picture_side=8,
    )
    assert Combiner(Combining(), alone).text_space is None
    combiner = Combiner(Combining(pictures="mean", fuse="concat"), alone)
    assert combiner.text_space == "joint"
    made = combiner.fuse(one(1, 0, 0, 0), {"joint": one(0, 1, 0, 0)})
    assert made == pytest.approx(np.sqrt(0.5) * np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0]))


# -- similarities


def test_the_formulas_of_the_manual() -> None:
    for cosine in (-1.0, -0.5, 0.0, 0.25, 1.0):
        level, square = (1 + cosine) / 2, 2 - 2 * cosine
        assert score_of("cosine", level) == score_of("dot_product", level) == level
        assert score_of("l2_norm", level) == pytest.approx(1 / (1 + square))
        assert least_similarity("l2_norm", level) == pytest.approx(square**0.5)
        assert least_similarity("dot_product", level) == least_similarity("cosine", level) == cosine
    assert score_of("max_inner_product", 0.75) == pytest.approx(1.5)
    assert score_of("max_inner_product", 0.25) == pytest.approx(1 / 1.5)


@given(COSINES, COSINES, st.sampled_from(KINDS))
def test_every_score_rises_with_the_cosine(low: float, high: float, kind: str) -> None:
    low, high = sorted(((1 + low) / 2, (1 + high) / 2))
    assert score_of(kind, low) <= score_of(kind, high)


def test_nothing_is_nearer_than_the_same() -> None:
    assert least_similarity("l2_norm", 1.001) is None
    leg = VectorLeg(
        name="text",
        weight=1.0,
        vector=one(1, 0),
        calibration=Calibration(floor=0.9, spread=0.1),
        similarity="l2_norm",
    )
    assert leg.relevant(5.0, None, 10) == {"match_none": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_a_leg_begins_at_its_floor(kind: str) -> None:
    leg = VectorLeg(
        name="text",
        weight=1.0,
        vector=one(1, 0),
        calibration=Calibration(floor=0.5, spread=0.05),
        similarity=kind,
    )
    floor, span = leg.bounds(3.0)
    assert floor == pytest.approx({"l2_norm": 1 / 3, "max_inner_product": 1.0}.get(kind, 0.5))
    assert floor + span == pytest.approx(score_of(kind, 0.65))
    scale = convex_scales([leg], {"text": floor + span / 2}, 3.0)["text"]
    assert (scale.floor, scale.span) == (floor, span)


# -- the leg


def test_the_weight_of_one_leg_is_that_of_those_it_stands_for() -> None:
    def weight(query: Query, profile: Profile = DEFAULT_PROFILE) -> float:
        weights = profile.fused_weights(query, ("red", "mug", "big"))
        assert not {"text", "image", "visual"} & set(weights)
        return weights.get("fused", 0.0)

    words, photo = Query(text="red big mug"), Query(pictures=("p.jpg",))
    assert weight(words) == pytest.approx(0.6)
    assert weight(photo) == pytest.approx(1.0)
    assert weight(Query(text="red", weights={"text": 0.0})) == pytest.approx(0.2)
    assert weight(Query(text="red", weights={"text": 0.0, "image": 0.0})) == 0
    assert weight(Query(text="red", weights={"fused": 0.3})) == 0.3
    assert weight(Query(text="red", weights={"fused": 0.0})) == 0
    named = Profile(convex={**DEFAULT_PROFILE.convex, "text": {"lexical": 1.0, "fused": 2.0}})
    assert weight(words, named) == 2.0
    assert weight(photo, named) == pytest.approx(1.0)


def test_a_photo_has_a_calibration_of_its_own() -> None:
    floors = [
        leg.calibration.floor
        for plan in (fused_plan(), fused_plan(text="", pictures=("p.jpg",)))
        for leg in plan.legs
        if isinstance(leg, VectorLeg) and leg.calibration
    ]
    assert floors == [0.5, 0.6]
    late = {leg.name: leg for leg in fused_plan("late", pictures=("p.jpg",)).legs}
    picture = late["fused:picture"]
    assert isinstance(picture, VectorLeg)
    assert picture.calibration == Calibration(floor=0.6, spread=0.04)


def test_the_picture_that_is_shown_where_none_fits_best() -> None:
    scale = Scale(weight=1.0, floor=0.5, span=0.25)
    images = [{"ref": "a.jpg"}, {"ref": "b.jpg", "role": "main"}]
    row = {"_id": "p1", "_source": {"images": images}, "matched_queries": {"fused": 3.0}}
    plain = {**row, "matched_queries": {}}
    answer = {"hits": {"hits": [row, plain]}}
    first, second = read_hits(answer, AffineFusion(scales={"fused": scale}), offset=0)
    assert first.best_image == "b.jpg"
    assert second.best_image is None, "its vector took no part"
    (words,) = read_hits({"hits": {"hits": [row]}}, AffineFusion(scales={"lexical": scale}), offset=0)
    assert words.best_image is None
