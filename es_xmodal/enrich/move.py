"""One write for each document that a query finds, bound to the state in which the document was read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.enrich.walk import Includes, Progress, Seen, read_again, read_shard
from es_xmodal.errors import ClusterAnswerError
from es_xmodal.index.following import Marks
from es_xmodal.index.marks import take_marks
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.sender import Item, Sender, SenderOptions

ROUNDS = 5
"""How often a document is read again that the shop keeps writing."""
CHECKPOINT_S = 20.0


class Mover:
    """Reads the documents of one index and sends what is made of them to the same or to another one.

    Args:
        client: see `connect`.
        source: physical name of the index that is read.
        target: physical name of the index that is written.
        includes: what is read of `_source`.
        make: a document to what is sent for it.
        options: how it is sent.
    """

    def __init__(
        self,
        client: Elasticsearch,
        *,
        source: str,
        target: str,
        includes: Includes,
        make: Callable[[Seen], Item],
        options: SenderOptions,
    ) -> None:
        self._client, self._source, self._target = client, source, target
        self._includes, self._make, self._options = includes, make, options
        self.counts: Counter[str] = Counter()

    def move(
        self,
        query_of: Callable[[int], Mapping[str, Any]],
        *,
        before: Marks | None = None,
        told: Callable[[Marks], None] = lambda marks: None,
    ) -> Marks:
        """Send what is made of every document that a query finds.

        Args:
            query_of: number of a shard to the query.
            before: where an earlier run stopped.
            told: called now and then with where this one could be continued.

        Returns:
            Up to where everything is confirmed.

        Raises:
            ClusterAnswerError: a document was refused.
            ClusterError: the cluster cannot be reached or refuses.
        """
        until = take_marks(self._client, self._source)
        self._progress = Progress(until, before)
        with cluster_errors(self._client, f"refreshing {self._source}"):
            self._client.indices.refresh(index=self._source)
        for shard in range(len(until.numbers)):
            self._send(self._read(shard, query_of(shard)), told)
            for _ in range(ROUNDS):
                again = self._progress.take_again()
                if not again:
                    break
                self._send(self._again(again), told)
            left = self._progress.take_again()
            if left:
                raise ClusterAnswerError(
                    f"writing to {self._target}: the shop keeps writing {len(left)} documents",
                    hint="run the same command again when it is quieter",
                )
        return self._progress.marks

    def _read(self, shard: int, query: Mapping[str, Any]) -> Iterator[Seen]:
        for one in read_shard(self._client, self._source, shard, query, self._includes):
            self._progress.read(one)
            yield one
        self._progress.finished(shard)

    def _again(self, documents: list[Seen]) -> Iterator[Seen]:
        found = read_again(self._client, self._source, documents, self._includes)
        for id_, one in found.items():
            if one is None:
                self._settled(self._progress.of(id_), "not_found")
            else:
                self._progress.read(one)
                yield one

    def _send(self, documents: Iterable[Seen], told: Callable[[Marks], None]) -> None:
        sender = Sender(
            self._client,
            self._target,
            on_done=lambda one: self._settled(one, "written"),
            on_settled=self._settled,
            on_reject=self._refused,
            options=self._options,
            tally=Tally(),
            require_alias=False,
        )
        try:
            told_s = time.monotonic()
            for one in documents:
                sender.add(self._make(one))
                if time.monotonic() - told_s >= CHECKPOINT_S:
                    told(self._progress.marks)
                    told_s = time.monotonic()
            sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise

    def _settled(self, one: Seen, how: str) -> None:
        if how == "conflict":
            self._progress.conflict(one.id)
            return
        self.counts[how] += 1
        self._progress.settled(one.id)

    def _refused(self, one: Seen, field_name: str | None, reason: str) -> None:
        if reason.startswith("no_such_product"):  # deleted by the shop since it was read
            self._settled(one, "not_found")
            return
        raise ClusterAnswerError(f"writing to {self._target}: document {one.id!r} is refused: {reason}")
