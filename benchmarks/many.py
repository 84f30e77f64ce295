"""Ingest on Ray against the local engine, and a plan's bytes against a real index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from benchmarks.rows import Row
from benchmarks.shop import parts_for, write_catalog
from es_xmodal.cluster.capabilities import probe
from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.index.capacity import Load, VectorField, size_of, store_bytes
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest
from es_xmodal.ingest.remote.package import Again, load_again
from es_xmodal.ingest.remote.ray_cluster import RayOptions
from es_xmodal.ingest.report import IngestReport
from es_xmodal.media.source import PictureSource

INDEX = "bench-many"
KINDS = ("hnsw", "int8_hnsw", "bbq_hnsw")


def ray_rows(url: str, folder: Path, *, catalog: Path, encoder: str, workers: int) -> list[Row]:
    """The same catalogue by both engines: rows a second, and every field of every document.

    Args:
        url: of the server.
        folder: for vectors and rejects.
        catalog: with its pictures beside it.
        encoder: SPEC.
        workers: of Ray, on this machine.
    """
    reports = {
        "local": _ingest(url, folder, catalog, encoder, "local", None),
        "ray": _ingest(url, folder, catalog, encoder, "ray", RayOptions(workers=workers)),
    }
    with parts_for(url, folder) as parts:
        pair = [_documents(parts.client, f"{INDEX}-{name}") for name in reports]
        parts.client.indices.delete(index=",".join(str(one.index) for one in reports.values()))
    worst = max((_difference(pair[0][id_], pair[1][id_], id_) for id_ in pair[0]), default=0.0)
    assert pair[0].keys() == pair[1].keys()
    local, ray = reports["local"], reports["ray"]
    assert local.counts == ray.counts, (local.counts, ray.counts)
    read = local.counts["read"]
    return [
        Row(
            name=f"ray with {workers} worker(s) / local engine, {catalog.parent.name}",
            value=local.seconds / ray.seconds,
            unit="rows/s ratio",
            bound="",
            detail=f"{read / ray.seconds:.1f} against {read / local.seconds:.1f} rows/s, with Ray's start",
        ),
        Row(
            name=f"largest difference in {len(pair[0]):,} documents",
            value=worst,
            unit="of a vector's component",
            bound="<= 1e-6",
            detail="all other fields, and all counters, are equal",
        ),
    ]


def _ingest(
    url: str, folder: Path, catalog: Path, spec: str, name: str, ray: RayOptions | None
) -> IngestReport:
    encoder = load_encoder(spec)
    options = IngestOptions(
        catalog=catalog,
        index=f"{INDEX}-{name}",
        rebuild=True,
        keep=1,
        rejects=folder / f"{name}.rejects.jsonl",
        ray=ray,
    )
    with parts_for(url, folder, store=f"vectors-{name}", encoder=encoder) as parts:
        again = Again(encoder=partial(load_again, spec, EncoderOptions()))
        return run_ingest(replace(parts, pictures=PictureSource(catalog.parent), again=again), options)


def _documents(client: Elasticsearch, index: str) -> dict[str, Any]:
    client.indices.refresh(index=index)
    query: dict[str, Any] = {"query": {"match_all": {}}}
    if probe(client).base64_vectors:  # such a server hides vectors unless it is asked for them
        query["_source"] = {"exclude_vectors": False}
    return {hit["_id"]: hit["_source"] for hit in scan(client, index=index, query=query, size=200)}


def _difference(one: Any, other: Any, where: str) -> float:
    """The largest difference of a vector's component; anything else must be equal."""
    if isinstance(one, Mapping):
        assert one.keys() == other.keys(), where
        return max((_difference(one[name], other[name], f"{where}.{name}") for name in one), default=0.0)
    if isinstance(one, list) and one and isinstance(one[0], float):
        return float(np.abs(np.array(one) - np.array(other)).max())
    if isinstance(one, list):
        assert len(one) == len(other), where
        pairs = zip(one, other, strict=True)
        return max((_difference(a, b, f"{where}[{at}]") for at, (a, b) in enumerate(pairs)), default=0.0)
    assert one == other, where
    return 0.0


def capacity_rows(url: str, folder: Path, *, products: int) -> list[Row]:
    """Predicted bytes against those of a real index, merged to one segment, for some kinds of vector index.

    Args:
        url: of the server.
        folder: for catalogue, pictures and vectors.
        products: in the index.
    """
    catalog = _with_own_pictures(folder, products)
    fields = (
        VectorField(name="joint", dims=512, of_pictures=True),
        VectorField(name="visual", dims=512, of_pictures=True),
        VectorField(name="text", dims=384, of_pictures=False),
    )
    load = Load(
        products=products, pictures_per_product=1.0, pictures_per_second=1, texts_per_second=1, fields=fields
    )
    rows = []
    with parts_for(url, folder) as parts:
        for kind in KINDS:
            usage = _usage(parts, catalog, folder, kind)
            predicted = size_of(load, kind).disk_bytes
            rows.append(_against(f"vectors on disk, {kind}", predicted, usage["knn_vectors"], products))
        # What a product's text takes is an input of the plan, so these two say how far its default is off.
        text = usage["total"] - usage["knn_vectors"]
        rows.append(_against("text on disk", load.text_bytes * products, text, products, ""))
        hot = text - usage["stored_fields"]
        rows.append(_against("text that searches read", load.hot_bytes * products, hot, products, ""))
        stored = parts.store.stats().used_bytes
        rows.append(_against("vector store", store_bytes(load), stored, products))
    return rows


def _with_own_pictures(folder: Path, products: int) -> Path:
    """A catalogue in which every product's picture is another one: a few bytes of a `data:` address."""
    import base64
    from io import BytesIO

    from PIL import Image

    catalog = folder / "own-pictures.jsonl"
    with catalog.open("w", encoding="utf-8") as file:
        for number, line in enumerate(write_catalog(folder, products).open(encoding="utf-8")):
            data = BytesIO()
            colour = (number >> 16, number >> 8 & 255, number & 255)
            Image.new("RGB", (8, 8), colour).save(data, "PNG")
            address = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
            file.write(json.dumps({**json.loads(line), "images": [address]}, ensure_ascii=False) + "\n")
    return catalog


def _usage(parts: Parts, catalog: Path, folder: Path, kind: str) -> dict[str, int]:
    options = IngestOptions(
        catalog=catalog,
        index=INDEX,
        rebuild=True,
        keep=1,
        rejects=folder / "rejects.jsonl",
        vector_index=kind,
        replicas=0,
    )
    index = str(run_ingest(parts, options).index)
    parts.client.indices.forcemerge(index=index, max_num_segments=1)
    answer: Any = parts.client.perform_request(
        "POST", f"/{index}/_disk_usage?run_expensive_tasks=true", headers={"accept": "application/json"}
    ).body
    parts.client.indices.delete(index=index)
    found = answer[index]["all_fields"]
    return {
        name.removesuffix("_in_bytes"): int(size)
        for name, size in found.items()
        if name.endswith("_in_bytes")
    } | {"total": int(found["total_in_bytes"])}


def _against(name: str, predicted: float, real: float, products: int, bound: str = "0.8 to 1.25") -> Row:
    return Row(
        name=f"{name}: predicted / real",
        value=predicted / real,
        unit="bytes ratio",
        bound=bound,
        detail=f"{predicted / products:.0f} against {real / products:.0f} bytes each, {products:,} products",
    )
