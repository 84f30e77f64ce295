"""The body of a new index. Pure: the same template, encoder and options give the same JSON."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from es_xmodal.encoders.base import JOINT, VISUAL, EncoderInfo
from es_xmodal.errors import SettingsError
from es_xmodal.index.combining import Combining, VectorField, vector_fields
from es_xmodal.index.meta import KEY, IndexMeta
from es_xmodal.index.quantisation import KINDS, kind_of

IMAGE_SPACES = (JOINT, VISUAL)
"""Spaces that have a field below `images`."""
PICTURE_FIELD = "picture"
"""References of all pictures, for those who look at the index with Kibana."""
OCR_FIELDS = ("ocr", "grams")
"""Fields below `tokens` for the words that stand on pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexOptions:
    """What a person may choose about a new index."""

    vector_index: str = "hnsw"
    """`index_options.type`. `hnsw` and `flat` score exactly; the others are smaller and approximate."""
    m: int = 16
    ef_construction: int = 100
    shards: int = 1
    replicas: int | None = None
    """None: as many as there are nodes for, at most one."""
    ocr: bool = False
    """Fields for the words that stand on pictures."""
    combining: Combining = field(default_factory=Combining)

    def __post_init__(self) -> None:
        kind_of(self.vector_index)
        if self.shards < 1 or (self.replicas is not None and self.replicas < 0):
            raise SettingsError("an index has at least one shard and no fewer than 0 replicas")

    def index_options(self) -> dict[str, Any]:
        """Return `index_options` of every vector field.

        Returns:
            Always explicit: the server's default changes with version, dimension and licence.
        """
        if KINDS[self.vector_index].structure != "hnsw":
            return {"type": self.vector_index}
        return {"type": self.vector_index, "m": self.m, "ef_construction": self.ef_construction}


def build_body(template: Mapping[str, Any], *, encoder: EncoderInfo, options: IndexOptions) -> dict[str, Any]:
    """Return settings and mappings of a new index, without `_meta`.

    Args:
        template: `mappings/product.json`.
        encoder: whose spaces get fields; a field without its space is left out.
        options: shards, replicas, kind of vector index.

    Returns:
        `{"settings": ..., "mappings": ...}`.
    """
    body: dict[str, Any] = copy.deepcopy(dict(template))
    settings = body["settings"]["index"]
    settings["number_of_shards"] = options.shards
    if options.replicas is not None:
        settings.pop("auto_expand_replicas", None)
        settings["number_of_replicas"] = options.replicas
    properties = body["mappings"]["properties"]
    for name in IMAGE_SPACES:
        properties["images"]["properties"].pop(name, None)
    properties.pop("text_vector", None)
    for one in vector_fields(options.combining, encoder.spaces, encoder.text_space).values():
        outer, _, inner = one.path.partition(".")
        place = properties[outer]["properties"] if inner else properties
        place[inner or outer] = _vector_field(one, options)
    if not options.ocr:
        for name in OCR_FIELDS:
            properties["tokens"]["properties"].pop(name, None)
    body["mappings"]["_meta"] = {}
    return body


def with_meta(body: Mapping[str, Any], meta: IndexMeta) -> dict[str, Any]:
    """Return the body with what the index says about itself, and with what only people look at.

    Args:
        body: see `build_body`.
        meta: its fingerprints, state, builder.

    Returns:
        A new body.
    """
    mappings = {
        **body["mappings"],
        "_meta": {KEY: meta.to_json()},
        "properties": _with_picture(body["mappings"]["properties"]),
    }
    return {**body, "mappings": mappings}


def _with_picture(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Discover shows nothing of a nested field, so the references of pictures are readable at the top too.

    The field costs nothing: it is neither indexed nor stored, and `fields` reads it from `images.ref`. As no
    document depends on it, it is not part of the layout.
    """
    found = copy.deepcopy(dict(properties))
    found[PICTURE_FIELD] = {"type": "keyword", "index": False, "doc_values": False}
    found["images"]["properties"]["ref"]["copy_to"] = PICTURE_FIELD
    return found


def layout_of(body: Mapping[str, Any]) -> str:
    """Return a digest of everything in a body that documents depend on.

    Args:
        body: see `build_body`.

    Returns:
        16 hex digits; shards, replicas and refresh do not count, nor does what only people look at.
    """
    mappings = {key: value for key, value in body["mappings"].items() if key != "_meta"}
    mappings["properties"] = _without_picture(mappings["properties"])
    analysis = body["settings"]["index"].get("analysis")
    text = json.dumps([mappings, analysis], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_picture(properties: Mapping[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(dict(properties))
    found.pop(PICTURE_FIELD, None)
    found["images"]["properties"]["ref"].pop("copy_to", None)
    return found


def _vector_field(one: VectorField, options: IndexOptions) -> dict[str, Any]:
    return {
        "type": "dense_vector",
        "element_type": "float",
        "dims": one.dim,
        "index": True,
        "similarity": one.similarity,
        "index_options": options.index_options(),
    }
