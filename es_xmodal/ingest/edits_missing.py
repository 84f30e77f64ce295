"""`--delete-missing`: products of the index that the catalogue does not name are deleted."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from elasticsearch import Elasticsearch

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.edit import Edit
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.seen import text_hash
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterError
from es_xmodal.ingest.sender import Item, Sender

PAGE: Final = 5_000
_KEEP_S: Final = 300
_TIMEOUT_S: Final = 60.0


class Named:
    """The ids that a catalogue names: 8 bytes of hash for each.

    Two ids of the same hash only keep a document that could go: among 5 million ids and 5 million documents
    that happens to one of them with a probability of one in a million.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = np.empty(0, np.uint64)
        self.unknown: Reject | None = None
        """The first row of which the id is not known for certain."""

    def add(self, row: Product | Deletion | Edit | Reject) -> None:
        """Note the id of a row.

        A row that could not be taken apart (stage `read`) may begin anywhere, so its id is not trusted.
        """
        if isinstance(row, Reject) and (row.id is None or row.stage == "read"):
            self.unknown = self.unknown or row
        else:
            self.add_id(row.id or "")

    def add_id(self, id_: str) -> None:
        """Note an id."""
        self._hashes.append(text_hash(id_))

    def close(self) -> None:
        """Called when every row was noted."""
        self._sorted = np.frombuffer(self._hashes, np.uint64)
        self._sorted.sort()  # in place

    def lacks(self, ids: Sequence[str]) -> list[bool]:
        """Return for each id whether no row had it."""
        if not len(self._sorted):
            return [True] * len(ids)
        hashes = np.array([text_hash(one) for one in ids], np.uint64)
        places = np.searchsorted(self._sorted, hashes).clip(max=len(self._sorted) - 1)
        return [bool(one) for one in self._sorted[places] != hashes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What is left to do once the rows are through."""

    client: Elasticsearch
    index: str
    """Physical name."""
    named: Named
    limit_percent: float

    def delete(self, sender: Sender) -> str | None:
        """Delete what the catalogue does not name.

        What somebody wrote since the index was looked at stays: the deletion is bound to the state that was
        seen.

        Args:
            sender: takes the deletions; it is not closed here.

        Returns:
            None, or in one line why nothing was deleted.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        unknown = self.named.unknown
        if unknown is not None:
            return (
                f"nothing was deleted: row {unknown.line} cannot be read, so that its product is not known;"
                " mend it and run the same command again"
            )
        self.named.close()
        with cluster_errors(self.client, f"refreshing {self.index}"):
            self.client.indices.refresh(index=self.index)
        point = open_point(self.client, self.index, keep_s=_KEEP_S)
        try:
            return self._delete(point, sender)
        finally:
            with suppress(ClusterError):  # it closes itself; that must not hide why the reading ended
                close_point(self.client, point)

    def _delete(self, point: str, sender: Sender) -> str | None:
        total = missing = 0
        for hits in self._pages(point):  # once to count, once to delete: the ids are never all in memory
            total += len(hits)
            missing += sum(self.named.lacks([hit["_id"] for hit in hits]))
        if missing * 100 > total * self.limit_percent:
            return (
                f"nothing was deleted: the catalogue names {total - missing} of the {total} products of"
                f" {self.index}, so that {missing} would go; where that is right, say --delete-limit"
                f" {-(-missing * 100 // total)}"
            )
        for hits in self._pages(point) if missing else ():
            lacking = self.named.lacks([hit["_id"] for hit in hits])
            for hit, gone in zip(hits, lacking, strict=True):
                if gone:
                    seen = {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
                    sender.add(Item(row=None, id=hit["_id"], kind="delete", meta=seen))
        return None

    def _pages(self, point: str) -> Iterator[list[dict[str, Any]]]:
        body: dict[str, Any] = {
            "size": PAGE,
            "sort": [{"_shard_doc": "asc"}],
            "_source": False,
            "seq_no_primary_term": True,
            "track_total_hits": False,
            "pit": {"id": point, "keep_alive": f"{_KEEP_S}s"},
        }
        while hits := search(self.client, None, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]:
            yield hits
            body["search_after"] = hits[-1]["sort"]
