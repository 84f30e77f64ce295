"""Search on a real index: words, pictures, both; filters; pages; a ranking that adds up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_xmodal.cluster.client import connect
from es_xmodal.errors import (
    FingerprintMismatchError,
    ForeignIndexError,
    IndexMissingError,
    PictureError,
    QueryError,
)
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.model import FUSIONS, Query
from es_xmodal.search.engine import Searcher
from es_xmodal.search.result import Hit
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.shops import ROWS, ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration

MANY = 130


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def index(es_url: str, folder: Path) -> Iterator[str]:
    name = f"tsearch{abs(hash(es_url)) % 10**8}"
    report = ingest_shop(es_url, write_shop(folder), name)
    assert report.counts["indexed"] == len(ROWS)
    yield name
    delete_everything_named(es_url, name)


@pytest.fixture
def shop(es_url: str, index: str) -> Iterator[Searcher]:
    with searcher(es_url, index) as found:
        yield found


def ids(hits: tuple[Hit, ...]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("fusion", ["convex", "boost"])
@pytest.mark.parametrize(
    ("text", "first"), [("red mug", "mug-red"), ("蓝色马克杯", "mug-blue"), ("被", "odd"), ("tw 1", "towel")]
)
def test_words(shop: Searcher, fusion: str, text: str, first: str) -> None:
    # The vectors of the tests' encoder are noise for words that no title has, so they take no part here.
    weights = {"lexical": 1.0, "text": 0.01, "image": 0.01}
    result = shop.search(Query(text=text, fusion=fusion, weights=weights))  # type: ignore[arg-type]
    assert result.hits[0].id == first
    assert result.requests == (2 if fusion == "convex" else 1)


@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_a_picture_finds_its_product_and_names_it(shop: Searcher, folder: Path, fusion: str) -> None:
    picture = str(folder / "images" / "mug-blue-1.png")
    result = shop.search(Query(pictures=(picture,), fusion=fusion))  # type: ignore[arg-type]
    assert result.hits[0].id == "mug-blue"
    assert result.hits[0].best_image == "images/mug-blue-1.png"
    assert set(ids(result.hits)) <= {"mug-red", "mug-blue", "lamp", "sofa"}, "others have no picture"
    from_bytes = shop.search(Query(pictures=(Path(picture).read_bytes(),), fusion=fusion))  # type: ignore[arg-type]
    assert ids(from_bytes.hits) == ids(result.hits)


def test_picture_and_words_together(shop: Searcher, folder: Path) -> None:
    picture = str(folder / "images" / "sofa-0.png")
    result = shop.search(Query(text="red mug", pictures=(picture,)))
    assert result.legs == ("lexical", "text", "image", "visual")
    assert set(ids(result.hits)[:2]) == {"mug-red", "sofa"}


def test_every_hit_has_a_score_in_every_leg_it_can_have(shop: Searcher) -> None:
    result = shop.search(Query(text="mug"))
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.ledger.legs.values()), abs=1e-9)
        for leg in hit.ledger.legs.values():
            assert leg.contribution == pytest.approx(leg.weight * leg.normalised, abs=1e-9)
        assert hit.ledger.legs["text"].raw is not None
        assert (hit.ledger.legs["image"].raw is None) == (hit.id in ("towel", "odd"))
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


def test_scores_equal_those_worked_out_from_the_vectors(shop: Searcher, es_url: str, folder: Path) -> None:
    """The kNN scores of the ledger are exact: (1 + cos) / 2 of the vectors that the encoder gives."""
    encoder = HashEncoder()
    asked = encoder.encode_texts(["red mug"])["text"][0]
    for hit in shop.search(Query(text="red mug")).hits:
        row = next(row for row in ROWS if row["id"] == hit.id)
        text = "\n".join(filter(None, [row["title"], row.get("title_zh")]))
        cosine = float(encoder.encode_texts([text])["text"][0] @ asked)
        assert hit.ledger.legs["text"].raw == pytest.approx((1 + cosine) / 2, abs=2e-6)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("brand=KORVANE", {"mug-red", "mug-blue"}),
        ("price=10..40", {"mug-red", "mug-blue", "lamp"}),
        ("price>=900", {"sofa"}),
        ("images=*", {"mug-red", "mug-blue", "lamp", "sofa"}),
        ("attributes.colour=Red", {"sofa"}),
        ("attributes.colour=*", {"sofa"}),
        ("sku=tw-1", {"towel"}),
        ("brand=nobody", set()),
    ],
)
@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_filters(shop: Searcher, condition: str, expected: set[str], fusion: str) -> None:
    query = Query(text="mug", filters=(parse_filter(condition),), fusion=fusion)  # type: ignore[arg-type]
    assert set(ids(shop.search(query).hits)) == expected


def test_weights_choose_the_leg(shop: Searcher) -> None:
    only = {"lexical": 1.0, "text": 0.0, "image": 0.0}
    result = shop.search(Query(text="sofa", weights=only))
    assert ids(result.hits) == ["sofa"]
    assert result.legs == ("lexical",)
    assert result.hits[0].score == pytest.approx(1.0)
    assert (result.total.value, result.total.at_least) == (1, False)


def test_highlights_show_the_original_text(shop: Searcher) -> None:
    hit = next(hit for hit in shop.search(Query(text="MUGS 马克杯")).hits if hit.id == "mug-red")
    assert hit.highlight == {"title": "Red ceramic <em>mug</em>", "title_zh": "红色陶瓷<em>马克杯</em>"}
    assert hit.source["title_zh"] == "红色陶瓷马克杯"


def test_the_source_is_the_catalogue_row(shop: Searcher) -> None:
    hit = shop.search(Query(text="leather sofa")).hits[0]
    assert hit.source["attributes"] == {"colour": ["red"]} or hit.source["attributes"] == {"colour": "red"}
    assert hit.source["images"] == ["images/sofa-0.png"]
    assert not {"tokens", "row_hash", "text_vector", "attribute_pairs"} & set(hit.source)


def test_plan_prints_what_search_sends(shop: Searcher) -> None:
    planned = shop.plan(Query(text="red mug"))
    first, last = planned.requests
    assert [leg.name for leg in planned.plan.legs] == ["lexical", "text", "image"]
    assert first.endpoint == "_msearch"
    named = last.bodies[0]["query"]["bool"]["filter"][0]["ids"]["values"]
    assert named == sorted(row["id"] for row in ROWS)
    json.dumps([first.bodies, last.bodies])


def test_pages_continue(es_url: str, index_prefix: str, tmp_path: Path) -> None:
    rows = [{"id": f"p{number:03d}", "title": f"mug {number % 7}"} for number in range(MANY)]
    ingest_shop(es_url, write_shop(tmp_path, rows), f"{index_prefix}pages", shards=2)
    walks = []
    with searcher(es_url, f"{index_prefix}pages") as shop:
        for size in (7, 10, 50):
            seen: list[str] = []
            cursor = None
            while True:
                page = shop.search(Query(text="mug 3", size=size), cursor=cursor)
                assert [hit.rank for hit in page.hits] == list(
                    range(len(seen) + 1, len(seen) + 1 + len(page.hits))
                )
                seen += ids(page.hits)
                cursor = page.cursor
                if cursor is None:
                    break
            assert len(seen) == len(set(seen)) == page.total.reachable
            walks.append(seen)
        with pytest.raises(QueryError, match="another query"):
            first = shop.search(Query(text="mug 3"))
            shop.search(Query(text="mug 4"), cursor=first.cursor)
    assert walks[0] == walks[1] == walks[2]
    assert len(walks[0]) >= 100


def test_a_window_of_100_gives_the_ranking_of_all_documents(
    es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    """Exact score filling: the top 10 equals that of a window that holds every document."""
    words = "red blue green mug lamp sofa towel chair table shelf".split()  # noqa: SIM905
    rows = [
        {"id": f"p{n:03d}", "title": f"{words[n % 10]} {words[n // 10 % 10]} {words[n // 7 % 10]} {n}"}
        for n in range(400)
    ]
    ingest_shop(es_url, write_shop(tmp_path, rows), f"{index_prefix}all", shards=2)
    with searcher(es_url, f"{index_prefix}all") as shop:
        for text in ("red mug", "green table shelf", "chair 17", "blue sofa lamp towel"):
            some = shop.search(Query(text=text, window=100))
            every = shop.search(Query(text=text, window=400))
            assert ids(some.hits) == ids(every.hits), text
            for one, other in zip(some.hits, every.hits, strict=True):
                assert one.score == pytest.approx(other.score, abs=1e-6)


def test_a_swap_under_a_running_searcher(es_url: str, index_prefix: str, tmp_path: Path) -> None:
    name = f"{index_prefix}swap"
    catalog = write_shop(tmp_path)
    ingest_shop(es_url, catalog, name)
    with searcher(es_url, name) as shop:
        assert shop.search(Query(text="red mug")).hits
        other = HashEncoder(fingerprint="hash-0000000000000002")
        ingest_shop(es_url, catalog, name, encoder=other, rebuild=True)
        with pytest.raises(FingerprintMismatchError) as caught:
            shop.search(Query(text="red mug"))
        assert "hash-0000000000000002" in str(caught.value)
        assert "hash-0000000000000001" in str(caught.value)
    with searcher(es_url, name, encoder=other) as shop:
        assert shop.search(Query(text="red mug")).hits


def test_one_searcher_follows_a_swap_to_an_index_of_the_same_encoder(
    es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}follow"
    ingest_shop(es_url, write_shop(tmp_path), name)
    with searcher(es_url, name) as shop:
        assert shop.search(Query(text="red mug")).hits
        rows = [{"id": "new", "title": "new red mug"}]
        ingest_shop(es_url, write_shop(tmp_path, rows), name, rebuild=True)
        assert ids(shop.search(Query(text="red mug")).hits) == ["new"]


def test_indices_that_cannot_be_searched(es_url: str, index: str, index_prefix: str) -> None:
    client = connect(load_settings(url=es_url))
    client.indices.create(index=f"{index_prefix}foreign")
    client.close()
    with searcher(es_url, f"{index_prefix}foreign") as shop, pytest.raises(ForeignIndexError):
        shop.search(Query(text="x"))
    with (
        searcher(es_url, f"{index[:-1]}") as shop,
        pytest.raises(IndexMissingError, match=f"did you mean {index}"),
    ):
        shop.search(Query(text="x"))


def test_queries_that_make_no_sense_here(shop: Searcher, folder: Path) -> None:
    with pytest.raises(QueryError, match="did you mean price"):
        shop.search(Query(text="x", filters=(parse_filter("prize=3"),)))
    with pytest.raises(QueryError, match="lexical, text, image"):
        shop.search(Query(text="x", weights={"lexical": 0, "text": 0, "image": 0}))
    with pytest.raises(QueryError, match="cursor"):
        shop.search(Query(text="x"), cursor="abc")
    for picture in (str(folder / "none.png"), str(folder), b"not a picture", "http://127.0.0.1:9/x.jpg"):
        with pytest.raises(PictureError):
            shop.search(Query(pictures=(picture,)))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_nothing_relevant_can_be_an_answer(shop: Searcher, fusion: str) -> None:
    strict = {"cutoff": 9.0, "fusion": fusion}
    assert shop.search(Query(text="bicycle pump", **strict)).hits == ()  # type: ignore[arg-type]
    assert ids(shop.search(Query(text="desk lamp", **strict)).hits) == ["lamp"]  # type: ignore[arg-type]
    everything = shop.search(Query(text="desk lamp", fusion=fusion))  # type: ignore[arg-type]
    assert len(everything.hits) > 1


@pytest.mark.parametrize("text", ['"', "{{x}}", "\\", "AND OR NOT", "*:*", "a" * 9_999, "😀", "ก", "-" * 50])
def test_any_text_is_a_query(shop: Searcher, text: str) -> None:
    shop.search(Query(text=text))
