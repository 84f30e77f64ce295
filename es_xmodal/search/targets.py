"""The index behind the alias, as it is known now; looked up again when the alias has moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from elasticsearch import Elasticsearch

from es_xmodal.errors import ClusterAnswerError, IndexMissingError, IndexStateError
from es_xmodal.index.target import Target, load_target
from es_xmodal.query.cursor import Held, not_held_any_more
from es_xmodal.search.reading import AliasMovedError

_T = TypeVar("_T")


class Targets:
    """Keeps what is known of an alias.

    Args:
        client: see `es_xmodal.cluster.client.connect`.
        alias: of an index made by ingest.
    """

    def __init__(self, client: Elasticsearch, alias: str) -> None:
        self._client = client
        self._alias = alias
        self._known: Target | None = None

    def known(self) -> Target:
        """Return what is known, looked up when nothing is."""
        return self._known or self.load()

    def load(self) -> Target:
        """Look the index up.

        Raises:
            IndexStateError: there is none, or it is not complete.
            ClusterError: Elasticsearch could not be reached or refuses.
        """
        target = load_target(self._client, self._alias)
        if target.meta.state != "complete":
            raise IndexStateError(
                f"index {target.index} is not complete", hint="wait for its ingest, or run it again"
            )
        self._known = target
        return target

    def run(self, work: Callable[[Target], _T]) -> _T:
        """Work with the target that is known; when the alias has moved since, look it up and work again.

        An alias can be swapped at any time, also between two round trips. Every hit names its index, so a
        swap is noticed without a request of its own.
        """
        target = self.known()
        try:
            return work(target)
        except (AliasMovedError, ClusterAnswerError):
            fresh = self.load()
            if fresh.index == target.index:
                raise
            return work(fresh)

    def held(self, held: Held) -> Target:
        """Return the index that held pages read, even where the alias stands for another one by now.

        Raises:
            QueryError: it is gone.
        """
        if self._known and self._known.index == held.index:
            return self._known
        try:
            return replace(load_target(self._client, held.index), alias=self._alias)
        except IndexMissingError as error:
            raise not_held_any_more() from error
