"""What a row costs, and how much memory it takes, as the catalogue grows."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import INDEX, Row, _drop
from benchmarks.shop import FreeEncoder, parts_for, write_catalog
from es_xmodal.ingest.pipeline import IngestOptions, run_ingest

_UNIT = 1 if sys.platform == "darwin" else 1024
PHASES = ("first", "second")
"""Ingest of a new index, and of the same rows once more."""
_SAMPLE_S = 0.05
_DIM = 16
"""Small, so that the file and not Elasticsearch's graph of vectors is what grows."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one ingest took."""

    rows: int
    peak_bytes: int
    """Resident, pages of the vector store's file among it."""
    own_bytes: int
    """Resident without pages of files, at the most."""
    elapsed_s: float
    processor_s: float

    @property
    def row_us(self) -> float:
        """Processor time of the ingest's own process."""
        return self.processor_s / self.rows * 1e6


def scale_rows(url: str, folder: Path, *, small: int, large: int) -> list[Row]:
    """Ingests of two sizes, each twice.

    Args:
        url: of the server.
        folder: for catalogues, vectors and rejects.
        small: rows of the smaller one.
        large: rows of the larger one.
    """
    with parts_for(url, folder) as parts:
        _drop(parts)  # what an interrupted run left would be gone on with
    costs = {
        rows: {phase: _measured(url, folder, rows, phase) for phase in PHASES} for rows in (small, large)
    }
    with parts_for(url, folder) as parts:
        _drop(parts)
    found: list[Row] = []
    for phase in PHASES:
        few, many = costs[small][phase], costs[large][phase]
        elapsed = [one.elapsed_s / one.rows * 1e6 for one in (few, many)]
        found += [
            Row(
                name=f"peak memory, {phase} ingest, {large:,} rows / {small:,}",
                value=many.own_bytes / few.own_bytes,
                unit="ratio",
                bound="<= 1.15",
                detail=f"{_mib(many.own_bytes)} against {_mib(few.own_bytes)} MiB; with the pages of the"
                f" store's file {_mib(many.peak_bytes)} against {_mib(few.peak_bytes)}",
            ),
            Row(
                name=f"processor time a row, {phase} ingest",
                value=many.row_us / few.row_us,
                unit="ratio",
                bound="<= 1.15",
                detail=f"{many.row_us:.0f} against {few.row_us:.0f} µs; elapsed {elapsed[1]:.0f} against"
                f" {elapsed[0]:.0f} µs",
            ),
        ]
    return found


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"


def _measured(url: str, folder: Path, rows: int, phase: str) -> Cost:
    if not (folder / f"catalog-{rows}.jsonl").exists():
        write_catalog(folder, rows)
    code = "import sys; from benchmarks.scale import child; child(*sys.argv[1:])"
    command = [sys.executable, "-c", code, url, str(folder), str(rows), phase]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def child(url: str, folder: str, rows: str, phase: str) -> None:
    """Ingest once and print what it took.

    Args:
        url: of the server.
        folder: as in `scale_rows`.
        rows: of the catalogue.
        phase: one of `PHASES`.
    """
    place, count, first = Path(folder), int(rows), phase == "first"
    with parts_for(url, place, store=f"vectors-{count}", encoder=FreeEncoder(_DIM, text_dim=_DIM)) as parts:
        options = IngestOptions(
            catalog=place / f"catalog-{count}.jsonl",
            index=INDEX,
            rebuild=first,
            keep=1,
            rejects=place / "rejects.jsonl",
            vector_index="flat",
        )
        start, used = time.perf_counter(), time.process_time()
        with _own_memory() as own:
            counts = run_ingest(parts, options).counts
        elapsed, processor = time.perf_counter() - start, time.process_time() - used
    assert counts["indexed" if first else "unchanged"] == count, counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    cost = {
        "rows": count,
        "peak_bytes": peak,
        "own_bytes": max(own, default=peak),
        "elapsed_s": elapsed,
        "processor_s": processor,
    }
    sys.stdout.write(json.dumps(cost) + "\n")


@contextmanager
def _own_memory() -> Iterator[list[int]]:
    """Sample what the process has for itself; nothing where the system does not tell.

    Resident memory counts pages of the vector store's file, too: they are the system's cache of that file,
    as large as memory that nobody else wants, and taken back at once when somebody does.
    """
    status = Path("/proc/self/status")
    found: list[int] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_S):
            line = next(one for one in status.read_text().splitlines() if one.startswith("RssAnon"))
            found.append(int(line.split()[1]) * 1024)

    thread = threading.Thread(target=sample, daemon=True)
    if status.exists():
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        if status.exists():
            thread.join()
