"""Sets of product ids, 8 bytes for each: what an index holds, without its ids in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterError

Ids = NDArray[np.uint64]
"""Sorted hashes, each once. Among 5 million ids two share one with a probability of one in a million."""

PAGE: Final = 10_000
KEEP_S: Final = 300
"""Seconds that a point in time is kept from page to page."""
_TIMEOUT_S: Final = 60.0

NONE: Final[Ids] = np.empty(0, np.uint64)


def hash_ids(ids: Iterable[str]) -> Ids:
    """Return the set of some ids.

    Args:
        ids: any order, also twice.

    Returns:
        uint64, sorted, each once.
    """
    return np.unique(np.fromiter((hash_id(one) for one in ids), np.uint64))


def hash_id(id_: str) -> int:
    """Return the 8-byte hash of one id."""
    return int.from_bytes(blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def contains(ids: Ids, asked: Sequence[str]) -> list[bool]:
    """Return for each id whether it is in a set.

    Args:
        ids: the set.
        asked: some ids.
    """
    if not len(ids):
        return [False] * len(asked)
    hashes = np.fromiter((hash_id(one) for one in asked), np.uint64, len(asked))
    places = np.searchsorted(ids, hashes).clip(max=len(ids) - 1)
    return [bool(one) for one in ids[places] == hashes]


def minus(ids: Ids, *others: Ids) -> Ids:
    """Return what is in the first set and in none of the others."""
    for other in others:
        ids = np.setdiff1d(ids, other, assume_unique=True)
    return ids


def union(ids: Ids, other: Ids) -> Ids:
    """Return what is in one of two sets."""
    return np.union1d(ids, other) if len(other) else ids


def scan_ids(
    client: Elasticsearch,
    index: str,
    *,
    point: str | None = None,
    on_page: Callable[[], None] = lambda: None,
) -> Ids:
    """Return the ids of all documents of an index.

    Args:
        client: see `connect`.
        index: index or alias; it is refreshed first.
        point: a point in time of it, which is read in its place, and closed; None: the index as it is now.
        on_page: called after each page of ids.

    Returns:
        The set.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    found = array("Q")
    for page in id_pages(client, index, point=point):
        found.extend(hash_id(one) for one in page)
        on_page()
    return np.unique(np.frombuffer(found, np.uint64)) if found else NONE


def id_pages(client: Elasticsearch, index: str, *, point: str | None = None) -> Iterator[list[str]]:
    """Walk over the ids of all documents of an index, as it is at the beginning.

    Args:
        client: see `connect`.
        index: index or alias; it is refreshed first.
        point: as for `scan_ids`.

    Yields:
        Some thousand ids at a time.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    if point is None:
        with cluster_errors(client, f"refreshing {index}"):
            client.indices.refresh(index=index)
        point = open_point(client, index, keep_s=KEEP_S)
    body: dict[str, Any] = {
        "size": PAGE,
        "sort": [{"_shard_doc": "asc"}],
        "_source": False,
        "track_total_hits": False,
        "pit": {"id": point, "keep_alive": f"{KEEP_S}s"},
    }
    try:
        while hits := search(client, None, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]:
            yield [hit["_id"] for hit in hits]
            body["search_after"] = hits[-1]["sort"]
    finally:
        with suppress(ClusterError):  # it closes itself; that must not hide why the reading ended
            close_point(client, point)
