"""Edits of an index that is there, against what cannot be avoided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

from benchmarks.rows import CHUNK, INDEX, Row, _drop, _ingest, _timed
from benchmarks.shop import parts_for, write_catalog
from es_xmodal.catalog.document import to_document
from es_xmodal.catalog.product import Product
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.ingest.ahead import batched
from es_xmodal.ingest.document import row_hash
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest


def edit_rows(url: str, folder: Path, *, products: int) -> list[Row]:
    """Price edits of a tenth against a bare loop; a second ingest against reading and hashing the files.

    Args:
        url: of the server.
        folder: for catalogue, pictures and vectors.
        products: in the index.
    """
    catalog = write_catalog(folder, products)
    with parts_for(url, folder) as parts:
        _ingest(parts, catalog, folder)
        try:
            return [
                _price_edits(parts, catalog, folder, products // 10),
                _unchanged(parts, catalog, folder, products),
            ]
        finally:
            _drop(parts)


def _price_edits(parts: Parts, catalog: Path, folder: Path, edits: int) -> Row:
    ratios, rates = [], []
    path = folder / "edits.jsonl"
    ids = [json.loads(line)["id"] for line in _head(catalog, edits)]
    for turn in range(3):
        prices = [{"id": one, "price": at + 1000.25 + 2 * turn} for at, one in enumerate(ids)]
        path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in prices))
        bodies = [(one["id"], orjson.dumps({"doc": {"price": one["price"] + 1}})) for one in prices]
        ours_s = _timed(lambda: _update(parts, path, folder, edits))
        bare_s = _timed(lambda bodies=bodies: _bare_updates(parts, bodies))  # type: ignore[misc]
        ratios.append(bare_s / ours_s)
        rates.append((edits / ours_s, edits / bare_s))
    middle = sorted(zip(ratios, rates, strict=True))[1]
    return Row(
        name="price edits / bare bulk _update loop",
        value=middle[0],
        unit="docs/s ratio",
        bound=">= 0.9",
        detail=f"{middle[1][0]:.0f} against {middle[1][1]:.0f} docs/s, {edits} edits, 3 pairs,"
        f" {min(ratios):.2f}–{max(ratios):.2f}",
    )


def _update(parts: Parts, path: Path, folder: Path, edits: int) -> None:
    options = IngestOptions(catalog=path, index=INDEX, rejects=folder / "rejects.jsonl", update=True)
    counts = run_ingest(parts, options).counts
    assert (counts["updated"], counts["encoded_texts"], counts["encoded_images"]) == (edits, 0, 0)


def _bare_updates(parts: Parts, bodies: list[tuple[str, bytes]]) -> None:
    for start in range(0, len(bodies), CHUNK):
        lines: list[Any] = []
        for product, body in bodies[start : start + CHUNK]:
            lines += [{"update": {"_id": product}}, body]
        answer = parts.client.bulk(index=INDEX, operations=lines, filter_path="errors")
        assert not answer.body["errors"]
    parts.client.indices.refresh(index=INDEX)


def _unchanged(parts: Parts, catalog: Path, folder: Path, products: int) -> Row:
    _ingest(parts, catalog, folder)  # the prices are those of the catalogue again
    ratios, rates = [], []
    for _ in range(3):
        bare_s = _timed(lambda: _read_and_hash(parts, catalog))
        ours_s = _timed(lambda: _second(parts, catalog, folder, products))
        ratios.append(bare_s / ours_s)
        rates.append((products / ours_s, products / bare_s))
    middle = sorted(zip(ratios, rates, strict=True))[1]
    return Row(
        name="second ingest / reading and hashing the files",
        value=middle[0],
        unit="rows/s ratio",
        bound=">= 0.5",
        detail=f"{middle[1][0]:.0f} against {middle[1][1]:.0f} rows/s, {products} rows, 3 pairs,"
        f" {min(ratios):.2f}–{max(ratios):.2f}",
    )


def _second(parts: Parts, catalog: Path, folder: Path, products: int) -> None:
    options = IngestOptions(catalog=catalog, index=INDEX, rejects=folder / "rejects.jsonl")
    counts = run_ingest(parts, options).counts
    assert (counts["unchanged"], counts["encoded_texts"], counts["encoded_images"]) == (products, 0, 0)


def _read_and_hash(parts: Parts, catalog: Path) -> None:
    """The same reader, the same checks and the same hash of each row and picture; no index, no threads."""
    encoder, text = parts.encoder.info.fingerprint, parts.analyzer.fingerprint
    for rows in batched(read_catalog(catalog), 128):
        products = [row for row in rows if isinstance(row, Product)]
        found = parts.pictures.identify([ref for product in products for ref in product.images])
        for product in products:
            contents = [found[ref].content for ref in product.images]  # type: ignore[union-attr]
            row_hash(to_document(product), contents, encoder=encoder, text=text)


def _head(path: Path, count: int) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [next(lines) for _ in range(count)]
