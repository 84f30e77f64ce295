"""What an index says about itself that a shop made and `enrich` added our fields to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from es_xmodal.index.following import Marks
from es_xmodal.query.fields import OBJECT, Fields

PREFIX = f"{OBJECT}."


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopMeta:
    """How a shop's documents read as products, and up to where they were read."""

    paths: Mapping[str, str]
    """Field of the catalogue format -> its dotted path in the shop's documents."""
    own: Mapping[str, str]
    """Part of a product -> the shop's own field that filters, facets and orders ask."""
    walked: Marks | None = None
    """Up to where every document was read, and what was to be written is confirmed; None: nowhere."""

    @property
    def fields(self) -> Fields:
        """Names of the fields, for queries."""
        return Fields(prefix=PREFIX, own=self.own)

    def to_json(self) -> dict[str, Any]:
        """Return the value of `_meta.es_xmodal.shop`."""
        return {
            "paths": dict(self.paths),
            "own": dict(self.own),
            "walked": self.walked.to_json() if self.walked else None,
        }


def parse_shop(found: Mapping[str, Any]) -> ShopMeta:
    """Read what `ShopMeta.to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    return ShopMeta(
        paths={str(part): str(path) for part, path in found["paths"].items()},
        own={str(part): str(name) for part, name in found["own"].items()},
        walked=Marks.from_json(found["walked"]) if found["walked"] else None,
    )
