"""How much of an index has pictures and vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.search import search

TIMEOUT_S: Final = 10.0


def coverage_of(client: Elasticsearch, index: str, fields: Mapping[str, str]) -> tuple[int, dict[str, float]]:
    """Count how much of an index has pictures and vectors.

    Args:
        client: see `connect`.
        index: alias or physical name.
        fields: dotted field -> type, as in `Target.fields`.

    Returns:
        Documents, and `picture`, `vector` (of pictures, or of text and pictures) and `text_vector` as parts
        of them; what the index has no field for is left out, and so is everything where it is empty.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    filters = dict(_filters(fields))
    aggregations = {name: {"filter": one} for name, one in filters.items()}
    body: dict[str, Any] = {"size": 0, "track_total_hits": True}
    body |= {"aggs": aggregations} if aggregations else {}
    answer = search(client, index, body, timeout_s=TIMEOUT_S)
    documents = int(answer["hits"]["total"]["value"])
    if not documents:
        return 0, {}
    counted = answer.get("aggregations", {})
    return documents, {name: counted[name]["doc_count"] / documents for name in filters}


def _filters(fields: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    pictures = next(
        (name for name, kind in fields.items() if kind == "nested" and f"{name}.ref" in fields), None
    )
    if pictures is not None:
        yield "picture", {"nested": {"path": pictures, "query": {"match_all": {}}}}
    vectors = [name for name, kind in fields.items() if kind == "dense_vector"]
    text = [name for name in vectors if name.rpartition(".")[2] == "text_vector"]
    others = [name for name in vectors if name not in text]
    if others:
        yield "vector", {"bool": {"should": [_exists(name, pictures) for name in others]}}
    if text:
        yield "text_vector", _exists(text[0], pictures)


def _exists(name: str, nested: str | None) -> dict[str, Any]:
    exists = {"exists": {"field": name}}
    inside = nested is not None and name.startswith(f"{nested}.")
    return {"nested": {"path": nested, "query": exists}} if inside else exists
