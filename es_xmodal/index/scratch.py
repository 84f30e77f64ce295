"""Indices for a measurement: made under a random name, filled, and deleted whatever happens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors, reason_of
from es_xmodal.errors import ClusterAnswerError, ClusterError

PREFIX = "es-xmodal-bench-"
_PATIENCE_S = 600
"""A merge of many graphs into one takes its time."""


@contextmanager
def scratch_index(client: Elasticsearch, body: Mapping[str, Any]) -> Iterator[str]:
    """Make an index of a random name and delete it afterwards, also after an error or Ctrl-C.

    Args:
        client: see `connect`.
        body: settings and mappings.

    Yields:
        Its name.

    Raises:
        ClusterRefusedError: the caller may not create indices.
        ClusterAnswerError: the server does not take the body, or its shard does not start (no room).
    """
    name = f"{PREFIX}{secrets.token_hex(6)}"
    try:
        with cluster_errors(client, f"creating the temporary index {name}"):
            answer = client.indices.create(index=name, **body).body
        if not answer.get("shards_acknowledged", True):
            raise ClusterAnswerError(
                f"creating the temporary index {name}: its shard did not start",
                hint="is there room on the disks? `es-xmodal doctor` says",
            )
        yield name
    except BaseException:  # also Ctrl-C; that it cannot be deleted must not hide what went wrong
        with suppress(ClusterError):
            _delete(client, name)
        raise
    _delete(client, name)


def _delete(client: Elasticsearch, name: str) -> None:
    with cluster_errors(client, f"deleting the temporary index {name}"):
        client.indices.delete(index=name, ignore_unavailable=True)


def fill(client: Elasticsearch, index: str, documents: Sequence[tuple[str, bytes]]) -> None:
    """Write documents; each must be taken.

    Args:
        client: see `connect`.
        index: where.
        documents: id and JSON of each, small enough together for one request.

    Raises:
        ClusterAnswerError: one was not taken, such as under a full disk.
        ClusterError: the cluster cannot be reached or refuses.
    """
    lines: list[Any] = []
    for product, document in documents:
        lines += [{"index": {"_id": product}}, document]
    with cluster_errors(client, f"filling the temporary index {index}"):
        answer = client.options(request_timeout=_PATIENCE_S).bulk(index=index, operations=lines).body
    if answer["errors"]:
        failed = next(one["index"] for one in answer["items"] if "error" in one["index"])
        raise ClusterAnswerError(f"filling the temporary index {index}: {reason_of(failed)}")


def settle(client: Elasticsearch, index: str) -> int:
    """Merge into one segment and refresh, so that kinds are compared alike.

    Args:
        client: see `connect`.
        index: which.

    Returns:
        Its bytes on disk.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"merging the temporary index {index}"):
        patient = client.options(request_timeout=_PATIENCE_S)
        patient.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        client.indices.flush(index=index)
        stats = client.indices.stats(index=index, metric="store").body
    return int(stats["_all"]["primaries"]["store"]["size_in_bytes"])
