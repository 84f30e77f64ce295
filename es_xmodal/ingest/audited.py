"""A run whose end is recorded for Kibana, however it ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol, TypeVar

from es_xmodal.errors import ClusterUnreachableError, SettingsError, XModalError
from es_xmodal.index.audit import TIMEOUT_S, Audited, Command, RunRecord, RunState, write_audit
from es_xmodal.index.coverage import coverage_of
from es_xmodal.index.names import check_name
from es_xmodal.index.target import load_target
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.pipeline import OnProgress, run_ingest
from es_xmodal.ingest.report import IngestReport, Tally


class Report(Protocol):
    """What is recorded of a report."""

    @property
    def index(self) -> str | None: ...  # noqa: D102
    @property
    def counts(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def seconds_by_stage(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def rejects_by_reason(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def reject_examples(self) -> Mapping[str, str]: ...  # noqa: D102


R = TypeVar("R", bound=Report)


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What is known of a run before it begins."""

    command: Command
    alias: str
    audit_index: str
    """Index, alias or data stream where it is recorded."""
    catalog: Path | None = None


def run_audited(
    parts: Parts,
    options: IngestOptions,
    *,
    audit_index: str | None,
    on_progress: OnProgress = lambda tally: None,
) -> IngestReport:
    """Bring a catalogue into an index, and record the run in an index beside it; see `run_recorded`.

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
    about = About(
        command=_command(options),
        alias=options.index,
        audit_index=audit_index,
        catalog=None if options.from_index else options.catalog,
    )

    def run(show: OnProgress) -> IngestReport:
        return run_ingest(parts, options, on_progress=show)

    report, audited = run_recorded(run, parts, about, on_progress)
    return replace(report, audit=audited)


def run_recorded(
    run: Callable[[OnProgress], R],
    parts: Parts,
    about: About,
    on_progress: OnProgress = lambda tally: None,
) -> tuple[R, Audited]:
    """Run, and record how it ended.

    That a run cannot be recorded is a warning in what is returned: the run is over by then. A run that fails
    or is interrupted is recorded too, unless it failed because the cluster does not answer or because two
    options contradict each other.

    Args:
        run: does the work; it is given what to call now and then with the counters.
        parts: whose cluster and encoder it works with.
        about: what it is.
        on_progress: called as `run` calls what it is given.

    Returns:
        Its report, and whether it is recorded.

    Raises:
        XModalError: as `run` does.
        SettingsError: the audit index cannot be one's name.
    """
    check_name(about.audit_index)
    watch = _Watch(parts, about)

    def watched(tally: Tally) -> None:
        watch.tally = tally
        on_progress(tally)

    try:
        report = run(watched)
    except (ClusterUnreachableError, SettingsError):
        raise  # it would not take the record either; and a wrong call is no run
    except (Exception, KeyboardInterrupt) as error:  # whatever it was, it is raised again
        watch.failed(error)
        raise
    return report, watch.done(report)


class _Watch:
    """Knows of a run what is to be recorded of it."""

    def __init__(self, parts: Parts, about: About) -> None:
        self._parts = parts
        self._about = about
        self._started = time.perf_counter()
        self.tally: Tally | None = None
        """The counters, once the run has any."""

    def done(self, report: Report) -> Audited:
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
        line, catalog = _line(error), self._about.catalog
        if catalog is not None:
            # Whoever looks at a dashboard need not know the folders of the machine.
            line = line.replace(str(catalog), catalog.name)
        record = replace(self._record("interrupted" if interrupted else "failed"), error=line)
        if self.tally is not None:
            record = replace(record, counts=self.tally.counts(), seconds_by_stage=self.tally.seconds())
        self._write(record)

    def _record(self, outcome: RunState) -> RunRecord:
        info, about = self._parts.encoder.info, self._about
        return RunRecord(
            run=secrets.token_hex(8),
            at=datetime.now(timezone.utc),
            command=about.command,
            outcome=outcome,
            alias=about.alias,
            catalog=about.catalog.name if about.catalog else None,
            encoder_spec=info.spec,
            encoder_fingerprint=info.fingerprint,
            seconds=round(time.perf_counter() - self._started, 3),
        )

    def _write(self, record: RunRecord) -> Audited:
        # The work is done: a cluster that is slow now must not hold it.
        client = self._parts.client.options(request_timeout=TIMEOUT_S, max_retries=1)
        try:
            # The index that was written, which need not serve; of a run that failed the one that does.
            target = load_target(client, record.index or record.alias)
            documents, coverage = coverage_of(client, target)
            record = replace(record, index=target.index, documents=documents, coverage=coverage)
        except XModalError:
            pass  # there is no such index, or none that is whole: the run is recorded without
        return write_audit(client, record, index=self._about.audit_index)


def _line(error: BaseException) -> str:
    """What the person sees; of an error that is none of ours, also what it is."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    said = " ".join(str(error).split())
    return said if isinstance(error, XModalError) else f"{type(error).__name__}: {said}"


def _command(options: IngestOptions) -> Command:
    if options.update:
        return "update"
    return "rebuild" if options.rebuild else "ingest"
