"""What the words on pictures cost and bring: photos of products, found with and without them.

    python -m benchmarks.ocr CATALOG PHOTOS.tsv --split val --group category=Packages

`PHOTOS.tsv` has a header and the columns path, split, product_id; paths start from its folder. The index is
made twice on the given server, without words and with them, and deleted afterwards. Each photo is searched
once; the normalised scores of its legs then give the order for each weight.
"""

from __future__ import annotations

import csv
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from es_xmodal.app import ingest_parts, make_analyzer, make_encoder, make_reader
from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.ingest.pipeline import IngestOptions, run_ingest
from es_xmodal.ingest.report import IngestReport
from es_xmodal.media.ocr import Word, WordReader
from es_xmodal.media.picture import Picture
from es_xmodal.query.model import Query
from es_xmodal.query.profile import DEFAULT_PROFILE
from es_xmodal.search.engine import Searcher
from es_xmodal.search.result import Hit
from es_xmodal.settings import Settings, load_settings

WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2)


@dataclass(frozen=True)
class Photo:
    """A photo, the product on it, and whether that is of the group that is looked at by itself."""

    path: Path
    product: str
    inside: bool


class Timed:
    """Keeps how long each picture took."""

    def __init__(self, reader: WordReader) -> None:
        self._reader = reader
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    @property
    def fingerprint(self) -> str:
        return self._reader.fingerprint

    def read(self, picture: Picture) -> tuple[Word, ...]:
        start, cpu = time.perf_counter(), time.process_time()
        words = self._reader.read(picture)
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu)
        return words


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("photos", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--url", help="Elasticsearch. [default: ES_XMODAL_URL]")
@click.option("--split", default="val", show_default=True, help="The rows of PHOTOS.tsv that are asked.")
@click.option(
    "--group", default="", metavar="FIELD=VALUE", help="Products that are also looked at by themselves."
)
@click.option("--limit", type=click.IntRange(1), help="So many photos.")
def main(catalog: Path, photos: Path, url: str | None, split: str, group: str, limit: int | None) -> None:
    """Recall of photos with and without the words on them, and what reading costs."""
    asked = read_photos(photos, split, members(catalog, group))[:limit]
    with tempfile.TemporaryDirectory(prefix="es-xmodal-ocr-") as folder:
        settings = load_settings(url=url, data_dir=Path(folder), ocr=True)
        with index_with_words(settings, catalog) as (index, plain, ocr):
            cost = ocr.seconds_by_stage["ocr"] / max(1, ocr.counts["ocr_images"])
            click.echo(
                f"ingest without words {plain.seconds:.1f} s; reading {ocr.counts['ocr_images']} pictures"
            )
            click.echo(f"with their vectors stored {ocr.seconds:.1f} s, {cost:.2f} s of one thread a picture")
            measure(settings, index, asked)


def members(catalog: Path, group: str) -> frozenset[str]:
    """Ids of the products whose field is, or begins with, the value."""
    field, _, value = group.partition("=")
    rows = [json.loads(line) for line in catalog.read_text(encoding="utf-8").splitlines() if line.strip()]
    return frozenset(row["id"] for row in rows if value and value in _first(row.get(field)))


def _first(value: object) -> tuple[str, ...]:
    return tuple(map(str, value[:1])) if isinstance(value, list) else (str(value),)


def read_photos(path: Path, split: str, inside: frozenset[str]) -> list[Photo]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split]
    return [Photo(path.parent / row["path"], row["product_id"], row["product_id"] in inside) for row in rows]


@contextmanager
def index_with_words(settings: Settings, catalog: Path) -> Iterator[tuple[str, IngestReport, IngestReport]]:
    """The index with words; reports of the ingest that made vectors and of the one that read words."""
    name = f"bench-ocr-{secrets.token_hex(4)}"
    rejects = settings.data_dir / "rejects.jsonl"
    options = IngestOptions(catalog=catalog, index=name, rejects=rejects, rebuild=True, keep=1)
    try:
        with ingest_parts(settings.model_copy(update={"ocr": False}), catalog.parent) as parts:
            plain = run_ingest(parts, options)
        with ingest_parts(settings, catalog.parent) as parts:
            ocr = run_ingest(parts, options)
        yield name, plain, ocr
    finally:
        client = connect(settings)
        for index in client.indices.get(index=f"{name}-v*", ignore_unavailable=True).body:
            client.indices.delete(index=index)
        client.close()


def measure(settings: Settings, index: str, photos: Sequence[Photo]) -> None:
    encoder = make_encoder(settings)
    start = time.perf_counter()
    reader = Timed(make_reader(settings))
    searcher = searcher_of(settings, index, encoder, reader)
    found: dict[float, list[int]] = {weight: [] for weight in WEIGHTS}
    spent: list[float] = []
    for at, photo in enumerate(photos):
        began = time.perf_counter()
        hits = searcher.search(Query(pictures=(str(photo.path),), size=100)).hits
        spent.append(time.perf_counter() - began)
        for weight in WEIGHTS:
            found[weight].append(place_of(photo.product, hits, weight))
        if at == 0:
            click.echo(f"first photo, models loaded: {time.perf_counter() - start:.1f} s")
    click.echo(f"search with reading {statistics.median(spent):.2f} s, of it {reader_line(reader)}")
    report(photos, found)


def place_of(product: str, hits: Sequence[Hit], weight: float) -> int:
    """Where the product would stand with this weight of the leg: what a leg gives does not depend on it."""
    weights = {**DEFAULT_PROFILE.convex["image"], "ocr": weight}
    scores = {
        hit.id: sum(weights[name] * leg.normalised for name, leg in hit.ledger.legs.items()) for hit in hits
    }
    order = sorted(scores, key=lambda one: (-scores[one], one))
    return order.index(product) if product in scores else len(order) + 1_000


def reader_line(reader: Timed) -> str:
    if len(reader.seconds) < 2:
        return "too few photos to tell"
    middle, tenth = statistics.median(reader.seconds), statistics.quantiles(reader.seconds, n=10)[-1]
    cpu = statistics.median(reader.cpu_seconds)
    return f"reading {middle:.2f} s (slowest tenth {tenth:.2f} s; processor {cpu:.2f} s)"


def searcher_of(settings: Settings, index: str, encoder: Encoder, reader: WordReader) -> Searcher:
    return Searcher(
        connect(settings),
        index,
        encoder_for=lambda spec: encoder,
        analyzer_for=lambda: make_analyzer(settings),
        reader_for=lambda: reader,
        timeout_s=settings.timeout_s,
    )


def report(photos: Sequence[Photo], ranks: Mapping[float, Sequence[int]]) -> None:
    groups = {
        "all": [True] * len(photos),
        "group": [photo.inside for photo in photos],
        "others": [not photo.inside for photo in photos],
    }
    click.echo("ocr weight  " + "  ".join(f"{name:>6} R@1  R@5" for name in groups))
    for weight, places in ranks.items():
        parts = []
        for chosen in groups.values():
            mine = [place for place, inside in zip(places, chosen, strict=True) if inside]
            shares = [sum(place < k for place in mine) / len(mine) if mine else 0.0 for k in (1, 5)]
            parts.append(f"{shares[0]:10.3f} {shares[1]:.3f}")
        click.echo(f"{weight:10.2f}  " + "  ".join(parts))


if __name__ == "__main__":
    main()
