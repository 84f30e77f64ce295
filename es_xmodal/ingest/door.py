"""Where a writer goes on when the version that it writes to is closed, since another one takes its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.transport import Patience, patience_of, pause_s
from es_xmodal.cluster.trouble import remedy_of
from es_xmodal.errors import ClusterRefusedError, IndexStateError
from es_xmodal.index.closing import is_blocked, reopen_abandoned
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import let_write, list_versions

WAIT_S: Final = 900.0
"""How long a writer waits to be let in: the last round of a swap takes seconds, a scan of ids minutes."""
_BLOCKED: Final = "index write (api)"


class Door:
    """Lets a writer of the version that serves follow the alias.

    Args:
        client: see `connect`.
        target: the version that is written.
        sleep: how to wait; tests replace it.
    """

    def __init__(
        self, client: Elasticsearch, target: Target, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._target = target
        self._sleep = sleep
        self._lock = threading.Lock()
        self.alias = let_write(client, target.alias, target.index)
        """Documents are written through it."""

    def follow(self, sent_to: str, reason: str) -> str:
        """Wait until documents are let in, and say through which alias.

        Args:
            sent_to: the alias that refused them.
            reason: what the cluster said.

        Returns:
            The alias to write through from now on.

        Raises:
            IndexStateError: the version that serves by now has another encoder, tokeniser or layout.
            ClusterRefusedError: nobody lets the writer in.
            ClusterError: the cluster cannot be reached or refuses.
        """
        with self._lock:
            if self.alias != sent_to:  # another thread was here
                return self.alias
            until_s = time.monotonic() + WAIT_S
            attempt = 0
            patience = Patience(patience_of(self._client))  # with a block of which nobody says whose it is
            while time.monotonic() < until_s:
                reopen_abandoned(self._client, list_versions(self._client, self._target.alias))
                now = load_target(self._client, self._target.alias)
                if now.index != self._target.index:
                    self._check(now)
                    self._target = now
                if not is_blocked(self._client, now.index):
                    self.alias = let_write(self._client, now.alias, now.index)
                    return self.alias
                attempt += 1
                if now.meta.closed is None and not patience.left_s:
                    break  # somebody else's block, with his reasons
                patience.pause(min(pause_s(attempt), 2.0), self._sleep)
        raise ClusterRefusedError(
            f"writing to {self._target.index}: {reason}",
            hint=remedy_of(reason) or "lift the block, then run the same command again",
        )

    def _check(self, now: Target) -> None:
        old, new = self._target.meta, now.meta
        same = (
            old.encoder.fingerprint == new.encoder.fingerprint
            and old.text_fingerprint == new.text_fingerprint
            and (old.ocr, old.combining, old.layout) == (new.ocr, new.combining, new.layout)
        )
        if not same:
            raise IndexStateError(
                f"{now.alias} was swapped from {self._target.index} to {now.index}, which has another"
                " encoder, tokeniser or layout; what was confirmed until then is in it, the rest is not",
                hint="run the same command again, with the encoder and the settings of the new version",
            )


def is_closed(result: Mapping[str, Any]) -> bool:
    """Whether a document was refused because its version is being swapped, or was.

    Args:
        result: of one item of a bulk request.
    """
    error = result.get("error") or {}
    kind = error.get("type")
    if result.get("status") == 403:
        return kind == "cluster_block_exception" and _BLOCKED in str(error.get("reason"))
    return result.get("status") == 404 and kind == "index_not_found_exception"
