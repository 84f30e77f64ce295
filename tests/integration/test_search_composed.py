"""Like these, move away from, early and late composition, on a real index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from es_xmodal.errors import QueryError
from es_xmodal.query.model import Query
from es_xmodal.query.terms import Term
from es_xmodal.search.engine import Searcher
from es_xmodal.search.result import SearchResult
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def index(es_url: str, folder: Path) -> Iterator[str]:
    name = f"tcomposed{abs(hash(es_url)) % 10**8}"
    ingest_shop(es_url, write_shop(folder), name)
    yield name
    delete_everything_named(es_url, name)


@pytest.fixture
def shop(es_url: str, index: str) -> Iterator[Searcher]:
    with searcher(es_url, index) as found:
        yield found


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def adds_up(result: SearchResult) -> None:
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.ledger.legs.values()), abs=1e-6)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)


def test_like_one_product(shop: Searcher) -> None:
    result = shop.search(Query(like=("mug-red",)))
    assert result.legs == ("text", "image", "visual")
    assert "mug-red" not in ids(result)
    by_text = shop.search(Query(like=("mug-red",), weights={"image": 0, "visual": 0}))
    assert by_text.hits[0].id == "mug-blue", "the other ceramic mug of the shop"
    by_picture = shop.search(Query(like=("mug-red",), weights={"text": 0, "visual": 0}))
    assert by_picture.hits[0].id == "sofa", "the other red thing"
    adds_up(result)


def test_the_product_itself_is_nearest_where_it_may_be_a_hit(shop: Searcher) -> None:
    """The stored vectors are those of the product: it scores 1 in every leg."""
    result = shop.search(Query(like=("mug-red",), keep_like=True))
    assert result.hits[0].id == "mug-red"
    for leg in result.hits[0].ledger.legs.values():
        assert leg.raw == pytest.approx(1.0, abs=1e-6)


def test_like_needs_no_encoder(es_url: str, index: str) -> None:
    encoder = HashEncoder()
    with searcher(es_url, index, encoder=encoder) as shop:
        shop.search(Query(like=("lamp",), minus=(Term(kind="id", value="sofa"),)))
    assert encoder.calls == []


def test_a_product_without_a_picture_is_like_others_by_its_text(shop: Searcher) -> None:
    assert shop.search(Query(like=("towel",))).legs == ("text",)


def test_several_pictures_of_a_product_are_one_wish(shop: Searcher, folder: Path) -> None:
    """mug-blue has two pictures; its vector is their mean."""
    result = shop.search(Query(like=("mug-blue",), keep_like=True, weights={"text": 0, "image": 0}))
    paths = [str(folder / "images" / f"mug-blue-{n}.png") for n in (0, 1)]
    same = shop.search(Query(pictures=tuple(paths), weights={"image": 0}))
    assert [hit.ledger.legs["visual"].raw for hit in result.hits] == pytest.approx(
        [hit.ledger.legs["visual"].raw for hit in same.hits], abs=1e-5
    )


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"like": ("mug-red", "nobody", "none")}, "like", "not in the index: 'nobody', 'none'"),
        ({"text": "mug", "minus": (Term(kind="id", value="nobody"),)}, "minus", "'nobody'"),
    ],
)
def test_missing_products_are_one_line(
    shop: Searcher, options: dict[str, object], field: str, says: str
) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        shop.search(Query(**options))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["early", "late"])
def test_minus_words_move_away(shop: Searcher, how: str) -> None:
    only = {"lexical": 0.0, "text": 1.0, "image": 0.0}
    plain = shop.search(Query(text="ceramic mug", weights=only))
    away = shop.search(Query(text="ceramic mug", minus=("red",), weights=only, composition=how))  # type: ignore[arg-type]
    raw = {hit.id: hit.ledger.legs["text"].raw or 0.0 for hit in plain.hits}
    moved = {hit.id: hit.ledger.legs["text"].raw or 0.0 for hit in away.hits}
    assert ids(away)[0] == "mug-blue"
    assert "mug-red" in moved, "it is not excluded"
    assert moved["mug-red"] - moved["mug-blue"] < raw["mug-red"] - raw["mug-blue"]
    adds_up(away)


def test_minus_a_product_and_minus_a_picture(shop: Searcher, folder: Path) -> None:
    plain = shop.search(Query(text="mug", weights={"lexical": 0}))
    by_id = shop.search(Query(text="mug", minus=(Term(kind="id", value="mug-red"),), weights={"lexical": 0}))
    assert ids(plain).index("mug-red") < ids(by_id).index("mug-red")
    red = Term(kind="image", value=str(folder / "images" / "mug-red-0.png"), weight=2.0)
    only = {"lexical": 0.0, "text": 0.0, "image": 1.0}
    by_picture = shop.search(Query(text="red", minus=(red,), weights=only))
    assert shop.search(Query(text="red", weights=only)).hits[0].id in ("mug-red", "sofa")
    assert by_picture.hits[0].id in ("mug-blue", "lamp")


def test_the_weight_of_minus_counts(shop: Searcher) -> None:
    only = {"lexical": 0.0, "text": 1.0, "image": 0.0}
    raws = []
    for weight in (0.1, 0.9):
        minus = (Term(kind="text", value="red", weight=weight),)
        hits = shop.search(Query(text="ceramic mug", minus=minus, weights=only)).hits
        raws.append(next(hit.ledger.legs["text"].raw or 0.0 for hit in hits if hit.id == "mug-red"))
    assert raws[1] < raws[0]


@pytest.mark.parametrize("fusion", ["convex", "rrf", "boost"])
def test_late_is_a_leg_for_each_term(shop: Searcher, folder: Path, fusion: str) -> None:
    picture = str(folder / "images" / "sofa-0.png")
    query = Query(text="red mug", pictures=(picture,), composition="late", fusion=fusion)  # type: ignore[arg-type]
    result = shop.search(query)
    assert result.composition == "late"
    assert result.legs == ("lexical", "text", "image:text", "image:picture", "visual")
    assert result.to_json()["plan"]["composition"] == "late"
    sofa = next(hit for hit in result.hits if hit.id == "sofa")
    assert sofa.ledger.legs["image:picture"].raw == pytest.approx(1.0, abs=1e-5)
    assert sofa.best_image == "images/sofa-0.png"
    adds_up(result)


def test_early_scores_are_those_of_the_summed_vector(shop: Searcher, folder: Path) -> None:
    products = shop.search(Query(like=("sofa",), keep_like=True)).hits
    result = shop.search(
        Query(text="red mug", text_weight=2.0, like=("sofa",), keep_like=True, composition="early")
    )
    assert {hit.id for hit in products} <= set(ids(result))
    sofa = next(hit for hit in result.hits if hit.id == "sofa")
    # The sofa's vector s is not known here, but |2w + s| and s·(2w + s) follow from w·s.
    alone = shop.search(Query(text="red mug", weights={"lexical": 0, "text": 0}))
    raw = next(hit.ledger.legs["image"].raw for hit in alone.hits if hit.id == "sofa")
    assert raw is not None
    cosine = 2 * raw - 1
    expected = (2 * cosine + 1) / np.sqrt(4 + 4 * cosine + 1)
    assert sofa.ledger.legs["image"].raw == pytest.approx((1 + expected) / 2, abs=1e-5)


def test_pages_of_a_composed_query_continue(shop: Searcher) -> None:
    query = Query(text="mug", like=("lamp",), minus=("red",), composition="late", size=2)
    whole = ids(shop.search(Query(text="mug", like=("lamp",), minus=("red",), composition="late")))
    seen: list[str] = []
    cursor = None
    while True:
        page = shop.search(query, cursor=cursor)
        seen += ids(page)
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == whole
    first = shop.search(query)
    with pytest.raises(QueryError, match="cursor"):
        shop.search(
            Query(text="mug", like=("sofa",), minus=("red",), composition="late"), cursor=first.cursor
        )


def test_plan_says_the_composition(shop: Searcher) -> None:
    planned = shop.plan(Query(text="mug", like=("lamp",), composition="late"))
    assert planned.plan.composition == "late"
    assert "must_not" in str(planned.requests[0].bodies)


def test_late_without_anything_to_split_is_a_note(shop: Searcher) -> None:
    assert any(
        "late changes nothing" in note for note in shop.search(Query(text="mug", composition="late")).warnings
    )
    assert shop.search(Query(text="mug", composition="early")).warnings == ()
