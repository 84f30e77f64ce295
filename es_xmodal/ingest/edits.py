"""Partial rows: `ingest --update`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.document import from_document
from es_xmodal.catalog.edit import Edit, overlay
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.from_index import STORED
from es_xmodal.ingest.known import COMPARED, EDITED
from es_xmodal.ingest.sender import Item

TOGETHER: Final = 128
"""Products that are read at once."""
_ON_CONFLICT: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """An edit whose product is on its way through the ingest."""

    edit: Edit
    meta: Mapping[str, int]


class Edits:
    """Turns partial rows into bulk updates, or into whole products where tokens or vectors depend on them.

    Args:
        client: see `connect`.
        index: physical name of the index.
        send: takes what goes to the cluster as it is.
    """

    def __init__(self, client: Elasticsearch, index: str, send: Callable[[Item], None]) -> None:
        self._client = client
        self._index = index
        self._send = send
        self._unread: list[Edit] = []
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def take(self, edit: Edit) -> Iterator[Product | Reject]:
        """Take one partial row.

        Args:
            edit: the row.

        Yields:
            Products that are to be written as a whole, and rejects, once there are enough of them.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        if edit.plain:
            self._send(_update(edit))
            return
        self._unread.append(edit)
        if len(self._unread) >= TOGETHER:
            yield from self.rest()

    def rest(self) -> Iterator[Product | Reject]:
        """The same for those that are left when the last row was taken."""
        edits, self._unread = self._unread, []
        if not edits:
            return
        with cluster_errors(self._client, f"reading {len(edits)} products of {self._index}"):
            answer = self._client.mget(
                index=self._index,
                ids=[one.id for one in edits],
                source_includes=list(STORED),
                realtime=True,
            ).body
        for edit, found in zip(edits, answer["docs"], strict=True):
            yield self._over(edit, found)

    def keeps_pictures(self, id_: str) -> bool:
        """Whether a product is here because of an edit that leaves its pictures alone."""
        waiting = self._waiting.get(id_)
        return waiting is not None and "images" not in waiting.edit.fields

    def meta(self, id_: str) -> Mapping[str, int]:
        """Return the state of the document that was read, which the bulk action is bound to."""
        waiting = self._waiting.get(id_)
        return waiting.meta if waiting else {}

    def done(self, id_: str) -> Edit | None:
        """Return the edit behind a product that is settled, and forget it."""
        with self._lock:
            waiting = self._waiting.pop(id_, None)
        return waiting.edit if waiting else None

    def _over(self, edit: Edit, found: Mapping[str, Any]) -> Product | Reject:
        if not found.get("found"):
            reason = "no_such_product: the index has no product of this id"
            return Reject(line=edit.line, id=edit.id, stage="index", field="id", reason=reason, row=edit.row)
        product = overlay(from_document(found["_source"]), edit)
        if isinstance(product, Product):
            product = replace(product, id=edit.id)
            meta = {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
            with self._lock:
                self._waiting[edit.id] = _Waiting(edit=edit, meta=meta)
        return product


def reject_of_edit(edit: Edit | Deletion, stage: str, field_name: str | None, reason: str) -> Reject:
    """Refuse a partial row, or a deletion."""
    return Reject(line=edit.line, id=edit.id, stage=stage, field=field_name, reason=reason, row=edit.row)


def _update(edit: Edit) -> Item:
    """The hash stays: the next full ingest compares these fields by themselves, but for the address."""
    hashed = {} if edit.fields.keys() <= set(COMPARED) else {"row_hash": EDITED}
    return Item(
        row=edit,
        id=edit.id,
        kind="update",
        body=dump_json({"doc": {**edit.fields, **hashed}}),
        meta={"retry_on_conflict": _ON_CONFLICT},
    )
