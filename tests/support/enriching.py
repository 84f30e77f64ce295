"""A shop's own index, made by other means, and enrichments of it. As a program: one to be killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.report import EnrichReport
from es_xmodal.enrich.run import run_enrich
from es_xmodal.ingest.sender import SenderOptions
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import SlowEncoder, parts_for

MAP = {
    "title": "name",
    "images": "photo_urls",
    "brand": "vendor.label",
    "group_id": "model",
    "identifiers.sku": "sku",
    "attributes.colour": "colour",
    "available": "in_stock",
}
SHOP_QUERIES: list[dict[str, Any]] = [
    {"match": {"name": "red mug"}},
    {"match": {"name.exact": "The"}},
    {"multi_match": {"query": "blue dishwasher", "fields": ["name^3", "blurb"]}},
    {"bool": {"must": [{"match": {"blurb": "holds"}}], "filter": [{"term": {"vendor.label.raw": "Nuvola"}}]}},
    {"term": {"sku": 7}},
    {"terms": {"tags": ["kitchen", "sale"]}},
    {"match": {"remarks": "remark"}},
    {"range": {"price": {"gte": 3, "lte": 9}}},
]
COLOURS = ("red", "green", "blue")
_SHADES = {"red": 0, "green": 1, "blue": 2}


def shop_mapping() -> dict[str, Any]:
    """Own analyzer, multi-fields, objects, numbers as ids, a field that is not indexed, dynamic fields."""
    return {
        "settings": {
            "number_of_shards": 2,
            "number_of_replicas": 0,
            "analysis": {"analyzer": {"shop": {"type": "standard", "stopwords": ["the", "holds"]}}},
        },
        "mappings": {
            "_meta": {"owner": "shop", "release": 7},
            "properties": {
                "name": {
                    "type": "text",
                    "analyzer": "shop",
                    "fields": {"exact": {"type": "text", "analyzer": "whitespace"}},
                },
                "blurb": {"type": "text"},
                "vendor": {"properties": {"label": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
                "sku": {"type": "long"},
                "price": {"type": "float"},
                "in_stock": {"type": "boolean"},
                "photo_urls": {"type": "keyword", "index": False, "doc_values": False},
                "model": {"type": "keyword"},
            },
        },
    }


def shop_documents(folder: Path, count: int) -> dict[str, dict[str, Any]]:
    """Id to document; the pictures are drawn on the way. Every seventh has none, one has a bad one."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(count):
        colour = COLOURS[number % 3]
        refs: list[Any] = [] if number % 7 == 6 else [f"photos/{number}.png"]
        for ref in refs:
            draw_colour(folder / ref, colour, number)
        if number % 5 == 0:
            refs.append(f"photos/back-{number}.png")
            draw_colour(folder / refs[-1], "green", number + 1000)
        found[str(1000 + number)] = {
            "name": f"The {colour} mug {number}",
            "blurb": f"Holds {number} ml. Dishwasher safe.",
            "vendor": {"label": "Nuvola" if number % 2 else "Korvane"},
            "sku": number,
            "price": number + 0.5,
            "in_stock": number % 4 != 0,
            "photo_urls": refs if len(refs) > 1 else (refs or [None])[0],
            "model": f"m{number // 2}",
            "colour": [colour, "glossy"],
            "tags": ["kitchen"] if number % 2 else ["sale", "kitchen"],
            "remarks": f"remark {number}",
        }
    return found


def draw_colour(path: Path, colour: str, seed: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    shade = [20, 20, 20]
    shade[_SHADES[colour]] = 200 + seed % 50
    picture = Image.new("RGB", (24, 24), (shade[0], shade[1], shade[2]))
    picture.putpixel((0, 0), (seed % 256, seed // 256, 3))  # no two files are the same
    picture.save(path)


def make_shop(url: str, index: str, folder: Path, count: int = 40, **body: Any) -> dict[str, dict[str, Any]]:
    """Make the shop's index with its documents."""
    documents = shop_documents(folder, count)
    with shop_client(url) as client:
        client.indices.create(index=index, **{**shop_mapping(), **body})
        lines: list[Any] = []
        for id_, document in documents.items():
            lines += [{"index": {"_id": id_}}, document]
        assert not client.bulk(index=index, operations=lines, refresh=True).body["errors"]
    return documents


@contextmanager
def shop_client(url: str) -> Iterator[Elasticsearch]:
    client = connect(load_settings(url=url))
    yield client
    client.close()


def enrich_shop(
    url: str,
    index: str,
    folder: Path,
    *,
    encoder: Encoder | None = None,
    home: Path | None = None,
    **options: Any,
) -> EnrichReport:
    """Enrich with small bulk requests; `home`, by default the pictures' folder, holds store and rejects."""
    home = home or folder
    options.setdefault("rejects", home / "rejects.jsonl")
    options.setdefault("sender", SenderOptions(max_docs=5))
    options.setdefault("paths", MAP)
    with parts_for(url, home, root=folder, encoder=encoder or HashEncoder()) as parts:
        return run_enrich(parts, EnrichOptions(index=index, **options))


def merge(client: Elasticsearch, index: str) -> None:
    """Have Elasticsearch forget the copies of documents that were written again; BM25 counts them till then.

    It keeps them for other copies of the shard until its own clock, of 30 s, says that those have them.
    """
    for _ in range(90):
        client.indices.flush(index=index, force=True)
        client.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        if not client.indices.stats(index=index, metric="docs").body["_all"]["primaries"]["docs"]["deleted"]:
            return
        time.sleep(1)
    raise AssertionError("the old copies are still there")


def answers(client: Elasticsearch, index: str) -> list[list[tuple[str, float]]]:
    """Hits, order and scores of the shop's own queries."""
    found = []
    for query in SHOP_QUERIES:
        answer = client.search(
            index=index, query=query, size=50, sort=["_score", "sku"], search_type="dfs_query_then_fetch"
        ).body
        found.append([(hit["_id"], hit["_score"]) for hit in answer["hits"]["hits"]])
    return found


def main(url: str, index: str, folder: str, home: str) -> None:
    """An enrichment slow enough to be killed in the middle."""
    with mock.patch("es_xmodal.enrich.run.CHECKPOINT_S", 0.0):  # after every group of rows
        enrich_shop(url, index, Path(folder), home=Path(home), encoder=SlowEncoder(0.05))


if __name__ == "__main__":
    main(*sys.argv[1:])
