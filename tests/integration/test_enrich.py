"""An index that a shop made: enriched in place, searched, followed, interrupted."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.enrich.beside import run_beside
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.report import EnrichReport
from es_xmodal.enrich.undo import run_undo
from es_xmodal.errors import ForeignIndexError, IndexStateError
from es_xmodal.query.facets import parse_facet
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.model import Query
from es_xmodal.query.order import parse_sort
from es_xmodal.search.engine import Searcher
from tests.support.encoders import HashEncoder
from tests.support.enriching import (
    MAP,
    answers,
    draw_colour,
    enrich_shop,
    make_shop,
    merge,
    shop_client,
    shop_mapping,
)
from tests.support.ingesting import documents, parts_for
from tests.support.shops import searcher

pytestmark = pytest.mark.integration

COUNT = 40
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Enriched:
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
    assert enrich_shop(es_url, enriched.index, enriched.home, paths={}).counts["read"] == 0
    again = enrich_shop(es_url, enriched.index, enriched.home, paths={}, whole=True)
    assert again.counts["read"] == again.counts["unchanged"] == COUNT
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


def test_killed_and_resumed_is_as_undisturbed(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    undisturbed, index = f"{index_prefix}calm", f"{index_prefix}killed"
    calm, home = tmp_path / "calm", tmp_path / "killed"
    for one in (undisturbed, index):
        make_shop(es_url, one, tmp_path, COUNT)
    for folder in (calm, home):
        folder.mkdir()
    enrich_shop(es_url, undisturbed, tmp_path, home=calm)
    command = [sys.executable, "-m", "tests.support.enriching", es_url, index, str(tmp_path), str(home)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        reached = wait_for_enriched(client, index, COUNT // 4)
    finally:
        process.kill()
        process.wait()
    assert COUNT // 4 <= reached < COUNT
    with pytest.raises(IndexStateError, match="not complete"), searcher(es_url, index) as early:
        early.search(Query(text="mug"))
    resumed = enrich_shop(es_url, index, tmp_path, home=home)
    assert resumed.counts["read"] < COUNT + 1
    assert 0 < resumed.counts["indexed"] < COUNT
    assert documents(client, index) == documents(client, undisturbed)
    assert described(client, index) == described(client, undisturbed)


def wait_for_enriched(client: Elasticsearch, index: str, least: int) -> int:
    deadline = time.monotonic() + 120
    query = {"exists": {"field": "es_xmodal.row_hash"}}
    while time.monotonic() < deadline:
        client.indices.refresh(index=index)
        count = int(client.count(index=index, query=query).body["count"])
        if count >= least:
            return count
        time.sleep(0.02)
    raise AssertionError("nothing was enriched")


def described(client: Elasticsearch, index: str) -> dict[str, Any]:
    """What the index says about itself, without what two runs cannot share."""
    meta = client.indices.get_mapping(index=index).body[index]["mappings"]["_meta"]["es_xmodal"]
    own = ("created", "lease", "builder")
    shop = {name: one for name, one in meta["shop"].items() if name != "walked"}
    counts = {"documents": meta["counts"]["documents"]}
    return {**{name: one for name, one in meta.items() if name not in own}, "shop": shop, "counts": counts}


def test_later_edits_are_followed(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index = f"{index_prefix}edited"
    shop = make_shop(es_url, index, tmp_path, COUNT)
    enrich_shop(es_url, index, tmp_path)
    client.update(index=index, id="1001", doc={"price": 77.0})  # asked in the shop's own field
    client.update(index=index, id="1002", doc={"name": "Yellow teapot"})
    client.index(index=index, id="1003", document={**shop["1003"], "name": "Replaced as a whole"})
    client.index(index=index, id="new", document={**shop["1000"], "name": "Brand new"}, refresh=True)
    client.delete(index=index, id="1004", refresh=True)
    encoder = HashEncoder()
    followed = enrich_shop(es_url, index, tmp_path, paths={}, encoder=encoder)
    # 1002 lacks nothing and is updated; 1003 and the new one have nothing of ours.
    assert (followed.counts["indexed"], followed.counts["updated"]) == (2, 1)
    assert followed.counts["encoded_images"] == 0
    assert followed.documents == followed.enriched == COUNT
    assert enrich_shop(es_url, index, tmp_path, paths={}).counts["read"] == 0
    with searcher(es_url, index) as one:
        assert one.search(Query(text="yellow teapot", size=1)).hits[0].id == "1002"
        dear = one.search(Query(text="mug", filters=(parse_filter("price>=70"),)))
        assert [hit.id for hit in dear.hits] == ["1001"]


def test_since_looks_by_a_field_of_the_shop(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index = f"{index_prefix}since"
    make_shop(es_url, index, tmp_path, COUNT)
    enrich_shop(es_url, index, tmp_path)
    client.update(index=index, id="1030", doc={"name": "Green teapot"}, refresh=True)
    client.update(index=index, id="1010", doc={"name": "Blue teapot"}, refresh=True)
    later = enrich_shop(es_url, index, tmp_path, paths={}, since=("sku", "20"))
    assert (later.counts["read"], later.counts["updated"]) == (20, 1)
    assert enrich_shop(es_url, index, tmp_path, paths={}).counts["updated"] == 1  # 1010 was not passed over


def test_an_edit_between_reading_and_writing_wins(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index = f"{index_prefix}raced"
    one_shard = shop_mapping()["settings"] | {"number_of_shards": 1}
    make_shop(es_url, index, tmp_path, COUNT, settings=one_shard)

    class Meddling(HashEncoder):
        """The shop edits and deletes while the pictures are encoded."""

        def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, Any]:
            if not self.calls:
                client.update(index=index, id="1000", doc={"name": "Orange kettle"})
                client.delete(index=index, id="1001")
            return super()._picture_batch(batch)

    report = enrich_shop(es_url, index, tmp_path, encoder=Meddling())
    assert report.counts["indexed"] == COUNT - 1
    assert report.counts["deleted"] == 1
    found = documents(client, index)
    assert found["1000"]["name"] == "Orange kettle"
    assert "kettl" in found["1000"]["es_xmodal"][0]["tokens"]["title"]


def test_documents_with_a_routing_of_their_own(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index, copy = f"{index_prefix}routed", f"{index_prefix}routed-2"
    client.indices.create(index=index, **shop_mapping())
    for number in range(6):
        for routing in ("a", "b", "c", "d"):  # one id in several shards
            document = {"name": f"Mug {number} {routing}"}
            client.index(index=index, id=str(number), document=document, routing=routing, refresh=True)
    total = int(client.count(index=index).body["count"])
    assert total > 6
    report = enrich_shop(es_url, index, tmp_path, paths={"title": "name"})
    assert report.clean
    assert report.enriched == report.documents == total
    options = EnrichOptions(index=index, paths={"title": "name"}, rejects=tmp_path / "r.jsonl")
    with parts_for(es_url, tmp_path, root=tmp_path) as parts:
        assert run_beside(parts, options, copy).documents == total
    assert run_undo(client, index).undone == total


def test_undo_leaves_the_shops_documents(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index = f"{index_prefix}undone"
    shop = make_shop(es_url, index, tmp_path, COUNT)
    enrich_shop(es_url, index, tmp_path)
    report = run_undo(client, index)
    assert report.undone == COUNT
    assert not report.script  # the servers of the tests run none
    assert len(report.left) == 2
    after = documents(client, index)
    assert {source.pop("es_xmodal") for source in after.values()} == {None}
    assert after == shop
    mappings = client.indices.get_mapping(index=index).body[index]["mappings"]
    assert mappings["_meta"] == {"owner": "shop", "release": 7}
    for part in ("row_hash", "text_vector", "tokens.title"):
        assert client.count(index=index, query={"exists": {"field": f"es_xmodal.{part}"}}).body["count"] == 0
    with pytest.raises(ForeignIndexError), searcher(es_url, index) as one:
        one.search(Query(text="mug"))
    assert enrich_shop(es_url, index, tmp_path).counts["indexed"] == COUNT


def test_a_copy_takes_what_the_mapping_cannot(
    es_url: str, index_prefix: str, tmp_path: Path, client: Elasticsearch
) -> None:
    index, alias, new = (f"{index_prefix}{name}" for name in ("full", "catalogue", "roomy"))
    full = shop_mapping()["settings"] | {"mapping": {"total_fields": {"limit": 25}}}
    shop = make_shop(es_url, index, tmp_path, COUNT, settings=full, aliases={alias: {}})
    with pytest.raises(IndexStateError, match=r"total_fields\.limit.*--to NEW"):
        enrich_shop(es_url, alias, tmp_path)
    assert "es_xmodal" not in client.indices.get_mapping(index=index).body[index]["mappings"]["properties"]
    options = EnrichOptions(index=alias, paths=MAP, rejects=tmp_path / "rejects.jsonl")
    with parts_for(es_url, tmp_path, root=tmp_path) as parts:
        first = run_beside(parts, options, new)
        assert (first.copied, first.swapped) == (COUNT, None)
        client.update(index=index, id="1002", doc={"name": "Yellow teapot"})
        client.delete(index=index, id="1003", refresh=True)
        second = run_beside(parts, options, new, swap=True)
    assert (second.copied, second.enriched, second.swapped) == (1, COUNT - 1, alias)
    assert list(client.indices.get_alias(name=alias).body) == [new]
    client.index(index=alias, id="fresh", document={**shop["1000"], "name": "Only in the copy"}, refresh=True)
    by_its_name = replace(options, index=index)
    with (
        parts_for(es_url, tmp_path, root=tmp_path) as parts,
        pytest.raises(IndexStateError, match="written by others"),
    ):
        run_beside(parts, by_its_name, new)
    client.delete(index=alias, id="fresh", refresh=True)
    after = documents(client, new)
    for source in after.values():
        assert source.pop("es_xmodal")
    del shop["1003"]
    assert after == {**shop, "1002": {**shop["1002"], "name": "Yellow teapot"}}
    settings = client.indices.get_settings(index=new).body[new]["settings"]["index"]
    assert settings["analysis"]["analyzer"]["shop"]["type"] == "standard"
    with searcher(es_url, alias) as one:
        assert one.search(Query(text="yellow teapot", size=1)).hits[0].id == "1002"


def test_the_shops_own_queries_give_what_they_gave(enriched: Enriched, client: Elasticsearch) -> None:
    """The last test of this index: it waits until Elasticsearch has let go of the documents' old copies."""
    ids = [[id_ for id_, _ in hits] for hits in enriched.answers]
    assert [[id_ for id_, _ in hits] for hits in answers(client, enriched.index)] == ids
    assert all(ids)
    merge(client, enriched.index)
    assert answers(client, enriched.index) == enriched.answers
