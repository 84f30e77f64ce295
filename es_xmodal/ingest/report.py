"""What an ingest did: counted while it runs, printed when it is over."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from es_xmodal.index.audit import Audited
from es_xmodal.index.combining import Combining
from es_xmodal.index.quantisation import Choice
from es_xmodal.ingest.brought import Brought
from es_xmodal.ingest.shared import SharedPicture

COUNTS: Final = (
    "read",
    "indexed",
    "updated",
    "unchanged",
    "rejected",
    "deleted",
    "outdated",
    "deleted_missing",
    "without_image",
    "failed_pictures",
    "stale_pictures",
    "fetched_pictures",
    "failed_texts",
    "encoded_images",
    "encoded_texts",
    "reused_vectors",
    "index_vectors",
    "ocr_images",
    "reused_ocr",
    "failed_ocr",
)
STAGES: Final = (
    "read",
    "load",
    "decode",
    "ocr",
    "encode_images",
    "encode_texts",
    "store",
    "tokenise",
    "write",
    "wait",
    "finish",
)


class Tally:
    """Counters and stop watches that several threads may use at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, what: str, count: int = 1) -> None:
        """Count.

        Args:
            what: one of `COUNTS`.
            count: how many.
        """
        with self._lock:
            self._counts[what] += count

    def __getitem__(self, what: str) -> int:
        with self._lock:
            return self._counts[what]

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage.

        Args:
            stage: one of `STAGES`.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spend(stage, time.perf_counter() - start)

    def spend(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage.

        Args:
            stage: one of `STAGES`.
            seconds: how many.
        """
        with self._lock:
            self._seconds[stage] += seconds

    def counts(self) -> dict[str, int]:
        """Return every counter.

        Returns:
            In the order of `COUNTS`.
        """
        with self._lock:
            return {what: self._counts[what] for what in COUNTS}

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every stage; threads add up, so the sum may exceed the run's.

        Returns:
            In the order of `STAGES`.
        """
        with self._lock:
            return {stage: round(self._seconds[stage], 3) for stage in STAGES}


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """What an ingest did."""

    counts: Mapping[str, int]
    seconds_by_stage: Mapping[str, float]
    seconds: float
    index: str | None
    """Physical name of the index that was written; None where not one row was good, so that none was."""
    alias: str
    rebuilt: bool
    """Whether a new version was built; otherwise the one that serves was updated."""
    replaced: str | None = None
    """The version that served before."""
    dropped: tuple[str, ...] = ()
    rejects_file: str | None = None
    rejects_by_reason: Mapping[str, int] = field(default_factory=dict)
    reject_examples: Mapping[str, str] = field(default_factory=dict)
    """Reason -> id of one product, where one is known."""
    vectors: Combining = field(default_factory=Combining)
    """How the index combines pictures and texts."""
    vector_index: Choice | None = None
    """Kind of the vector index, and why."""

    shared_pictures: tuple[SharedPicture, ...] = ()
    """Pictures that so many products have that they look like placeholders."""
    not_deleted: str | None = None
    """Why products that the catalogue does not name are still there, where they were to be deleted."""
    audit: Audited | None = None
    """Whether the run was recorded for Kibana; None: that was not asked for."""

    serves: bool = True
    """Whether searches reach what was written; False: it waits for `index swap`."""
    held_back: str | None = None
    """Why a new version was not swapped although it is complete; None: it was, or it was not asked for."""
    brought: Brought | None = None
    """What was written to the serving version while a new one was built, and was brought over."""

    @property
    def clean(self) -> bool:
        """Whether every row and every picture made it, and everything that was to go is gone."""
        done = self.not_deleted is None and self.held_back is None
        return done and not self.rejects_by_reason

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object.

        Returns:
            The counters at the top, then the rest.
        """
        return {
            **self.counts,
            "seconds": self.seconds,
            "seconds_by_stage": dict(self.seconds_by_stage),
            "index": self.index,
            "alias": self.alias,
            "rebuilt": self.rebuilt,
            "replaced": self.replaced,
            "dropped": list(self.dropped),
            "rejects_file": self.rejects_file,
            "rejects_by_reason": dict(self.rejects_by_reason),
            "not_deleted": self.not_deleted,
            "shared_pictures": [asdict(one) for one in self.shared_pictures],
            "vectors": self.vectors.to_json(),
            "vector_index": self.vector_index.to_json() if self.vector_index else None,
            "serves": self.serves,
            "held_back": self.held_back,
            "brought": self.brought.to_json() if self.brought else None,
            "audit": self.audit.to_json() if self.audit else None,
        }
