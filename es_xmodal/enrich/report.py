"""What an enrichment did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from es_xmodal.index.audit import Audited
from es_xmodal.index.quantisation import Choice
from es_xmodal.ingest.shared import SharedPicture


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrichReport:
    """What an enrichment did."""

    counts: Mapping[str, int]
    """Those of an ingest; a row is a document of the shop."""
    seconds: float
    seconds_by_stage: Mapping[str, float]
    index: str
    """Physical name."""
    name: str
    """As it was asked for."""
    documents: int
    """In the index, when the run was over."""
    enriched: int
    """Of them, with our fields."""
    paths: Mapping[str, str]
    own: Mapping[str, str]
    vector_index: Choice
    rejects_file: str | None = None
    rejects_by_reason: Mapping[str, int] = field(default_factory=dict)
    reject_examples: Mapping[str, str] = field(default_factory=dict)
    """Reason -> id of one document."""
    shared_pictures: tuple[SharedPicture, ...] = ()
    copied_from: str | None = None
    """The index that `index` is a copy of; None: it is the shop's own."""
    copied: int = 0
    """Documents that were copied by this run."""
    swapped: str | None = None
    """The alias that stands for the copy from now on."""
    audit: Audited | None = None
    """Whether the run was recorded for Kibana; None: that was not asked for."""

    def after(self, other: EnrichReport) -> EnrichReport:
        """Return this report with the counters of an earlier one added."""
        return replace(
            self,
            counts={name: count + other.counts[name] for name, count in self.counts.items()},
            seconds=round(self.seconds + other.seconds, 3),
            seconds_by_stage={
                stage: round(spent + other.seconds_by_stage[stage], 3)
                for stage, spent in self.seconds_by_stage.items()
            },
            rejects_by_reason=Counter(other.rejects_by_reason) + Counter(self.rejects_by_reason),
            reject_examples={**self.reject_examples, **other.reject_examples},
            rejects_file=" and ".join(filter(None, (other.rejects_file, self.rejects_file))) or None,
        )

    @property
    def clean(self) -> bool:
        """Whether every document and every picture made it."""
        return not self.rejects_by_reason

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
            "alias": self.name,
            "documents": self.documents,
            "enriched": self.enriched,
            "map": dict(self.paths),
            "own_fields": dict(self.own),
            "copied_from": self.copied_from,
            "copied": self.copied,
            "swapped": self.swapped,
            "vector_index": self.vector_index.to_json(),
            "rejects_file": self.rejects_file,
            "rejects_by_reason": dict(self.rejects_by_reason),
            "shared_pictures": [asdict(one) for one in self.shared_pictures],
            "audit": self.audit.to_json() if self.audit else None,
        }
