"""Holding the writers of an index back for the short time in which another version takes its place.

A write block stops every writer, also those that know nothing of this project. What the block is for stands
in the index's `_meta`, so that one which a dead process left behind is found and lifted. A hidden alias is
the lock: lifting takes it away first, and the swap demands it, so that who was taken for dead cannot swap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ClusterAnswerError, ClusterError, IndexBusyError
from es_xmodal.index.builder import is_dead
from es_xmodal.index.following import Follows
from es_xmodal.index.meta import KEY, Builder, Closed, IndexMeta, parse_meta
from es_xmodal.index.target import find_indices
from es_xmodal.index.versions import Version

_log = logging.getLogger(__name__)

LEASE_S: Final = 120.0
"""After so long without a sign of life, whoever holds writers back from another machine counts as dead."""
HEARTBEAT_S: Final = 20.0
_LOCK: Final = "-closed-"


class Closure:
    """Holds the writers of one index back, as a context.

    Args:
        client: see `connect`.
        index: physical name of the index that serves.
        builder: this process; see `new_builder`.
    """

    def __init__(self, client: Elasticsearch, index: str, builder: Builder) -> None:
        self._client = client
        self._builder = builder
        self._ours = True
        self._told_s = 0.0
        self._since_s = 0.0
        self.index = index
        self.lock = f"{index}{_LOCK}{builder.run_id}"
        self.seconds = 0.0
        """How long the writers were held back."""

    def __enter__(self) -> Closure:
        """Close.

        Raises:
            IndexBusyError: another process holds the writers back.
            ClusterError: the cluster cannot be reached or refuses.
        """
        self._since_s = time.monotonic()
        meta, blocked = _look(self._client, self.index)
        if meta.closed is not None:
            if not _is_dead(meta.closed):
                raise _held(self.index, meta.closed)
            _reopen(self._client, self.index)
            blocked = blocked and not meta.closed.lifts
        # A block that somebody else set has his reasons; it is neither needed twice nor ours to lift.
        self._ours = not blocked
        try:
            self._say()
            with cluster_errors(self._client, f"holding back the writers of {self.index}"):
                self._client.indices.update_aliases(
                    actions=[{"add": {"index": self.index, "alias": self.lock, "is_hidden": True}}]
                )
                # Answers when every write that was under way is done.
                self._client.indices.add_block(index=self.index, block="write")
        except BaseException:  # also Ctrl-C: leave no writers held back
            self._open()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open()
        self.seconds = time.monotonic() - self._since_s

    def remember(self, follows: Follows) -> None:
        """Note in the index up to where it holds what is written to the version that takes its place.

        Args:
            follows: what a rollback has to bring over comes after it.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        remember(self._client, self.index, follows)

    @property
    def swap_actions(self) -> list[dict[str, Any]]:
        """What the swap is bound to: it fails where the writers were let back in."""
        return [{"remove": {"index": self.index, "alias": self.lock, "must_exist": True}}]

    def heartbeat(self) -> None:
        """Say that this process lives, unless that was said a short time ago.

        Raises:
            IndexBusyError: the writers were let back in.
            ClusterError: the cluster cannot be reached or refuses.
        """
        if time.monotonic() - self._told_s >= HEARTBEAT_S:
            meta, _ = _look(self._client, self.index)
            if meta.closed is None or meta.closed.builder.run_id != self._builder.run_id:
                raise IndexBusyError(
                    f"the writers of {self.index} were let back in, since this run was taken for dead",
                    hint="run the same command again",
                )
            self._say()

    def _say(self) -> None:
        closed = Closed(builder=self._builder, lease=time.time(), lifts=self._ours)
        _write(self._client, self.index, closed)
        self._told_s = time.monotonic()

    def _open(self) -> None:
        try:
            _reopen(self._client, self.index, only=self._builder)
        except ClusterError as error:  # that must not hide why the run ended; the next run lifts the block
            _log.warning("the writers of %s are still held back: %s", self.index, error)


def remember(client: Elasticsearch, index: str, follows: Follows) -> None:
    """Note in an index up to where it holds what is written to another one.

    Args:
        client: see `connect`.
        index: physical name.
        follows: what it is to say of itself.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    meta, _ = _look(client, index)
    _put(client, replace(meta, follows=follows))


def is_blocked(client: Elasticsearch, index: str) -> bool:
    """Tell whether an index has a write block, whoever set it.

    Args:
        client: see `connect`.
        index: physical name.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    return _look(client, index)[1]


def reopen_abandoned(client: Elasticsearch, versions: Iterable[Version]) -> list[str]:
    """Let writers back in whom a dead process left standing.

    Args:
        client: see `connect`.
        versions: of an alias, as they are now.

    Returns:
        The indices that can be written again.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    found = []
    for one in versions:
        if one.meta is not None and one.meta.closed is not None and _is_dead(one.meta.closed):
            _reopen(client, one.index)
            _log.warning("%s can be written again: the process that held its writers back is dead", one.index)
            found.append(one.index)
    return found


def _is_dead(closed: Closed) -> bool:
    return is_dead(closed.builder, lease=closed.lease, lease_s=LEASE_S)


def _held(index: str, closed: Closed) -> IndexBusyError:
    builder = closed.builder
    return IndexBusyError(
        f"process {builder.pid} on {builder.host} is putting another version in the place of {index}",
        hint="wait for it, then run the same command again",
    )


def _look(client: Elasticsearch, index: str) -> tuple[IndexMeta, bool]:
    """What an index says about itself, and whether it has a write block."""
    body = find_indices(client, index).get(index)
    if body is None:
        raise ClusterAnswerError(f"index {index} is gone", hint="run the same command again")
    blocks = body["settings"]["index"].get("blocks") or {}
    return parse_meta(index, body["mappings"]), str(blocks.get("write", "false")).lower() == "true"


def _write(client: Elasticsearch, index: str, closed: Closed | None) -> None:
    meta, _ = _look(client, index)
    _put(client, replace(meta, closed=closed))


def _put(client: Elasticsearch, meta: IndexMeta) -> None:
    with cluster_errors(client, f"writing _meta of index {meta.index}"):
        client.indices.put_mapping(index=meta.index, meta={KEY: meta.to_json()})


def _reopen(client: Elasticsearch, index: str, *, only: Builder | None = None) -> None:
    """Let writers in; with `only` where nobody else holds them back by now."""
    body = find_indices(client, index).get(index)
    if body is None:
        return
    closed = parse_meta(index, body["mappings"]).closed
    if closed is not None and only is not None and closed.builder.run_id != only.run_id:
        return
    locks = [alias for alias in body.get("aliases", {}) if alias.startswith(f"{index}{_LOCK}")]
    with cluster_errors(client, f"letting the writers of {index} back in"):
        if locks:
            client.indices.update_aliases(
                actions=[{"remove": {"index": index, "alias": one, "must_exist": False}} for one in locks]
            )
        if closed is not None and closed.lifts:
            client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    _write(client, index, None)
