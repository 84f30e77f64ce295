"""How much of an index has pictures and vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.search import search
from es_xmodal.index.target import Target

TIMEOUT_S: Final = 10.0
_TEXT: Final = "text_vector"


def coverage_of(client: Elasticsearch, target: Target) -> tuple[int, dict[str, float]]:
    """Count how much of an index has pictures and vectors.

    Args:
        client: see `connect`.
        target: the index.

    Returns:
        Documents, and `picture`, `vector` (of pictures, or of text and pictures) and `text_vector` as parts
        of them; what the index has no field for is left out, and so is everything where it is empty.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    filters = dict(_filters(target))
    body: dict[str, Any] = {"size": 0, "track_total_hits": True}
    body["aggs"] = {name: {"filter": one} for name, one in filters.items()}
    answer = search(client, target.index, body, timeout_s=TIMEOUT_S)
    documents = int(answer["hits"]["total"]["value"])
    if not documents:
        return 0, {}
    counted = answer.get("aggregations", {})
    return documents, {name: counted[name]["doc_count"] / documents for name in filters}


def _filters(target: Target) -> Iterator[tuple[str, dict[str, Any]]]:
    at = target.meta.names.at
    vectors = [name for name, kind in target.fields.items() if kind == "dense_vector"]
    if "images" in target.fields:
        yield "picture", {"nested": {"path": at("images"), "query": {"match_all": {}}}}
    others = [_exists(name, at) for name in vectors if name != _TEXT]
    if others:
        yield "vector", {"bool": {"should": others}}
    if _TEXT in vectors:
        yield "text_vector", _exists(_TEXT, at)


def _exists(name: str, at: Callable[[str], str]) -> dict[str, Any]:
    exists = {"exists": {"field": at(name)}}
    inside = name.startswith("images.")
    return {"nested": {"path": at("images"), "query": exists}} if inside else exists
