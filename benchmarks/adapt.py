"""What adapting gives on the development data: seen by nobody's training, before and after.

What was chosen on these very sets, so that the figures are a little kind: the share of the adapted part (.7)
and the number of InfoNCE heads (two) on all three splits of the clothing, the limits of the gates on splits 0
and 1 and on the other domain, how often catalogue pictures are shown among photos on the validation photos of
the groceries. The weights of the captions were chosen on split 0 alone.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np

from es_xmodal.adapt.features import Features, Said
from es_xmodal.adapt.run import AdaptOptions, AdaptReport, run_adapt
from es_xmodal.app import make_encoder
from es_xmodal.cli.adapt_chart import draw_comparisons
from es_xmodal.encoders.adapted.encoder import AdaptedEncoder
from es_xmodal.encoders.base import JOINT, VISUAL, Encoder
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore
from es_xmodal.vectors import Matrix, unit_rows

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
TRAINED_ON = 800
Spaces = Mapping[str, Matrix]


def adapt_numbers(folder: Path, *, splits: int) -> None:
    """Print the tables; says so where the development data is absent."""
    if not DATA.is_dir():
        click.echo(f"adapt: not measured, the development data is not at {DATA}")
        return
    settings = load_settings()
    base = make_encoder(settings, "mini")
    with VectorStore.open(settings.data_dir / "vectors") as store:
        bench = _Bench(base, store, folder)
        bench.clothing(splits)
        bench.groceries()
    base.close()


@dataclass(frozen=True)
class Bundle:
    """A bundle of the development data, with what the base says of it."""

    rows: Sequence[Mapping[str, object]]
    pictures: Said
    titles: Said
    queries: Sequence[Mapping[str, str]]
    asked: Said
    relevant: Mapping[str, Mapping[str, int]]

    @property
    def ids(self) -> list[str]:
        return [str(row["id"]) for row in self.rows]


class _Bench:
    def __init__(self, base: Encoder, store: VectorStore, folder: Path) -> None:
        self._base, self._store, self._folder = base, store, folder

    def clothing(self, splits: int) -> None:
        clothes, other = self._bundle("fashion1000"), self._bundle("vendure")
        columns: dict[str, list[list[float]]] = {"before": [], "after": []}
        foreign: dict[str, list[list[float]]] = {"before": [], "after": []}
        for seed in range(splits):
            order = np.random.default_rng(100 + seed).permutation(len(clothes.rows))
            adapted, report, seconds = self._adapt("fashion1000", clothes, order[:TRAINED_ON])
            unseen = order[TRAINED_ON:]
            for name, encoder in (("before", None), ("after", adapted)):
                columns[name].append(_clothes(clothes, unseen, encoder))
                foreign[name].append(_words(other, np.arange(len(other.rows)), encoder))
            own = ", ".join(
                f"{one.before.recall_1:.3f} to {one.after.recall_1:.3f}" for one in report.comparisons
            )
            click.echo(f"split {seed}: {seconds}; its own held-out R@1: {own}")
            _line("  unseen titles R@1 R@10, attributes en zh", columns["before"][-1], columns["after"][-1])
            _line("  another domain en zh", foreign["before"][-1], foreign["after"][-1])
        click.echo(f"medians of {splits} splits:")
        _line("  unseen titles R@1 R@10, attributes en zh", *(_medians(columns[n]) for n in columns))
        _line("  another domain en zh", *(_medians(foreign[n]) for n in foreign))

    def groceries(self) -> None:
        bundle, other = self._bundle("grocery"), self._bundle("vendure")
        with (DATA / "grocery/photos.tsv").open(encoding="utf-8") as file:
            photos = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "val"]
        seen = self._features("grocery").pictures([row["path"] for row in photos])
        wanted = np.array([bundle.ids.index(row["product_id"]) for row in photos])
        said = seen.said.take(seen.rows)
        everything = np.arange(len(bundle.rows))
        for name, with_photos in (("without photos", False), ("with train photos", True)):
            adapted, _, seconds = self._adapt("grocery", bundle, everything, with_photos=with_photos)
            click.echo(f"groceries, {name}: {seconds}")
            if adapted is None:
                continue
            for what, encoder in (("before", None), ("after", adapted)):
                numbers = _photos(bundle, said, wanted, encoder)
                click.echo(f"  {what:6} " + "  ".join(f"{leg} {value:.3f}" for leg, value in numbers.items()))
            _line(
                "  another domain en zh",
                *(_words(other, np.arange(len(other.rows)), e) for e in (None, adapted)),
            )

    def _adapt(
        self, name: str, bundle: Bundle, rows: np.ndarray, *, with_photos: bool = False
    ) -> tuple[AdaptedEncoder | None, AdaptReport, str]:
        catalog = self._folder / "catalog.jsonl"
        lines = (json.dumps(bundle.rows[row], ensure_ascii=False) + "\n" for row in rows.tolist())
        catalog.write_text("".join(lines), encoding="utf-8")
        options = AdaptOptions(
            catalog=catalog,
            out=self._folder / "adapted",
            images_root=DATA / name,
            photos=DATA / name / "photos.tsv" if with_photos else None,
        )
        wall, processor = time.perf_counter(), time.process_time()
        report = run_adapt(self._base, self._store, options, draw=draw_comparisons)
        seconds = f"{time.perf_counter() - wall:.0f} s, {time.process_time() - processor:.0f} s of processor"
        if not report.adapted:
            click.echo(f"not adapted: {report.reason}")
            return None, report, seconds
        adapted = load_encoder(str(options.out))
        assert isinstance(adapted, AdaptedEncoder)
        return adapted, report, f"{seconds}; {dict(report.seconds)}"

    def _features(self, name: str) -> Features:
        return Features(self._base, self._store, [DATA / name], lambda what, done, of: None)

    def _bundle(self, name: str) -> Bundle:
        features = self._features(name)
        rows = [json.loads(line) for line in (DATA / name / "catalog.jsonl").open(encoding="utf-8")]
        with (DATA / name / "queries.tsv").open(encoding="utf-8") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            queries = [row for row in table if row["mode"] == "text"]
        relevant: dict[str, dict[str, int]] = {}
        for line in (DATA / name / "qrels.txt").open(encoding="utf-8"):
            query, _, product, grade = line.split()
            relevant.setdefault(query, {})[product] = int(grade)
        seen = features.pictures([row["images"][0] for row in rows])
        return Bundle(
            rows=rows,
            pictures=seen.said.take(seen.rows),
            titles=features.texts([row["title"] for row in rows]),
            queries=queries,
            asked=features.texts([row["text"] for row in queries]),
            relevant=relevant,
        )


def _clothes(bundle: Bundle, unseen: np.ndarray, encoder: AdaptedEncoder | None) -> list[float]:
    pictures = _seen(bundle.pictures.take(unseen), encoder)[JOINT]
    titles = _read(bundle.titles.take(unseen), encoder)[JOINT]
    ranks = _ranks(titles @ pictures.T, np.arange(len(unseen)))
    return [float((ranks <= 1).mean()), float((ranks <= 10).mean()), *_words(bundle, unseen, encoder)]


def _words(bundle: Bundle, rows: np.ndarray, encoder: AdaptedEncoder | None) -> list[float]:
    """NDCG@10 of the text queries in each language, words to picture, among some of the products."""
    pictures = _seen(bundle.pictures.take(rows), encoder)[JOINT]
    scores = _read(bundle.asked, encoder)[JOINT] @ pictures.T
    ids = [bundle.ids[row] for row in rows.tolist()]
    found = []
    for language in ("en", "zh"):
        values = [
            _ndcg(scores[at], ids, bundle.relevant.get(query["qid"], {}))
            for at, query in enumerate(bundle.queries)
            if query["lang"] == language
        ]
        found.append(float(np.mean([value for value in values if value is not None])))
    return found


def _photos(
    bundle: Bundle, photos: Said, wanted: np.ndarray, encoder: AdaptedEncoder | None
) -> dict[str, float]:
    """R@1 of photos by each leg: to the catalogue picture in both spaces, to the title, and their sums."""
    queries, pictures = _seen(photos, encoder), _seen(bundle.pictures, encoder)
    titles = _read(bundle.titles, encoder)[JOINT]
    joint, visual = (queries[name] @ pictures[name].T for name in (JOINT, VISUAL))
    legs = {
        "joint": joint,
        "visual": visual,
        "joint+visual": joint + visual,
        "title": queries[JOINT] @ titles.T,
    }
    legs["joint+visual+title"] = legs["joint+visual"] + legs["title"]
    return {name: float((_ranks(scores, wanted) <= 1).mean()) for name, scores in legs.items()}


def _seen(said: Said, encoder: AdaptedEncoder | None) -> Spaces:
    return said.vectors if encoder is None else _unit(encoder.place_pictures(said.vectors, said.features))


def _read(said: Said, encoder: AdaptedEncoder | None) -> Spaces:
    return said.vectors if encoder is None else _unit(encoder.place_texts(said.vectors, said.features))


def _unit(spaces: Spaces) -> Spaces:
    return {name: unit_rows(rows) for name, rows in spaces.items()}


def _ranks(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    own = scores[np.arange(len(scores)), wanted][:, None]
    ranks: np.ndarray = 1 + (scores > own).sum(axis=1)
    return ranks


def _ndcg(scores: np.ndarray, ids: Sequence[str], relevant: Mapping[str, int], at: int = 10) -> float | None:
    known = [relevant[name] for name in ids if name in relevant]
    if not known:
        return None
    discounts = 1 / np.log2(np.arange(2, at + 2))
    top = [relevant.get(ids[row], 0) for row in np.argsort(-scores, kind="stable")[:at].tolist()]
    best = sorted(known, reverse=True)[:at]
    return float(np.dot(top, discounts[: len(top)]) / np.dot(best, discounts[: len(best)]))


def _medians(rows: Sequence[Sequence[float]]) -> list[float]:
    return [median(column) for column in zip(*rows, strict=True)]


def _line(name: str, before: Sequence[float], after: Sequence[float]) -> None:
    shown = (" ".join(f"{value:.3f}" for value in values) for values in (before, after))
    click.echo(f"{name:44} before {next(shown)}  after {next(shown)}")
