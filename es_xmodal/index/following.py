"""How far one version of an index knows what was written to another one. Pure."""

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
    lacking: NDArray[np.uint64] | None = None
    """The same the other way round."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "marks": self.marks.to_json(),
            "begun": self.begun.to_json(),
            "apart": _packed(self.apart),
            "lacking": _packed(self.lacking),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Follows:
        """Read what `to_json` wrote."""
        return cls(
            marks=Marks.from_json(found["marks"]),
            begun=Marks.from_json(found["begun"]),
            apart=_unpacked(found.get("apart")),
            lacking=_unpacked(found.get("lacking")),
        )


def _packed(ids: NDArray[np.uint64] | None) -> str | None:
    if ids is None or len(ids) > MOST_APART:
        return None
    return base64.b64encode(ids.astype("<u8").tobytes()).decode("ascii")


def _unpacked(text: str | None) -> NDArray[np.uint64] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64)
