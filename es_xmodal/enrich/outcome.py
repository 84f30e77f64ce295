"""How each document ended, in the counters of an ingest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_xmodal.catalog.product import Reject
from es_xmodal.enrich.walk import Progress
from es_xmodal.ingest.outcome import Outcome
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.shared import SharedPictures


class Enriched(Outcome):
    """Takes what becomes of the documents.

    Args:
        tally: the counters.
        rejects: where documents and pictures go that did not make it.
        shared: counts pictures that many products have.
        progress: told what is settled.
    """

    def __init__(
        self, *, tally: Tally, rejects: RejectFile, shared: SharedPictures, progress: Progress
    ) -> None:
        super().__init__(tally=tally, rejects=rejects, shared=shared)
        self._progress = progress

    def done(self, row: Any) -> None:
        """The cluster confirmed that it wrote our fields."""
        super().done(row)
        self._progress.settled(row.product.id, written=True)

    def settled(self, row: Any, how: str) -> None:
        """Nothing was to be written, or the shop was faster."""
        if how == "conflict":
            self._progress.conflict(row.product.id)
            return
        super().settled(row, how)
        self._progress.settled(row.product.id)

    def refused(self, row: Any, field_name: str | None, reason: str) -> None:
        """The cluster refused our fields; a document that the shop deleted meanwhile needs none."""
        if reason.startswith("no_such_product"):
            self.settled(row, "deleted")
            return
        super().refused(row, field_name, reason)
        self._progress.settled(row.product.id)

    def gone(self, id_: str) -> None:
        """A document that was to be read again is not there any more."""
        self._tally.add("deleted")
        self._progress.settled(id_)

    def unreadable(self, id_: str, reject: Reject) -> None:
        """A document is no product."""
        self.reject(reject)
        self._progress.settled(id_)

    def given_up(self, id_: str, source: Mapping[str, Any]) -> None:
        """The shop writes a document faster than it can be read and written."""
        reason = "conflict: the shop wrote the document again and again; the next run takes it"
        self.unreadable(id_, Reject(line=0, id=id_, stage="index", field=None, reason=reason, row=source))
