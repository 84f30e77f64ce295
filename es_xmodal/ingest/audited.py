"""An ingest whose end is recorded for Kibana, however it ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

from es_xmodal.errors import ClusterUnreachableError, XModalError
from es_xmodal.index.audit import Audited, Command, RunRecord, RunState, write_audit
from es_xmodal.index.coverage import coverage_of
from es_xmodal.index.names import check_name
from es_xmodal.index.target import load_target
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.pipeline import OnProgress, run_ingest
from es_xmodal.ingest.report import IngestReport, Tally

Recorder = Callable[[RunRecord], Audited]


def run_audited(
    parts: Parts,
    options: IngestOptions,
    *,
    audit_index: str | None,
    on_progress: OnProgress = lambda tally: None,
) -> IngestReport:
    """Bring a catalogue into an index, and record the run in an index beside it.

    That the run cannot be recorded is a warning in the report: the ingest is done by then. A run that fails
    or is interrupted is recorded too, unless it failed because the cluster does not answer.

    Args:
        parts: see `run_ingest`.
        options: see `run_ingest`.
        audit_index: where runs are recorded; None: nowhere.
        on_progress: see `run_ingest`.

    Returns:
        What was done, with `audit` set.

    Raises:
        XModalError: see `run_ingest`.
        SettingsError: `audit_index` cannot name an index.
    """
    if audit_index is None:
        return run_ingest(parts, options, on_progress=on_progress)
    watch = _Watch(parts, options, check_name(audit_index))

    def watched(tally: Tally) -> None:
        watch.tally = tally
        on_progress(tally)

    try:
        report = run_ingest(parts, options, on_progress=watched)
    except ClusterUnreachableError:
        raise  # nor would it take the record
    except (XModalError, KeyboardInterrupt) as error:
        watch.failed(error)
        raise
    return replace(report, audit=watch.done(report))


class _Watch:
    """Knows of a run what is to be recorded of it."""

    def __init__(self, parts: Parts, options: IngestOptions, audit_index: str) -> None:
        self._parts = parts
        self._options = options
        self._audit_index = audit_index
        self._started = time.perf_counter()
        self.tally: Tally | None = None
        """The counters, once the run has any."""

    def done(self, report: IngestReport) -> Audited:
        record = replace(
            self._record("complete"),
            index=report.index,
            counts=report.counts,
            seconds=report.seconds,
            seconds_by_stage=report.seconds_by_stage,
            reasons=report.rejects_by_reason,
            examples=report.reject_examples,
        )
        return self._write(record)

    def failed(self, error: BaseException) -> None:
        interrupted = isinstance(error, KeyboardInterrupt)
        catalog = self._options.catalog
        # Whoever looks at a dashboard need not know the folders of the machine.
        line = "interrupted" if interrupted else str(error).replace(str(catalog), catalog.name)
        record = replace(self._record("interrupted" if interrupted else "failed"), error=line)
        if self.tally is not None:
            record = replace(record, counts=self.tally.counts(), seconds_by_stage=self.tally.seconds())
        self._write(record)

    def _record(self, outcome: RunState) -> RunRecord:
        info = self._parts.encoder.info
        return RunRecord(
            run=secrets.token_hex(8),
            at=datetime.now(timezone.utc),
            command=_command(self._options),
            outcome=outcome,
            alias=self._options.index,
            catalog=self._options.catalog.name,
            encoder_spec=info.spec,
            encoder_fingerprint=info.fingerprint,
            seconds=round(time.perf_counter() - self._started, 3),
        )

    def _write(self, record: RunRecord) -> Audited:
        client = self._parts.client
        try:
            target = load_target(client, self._options.index)
            documents, coverage = coverage_of(client, target.index, target.fields)
            record = replace(
                record, index=record.index or target.index, documents=documents, coverage=coverage
            )
        except XModalError:
            pass  # there is no such index, or none that is whole: the run is recorded without
        return write_audit(client, record, index=self._audit_index)


def _command(options: IngestOptions) -> Command:
    if options.update:
        return "update"
    return "rebuild" if options.rebuild else "ingest"
