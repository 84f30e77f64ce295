"""The vectors of an index: how many there are, and an even sample of them. Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterError
from es_xmodal.index.quantisation import Facts, FieldFacts, Version
from es_xmodal.index.target import Target
from es_xmodal.query.fields import OUR_OWN, Fields

PAGE = 200
"""Products a page: some megabytes of JSON, whatever the size of the index."""
_KEEP_S = 120
_TIMEOUT_S = 60.0
_SEED = 20_210


def count_vectors(client: Elasticsearch, target: Target) -> tuple[int, dict[str, int]]:
    """Count products, and the vectors of every field.

    Args:
        client: see `connect`.
        target: the index.

    Returns:
        Number of products; field -> number of vectors, those below `images` one a picture.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    names = target.meta.names
    flat = {name: _exists(names.at(name)) for name in target.vectors if "." not in name}
    nested = {name: _exists(names.at(name)) for name in target.vectors if "." in name}
    aggregations: dict[str, Any] = {"flat": {"filters": {"filters": flat}}} if flat else {}
    if nested:
        inside = {"inside": {"filters": {"filters": nested}}}
        aggregations["nested"] = {"nested": {"path": names.at("images")}, "aggs": inside}
    body = {"size": 0, "track_total_hits": True, "aggs": aggregations}
    answer = search(client, target.index, body, timeout_s=_TIMEOUT_S)
    found = answer.get("aggregations", {})
    buckets = dict(found.get("flat", {}).get("buckets", {}))
    buckets |= found.get("nested", {}).get("inside", {}).get("buckets", {})
    counts = {name: int(bucket["doc_count"]) for name, bucket in buckets.items()}
    return int(answer["hits"]["total"]["value"]), counts


def facts_of(
    target: Target, *, products: int, counts: Mapping[str, int], version: Version, license: str | None
) -> Facts:
    """Put together what the rule looks at for an index that is there.

    Args:
        target: the index.
        products: number of products.
        counts: see `count_vectors`.
        version: of the server.
        license: of the server; None where none is active.

    Returns:
        The facts; a field without a single vector is left out.
    """
    fields = tuple(
        FieldFacts(
            name=name,
            dims=int(target.vectors[name]["dims"]),
            vectors=count,
            nested="." in name,
        )
        for name, count in counts.items()
        if count and name in target.vectors
    )
    several = any(one.nested and (one.vectors or 0) > products for one in fields)
    return Facts(fields=fields, version=version, license=license, several_pictures=several)


def sampled_products(
    client: Elasticsearch, index: str, fields: Sequence[str], *, most: int, names: Fields = OUR_OWN
) -> Iterator[tuple[str, dict[str, list[list[float]]]]]:
    """Read the vectors of products in an even, repeatable random order.

    `fields` gives them in the same form on every server; `_source` hides them from Elasticsearch 9.2 on.

    Args:
        client: see `connect`.
        index: physical index.
        fields: vector fields.
        most: products to read.
        names: what the index calls its fields.

    Yields:
        Id, and field -> its vectors; a product without a vector is passed over.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    after: dict[str, Any] = {}
    left = most
    with _point(client, index) as point:
        while left > 0:
            body = _page(point, fields, names, min(PAGE, left)) | after
            hits = search(client, None, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
            for hit in hits:
                yield str(hit["_id"]), _vectors(hit.get("fields", {}), fields, names)
            if len(hits) < min(PAGE, left):
                return
            left -= len(hits)
            after = {"search_after": hits[-1]["sort"]}


def _page(point: str, fields: Sequence[str], names: Fields, size: int) -> dict[str, Any]:
    order = {"random_score": {"seed": _SEED, "field": "_seq_no"}, "boost_mode": "replace"}
    return {
        "pit": {"id": point, "keep_alive": f"{_KEEP_S}s"},
        "query": {"function_score": {"query": {"bool": {"should": _with_any(fields, names)}}, **order}},
        "sort": [{"_score": "desc"}, {"_shard_doc": "asc"}],
        "size": size,
        "_source": False,
        "fields": [names.at(name) for name in fields],
        "track_total_hits": False,
    }


def _exists(name: str) -> dict[str, Any]:
    return {"exists": {"field": name}}


def _with_any(fields: Sequence[str], names: Fields) -> list[dict[str, Any]]:
    return [
        {"nested": {"path": names.at(name.partition(".")[0]), "query": _exists(names.at(name))}}
        if "." in name
        else _exists(names.at(name))
        for name in fields
    ]


@contextmanager
def _point(client: Elasticsearch, index: str) -> Iterator[str]:
    point = open_point(client, index, keep_s=_KEEP_S)
    try:
        yield point
    finally:
        # It closes itself after its time; that must not hide why the reading ended.
        with suppress(ClusterError):
            close_point(client, point)


def _vectors(found: Mapping[str, Any], fields: Sequence[str], names: Fields) -> dict[str, list[list[float]]]:
    vectors = {}
    for path in fields:
        part, _, inner = path.partition(".")
        outer = names.at(part)
        if inner:
            rows = [one[inner] for one in found.get(outer, []) if one.get(inner)]
        else:
            rows = [found[outer]] if found.get(outer) else []
        if rows:
            vectors[path] = rows
    return vectors


def sampled_titles(client: Elasticsearch, index: str, *, most: int) -> list[tuple[str, str]]:
    """Read titles of products in an even, repeatable random order.

    Args:
        client: see `connect`.
        index: physical index.
        most: products to read; at most 10,000.

    Returns:
        Id and title.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    order = {"random_score": {"seed": _SEED, "field": "_seq_no"}, "boost_mode": "replace"}
    body = {
        "query": {"function_score": {"query": {"match_all": {}}, **order}},
        "size": most,
        "_source": ["title"],
        "track_total_hits": False,
    }
    hits = search(client, index, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
    return [(str(hit["_id"]), str(hit["_source"].get("title", ""))) for hit in hits]


def size_of(client: Elasticsearch, index: str) -> int:
    """Return the bytes that an index takes on disk, copies of its shards not counted.

    Args:
        client: see `connect`.
        index: physical index.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"asking for the size of {index}"):
        answer = client.indices.stats(index=index, metric="store").body
    return int(answer["_all"]["primaries"]["store"]["size_in_bytes"])
