"""An index of the shop's own, enriched, against an ingest of the same products."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks.rows import CHUNK, Row, _drop, _ingest, _timed
from benchmarks.shop import parts_for, write_catalog
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.report import EnrichReport
from es_xmodal.enrich.run import run_enrich
from es_xmodal.ingest.options import Parts

SHOP = "bench-own-shop"
_PATHS = {"title": "title", "images": "images", "brand": "brand", "price": "price"}


def enrich_rows(url: str, folder: Path, *, products: int) -> list[Row]:
    """Enrichment against an ingest, both from the store; a run with nothing to do; memory.

    Args:
        url: of the server.
        folder: for catalogue, pictures and vectors.
        products: documents in the shop's index; memory is measured with them and with a tenth.
    """
    catalog = write_catalog(folder, products)
    with parts_for(url, folder) as parts:
        try:
            return [
                *_against_ingest(parts, catalog, folder, products),
                _memory(parts, catalog, folder, products),
            ]
        finally:
            parts.client.indices.delete(index=SHOP, ignore_unavailable=True)


def _against_ingest(parts: Parts, catalog: Path, folder: Path, products: int) -> list[Row]:
    _make(parts, catalog, products)
    assert _enrich(parts, folder).counts["indexed"] == products  # fills the store
    pairs: list[tuple[float, float]] = []
    for _ in range(3):
        _make(parts, catalog, products)
        ours_s = _timed(lambda: _enrich(parts, folder))
        pairs.append((ours_s, _timed(lambda: _ingest(parts, catalog, folder))))
        _drop(parts)
    idle_s = _timed(lambda: _enrich(parts, folder))
    ours, ingest = sorted(pairs, key=lambda pair: pair[1] / pair[0])[1]
    ratios = [ingest_s / ours_s for ours_s, ingest_s in pairs]
    return [
        Row(
            name="enrich / ingest of the same products, both from the store",
            value=ingest / ours,
            unit="docs/s ratio",
            bound="",
            detail=f"{products / ours:.0f} against {products / ingest:.0f} docs/s, {products} documents,"
            f" 3 pairs, {min(ratios):.2f}–{max(ratios):.2f}",
        ),
        Row(
            name="enrich again, nothing written since",
            value=idle_s,
            unit="s",
            bound="",
            detail=f"{products} documents, none of them read",
        ),
    ]


def _memory(parts: Parts, catalog: Path, folder: Path, products: int) -> Row:
    """The peak of Python itself, nothing being encoded; up to 512 documents calibration grows."""
    peaks = []
    for count in (products // 10, products):
        _make(parts, catalog, count)
        tracemalloc.start()
        _enrich(parts, folder)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    return Row(
        name=f"enrich: peak memory, {products} / {products // 10} documents",
        value=peaks[1] / peaks[0],
        unit="ratio",
        bound="<= 1.15",
        detail=f"{peaks[1]:.1f} against {peaks[0]:.1f} MiB of Python objects",
    )


def _make(parts: Parts, catalog: Path, count: int) -> None:
    """The shop's index with its documents, without ours."""
    client = parts.client
    client.indices.delete(index=SHOP, ignore_unavailable=True)
    own = {"properties": {"brand": {"type": "keyword"}, "price": {"type": "double"}}}
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=SHOP, mappings=own, settings=settings)
    lines: list[Any] = []
    with catalog.open(encoding="utf-8") as file:
        for _, line in zip(range(count), file, strict=False):
            row = json.loads(line)
            lines += [{"index": {"_id": row.pop("id")}}, row]
            if len(lines) >= 2 * CHUNK:
                client.bulk(index=SHOP, operations=lines)
                lines = []
    if lines:
        client.bulk(index=SHOP, operations=lines)
    client.indices.refresh(index=SHOP)


def _enrich(parts: Parts, folder: Path) -> EnrichReport:
    options = EnrichOptions(index=SHOP, paths=_PATHS, rejects=folder / "rejects.jsonl")
    return run_enrich(parts, options)
