"""One function a row of the table: what is measured, against what, and the ratio."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.large import large_index
from benchmarks.shop import parts_for, write_catalog
from es_xmodal.cluster.search import msearch, search
from es_xmodal.encoders.base import Encoder
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.ingest import pipeline
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest
from es_xmodal.ingest.sender import Item, Sender
from es_xmodal.query.model import Fusion, Query
from es_xmodal.search import reading
from es_xmodal.search.engine import PlannedSearch, Searcher
from es_xmodal.search.result import SearchResult
from es_xmodal.vectors import Matrix

INDEX = "bench-shop"
BARE = "bench-bare"
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    unit: str
    bound: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "bound": self.bound,
            "detail": self.detail,
        }


def ingest_rate(url: str, folder: Path, *, rows: int, rounds: int) -> Row:
    """Ingest whose vectors are stored, against the same bodies in a bare bulk loop; in turn."""
    catalog = write_catalog(folder, rows)
    with parts_for(url, folder) as parts:
        bodies = _recorded(parts, catalog)
        ratios, rates = [], []
        for _ in range(rounds):
            bare_s = _timed(lambda: _bare_loop(parts, bodies))
            ours_s = _timed(lambda: _ingest(parts, catalog, folder))
            ratios.append(bare_s / ours_s)
            rates.append((rows / ours_s, rows / bare_s))
        _drop(parts)
    middle = sorted(zip(ratios, rates, strict=True))[len(ratios) // 2]
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    return Row(
        name="ingest, vectors stored / bare bulk loop",
        value=middle[0],
        unit="docs/s ratio",
        bound=">= 0.85",
        detail=f"{middle[1][0]:.0f} against {middle[1][1]:.0f} docs/s, {rows} rows, {rounds} pairs, {spread}",
    )


def _recorded(parts: Parts, catalog: Path) -> list[tuple[str, bytes]]:
    """Ingest once, which fills the store, and keep every body that is sent."""
    bodies: list[tuple[str, bytes]] = []

    class Recorder(Sender):
        def add(self, item: Item) -> None:
            bodies.append((item.id, item.body))
            super().add(item)

    with mock.patch.object(pipeline, "Sender", Recorder):
        _ingest(parts, catalog, catalog.parent)
    return bodies


def _ingest(parts: Parts, catalog: Path, folder: Path) -> None:
    options = IngestOptions(
        catalog=catalog, index=INDEX, rebuild=True, keep=1, rejects=folder / "rejects.jsonl"
    )
    report = run_ingest(parts, options)
    assert report.counts["rejected"] == 0, report.counts


def _bare_loop(parts: Parts, bodies: list[tuple[str, bytes]]) -> None:
    body = build_body(parts.template, encoder=parts.encoder.info, options=IndexOptions())
    parts.client.indices.delete(index=BARE, ignore_unavailable=True)
    parts.client.indices.create(index=BARE, **body)
    for start in range(0, len(bodies), CHUNK):
        lines: list[Any] = []
        for product, document in bodies[start : start + CHUNK]:
            lines += [{"index": {"_id": product}}, document]
        answer = parts.client.bulk(index=BARE, operations=lines, filter_path="errors")
        assert not answer.body["errors"]
    parts.client.indices.refresh(index=BARE)


def _drop(parts: Parts) -> None:
    for index in parts.client.indices.get(index=f"{INDEX}-v*", ignore_unavailable=True).body:
        parts.client.indices.delete(index=index)
    parts.client.indices.delete(index=BARE, ignore_unavailable=True)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def search_overhead(url: str, folder: Path, *, rows: int, queries: int) -> Row:
    """`search` minus its raw requests, the same ones, sent in turn; encoding costs nothing here."""
    catalog = write_catalog(folder, rows)
    titles = [json.loads(line)["title"] for line in catalog.read_text("utf-8").splitlines()[:queries]]
    extra, whole, marks = [], [], []
    with parts_for(url, folder) as parts:
        _ingest(parts, catalog, folder)
        searcher = Searcher(
            parts.client,
            INDEX,
            encoder_for=lambda spec: parts.encoder,
            analyzer_for=lambda: parts.analyzer,
        )
        for number, title in enumerate(titles * 2):
            query = Query(text=title)
            ours = partial(searcher.search, query)
            raw = partial(_send_raw, parts, searcher.plan(query))
            # In turn which goes first, so that the server's caches favour neither.
            if number % 2:
                raw_s, ours_s = _timed(raw), _timed(ours)
            else:
                ours_s, raw_s = _timed(ours), _timed(raw)
            highlights_s = _timed(partial(_read_highlights, searcher.search(query)))
            if number >= len(titles) // 2:  # the first ones warm up
                marks.append(highlights_s * 1000)
                extra.append((ours_s - raw_s) * 1000)
                whole.append(ours_s * 1000)
        _drop(parts)
    return Row(
        name="search minus its raw requests",
        value=statistics.median(extra),
        unit="ms median",
        bound="<= 3",
        detail=f"search {statistics.median(whole):.1f} ms, reading all highlights of a page"
        f" {statistics.median(marks):.1f} ms, medians of {len(extra)} queries, {rows} products",
    )


def _send_raw(parts: Parts, planned: PlannedSearch) -> None:
    first, last = planned.requests
    msearch(parts.client, INDEX, first.bodies, timeout_s=30)
    search(parts.client, INDEX, last.bodies[0], params=last.params, timeout_s=30)


def _read_highlights(result: SearchResult) -> None:
    for hit in result.hits:
        assert hit.highlight is not None


def own_time(url: str, folder: Path, *, rows: int, queries: int) -> Row:
    """Plan, fuse and parse: a whole search whose answers were recorded before, so that nothing is sent."""
    catalog = write_catalog(folder, rows)
    titles = [json.loads(line)["title"] for line in catalog.read_text("utf-8").splitlines()[:queries]]
    spent = []
    with parts_for(url, folder) as parts:
        _ingest(parts, catalog, folder)
        analyzer = parts.analyzer
        searcher = Searcher(
            parts.client,
            INDEX,
            encoder_for=lambda spec: parts.encoder,
            analyzer_for=lambda: parts.analyzer,
        )
        for title in titles:
            query = Query(text=title)
            first, last = searcher.plan(query).requests
            found = msearch(parts.client, INDEX, first.bodies, timeout_s=30)
            page = search(parts.client, INDEX, last.bodies[0], params=last.params, timeout_s=30)
            terms = analyzer.query_terms(title)
            with (
                mock.patch.object(analyzer, "query_terms", lambda _: terms),  # noqa: B023
                mock.patch.object(reading, "msearch", lambda *_, **__: found),  # noqa: B023
                mock.patch.object(reading, "search", lambda *_, **__: page),  # noqa: B023
                mock.patch.object(parts.encoder, "encode_texts", _remembering(parts.encoder, title)),
            ):
                spent += [_cpu_timed(partial(searcher.search, query)) * 1000 for _ in range(5)]
        _drop(parts)
    return Row(
        name="plan + fuse + parse, nothing sent",
        value=statistics.median(spent),
        unit="ms median",
        bound="<= 1",
        detail=f"processor time without tokenising and encoding; {len(spent)} searches, slowest tenth"
        f" {statistics.quantiles(spent, n=10)[-1]:.2f} ms",
    )


def _cpu_timed(work: Callable[[], object]) -> float:
    """Nothing is waited for in it, so that only a busy machine makes this differ from the clock."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _remembering(encoder: Encoder, text: str) -> Callable[[Sequence[str]], dict[str, Matrix]]:
    vectors = encoder.encode_texts([text])
    return lambda texts: vectors


def convex_against_boost(url: str, folder: Path, *, products: int, queries: int, rounds: int) -> Row:
    """The two round trips of `convex` against the one of `boost`, in turn, on an index of many products."""
    ratios, times = [], []
    with large_index(url, folder, products=products, queries=queries, vector_index="hnsw") as large:
        for turn in range(rounds + 1):
            for number, title in enumerate(large.titles):
                both: tuple[Fusion, ...] = ("convex", "boost") if (number + turn) % 2 else ("boost", "convex")
                took = {
                    fusion: _timed(partial(large.searcher.search, Query(text=title, fusion=fusion)))
                    for fusion in both
                }
                if turn:  # the first round warms up
                    ratios.append(took["convex"] / took["boost"])
                    times.append((took["convex"] * 1000, took["boost"] * 1000))
    convex, boost = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(
        name=f"convex / boost, {products:,} products",
        value=convex / boost,
        unit="ratio",
        bound="<= 1.6",
        detail=f"medians {convex:.1f} against {boost:.1f} ms, median of the pairs' ratios"
        f" {statistics.median(ratios):.2f}, {len(ratios)} pairs; 512 dimensions, hnsw, one shard",
    )


def ingest_memory(url: str, folder: Path, *, small: int, large: int) -> Row:
    """Peak resident memory of an ingest in a process of its own, two sizes."""
    peaks = {}
    for rows in (small, large):
        write_catalog(folder, rows)
        command = [
            sys.executable,
            "-m",
            "benchmarks",
            "--child",
            str(rows),
            "--url",
            url,
            "--folder",
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[rows] = int(done.stdout.split()[-1])
    return Row(
        name=f"peak memory of {large:,} rows / {small:,} rows",
        value=peaks[large] / peaks[small],
        unit="ratio",
        bound="<= 1.2",
        detail=f"{peaks[large] / 2**20:.0f} against {peaks[small] / 2**20:.0f} MiB",
    )


def child_ingest(url: str, folder: Path, rows: int) -> int:
    """Ingest once; return the peak resident memory of this process in bytes."""
    import resource

    with parts_for(url, folder, store=f"vectors-{rows}") as parts:
        _ingest(parts, folder / f"catalog-{rows}.jsonl", folder)
        _drop(parts)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
