"""A version catches up with what was written to the one that serves, until it can take its place.

Rounds bring over what was written since the last one, while writers go on writing. When little is left, the
writers of the serving version are held back for one more, short round and the swap. Who writes is of no
importance: what counts is what the shards' own numbering says was written (`es_xmodal.index.marks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from elasticsearch import Elasticsearch

from es_xmodal.errors import IndexStateError
from es_xmodal.index.closing import Closure
from es_xmodal.index.following import Follows
from es_xmodal.index.idsets import NONE, Ids, contains, id_pages, minus, scan_ids, union
from es_xmodal.index.lifecycle import count_documents
from es_xmodal.index.marks import (
    Standing,
    changed_since,
    only_writes_since,
    operations_since,
    take_marks,
)
from es_xmodal.index.meta import Builder
from es_xmodal.ingest.bringing import Bringer
from es_xmodal.ingest.brought import Brought
from es_xmodal.ingest.from_index import STORED

FEW: Final = 200
"""Operations that may be left for the round in which writers wait."""
MOST_ROUNDS: Final = 10
"""Rounds while writers write; who writes faster than that is held back for longer in the end."""


def mirrored(client: Elasticsearch, index: str, follows: Follows) -> Follows:
    """Return what the version that is replaced has to know, so that a rollback can bring it up to date.

    Args:
        client: see `connect`.
        index: physical name of the version that takes its place, which nobody writes to at this moment.
        follows: what that one knows of the other.

    Returns:
        The same the other way round.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    marks = take_marks(client, index, "max_seq_no")
    return Follows(marks=marks, begun=marks, apart=follows.lacking, lacking=follows.apart)


class Follower:
    """Brings one version up to date with the one that serves.

    Args:
        client: see `connect`.
        index: physical name of the version that catches up.
        follows: up to where it holds what was written to the other one.
        bringer: writes to it.
        known: ids that the other one had when the version was begun, where they are known.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        follows: Follows,
        bringer: Bringer,
        *,
        known: Ids | None = None,
    ) -> None:
        self._client = client
        self._index = index
        self._follows = follows
        self._bringer = bringer
        self._known = known
        self._there: Ids | None = None
        self._rounds = 0
        self._held_back_s = 0.0

    @property
    def serving(self) -> str:
        """Physical name of the version that serves."""
        return self._follows.marks.index

    def catch_up(self, *, until: int = FEW) -> None:
        """Do rounds until little is left; then it is known what each of the two has and the other lacks.

        Args:
            until: operations that may be left.

        Raises:
            IndexStateError: what was deleted cannot be told any more.
            ClusterError: the cluster cannot be reached or refuses.
        """
        self._learn()
        for _ in range(MOST_ROUNDS):
            if operations_since(self._client, self._follows.marks) <= until:
                break
            self._round("global_checkpoint")

    def take_the_place(self, builder: Builder, finish: Callable[[Follows, Closure], None]) -> None:
        """Hold the writers back, bring over what is left, and let the caller swap.

        Args:
            builder: this process.
            finish: swaps; told up to where the version holds what was written, and who holds writers back.

        Raises:
            IndexBusyError: another process is doing the same.
            ClusterError: the cluster cannot be reached or refuses; the version that served still serves.
        """
        closure = Closure(self._client, self.serving, builder)
        beats = self._bringer.heartbeat

        def heartbeat() -> None:
            beats()
            closure.heartbeat()

        self._bringer.heartbeat = heartbeat
        try:
            with closure:
                self._round("max_seq_no")
                count_documents(self._client, self._index)  # refreshes: the first search sees all of it
                finish(self.follows, closure)
        finally:
            self._bringer.heartbeat = beats
            self._held_back_s = closure.seconds

    @property
    def follows(self) -> Follows:
        """Up to where the version holds what was written to the other one."""
        if self._known is None or self._there is None:
            return self._follows
        apart, lacking = minus(self._there, self._known), minus(self._known, self._there)
        return replace(self._follows, apart=apart, lacking=lacking)

    @property
    def brought(self) -> Brought:
        """What was done so far."""
        counts = self._bringer.tally.counts()
        return Brought(
            written=counts["indexed"] + counts["updated"],
            deleted=counts["deleted"],
            rejected=counts["rejected"],
            rounds=self._rounds,
            held_back_s=self._held_back_s,
        )

    def _learn(self) -> None:
        """Find out what both versions hold, so that later a count tells whether something was deleted."""
        self._there = scan_ids(self._client, self._index)
        if self._known is not None:
            return
        now = scan_ids(self._client, self.serving)
        apart = self._follows.apart
        if apart is not None:
            self._known = union(now, minus(self._there, apart))
        elif only_writes_since(self._client, self._follows.marks):
            self._known = now
        else:
            raise IndexStateError(
                f"{self._index} has too many products that {self.serving} never had, so that it cannot be"
                " told which were deleted since it was built",
                hint="build it anew with --rebuild, or leave the edits behind with --leave-edits",
            )

    def _round(self, standing: Standing) -> None:
        """Bring over what was written, and what was deleted, since the last round.

        The marks are taken first: what is written meanwhile is read again in the next round.
        """
        marks = take_marks(self._client, self.serving, standing)
        if marks.numbers == self._follows.marks.numbers and self._is_whole():
            return
        self._rounds += 1
        hits = (hit for page in changed_since(self._client, self._follows.marks, STORED) for hit in page)
        ids, lost = self._bringer.bring(hits)
        known, there = self._known, self._there
        assert known is not None and there is not None, "`_learn` came first"
        self._known, self._there = union(known, ids), union(there, minus(ids, lost))
        if not self._is_whole():
            self._delete()
        self._follows = replace(self._follows, marks=marks)

    def _is_whole(self) -> bool:
        """Whether the serving version holds every product that it is known to have held."""
        known = NONE if self._known is None else self._known
        return count_documents(self._client, self.serving) == len(known)

    def _delete(self) -> None:
        known, there = self._known, self._there
        assert known is not None and there is not None, "`_learn` came first"
        now = scan_ids(self._client, self.serving, on_page=self._bringer.heartbeat)
        gone = minus(known, now)
        self._bringer.delete(self._named(gone))
        self._known, self._there = now, minus(there, gone)

    def _named(self, gone: Ids) -> Iterator[str]:
        for page in id_pages(self._client, self._index) if len(gone) else ():
            yield from (one for one, is_gone in zip(page, contains(gone, page), strict=True) if is_gone)
            self._bringer.heartbeat()
