"""Where an index has the parts of a product: at its top, or below one object of a shop's own documents.

Everything else in `query/` names a part as `mappings/product.json` names it, `tokens.title` or `price`. Only
where a clause is written does a `Fields` say what that is called in this very index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OBJECT = "es_xmodal"
"""The one field of a shop's documents that is ours."""
_FOR_SEARCHING = (
    "tokens",
    "images.joint",
    "images.visual",
    "text_vector",
    "image_vector",
    "visual_vector",
    "fused_vector",
    "row_hash",
)
NUMBERS = frozenset(
    {"double", "float", "half_float", "scaled_float", "long", "integer", "short", "byte", "unsigned_long"}
)
WORDS = frozenset({"keyword", "constant_keyword"})
TEXTS = frozenset({"text", "match_only_text"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Names of the fields of one index.

    Attributes:
        prefix: what stands before the name of a part, with its dot; empty in an index of our own.
        own: part of a product to the shop's own field, where that serves as well as ours would.
    """

    prefix: str = ""
    own: Mapping[str, str] = field(default_factory=dict)

    def at(self, part: str) -> str:
        """The index's field for a part of a product."""
        return self.own.get(part) or f"{self.prefix}{part}"

    def is_own(self, part: str) -> bool:
        """Whether the shop's own field is asked, whose mapping is the shop's."""
        return part in self.own

    @property
    def ties(self) -> str:
        """The field that orders products of the same score; no two products share a value."""
        return f"{self.prefix}id"

    @property
    def source(self) -> dict[str, list[str]]:
        """The value of `_source` of a search: what is there for searching only is no part of a hit."""
        return {"excludes": [OBJECT] if self.prefix else list(_FOR_SEARCHING)}

    def inside(self, source: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of a document's `_source` that is written by this project."""
        if not self.prefix:
            return source
        found = source.get(OBJECT)
        if isinstance(found, list):
            found = found[0] if found else None
        return found if isinstance(found, Mapping) else {}

    def view(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Name an index's fields by the parts of a product that they hold.

        Args:
            fields: dotted name to Elasticsearch type, of the whole index.

        Returns:
            Part to type as in an index of our own, so a price is a `double` whatever number the shop has;
            fields of the shop that are no part of a product are left out.
        """
        if not self.prefix:
            return dict(fields)
        start = len(self.prefix)
        found = {name[start:]: kind for name, kind in fields.items() if name.startswith(self.prefix)}
        return found | {part: _kind(fields[name]) for part, name in self.own.items() if name in fields}


def _kind(kind: str) -> str:
    for ours, theirs in (("double", NUMBERS), ("keyword", WORDS), ("text", TEXTS)):
        if kind in theirs:
            return ours
    return kind


OUR_OWN = Fields()
"""Of an index that an ingest made."""
