"""How each row ended: counted, and in the rejects file where it did not make it."""

from __future__ import annotations

from typing import Final

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.document import to_row
from es_xmodal.catalog.edit import Edit
from es_xmodal.catalog.product import Reject
from es_xmodal.ingest.edits import Edits, reject_of_edit
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.resume import Kept
from es_xmodal.ingest.rows import Row, Shot
from es_xmodal.ingest.shared import SharedPictures

ENDS: Final = ("indexed", "updated", "unchanged", "rejected", "deleted", "outdated")
"""Every row that is read is counted under exactly one of these."""


class Outcome:
    """Takes what becomes of the rows; `done`, `settled` and `refused` come from the threads that send.

    Args:
        tally: the counters.
        rejects: where rows and pictures go that did not make it.
        shared: counts pictures that many products have.
        edits: partial rows whose products are on their way; None: rows are whole.
        kept: told which ids the index holds rightly, where a half-built one is gone on with.
    """

    def __init__(
        self,
        *,
        tally: Tally,
        rejects: RejectFile,
        shared: SharedPictures,
        edits: Edits | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._tally = tally
        self._rejects = rejects
        self._shared = shared
        self.edits = edits
        self._kept = kept

    def done(self, row: Row | Edit) -> None:
        """The cluster confirmed that it wrote the document."""
        new = isinstance(row, Row) and row.known is None
        self._tally.add("indexed" if new else "updated")
        self._keep(row)
        self._forget(row)

    def settled(self, row: Row | Edit | Deletion, how: str) -> None:
        """Nothing was to be written, or the document is gone.

        Args:
            row: the row.
            how: see `OnSettled`.
        """
        if how == "conflict":
            reason = "conflict: somebody else wrote the product at the same time; feed this row back"
            self.refused(row, None, reason)
            return
        self._tally.add(how if how in ("deleted", "outdated") else "unchanged")
        self._keep(row)
        self._forget(row)

    def missing_settled(self, row: None, how: str) -> None:
        """The same for a product that no row named."""
        self._tally.add("deleted_missing", how == "deleted")

    def refused(self, row: Row | Edit | Deletion | None, field_name: str | None, reason: str) -> None:
        """The cluster refused the document.

        Args:
            row: the row; None: a product that no row named.
            field_name: the field that is at fault, if one is named.
            reason: what the cluster said.
        """
        self.refuse(row, "index", field_name, reason)

    def refuse(
        self, row: Row | Edit | Deletion | None, stage: str, field_name: str | None, reason: str
    ) -> None:
        """The row does not make it.

        Args:
            row: the row; None: a product that no row named.
            stage: where it ended.
            field_name: the field that is at fault, if one is.
            reason: why, a code and a colon first.
        """
        if isinstance(row, Row):
            edit = self._forget(row)
            reject = reject_of_edit(edit, stage, field_name, reason) if edit else None
            self.reject(reject or _reject(row, stage, field_name, reason))
        elif row is not None:
            self.reject(reject_of_edit(row, stage, field_name, reason))

    def reject(self, reject: Reject) -> None:
        """Count and write down a row that did not make it."""
        self._rejects.add(reject)
        self._tally.add("rejected")

    def embedded(self, row: Row) -> bool:
        """Note what became of a row's pictures and text.

        Args:
            row: as the engine gave it.

        Returns:
            Whether something failed, so that the row is not what its hash says.
        """
        failed = False
        self._shared.product()
        for shot in row.shots:
            failed = self._report_failure(row, shot) or failed
            self._note(row, shot)
        if row.text_failure is not None:
            failed = True
            self._tally.add("failed_texts")
            self._rejects.add(_reject(row, "encode", "title", f"no_vector: {row.text_failure}"))
        if not any(shot.failure is None and shot.weight > 0 for shot in row.shots):
            self._tally.add("without_image")
        return failed

    def check_sum(self) -> None:
        """Fail where a row was lost.

        Raises:
            AssertionError: rows read are not the sum of `ENDS`.
        """
        counts = self._tally.counts()
        if counts["read"] != sum(counts[name] for name in ENDS):
            raise AssertionError(f"rows were lost: {counts}")

    def _report_failure(self, row: Row, shot: Shot) -> bool:
        failure = shot.failure or shot.words_failure
        if failure is None:
            return False
        stage, code, reason = failure
        self._tally.add("failed_pictures" if shot.failure else "failed_ocr")
        self._rejects.add(_reject(row, stage, f"images[{shot.number}]", f"{code}: {reason}"))
        return True

    def _note(self, row: Row, shot: Shot) -> None:
        if shot.failure is None:
            group = row.product.group_id or row.product.id
            self._shared.picture(content=shot.content, ref=shot.ref, group=group)
        if shot.stale and shot.failure is None:
            code, reason = shot.stale
            self._tally.add("stale_pictures")
            reason = f"as_last_time: {code}: {reason}"
            self._rejects.add(_reject(row, "picture", f"images[{shot.number}]", reason))

    def _keep(self, row: Row | Edit | Deletion) -> None:
        if self._kept and isinstance(row, Row):
            self._kept.add(row.product.id)

    def _forget(self, row: Row | Edit | Deletion) -> Edit | None:
        return self.edits.done(row.product.id) if self.edits and isinstance(row, Row) else None


def _reject(row: Row, stage: str, field_name: str | None, reason: str) -> Reject:
    product = row.product
    return Reject(
        line=product.line, id=product.id, stage=stage, field=field_name, reason=reason, row=to_row(product)
    )
