"""A small shop in a real index, for tests of search: drawn pictures, an encoder without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest
from es_xmodal.ingest.report import IngestReport
from es_xmodal.media.source import PictureSource
from es_xmodal.resources import index_template
from es_xmodal.search.engine import Searcher
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer
from tests.support.encoders import HashEncoder

COLOURS = {"red": (200, 20, 30), "green": (20, 160, 60), "blue": (30, 60, 200)}
ANALYZER = Analyzer()

ROWS: list[dict[str, Any]] = [
    {
        "id": "mug-red",
        "title": "Red ceramic mug",
        "title_zh": "红色陶瓷马克杯",
        "price": 12,
        "brand": "Korvane",
    },
    {
        "id": "mug-blue",
        "title": "Blue ceramic mug",
        "title_zh": "蓝色陶瓷马克杯",
        "price": 14,
        "brand": "Korvane",
    },
    {"id": "lamp", "title": "Green desk lamp", "title_zh": "绿色台灯", "price": 40, "brand": "Qu"},
    {
        "id": "sofa",
        "title": "Leather sofa",
        "title_zh": "真皮沙发",
        "price": 900,
        "attributes": {"colour": "red"},
    },
    {
        "id": "towel",
        "title": "Bath towel",
        "title_zh": "纯棉浴巾",
        "price": 9,
        "identifiers": {"sku": "TW-1"},
    },
    {"id": "odd", "title": "羊毛被", "price": 300},
]
PICTURES: dict[str, Sequence[str]] = {
    "mug-red": ["red"],
    "mug-blue": ["green", "blue"],
    "lamp": ["green"],
    "sofa": ["red"],
}


def write_shop(folder: Path, rows: Sequence[Mapping[str, Any]] = ROWS) -> Path:
    """Write the catalogue and its pictures."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    catalog = folder / "catalog.jsonl"
    with catalog.open("w", encoding="utf-8") as file:
        for row in rows:
            refs = []
            for number, colour in enumerate(PICTURES.get(row["id"], ())):
                refs.append(f"images/{row['id']}-{number}.png")
                shade = tuple(max(0, value - number) for value in COLOURS[colour])
                picture = Image.new("RGB", (40, 40), shade)
                picture.putpixel((0, 0), (len(row["id"]), number, 7))  # no two files are the same
                picture.save(folder / refs[-1])
            images = {"images": refs} if refs else {}
            file.write(json.dumps({**row, **images}, ensure_ascii=False) + "\n")
    return catalog


def ingest_shop(
    url: str, catalog: Path, index: str, *, encoder: Encoder | None = None, **options: Any
) -> IngestReport:
    """Ingest a catalogue with the parts of the tests; the store lies beside it."""
    client = connect(load_settings(url=url))
    with VectorStore.open(catalog.parent / "vectors") as store:
        parts = Parts(
            client=client,
            encoder=encoder or HashEncoder(),
            analyzer=ANALYZER,
            store=store,
            pictures=PictureSource(catalog.parent),
            template=index_template(),
        )
        rejects = catalog.parent / "rejects.jsonl"
        report = run_ingest(parts, IngestOptions(catalog=catalog, index=index, rejects=rejects, **options))
    client.close()
    return report


@contextmanager
def searcher(url: str, index: str, *, encoder: Encoder | None = None) -> Iterator[Searcher]:
    """A searcher with the parts of the tests."""
    client = connect(load_settings(url=url))
    chosen = encoder or HashEncoder()
    yield Searcher(client, index, encoder_for=lambda spec: chosen, analyzer_for=lambda: ANALYZER)
    client.close()
