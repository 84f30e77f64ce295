"""What one search reads: an index as it is, or a point in time that holds its pages together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.search import close_point, msearch, open_point, point_is_gone, search
from es_xmodal.errors import ClusterAnswerError, ClusterError, IndexStateError
from es_xmodal.index.target import Target
from es_xmodal.query.cursor import Held, not_held_any_more
from es_xmodal.search.timing import Watch

_log = logging.getLogger(__name__)

KEEP_S = 120
"""How long the server keeps a point in time after the last search on it."""


class AliasMovedError(IndexStateError):
    """Hits came from another index than the one whose description is in use."""


class Reading:
    """Sends the searches that answer one page.

    An alias can be swapped at any time. Every hit names its index, so that is noticed here.

    Args:
        client: see `es_xmodal.cluster.client.connect`.
        target: the index that the hits must come from, and the alias that is asked.
        timeout_s: seconds that one search may take.
        point: the point in time that is asked instead.
    """

    def __init__(
        self, client: Elasticsearch, target: Target, *, timeout_s: float, point: str | None = None
    ) -> None:
        self._client = client
        self._target = target
        self._index = None if point else target.alias
        self._timeout_s = timeout_s
        self._point = point
        self.watch = Watch()

    def search(self, body: Mapping[str, Any], params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Send one search; see `es_xmodal.cluster.search.search`."""
        answer = search(self._client, self._index, self._held(body), params=params, timeout_s=self._timeout_s)
        self._check(answer)
        return answer

    def msearch(
        self, bodies: Sequence[Mapping[str, Any]], *, search_type: str | None
    ) -> list[dict[str, Any]]:
        """Send several searches in one request; see `es_xmodal.cluster.search.msearch`."""
        answers = msearch(
            self._client,
            self._index,
            [self._held(body) for body in bodies],
            search_type=search_type,
            timeout_s=self._timeout_s,
        )
        for answer in answers:
            self._check(answer)
        return answers

    @property
    def held(self) -> Held | None:
        """What the next page must read to continue this one; None: the index as it then is."""
        return Held(index=self._target.index, point=self._point) if self._point else None

    def close(self) -> None:
        """Close the point in time; where that fails it closes itself later, and the answer is good."""
        if not self._point:
            return
        try:
            close_point(self._client, self._point)
        except ClusterError as error:
            _log.debug("a point in time stays open for %d s: %s", KEEP_S, error)

    def _held(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**body, "pit": {"id": self._point, "keep_alive": f"{KEEP_S}s"}} if self._point else body

    def _check(self, answer: Mapping[str, Any]) -> None:
        target = self._target
        others = set(map(itemgetter("_index"), answer["hits"]["hits"])) - {target.index}
        if others:
            raise AliasMovedError(f"alias {target.alias} moved from {target.index} to {min(others)}")
        # The server may name it anew with each answer.
        if self._point:
            self._point = answer.get("pit_id", self._point)


@contextmanager
def open_reading(
    client: Elasticsearch, target: Target, *, timeout_s: float, hold: bool, held: Held | None
) -> Iterator[Reading]:
    """Open what one page reads.

    Args:
        client: see `connect`.
        target: the index, and the alias that is asked.
        timeout_s: seconds that one search may take.
        hold: this is the first of pages that hold.
        held: what the page before was held on.

    Yields:
        The reading; a point in time that was opened for it is closed if the page fails.

    Raises:
        QueryError: what the page before was held on is gone.
    """
    if held:
        try:
            yield Reading(client, target, timeout_s=timeout_s, point=held.point)
        except ClusterAnswerError as error:
            if point_is_gone(error):
                raise not_held_any_more() from error
            raise
        return
    point = open_point(client, target.alias, keep_s=KEEP_S) if hold else None
    opened = Reading(client, target, timeout_s=timeout_s, point=point)
    try:
        yield opened
    except BaseException:  # also Ctrl-C: leave nothing open on the server
        opened.close()
        raise
