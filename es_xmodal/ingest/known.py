"""What the index holds of a product already, as far as that can be told without reading the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

EDITED: Final = "edited"
"""Hash of a document that is no longer what its hash said: the next full ingest writes it anew."""
COMPARED: Final = ("price", "currency", "available")
"""Fields that an edit changes without changing the hash; the index has them as doc values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A document of the index."""

    hash: str
    """Of the row that it was last written from as a whole."""
    edited: Mapping[str, Any]
    """`COMPARED` fields as they are now; absent ones have no key."""

    @classmethod
    def of_hit(cls, hit: Mapping[str, Any]) -> Known:
        """Read a hit with `docvalue_fields`."""
        fields = hit.get("fields", {})
        return cls(
            hash=str(fields.get("row_hash", [""])[0]),
            edited={name: fields[name][0] for name in COMPARED if fields.get(name)},
        )


def known_hash(known: Known | None, document: Mapping[str, Any]) -> str | None:
    """Return the hash to compare a row's with.

    Args:
        known: the document of the index; None: there is none.
        document: what the row says.

    Returns:
        None where there is no document; `EDITED` where an edit made it another than its hash says.
    """
    if known is None:
        return None
    said = {name: document[name] for name in COMPARED if name in document}
    return known.hash if known.edited == said else EDITED
