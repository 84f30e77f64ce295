"""What an enrichment is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from es_xmodal.index.quantisation import AUTO
from es_xmodal.ingest.sender import SenderOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrichOptions:
    """What an enrichment is to do."""

    index: str
    """The shop's index, or an alias of one."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Field of the catalogue format -> the shop's; empty for an enriched index: as it was enriched."""
    rejects: Path | None = None
    """None: `INDEX.rejects.jsonl` in the working directory."""
    docs_per_second: float | None = None
    """Documents that are written a second, at most; None: as fast as the cluster takes them."""
    since: tuple[str, str] | None = None
    """A field of the shop and the least value that is looked at; None: from where the last run stopped."""
    whole: bool = False
    """Every document is looked at, also those that were not written since the last run."""
    vector_index: str = AUTO
    """A kind of vector index, or `auto`: the rule of `es_xmodal.index.quantisation`."""
    placeholders: frozenset[str] = frozenset()
    """SHA-256 of pictures that show no product."""
    sender: SenderOptions = field(default_factory=SenderOptions)

    @property
    def rejects_path(self) -> Path:
        """Where rejects go."""
        return self.rejects or Path(f"{self.index}.rejects.jsonl")
