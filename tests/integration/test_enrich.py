"""An index that a shop made: enriched in place, searched, followed, interrupted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.enrich.report import EnrichReport
from es_xmodal.query.facets import parse_facet
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.model import Query
from es_xmodal.query.order import parse_sort
from es_xmodal.search.engine import Searcher
from tests.support.enriching import (
    answers,
    draw_colour,
    enrich_shop,
    make_shop,
    merge,
    shop_client,
)
from tests.support.ingesting import documents
from tests.support.shops import searcher

pytestmark = pytest.mark.integration

COUNT = 40


class Enriched(NamedTuple):
    """A shop's index, and what it was before."""

    index: str
    home: Path
    documents: dict[str, dict[str, Any]]
    answers: list[list[tuple[str, float]]]
    report: EnrichReport


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    with shop_client(es_url) as found:
        yield found


@pytest.fixture(scope="module")
def enriched(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enriched]:
    """One enriched index for all tests that only search."""
    index = f"t{secrets.token_hex(5)}-shop"
    home = tmp_path_factory.mktemp("searched")
    documents = make_shop(es_url, index, home, COUNT)
    with shop_client(es_url) as client:
        before = answers(client, index)
        report = enrich_shop(es_url, index, home)
        yield Enriched(index, home, documents, before, report)
        client.indices.delete(index=index)


@pytest.fixture
def found_in(es_url: str, enriched: Enriched) -> Iterator[Searcher]:
    with searcher(es_url, enriched.index) as one:
        yield one


def test_it_adds_and_touches_nothing(es_url: str, enriched: Enriched, client: Elasticsearch) -> None:
    report = enriched.report
    assert report.counts["read"] == report.counts["indexed"] == COUNT
    assert report.enriched == report.documents == COUNT
    assert report.clean
    after = documents(client, enriched.index)
    ours = {id_: source.pop("es_xmodal") for id_, source in after.items()}
    assert after == enriched.documents
    assert len(ours["1000"][0]["images"]) == 2
    meta = client.indices.get_mapping(index=enriched.index).body[enriched.index]["mappings"]["_meta"]
    assert {name: meta[name] for name in ("owner", "release")} == {"owner": "shop", "release": 7}
    again = enrich_shop(es_url, enriched.index, enriched.home, paths={})
    assert again.counts["updated"] == again.counts["indexed"] == again.counts["rejected"] == 0
    assert again.counts["encoded_images"] == again.counts["encoded_texts"] == 0


def picture(folder: Path, colour: str) -> str:
    path = folder / f"asked-{colour}.png"
    draw_colour(path, colour, 77)
    return str(path)


def test_words_and_photos_find(found_in: Searcher, tmp_path: Path) -> None:
    words = found_in.search(Query(text="red mug", size=5))
    assert {"lexical", "text", "image"} <= set(words.legs)
    assert all("red" in hit.source["title"] for hit in words.hits)
    photo = found_in.search(Query(pictures=(picture(tmp_path, "blue"),), size=5))
    assert {"visual", "image"} <= set(photo.legs)
    assert all("blue" in hit.source["title"] for hit in photo.hits)
    assert all(hit.best_image in hit.source["images"] for hit in photo.hits)
    both = found_in.search(Query(text="mug", pictures=(picture(tmp_path, "red"),), size=5, cutoff=1.0))
    assert "red" in both.hits[0].source["title"]


def test_a_hit_is_the_shops_document_and_the_product(found_in: Searcher) -> None:
    (hit,) = found_in.search(Query(text="red mug 12", size=1)).hits
    assert hit.id == "1012"
    assert hit.source["title"] == "The red mug 12"
    assert hit.source["price"] == 12.5
    assert hit.source["name"] == "The red mug 12"
    assert hit.source["remarks"] == "remark 12"
    assert "es_xmodal" not in hit.source
    assert hit.highlight["title"] == "The <em>red</em> <em>mug 12</em>"
    assert found_in.product("1012") == hit.source


def test_filters_facets_orders_and_variants(found_in: Searcher) -> None:
    def search(text: str = "mug", **options: Any) -> Any:
        for name, parse in (("filters", parse_filter), ("facets", parse_facet), ("sort", parse_sort)):
            options[name] = tuple(parse(one) for one in options.get(name, ()))
        return found_in.search(Query(text=text, size=50, **options))

    nuvola = search(filters=["brand=nuvola", "price=3..9", "available=true"])
    assert sorted(hit.id for hit in nuvola.hits) == ["1003", "1005", "1007"]
    assert {hit.id for hit in search(filters=["brand=NUVOLA|Korvane", "attributes.colour=red"]).hits} == {
        str(1000 + number) for number in range(0, COUNT, 3)
    }
    assert {hit.id for hit in search(filters=["images!=*"]).hits} == {
        str(1000 + number) for number in range(COUNT) if number % 7 == 6 and number % 5
    }
    assert [hit.id for hit in search(filters=["sku=7"]).hits] == ["1007"]
    assert [hit.id for hit in search("7").hits][:1] == ["1007"]  # an identifier is pinned
    ordered = search(sort=["-price"]).hits
    assert [hit.source["price"] for hit in ordered] == sorted(
        (hit.source["price"] for hit in ordered), reverse=True
    )
    counted = search(facets=["brand@filter", "attributes.colour@filter", "price:0,10,20@filter"]).facets
    assert {one.value: one.count for one in counted["brand"].values} == {"Nuvola": 20, "Korvane": 20}
    assert {one.value: one.count for one in counted["attributes.colour"].values} == {
        "glossy": 40,
        "red": 14,
        "green": 13,
        "blue": 13,
    }
    assert [one.count for one in counted["price"].values] == [10, 10, 20]
    variants = search(collapse=True).hits
    assert len(variants) == COUNT // 2
    assert {hit.variants for hit in variants} == {2}


def test_likeness_pages_and_other_fusions(found_in: Searcher) -> None:
    like = found_in.search(Query(like=("1000",), size=5))
    assert all("red" in hit.source["title"] for hit in like.hits)
    first = found_in.search(Query(text="red mug", size=3))
    second = found_in.search(Query(text="red mug", size=3), cursor=first.cursor)
    both = found_in.search(Query(text="red mug", size=6))
    assert [hit.id for hit in (*first.hits, *second.hits)] == [hit.id for hit in both.hits]
    for fusion in ("rrf", "boost"):
        assert found_in.search(Query(text="red mug", size=3, fusion=fusion)).hits


def test_the_shops_own_query_is_a_leg(found_in: Searcher) -> None:
    own = {"multi_match": {"query": "{{query}}", "fields": ["name^3", "blurb"]}}
    found = found_in.search(Query(text="red dishwasher", lexical_query=own, size=5))
    assert found.hits[0].ledger.legs["lexical"].raw
    assert "image" in found.hits[0].ledger.legs


def test_the_shops_own_queries_give_what_they_gave(enriched: Enriched, client: Elasticsearch) -> None:
    """The last test of this index: it waits until Elasticsearch has let go of the documents' old copies."""
    ids = [[id_ for id_, _ in hits] for hits in enriched.answers]
    assert [[id_ for id_, _ in hits] for hits in answers(client, enriched.index)] == ids
    assert all(ids)
    merge(client, enriched.index)
    assert answers(client, enriched.index) == enriched.answers
