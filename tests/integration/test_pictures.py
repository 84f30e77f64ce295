"""Several pictures of a product, one vector for text and pictures, and the similarities, on real servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from es_xmodal.cluster.client import connect
from es_xmodal.errors import IndexStateError, SettingsError
from es_xmodal.index.combining import Combining, CombiningWish
from es_xmodal.index.target import Target, load_target
from es_xmodal.query.model import Query
from es_xmodal.search.result import Hit, SearchResult
from es_xmodal.settings import load_settings
from tests.support.ingesting import documents
from tests.support.nodes import delete_everything_named
from tests.support.pictures import COUNT, FussyEncoder, Shop, unit, write
from tests.support.shops import ingest_shop, searcher

pytestmark = pytest.mark.integration

ROLES = {"detail": 0.5}
MODES = {
    "best": CombiningWish(),
    "best_dot": CombiningWish(similarity="dot_product"),
    "best_l2": CombiningWish(similarity="l2_norm"),
    "mean": CombiningWish(pictures="mean", role_weights=ROLES),
    "mean_l2": CombiningWish(pictures="mean", role_weights=ROLES, similarity="l2_norm"),
    "add": CombiningWish(fuse="add", similarity="dot_product", text_share=0.3),
    "concat": CombiningWish(fuse="concat", text_share=0.4, role_weights=ROLES),
    "concat_l2": CombiningWish(fuse="concat", text_share=0.4, role_weights=ROLES, similarity="l2_norm"),
}
VECTORS_ONLY = {"lexical": 0.0}
WORDS = "red thing"
SIMILARITIES = ("best", "best_dot", "best_l2")
Ask = Callable[[str, Query], SearchResult]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def shop(catalog: Path) -> Shop:
    return Shop(catalog)


@pytest.fixture(scope="module")
def indices(es_url: str, catalog: Path) -> Iterator[dict[str, str]]:
    prefix = f"t{secrets.token_hex(5)}-"
    names = {mode: f"{prefix}{mode}" for mode in MODES}
    for mode, wish in MODES.items():
        report = ingest_shop(es_url, catalog, names[mode], encoder=FussyEncoder(), combining=wish, shards=1)
        assert report.counts["indexed"] == COUNT
        assert report.vectors == wish.over(None)
        assert report.counts["without_image"] == COUNT // 4
    yield names
    delete_everything_named(es_url, prefix)


@pytest.fixture(scope="module")
def ask(es_url: str, indices: dict[str, str]) -> Ask:
    def run(mode: str, query: Query) -> SearchResult:
        with searcher(es_url, indices[mode], encoder=FussyEncoder()) as found:
            return found.search(query)

    return run


def target(es_url: str, index: str) -> Target:
    client = connect(load_settings(url=es_url))
    try:
        return load_target(client, index)
    finally:
        client.close()


def raws(result: SearchResult, leg: str) -> dict[str, float]:
    found = {hit.id: hit.ledger.legs[leg].raw for hit in result.hits if leg in hit.ledger.legs}
    return {product: raw for product, raw in found.items() if raw is not None}


def ranked(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def query(text: str = "", photo: Path | None = None, **more: object) -> Query:
    asked = {"text": text, "pictures": (str(photo),) if photo else (), "size": COUNT, **more}
    return Query(**asked)  # type: ignore[arg-type]


def score(similarity: str, cosine: float) -> float:
    return 1 / (1 + 2 - 2 * cosine) if similarity == "l2_norm" else (1 + cosine) / 2


def check(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=2e-6)


# -- exact, against numpy


@pytest.mark.parametrize("mode", ["best", "best_dot", "best_l2", "mean", "mean_l2"])
def test_separate_legs_are_exact(ask: Ask, shop: Shop, catalog: Path, mode: str) -> None:
    combining = MODES[mode].over(None)
    how = combining.similarity or "cosine"
    photo = catalog.parent / "images/7-1.png"
    result = ask(
        mode, query(WORDS, photo, weights={**VECTORS_ONLY, "text": 1.0, "image": 1.0, "visual": 1.0})
    )
    words, seen = shop.words(WORDS), shop.photo(photo)
    asked = {"image": unit(words["joint"] + seen["joint"]), "visual": seen["visual"]}
    for leg, space in (("image", "joint"), ("visual", "visual")):
        if combining.pictures == "mean":
            cosines = {one: float(mean @ asked[leg]) for one, mean in shop.means(space, combining).items()}
        else:
            pictures = shop.pictures(space, combining)
            cosines = {one: max(float(v @ asked[leg]) for _, v in pairs) for one, pairs in pictures.items()}
        check(raws(result, leg), {product: score(how, one) for product, one in cosines.items()})
    texts = {one: score(how, float(vector @ words["text"])) for one, vector in shop.texts("text").items()}
    check(raws(result, "text"), texts)


@pytest.mark.parametrize("mode", ["concat", "concat_l2"])
def test_a_concatenated_score_is_the_weighted_sum_of_cosines(
    es_url: str, indices: dict[str, str], ask: Ask, shop: Shop, mode: str
) -> None:
    combining = MODES[mode].over(None)
    share, rest = combining.text_share, (1 - combining.text_share) / 2
    calibration = target(es_url, indices[mode]).meta.calibration
    floors = {name: 2 * calibration[name].floor - 1 for name in ("text", "image")}
    words = shop.words(WORDS)
    texts, joint = shop.texts("text"), shop.means("joint", combining)
    # What a product lacks counts as what is unrelated.
    sums = {
        one.id: share * (float(texts[one.id] @ words["text"]) if one.id in texts else floors["text"])
        + rest * (float(joint[one.id] @ words["joint"]) if one.id in joint else floors["image"])
        for one in shop.products
        if one.id in texts or one.id in joint
    }
    length = np.sqrt(share * (1 + floors["text"] ** 2) + rest * (1 + floors["image"] ** 2))
    how = combining.similarity or "cosine"
    expected = {product: score(how, one / length) for product, one in sums.items()}
    result = ask(mode, query(WORDS, weights=VECTORS_ONLY))
    check(raws(result, "fused"), expected)
    assert ranked(result)[: len(expected)] == sorted(expected, key=lambda one: (-expected[one], one))


def test_a_photo_against_a_concatenated_vector(
    es_url: str, indices: dict[str, str], ask: Ask, shop: Shop, catalog: Path
) -> None:
    combining = MODES["concat"].over(None)
    photo = catalog.parent / "images/7-1.png"
    calibration = target(es_url, indices["concat"]).meta.calibration
    floors = [2 * calibration[name].floor - 1 for name in ("photo", "visual")]
    seen, rest = shop.photo(photo), (1 - combining.text_share) / 2
    joint, visual = shop.means("joint", combining), shop.means("visual", combining)
    length = np.sqrt(rest * (2 + floors[0] ** 2 + floors[1] ** 2))
    expected = {
        one.id: score(
            "cosine",
            rest
            * (
                float(joint[one.id] @ seen["joint"] + visual[one.id] @ seen["visual"])
                if one.id in joint
                else sum(floors)
            )
            / length,
        )
        for one in shop.products
        if one.id in joint or one.id in shop.texts("text")
    }
    result = ask("concat", query(photo=photo))
    check(raws(result, "fused"), expected)
    first = [product for product in ranked(result) if product in expected]
    assert first == sorted(expected, key=lambda one: (-expected[one], one))


def test_an_added_vector_is_exact(ask: Ask, shop: Shop, catalog: Path) -> None:
    combining = MODES["add"].over(None)
    texts, joint = shop.texts("joint"), shop.means("joint", combining)
    both = {
        one.id: unit(
            0.3 * texts.get(one.id, np.zeros(32)) * (1 if one.id in joint else 10)
            + 0.7 * joint.get(one.id, np.zeros(32))
        )
        for one in shop.products
        if one.id in texts or one.id in joint
    }
    for asked, vector in (
        (query(WORDS, weights=VECTORS_ONLY), shop.words(WORDS)["joint"]),
        (
            query(photo=catalog.parent / "images/6-0.png"),
            shop.photo(catalog.parent / "images/6-0.png")["joint"],
        ),
    ):
        expected = {product: score("dot_product", float(one @ vector)) for product, one in both.items()}
        check(raws(ask("add", asked), "fused"), expected)


# -- similarities


@pytest.mark.parametrize("leg", ["text", "image"])
def test_every_similarity_gives_the_same_order_and_cut(ask: Ask, leg: str) -> None:
    alone = {"lexical": 0.0, "text": 0.0, "image": 0.0, leg: 1.0}
    orders = {mode: ranked(ask(mode, query(WORDS, weights=alone))) for mode in SIMILARITIES}
    assert orders["best_dot"] == orders["best_l2"] == orders["best"]
    passed = []
    for cutoff in (-2.0, 0.0, 1.0, 2.0):
        cut = [ranked(ask(mode, query(WORDS, weights=alone, cutoff=cutoff))) for mode in SIMILARITIES]
        assert cut[0] == cut[1] == cut[2]
        passed.append(len(cut[0]))
    assert passed[0] > passed[-1], "the cut-off cuts"
    assert {len(ask(mode, query(WORDS, weights=alone, cutoff=10.0)).hits) for mode in SIMILARITIES} == {0}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_product_without_a_picture_has_the_floor(ask: Ask, catalog: Path, mode: str) -> None:
    """The server adds up what the ledger does: the order of the hits is that of the ledger's scores."""
    result = ask(mode, query(WORDS, catalog.parent / "images/7-1.png"))
    scores = [hit.score for hit in result.hits]
    assert len(scores) == COUNT
    assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-6)
    bare: Hit = next(hit for hit in result.hits if hit.id == "p08")  # neither picture nor text vector
    vectors = {name: leg for name, leg in bare.ledger.legs.items() if name != "lexical"}
    assert vectors
    assert {(leg.raw, leg.contribution) for leg in vectors.values()} == {(None, 0.0)}
    below = [hit for hit in result.hits if any(leg.contribution < 0 for leg in hit.ledger.legs.values())]
    assert below or mode == "add", (
        "some products are less alike than unrelated ones are on average, and stand below"
    )


@pytest.mark.parametrize("mode", sorted(MODES))
def test_products_like_one(ask: Ask, mode: str) -> None:
    result = ask(mode, query(like=("p07",), keep_like=True))
    assert ranked(result)[0] == "p07"
    assert "p07" not in ranked(ask(mode, query(like=("p07",))))
    without = ask(mode, query(like=("p04",), keep_like=True))  # no picture
    assert ranked(without)[0] == "p04"


@pytest.mark.parametrize("mode", ["add", "concat"])
def test_every_way_to_ask_one_field(ask: Ask, catalog: Path, mode: str) -> None:
    photo = catalog.parent / "images/6-0.png"
    both = ask(mode, query(WORDS, photo))
    assert both.legs == ("lexical", "fused")
    assert {hit.best_image for hit in both.hits if hit.id == "p06"} == {"images/6-0.png"}
    late = ask(mode, query(WORDS, photo, composition="late"))
    assert late.legs == ("lexical", "fused:text", "fused:picture")
    away = ask(mode, query(WORDS, minus=("thing",), weights=VECTORS_ONLY))
    assert not away.warnings
    boost = ask(mode, query(WORDS, fusion="boost"))
    assert boost.hits[0].ledger.legs["fused"].weight == 30.0
    heavy = ask(mode, query(WORDS, weights={"fused": 3.0, "lexical": 1.0}))
    assert heavy.hits[0].ledger.legs["fused"].weight == pytest.approx(0.75)
    none = ask(mode, query(WORDS, weights={"text": 0.0, "image": 0.0}))
    assert none.legs == ("lexical",)
    cut = ask(mode, query("xyzzy", cutoff=2.0))
    assert len(cut.hits) < COUNT


def test_one_field_asked_where_there_is_none(ask: Ask) -> None:
    found = ask("best", query(WORDS, weights={"fused": 1.0}))
    assert "the weight of fused has no effect" in found.warnings[0]


# -- what is stored


def test_roles_and_weights_are_kept_and_given_back(es_url: str, indices: dict[str, str], ask: Ask) -> None:
    client = connect(load_settings(url=es_url))
    best, mean = (documents(client, indices[mode])["p03"]["images"] for mode in ("best", "mean"))
    client.close()
    assert [set(image) - {"ref"} for image in best] == [
        {"joint", "visual"},
        {"joint", "visual", "role"},
        {"role", "weight"},  # of weight 0: shown, and not searched
    ]
    assert [set(image) - {"ref"} for image in mean] == [set(), {"role"}, {"role", "weight"}]
    hit = next(one for one in ask("mean", query(WORDS)).hits if one.id == "p03")
    assert hit.source["images"] == [
        "images/3-0.png",
        {"ref": "images/3-1.png", "role": "detail"},
        {"ref": "images/3-2.png", "role": "back", "weight": 0.0},
    ]
    assert hit.best_image == "images/3-0.png"


def test_a_later_ingest_follows_the_index_or_says_so(es_url: str, catalog: Path, index_prefix: str) -> None:
    name = f"{index_prefix}shop"

    def run(**options: object) -> tuple[int, Combining]:
        report = ingest_shop(es_url, catalog, name, encoder=FussyEncoder(), **options)
        return report.counts["unchanged"], report.vectors

    mean = CombiningWish(pictures="mean", role_weights=ROLES)
    assert run(combining=mean)[0] == 0
    assert run() == (COUNT, mean.over(None))
    with pytest.raises(
        IndexStateError, match=r"has pictures mean.*detail=0.5; this ingest asks for pictures"
    ):
        run(combining=CombiningWish(pictures="best", role_weights={}))
    with pytest.raises(IndexStateError, match=r"role weights detail=0.25"):
        run(combining=replace(mean, role_weights={"detail": 0.25}))
    with pytest.raises(SettingsError, match="no effect on the best"):
        run(combining=replace(mean, pictures="best"), rebuild=True)
    assert run(rebuild=True) == (0, mean.over(None))
    again = CombiningWish(pictures="best", similarity="dot_product")
    assert run(combining=again, rebuild=True)[1] == Combining(similarity="dot_product")
