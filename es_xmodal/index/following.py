"""How far one version of an index knows what was written to another one, and who holds its writers back. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_APART: Final = 4096
"""Ids that `_meta` keeps, 8 bytes each: it is part of the state of the whole cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Where the shards of one index stood."""

    index: str
    """Physical name."""
    uuid: str
    """Of the index: another one of the same name has another."""
    numbers: tuple[int, ...]
    """Sequence number by shard."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {"index": self.index, "uuid": self.uuid, "numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Marks:
        """Read what `to_json` wrote."""
        return cls(
            index=str(found["index"]),
            uuid=str(found["uuid"]),
            numbers=tuple(int(one) for one in found["numbers"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Follows:
    """Up to where a version holds what was written to another one."""

    marks: Marks
    begun: Marks
    """Where the other one stood when this version was begun."""
    apart: NDArray[np.uint64] | None = None
    """Hashes of the ids that this version has and the other one had not, so that whatever else it has and the
    other one lacks was deleted there; None: they are too many, or not known yet."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        kept = None
        if self.apart is not None and len(self.apart) <= MOST_APART:
            kept = base64.b64encode(self.apart.astype("<u8").tobytes()).decode("ascii")
        return {"marks": self.marks.to_json(), "begun": self.begun.to_json(), "apart": kept}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Follows:
        """Read what `to_json` wrote."""
        kept = found.get("apart")
        return cls(
            marks=Marks.from_json(found["marks"]),
            begun=Marks.from_json(found["begun"]),
            apart=None if kept is None else np.frombuffer(base64.b64decode(kept), "<u8").astype(np.uint64),
        )
