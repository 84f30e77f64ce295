"""Bulk requests in flight while the next documents are made."""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Literal, cast

import orjson
from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import address, cluster_errors, reason_of, refusal
from es_xmodal.cluster.transport import Patience, patience_of, patient, pause_s, sent_twice
from es_xmodal.cluster.trouble import clash_of, is_blocked, kind_of, passes, remedy_of
from es_xmodal.errors import (
    ClusterAnswerError,
    ClusterError,
    ClusterRefusedError,
    IndexBusyError,
    IndexStateError,
)
from es_xmodal.ingest.door import Door, is_closed
from es_xmodal.ingest.report import Tally

_log = logging.getLogger(__name__)

LAST_WAIT_S = 5.0
_TELL_AT: Final = 5
"""Attempts after which a person may wonder why nothing moves."""
_FIELD = re.compile(r"field \[([^\]]+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class SenderOptions:
    """How documents are sent."""

    max_docs: int = 500
    max_bytes: int = 2 * 1024 * 1024
    """Of one request; a single larger document goes alone."""
    threads: int = 2
    queued: int = 2
    """Requests that wait for a thread: with `threads` and `max_bytes` the bound of the memory."""
    timeout_s: float = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One document to send, to edit or to delete."""

    row: Any
    """Handed back with the result."""
    id: str
    body: bytes = b""
    """JSON on one line; empty for a deletion."""
    kind: Literal["index", "update", "delete"] = "index"
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Of the action: `version` and `version_type`, or `if_seq_no` and `if_primary_term`."""


OnDone = Callable[[Any], None]
"""The row."""
OnSettled = Callable[[Any, str], None]
"""The row, and `deleted`; or why nothing was written: `noop`, `not_found`, `outdated` or `conflict`."""
OnReject = Callable[[Any, str | None, str], None]
"""The row, the field if one is named, and the reason."""


class Sender:
    """Cuts documents into bulk requests and sends them in threads.

    Args:
        client: see `connect`.
        alias: alias to write to; without it the documents are refused, never a new index made.
        require_alias: False where `alias` may be the name of an index.
        door: says where to go on when the version behind the alias is being swapped; None: that is an error.
        on_done: called, from a thread, for each document that the cluster confirmed to have written.
        on_settled: called, from a thread, for each that was deleted, or that needed or allowed no writing.
        on_reject: called, from a thread, for each document that the cluster refused for its content.
        options: sizes and patience.
        tally: where the seconds go.
        sleep: how to wait; tests replace it.
    """

    def __init__(
        self,
        client: Elasticsearch,
        alias: str,
        *,
        on_done: OnDone,
        on_reject: OnReject,
        options: SenderOptions,
        tally: Tally,
        on_settled: OnSettled = lambda row, how: None,
        require_alias: bool = True,
        door: Door | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = patient(client.options(request_timeout=options.timeout_s))
        self._alias = alias
        self._require_alias = require_alias
        self._door = door
        self._moved = False
        """Whether documents go to another version than the first."""
        self._on_done, self._on_reject, self._on_settled = on_done, on_reject, on_settled
        self._options = options
        self._tally = tally
        self._sleep = sleep
        self._chunk: list[Item] = []
        self._chunk_bytes = 0
        self._queue: queue.Queue[list[Item] | None] = queue.Queue(maxsize=options.queued)
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"bulk-{n}", daemon=True) for n in range(options.threads)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, item: Item) -> None:
        """Take one document; wait while too many requests are under way.

        Args:
            item: the document.

        Raises:
            ClusterError: an earlier request failed for good.
        """
        size = len(item.body) + len(item.id) + 32
        full = len(self._chunk) >= self._options.max_docs
        if self._chunk and (full or self._chunk_bytes + size > self._options.max_bytes):
            self._flush()
        self._chunk.append(item)
        self._chunk_bytes += size

    def close(self) -> None:
        """Send what is left and wait until everything is confirmed.

        Raises:
            ClusterError: a request failed for good.
        """
        if self._chunk:
            self._flush()
        self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._raise()

    def stop(self) -> None:
        """Give up: what waits is not sent; what is under way is waited for, for a short time."""
        self._error = self._error or ClusterAnswerError("the run was stopped")
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=LAST_WAIT_S)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _flush(self) -> None:
        self._raise()
        chunk, self._chunk, self._chunk_bytes = self._chunk, [], 0
        with self._tally.time("wait"):
            self._queue.put(chunk)
        self._raise()

    def _work(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self._error is not None:
                continue  # emptied, so that the reader never waits for a thread that gave up
            try:
                with self._tally.time("write"):
                    self._send(chunk)
            except BaseException as error:  # raised again in the thread that waits for this one
                self._error = self._error or error
        self._queue.put(None)  # for the next thread

    def _send(self, chunk: Sequence[Item]) -> None:
        waiting = list(chunk)
        while waiting and self._error is None:
            held: list[tuple[Item, str]] = []
            sent_to = self._alias
            self._send_patiently(waiting, held)
            if held and self._door is not None:
                alias = self._door.follow(sent_to, held[0][1])
                self._moved = self._moved or alias != sent_to
                self._alias = alias
            waiting = [item for item, _ in held]

    def _unbound(self, items: Sequence[Item]) -> list[Item]:
        """Without those that are bound to the state of a document in a version that serves no more."""
        free: list[Item] = []
        for item in items:
            if not self._moved or "if_seq_no" not in item.meta:
                free.append(item)
            elif item.row is not None:
                self._on_settled(item.row, "conflict")
            else:
                raise IndexStateError(
                    "the index was swapped while products that the catalogue does not name were deleted",
                    hint="run the same command again",
                )
        return free

    def _send_patiently(self, chunk: Sequence[Item], held: list[tuple[Item, str]]) -> None:
        """Send until everything is handed out, or held: its version is being swapped."""
        waiting = list(chunk)
        patience = Patience(patience_of(self._client))
        for attempt in count(1):
            waiting, reason = self._send_once(waiting, held)
            if not waiting or self._error is not None:
                return
            if not patience.left_s:
                break
            wait_s = pause_s(attempt)
            level = logging.WARNING if attempt == _TELL_AT else logging.INFO
            _log.log(level, "%d documents again in %.1f s: %s", len(waiting), wait_s, reason)
            patience.pause(wait_s, self._sleep)
        raise ClusterRefusedError(
            f"writing to {self._alias}: {address(self._client)} takes {len(waiting)} documents neither now"
            f" nor within {patience_of(self._client):.0f} s: {reason}",
            hint=remedy_of(reason) or "wait until the cluster is healthy, then run the same command again",
        )

    def _send_once(self, items: Sequence[Item], held: list[tuple[Item, str]]) -> tuple[list[Item], str]:
        """Send, hand out the results, return what is to be sent again and why."""
        alias = (
            self._alias
        )  # read before `_moved`, which is set before it: what is bound meets no other version
        items = self._unbound(items)
        if not items:
            return [], ""
        try:
            answer = self._bulk(alias, items)
        except ClusterError as error:
            status, kind = kind_of(error.__cause__)
            # What the transport tries again by itself has been tried for as long as there was patience.
            if is_blocked(kind) or (status >= 500 and passes(0, kind)):
                return list(items), error.message
            raise
        results = [next(iter(one.values())) for one in answer.body.get("items", ())]
        if len(results) != len(items):
            raise ClusterAnswerError(
                f"writing to {self._alias}: {len(items)} documents sent, {len(results)} answered"
            )
        if sent_twice():
            results = self._without_own_conflicts(items, results)
        again: list[Item] = []
        reason = ""
        for item, result in zip(items, results, strict=True):
            kind = (result.get("error") or {}).get("type", "")
            if self._door is not None and is_closed(result):
                held.append((item, reason_of(result)))
            elif passes(result["status"], kind) or is_blocked(kind):
                again.append(item)
                reason = reason_of(result)
            else:
                self._hand_out(item, result)
        return again, reason

    def _without_own_conflicts(
        self, items: Sequence[Item], results: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        """Where an answer was lost, the conflict may be with what this very item has written."""
        settled = list(results)
        bound = [
            at
            for at, (item, result) in enumerate(zip(items, results, strict=True))
            if result["status"] == 409 and item.kind == "index" and "if_seq_no" in item.meta
        ]
        if not bound:
            return settled
        with cluster_errors(self._client, f"looking at {len(bound)} documents of {self._alias}"):
            found = self._client.mget(
                index=self._alias, ids=[items[at].id for at in bound], source_includes=["row_hash"]
            ).body["docs"]
        for at, document in zip(bound, found, strict=True):
            ours = orjson.loads(items[at].body).get("row_hash")
            if ours is not None and document.get("_source", {}).get("row_hash") == ours:
                settled[at] = {"status": 200, "result": "updated"}
        return settled

    def _bulk(self, alias: str, items: Sequence[Item]) -> Any:
        lines: list[bytes] = []
        for item in items:
            lines += [_action(item), item.body] if item.body else [_action(item)]
        with cluster_errors(self._client, f"writing to {alias}"):
            return self._client.bulk(
                index=alias,
                operations=cast(Any, lines),  # lines that are bytes are sent as they are
                require_alias=self._require_alias,
                filter_path="items.*.status,items.*.error,items.*.result",
            )

    def _hand_out(self, item: Item, result: Mapping[str, Any]) -> None:
        status = result["status"]
        how = _how(item, result)
        if how:
            self._on_settled(item.row, how)
            return
        if 200 <= status < 300:
            self._on_done(item.row)
            return
        reason = reason_of(result)
        if status in (401, 403):
            raise refusal(self._client, f"writing to {self._alias}", result["error"], status)
        if (
            status == 404
            and item.kind == "update"
            and result["error"]["type"] == "document_missing_exception"
        ):
            self._on_reject(item.row, "id", "no_such_product: the index has no product of this id")
            return
        if status == 404:
            raise IndexBusyError(
                f"{self._alias} is gone: another ingest took it away ({reason})",
                hint="run one ingest of an index at a time; run this one again when the other is done",
            )
        clash = clash_of(result["error"], item.body)
        if clash is not None:
            self._on_reject(item.row, clash.field, f"{clash.reason}; {reason}")
            return
        found = _FIELD.search(reason)
        self._on_reject(item.row, found.group(1) if found else None, reason)


def _how(item: Item, result: Mapping[str, Any]) -> str:
    """How an item was settled without a document being written; empty where it was not."""
    if result["status"] == 409:
        return "outdated" if "version" in item.meta else "conflict"
    how = str(result.get("result", ""))
    return how if how in ("noop", "deleted", "not_found") else ""


def _action(item: Item) -> bytes:
    if item.kind == "index" and not item.meta:
        return b'{"index":{"_id":' + orjson.dumps(item.id) + b"}}"
    return orjson.dumps({item.kind: {"_id": item.id, **item.meta}})
