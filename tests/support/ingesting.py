"""Drawn catalogues and ingests of them, for tests of ingest. As a program: an ingest to be killed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest
from es_xmodal.ingest.report import IngestReport
from es_xmodal.ingest.sender import SenderOptions
from es_xmodal.media.source import PictureSource
from es_xmodal.resources import index_template
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer
from tests.support.encoders import HashEncoder

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
ANALYZER = Analyzer()
COUNTS = ("indexed", "updated", "unchanged", "rejected")


class SlowEncoder(HashEncoder):
    """Takes its time for each batch, so that a test can act in the middle of an ingest."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(batch_size=4)
        self._pause_s = pause_s

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[Any]]:
        time.sleep(self._pause_s)
        return super()._picture_batch(batch)


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]], *, name: str = "catalog.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def draw(path: Path, *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), (seed * 37 % 256, seed * 91 % 256, seed * 151 % 256)).save(path)


def shop_rows(folder: Path, count: int) -> list[dict[str, Any]]:
    """Rows with one picture each, drawn on the way."""
    for number in range(count):
        draw(folder / f"images/{number}.png", seed=number)
    return [
        {
            "id": f"p{number}",
            "title": f"Red mug {number}",
            "title_zh": f"红色马克杯 {number}",
            "description": f"Holds {number} ml. Dishwasher safe.",
            "price": number + 0.5,
            "brand": "Nuvola",
            "identifiers": {"sku": f"MUG-{number}"},
            "attributes": {"colour": ["red"]},
            "images": [f"images/{number}.png"],
            "shelf": {"aisle": number},
        }
        for number in range(count)
    ]


@contextmanager
def parts_for(
    url: str, home: Path, *, root: Path, encoder: Encoder | None = None, analyzer: Analyzer = ANALYZER
) -> Iterator[Parts]:
    client = connect(load_settings(url=url))
    with VectorStore.open(home / "vectors") as store:
        yield Parts(
            client=client,
            encoder=encoder or HashEncoder(),
            analyzer=analyzer,
            store=store,
            pictures=PictureSource(root),
            template=index_template(),
        )
    client.close()


def ingest_catalog(
    url: str,
    catalog: Path,
    index: str,
    *,
    home: Path | None = None,
    encoder: Encoder | None = None,
    analyzer: Analyzer = ANALYZER,
    **options: Any,
) -> IngestReport:
    """Ingest with small bulk requests; `home`, by default the catalogue's, holds store and rejects."""
    home = home or catalog.parent
    options.setdefault("rejects", home / "rejects.jsonl")
    options.setdefault("sender", SenderOptions(max_docs=5))
    with parts_for(url, home, root=catalog.parent, encoder=encoder, analyzer=analyzer) as parts:
        return run_ingest(parts, IngestOptions(catalog=catalog, index=index, **options))


def counts(report: IngestReport) -> tuple[int, ...]:
    """Indexed, updated, unchanged, rejected."""
    found = tuple(report.counts[name] for name in COUNTS)
    assert sum(found) + report.counts["deleted"] + report.counts["outdated"] == report.counts["read"]
    return found


def documents(client: Elasticsearch, index: str) -> dict[str, Any]:
    """Every document of an index, vectors included (servers from 9.2 on hide them in `_source`)."""
    client.indices.refresh(index=index)
    major, minor = map(int, server_version(client).split(".")[:2])
    source: dict[str, Any] = {"exclude_vectors": False} if (major, minor) >= (9, 2) else {}
    body: dict[str, Any] = {"query": {"match_all": {}}, "size": 1000, "sort": ["_doc"]}
    if source:
        body["_source"] = source
    answer = client.perform_request(
        "POST",
        f"/{index}/_search",
        headers={"accept": "application/json", "content-type": "application/json"},
        body=body,
    ).body
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


def server_version(client: Elasticsearch) -> str:
    nodes = client.nodes.info(node_id="_local", filter_path="nodes.*.version").body["nodes"]
    return str(next(iter(nodes.values()))["version"])


def rejects(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main(url: str, catalog: str, index: str) -> None:
    """An ingest slow enough to be killed in the middle."""
    ingest_catalog(url, Path(catalog), index, encoder=SlowEncoder(0.05), rebuild=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
