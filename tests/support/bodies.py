"""Index bodies as `GET INDEX` answers them, for tests of what can be wrong with an index."""

from __future__ import annotations

import copy
from typing import Any

from es_xmodal.cluster.capabilities import ANALYZERS, Capabilities
from es_xmodal.errors import ForeignIndexError
from es_xmodal.index.meta import IndexMeta, parse_meta
from es_xmodal.index.traps import IndexFacts
from tests.support.encoders import HashEncoder

FULL = Capabilities(
    version=(9, 5, 3),
    license="trial",
    license_status="active",
    nodes=3,
    data_nodes=2,
    scripts=True,
    analyzers=frozenset(ANALYZERS),
    surveyed=True,
)


def vector(dims: int, **changes: Any) -> dict[str, Any]:
    options = {"type": "hnsw", "m": 16, "ef_construction": 100}
    value = {
        "type": "dense_vector",
        "dims": dims,
        "index": True,
        "similarity": "cosine",
        "index_options": options,
    }
    return {name: one for name, one in {**value, **changes}.items() if one is not None}


META: dict[str, Any] = {
    "format": 1,
    "version": "0.1.0",
    "state": "complete",
    "encoder": {
        "spec": "hash",
        "fingerprint": "hash-0000000000000001",
        "text_space": "text",
        "spaces": {
            "joint": {"dim": 32, "similarity": "cosine"},
            "visual": {"dim": 16, "similarity": "cosine"},
            "text": {"dim": 24, "similarity": "cosine"},
        },
    },
    "text": {"fingerprint": "text-0000000000000001"},
    "layout": "09c7729129dd15c2",
    "created": "2026-01-01T00:00:00+00:00",
    "lease": 0.0,
    "builder": {"host": "h", "pid": 1, "run_id": "r", "started": 0.0, "machine": "m"},
    "calibration": {leg: {"floor": 0.5, "spread": 0.05} for leg in ("text", "image", "visual")},
    "counts": {},
}
OURS: dict[str, Any] = {
    "aliases": {"shop": {}},
    "mappings": {
        "dynamic": "strict",
        "_meta": {"es_xmodal": META},
        "properties": {
            "id": {"type": "keyword"},
            "title": {"type": "text", "analyzer": "standard"},
            "images": {"type": "nested", "properties": {"joint": vector(32), "visual": vector(16)}},
            "text_vector": vector(24),
        },
    },
    "settings": {
        "index": {
            "number_of_shards": "1",
            "auto_expand_replicas": "0-1",
            "number_of_replicas": "1",
            "version": {"created": "9111000"},
        }
    },
}
FOREIGN: dict[str, Any] = {
    "aliases": {},
    "mappings": {
        "properties": {
            "product_id": {"type": "keyword"},
            "productName": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
            "long_description": {"type": "text"},
            "sku": {"type": "keyword"},
            "ean": {"type": "long"},
            "media": {"properties": {"image_url": {"type": "keyword"}, "alt": {"type": "text"}}},
            "list_price": {"type": "scaled_float", "scaling_factor": 100},
            "price_note": {"type": "date"},
            "embedding": vector(384),
        }
    },
    "settings": {"index": {"number_of_shards": "1", "number_of_replicas": "1"}},
}


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The body with one value set (None: taken out); names in the path are divided by `/`."""
    copied = copy.deepcopy(body)
    *parents, last = path.split("/")
    place = copied
    for name in parents:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return copied


def facts(body: dict[str, Any] = OURS, **changes: Any) -> IndexFacts:
    """What is known about an index with this body, on a healthy cluster of two data nodes."""
    meta: IndexMeta | None
    try:
        meta = parse_meta("shop-v0001", body["mappings"])
    except ForeignIndexError:
        meta = None
    values: dict[str, Any] = {
        "index": "shop-v0001",
        "body": body,
        "capabilities": FULL,
        "meta": meta,
        "encoder": HashEncoder().info if meta else None,
        "health": {"status": "green", "unassigned_shards": 0},
        "stats": {"docs": {"count": 5000, "deleted": 10}, "segments": {"count": 4}},
    }
    return IndexFacts(**{**values, **changes})
