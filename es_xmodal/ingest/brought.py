"""What a version caught up with before it took the place of the one that served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What was brought over from the version that served."""

    written: int = 0
    """Documents; one that was edited between two rounds counts in both."""
    deleted: int = 0
    rejected: int = 0
    rounds: int = 0
    held_back_s: float = 0.0
    """How long the writers of the serving version waited."""

    @property
    def line(self) -> str:
        """The same in words."""
        return (
            f"brought over: {self.written} documents, {self.deleted} deletions, {self.rejected} rejected;"
            f" writers waited {self.held_back_s:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "written": self.written,
            "deleted": self.deleted,
            "rejected": self.rejected,
            "rounds": self.rounds,
            "held_back_s": round(self.held_back_s, 3),
        }
