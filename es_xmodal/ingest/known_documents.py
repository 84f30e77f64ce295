"""Asking the index what it holds: a few products by their ids, or all of them in one go.

Ids cost a query for each batch of rows, about ten times as much a product as walking the whole index does. So
the first rows are asked about by id; once they are a good part of the index, a thread walks it while the rows
go on, and from then on nothing is asked.

What the walk saw is older than what a query would say. Whatever somebody else writes after the walk began
counts as written after this ingest: a row that was unchanged then is left alone, with the other's edit in
place, and a row that changed is written over it, as it would be without the walk whenever the edit comes
between question and answer. The next full ingest compares with what is there then, so that no difference
stays unseen. An ingest need not see its own writes: it writes each product once, or several times with a
version that is part of what is compared.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.search import close_point, open_point, search
from es_xmodal.errors import ClusterError
from es_xmodal.ingest.known import COMPARED, mark_of_hit
from es_xmodal.ingest.known_table import KnownTable

_log = logging.getLogger(__name__)

PART: Final = 64
"""The walk begins when one in so many documents was asked about by id."""
MAX_DOCUMENTS: Final = 20_000_000
"""Larger indices are asked by id throughout: the table would take over 320 MB."""
PAGE: Final = 5_000
_KEEP_S: Final = 120
_ASK_TIMEOUT_S: Final = 60.0
_LAST_WAIT_S: Final = 10.0
_SHOWN: Final = "pit_id,timed_out,_shards,error,hits.hits.fields,hits.hits.sort"


class KnownDocuments:
    """What an index holds; use it from any thread, and close it.

    Args:
        client: see `connect`.
        index: physical name.
        documents: how many it has.
    """

    def __init__(self, client: Elasticsearch, index: str, documents: int) -> None:
        self._client = client
        self._index = index
        self._documents = documents
        self._asked = 0
        self._table: KnownTable | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def walked(self) -> bool:
        """Whether the whole index is known, so that nothing is asked any more."""
        return self._table is not None

    def of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return what the index holds of some products.

        Args:
            ids: of the products.

        Returns:
            The marks of those that it has, see `es_xmodal.ingest.known`.

        Raises:
            ClusterError: it cannot be asked.
        """
        table = self._table
        if table is not None:
            return table.find(ids)
        self._note(len(ids))
        return self._ask(ids)

    def name(self, id_: str) -> bool | None:
        """Note that the catalogue names a product.

        Args:
            id_: of the product.

        Returns:
            True the first time, False from then on; None where the index lacks it or is not walked yet.
        """
        table = self._table
        return None if table is None else table.name(id_)

    def close(self) -> None:
        """End the walk, if it is still going on."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_LAST_WAIT_S)

    def _note(self, asked: int) -> None:
        with self._lock:
            self._asked += asked
            few = self._asked * PART < self._documents or self._documents > MAX_DOCUMENTS
            if self._thread is None and not few:
                self._thread = threading.Thread(target=self._walk, name="known", daemon=True)
                self._thread.start()

    def _ask(self, ids: Sequence[str]) -> dict[str, int]:
        """By id; the answer comes from doc values, no document is read."""
        body: Mapping[str, Any] = {
            "query": {"ids": {"values": list(ids)}},
            "size": len(ids),
            "_source": False,
            "docvalue_fields": ["row_hash", *COMPARED],
            "track_total_hits": False,
            "sort": ["_doc"],
        }
        hits = search(self._client, self._index, body, timeout_s=_ASK_TIMEOUT_S)["hits"]["hits"]
        return {hit["_id"]: mark_of_hit(hit) for hit in hits}

    def _walk(self) -> None:
        try:
            point = open_point(self._client, self._index, keep_s=_KEEP_S)
            try:
                self._table = self._read(point)
            finally:
                with suppress(ClusterError):  # it closes itself
                    close_point(self._client, point)
        except ClusterError as error:  # asking by id goes on, and says so itself where that fails, too
            _log.info("the index %s is asked by id: %s", self._index, error)

    def _read(self, point: str) -> KnownTable | None:
        """All documents; None where the ingest ended before."""
        table = KnownTable(self._documents)
        body: dict[str, Any] = {
            "size": PAGE,
            "sort": ["_shard_doc"],
            "_source": False,
            "stored_fields": "_none_",  # the id is read from its doc values, too
            "docvalue_fields": ["id", "row_hash", *COMPARED],
            "track_total_hits": False,
            "pit": {"id": point, "keep_alive": f"{_KEEP_S}s"},
        }
        while not self._stop.is_set():
            answer = search(
                self._client, None, body, params={"filter_path": _SHOWN}, timeout_s=_ASK_TIMEOUT_S
            )
            hits = answer.get("hits", {}).get("hits", ())
            if not hits:
                table.close()
                return table
            table.add([hit["fields"] for hit in hits])
            body["search_after"] = hits[-1]["sort"]
            body["pit"]["id"] = answer.get("pit_id", point)
        return None
