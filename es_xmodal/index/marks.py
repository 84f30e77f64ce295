"""What was written to an index since a certain moment, whoever wrote it.

Every shard numbers its operations (`_seq_no`), deletions included. Where each shard stood is a mark; a
document with a higher number was written later. Operations that no living document accounts for are
deletions, or writes that a later one covered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterAnswerError, ClusterError
from es_xmodal.index.following import Marks

PAGE: Final = 500
_KEEP_S: Final = 3600
"""Of a point in time, from page to page: a page of pictures may take a slow encoder long."""
_PINS: Final = 5
_TIMEOUT_S: Final = 60.0

Standing = Literal["global_checkpoint", "max_seq_no"]


def take_marks(client: Elasticsearch, index: str, standing: Standing = "global_checkpoint") -> Marks:
    """Note where the shards of an index stand.

    Args:
        client: see `connect`.
        index: physical name.
        standing: `global_checkpoint`, up to which every operation is in every copy, so that a refresh shows
            it and no failover takes it back, is the one to rely on while writers are at work; `max_seq_no`
            where nobody writes.

    Returns:
        The marks.

    Raises:
        ClusterAnswerError: a shard has no primary, or the server does not tell its numbers.
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"asking where the shards of {index} stand"):
        answer = client.indices.stats(index=index, level="shards", metric="docs").body
        settings = client.indices.get_settings(index=index, name="index.number_of_shards").body
    found = answer.get("indices", {}).get(index, {})
    shards = int(settings[index]["settings"]["index"]["number_of_shards"])
    numbers: dict[int, int] = {}
    for shard, copies in found.get("shards", {}).items():
        for copy in copies:
            if copy.get("routing", {}).get("primary") and standing in copy.get("seq_no", {}):
                numbers[int(shard)] = int(copy["seq_no"][standing])
    # A shard without a started primary is not in the answer at all.
    if sorted(numbers) != list(range(shards)) or "uuid" not in found:
        raise ClusterAnswerError(
            f"index {index} does not tell the sequence numbers of all its shards",
            hint="wait until the index is yellow or green, then run the same command again",
        )
    return Marks(index=index, uuid=str(found["uuid"]), numbers=tuple(numbers[one] for one in range(shards)))


def pin(client: Elasticsearch, index: str, *, keep_s: int) -> tuple[Marks, str, bool]:
    """Note where the shards of an index stand, together with the index as it is at that moment.

    Args:
        client: see `connect`.
        index: physical name.
        keep_s: seconds that the point in time is kept after the last search on it.

    Returns:
        The marks, a point in time right after them, and whether nothing was deleted between the two: where
        products are deleted all the time it may be that no such moment is found.

    Raises:
        ClusterAnswerError: see `take_marks`.
        ClusterError: the cluster cannot be reached or refuses.
    """
    for left in reversed(range(_PINS)):
        marks = take_marks(client, index)
        with cluster_errors(client, f"refreshing {index}"):
            client.indices.refresh(index=index)
        point = open_point(client, index, keep_s=keep_s)
        exact = only_writes_since(client, marks)
        if exact or not left:
            break
        close_point(client, point)
    return marks, point, exact


def operations_since(client: Elasticsearch, marks: Marks) -> int:
    """Count the operations since some marks, deletions included; a document written twice counts twice.

    Args:
        client: see `connect`.
        marks: of the same index.

    Returns:
        The number; 0 means that nothing at all was written.

    Raises:
        ClusterAnswerError: the index was made anew, or a shard has no primary.
        ClusterError: the cluster cannot be reached or refuses.
    """
    now = take_marks(client, marks.index, "max_seq_no")
    if now.uuid != marks.uuid or len(now.numbers) != len(marks.numbers):
        raise ClusterAnswerError(f"index {marks.index} is not the one that was looked at before")
    return sum(max(0, late - early) for early, late in zip(marks.numbers, now.numbers, strict=True))


def only_writes_since(client: Elasticsearch, marks: Marks) -> bool:
    """Tell whether every operation since some marks is a document that is there now: nothing was deleted.

    Args:
        client: see `connect`.
        marks: of the index.

    Returns:
        False also where a document was written twice, since that looks the same.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"refreshing {marks.index}"):
        client.indices.refresh(index=marks.index)
    living = 0
    for shard, number in enumerate(marks.numbers):
        body = {"query": _later(number), "size": 0, "track_total_hits": True}
        answer = search(
            client, marks.index, body, params={"preference": f"_shards:{shard}"}, timeout_s=_TIMEOUT_S
        )
        living += int(answer["hits"]["total"]["value"])
    # Asked last: what is written in between may be taken for a deletion, never the other way round.
    return living >= operations_since(client, marks)


def changed_since(
    client: Elasticsearch, marks: Marks, includes: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """Read the documents that were written since some marks, each once, as it is now.

    Args:
        client: see `connect`.
        marks: of the index.
        includes: fields of `_source`.

    Yields:
        Some hundred hits at a time, with `_version`.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    with cluster_errors(client, f"refreshing {marks.index}"):
        client.indices.refresh(index=marks.index)
    for shard, number in enumerate(marks.numbers):
        yield from read_all(client, marks.index, _later(number), includes, shard=shard)


def read_all(
    client: Elasticsearch,
    index: str,
    query: Mapping[str, Any],
    includes: Sequence[str],
    *,
    shard: int | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Read the documents that a query finds, in the order in which they lie in the index.

    Args:
        client: see `connect`.
        index: physical name.
        query: Query DSL.
        includes: fields of `_source`.
        shard: this one alone; None: all.

    Yields:
        Some hundred hits at a time, with `_version`.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    point = open_point(client, index, keep_s=_KEEP_S, shard=shard)
    body: dict[str, Any] = {
        "query": query,
        "size": PAGE,
        "sort": [{"_shard_doc": "asc"}],
        "_source": list(includes),
        "version": True,
        "track_total_hits": False,
        "pit": {"id": point, "keep_alive": f"{_KEEP_S}s"},
    }
    try:
        while hits := search(client, None, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]:
            yield hits
            body["search_after"] = hits[-1]["sort"]
    finally:
        with suppress(ClusterError):  # it closes itself; that must not hide why the reading ended
            close_point(client, point)


def _later(number: int) -> dict[str, Any]:
    return {"range": {"_seq_no": {"gt": number}}}
