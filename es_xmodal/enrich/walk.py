"""The documents of an index, shard by shard in the order in which they were written, and how far we are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterError
from es_xmodal.index.following import Marks
from es_xmodal.query.fields import OBJECT

Includes = Sequence[str] | Mapping[str, bool]
"""Fields of `_source`; as a mapping, options of it."""

PAGE = 256
_KEEP_S = 600
_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One document of the shop, as it was read."""

    id: str
    source: Mapping[str, Any]
    shard: int
    number: int
    """Sequence number in its shard."""
    term: int
    """Primary term: with the number it names this state of the document and no other."""
    routing: str | None

    @property
    def meta(self) -> dict[str, Any]:
        """Of a bulk action that holds only for this state of the document."""
        found: dict[str, Any] = {"if_seq_no": self.number, "if_primary_term": self.term}
        return found if self.routing is None else {**found, "routing": self.routing}


class Progress:
    """Up to where everything is read and settled. Used by the reader and by the threads that send.

    Documents of one shard at a time are on their way: with routing, two shards may have one id.

    Args:
        until: where the shards stood when the walk began: what is written later is for the next run.
        before: where the last run stopped; None: nowhere.
    """

    def __init__(self, until: Marks, before: Marks | None) -> None:
        self._until = until
        self._written = [0] * len(until.numbers)
        self._confirmed = list(before.numbers if before else [-1] * len(until.numbers))
        self._lock = threading.Lock()
        self._ended: set[int] = set()
        # In the order of their numbers; a document that is read again keeps the place of its first reading.
        self._waiting: dict[str, tuple[int, Seen]] = {}
        self._again: list[Seen] = []

    def read(self, one: Seen) -> None:
        """A document is on its way."""
        with self._lock:
            number, _ = self._waiting.get(one.id, (one.number, one))
            self._waiting[one.id] = (number, one)

    def of(self, id_: str) -> Seen:
        """The document of that id that is on its way."""
        with self._lock:
            return self._waiting[id_][1]

    def settled(self, id_: str, *, written: bool = False) -> None:
        """A document needs nothing more.

        Args:
            id_: of the document.
            written: whether it was written; else it needed nothing, or did not make it.
        """
        with self._lock:
            number, one = self._waiting.pop(id_)
            self._written[one.shard] += written
            self._confirm(one.shard, number)

    def conflict(self, id_: str) -> None:
        """The shop wrote the document after it was read: it is read again, and is settled then."""
        with self._lock:
            self._again.append(self._waiting[id_][1])

    def take_again(self) -> list[Seen]:
        """Return the documents that are to be read again; they stay on their way."""
        with self._lock:
            found, self._again = self._again, []
            return found

    def finished(self, shard: int) -> None:
        """The last document of a shard was read."""
        with self._lock:
            self._ended.add(shard)
            self._confirm(shard, -1)

    def pass_over_ours(self, now: Marks) -> None:
        """Where nobody but this run wrote to a shard, the next run need not look at what this one wrote.

        Args:
            now: where the shards stand, with everything that this run wrote.
        """
        with self._lock:
            for shard, number in enumerate(now.numbers):
                if number - self._until.numbers[shard] == self._written[shard] and self._is_through(shard):
                    self._confirmed[shard] = number

    def _is_through(self, shard: int) -> bool:
        return shard in self._ended and all(one.shard != shard for _, one in self._waiting.values())

    @property
    def marks(self) -> Marks:
        """Up to where a run that continues this one need not look."""
        with self._lock:
            return replace(self._until, numbers=tuple(self._confirmed))

    def _confirm(self, shard: int, settled: int) -> None:
        most = self._until.numbers[shard]
        first = next((number for number, one in self._waiting.values() if one.shard == shard), None)
        last = most if shard in self._ended else settled
        number = last if first is None else first - 1
        self._confirmed[shard] = max(self._confirmed[shard], min(number, most))


def read_shard(
    client: Elasticsearch, index: str, shard: int, query: Mapping[str, Any], includes: Includes
) -> Iterator[Seen]:
    """Read the documents of one shard that a query finds, each as it was when the reading began.

    Args:
        client: see `connect`.
        index: physical name.
        shard: its number.
        query: Query DSL.
        includes: what is read of `_source`; empty: nothing.

    Yields:
        Documents, the one that was written first first.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    point = open_point(client, index, keep_s=_KEEP_S, shard=shard)
    body: dict[str, Any] = {
        "query": query,
        "size": PAGE,
        "sort": [{"_seq_no": "asc"}],
        "seq_no_primary_term": True,
        "_source": includes or False,
        "track_total_hits": False,
        "pit": {"id": point, "keep_alive": f"{_KEEP_S}s"},
    }
    try:
        while hits := search(client, None, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]:
            for hit in hits:
                yield _seen(hit, shard)
            body["search_after"] = hits[-1]["sort"]
    finally:
        with suppress(ClusterError):  # it closes itself; that must not hide why the reading ended
            close_point(client, point)


def read_again(
    client: Elasticsearch, index: str, documents: Sequence[Seen], includes: Includes
) -> dict[str, Seen | None]:
    """Read documents as they are now.

    Args:
        client: see `connect`.
        index: physical name.
        documents: as they were read before.
        includes: what is read of `_source`.

    Returns:
        Id to document; None: it is gone.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    asked = [
        {"_id": one.id, "_source": includes or False, **({"routing": one.routing} if one.routing else {})}
        for one in documents
    ]
    shards = {one.id: one.shard for one in documents}
    with cluster_errors(client, f"reading documents of {index} again"):
        found = client.mget(index=index, docs=asked).body["docs"]
    return {one["_id"]: _seen(one, shards[one["_id"]]) if one.get("found") else None for one in found}


def later_than(marks: Marks | None, shard: int) -> dict[str, Any]:
    """The query for what a run has to look at.

    Args:
        marks: where the last run stopped; None: there was none.
        shard: number of the shard.

    Returns:
        Documents that were written since, and those that lack our fields: the shop replaced them as a whole,
        or they were refused.
    """
    if marks is None:
        return {"match_all": {}}
    later = {"range": {"_seq_no": {"gt": marks.numbers[shard]}}}
    bare = {"bool": {"must_not": [{"exists": {"field": f"{OBJECT}.row_hash"}}]}}
    return {"bool": {"should": [later, bare], "minimum_should_match": 1}}


def _seen(hit: Mapping[str, Any], shard: int) -> Seen:
    return Seen(
        id=str(hit["_id"]),
        source=hit.get("_source") or {},
        shard=shard,
        number=int(hit["_seq_no"]),
        term=int(hit["_primary_term"]),
        routing=hit.get("_routing"),
    )
