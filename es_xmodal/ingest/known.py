"""What the index holds of a product already, as far as that can be told without reading the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from es_xmodal.catalog.seen import text_hash

EDITED: Final = "edited"
"""Hash of a document that is no longer what its hash said: the next full ingest writes it anew."""
COMPARED: Final = ("price", "currency", "available")
"""Fields that an edit changes without changing the hash; the index has them as doc values."""


def mark(row_hash: str, fields: Mapping[str, Any]) -> int:
    """Return 64 bits that differ where a document is to be written.

    Two that differ have the same mark once in 2^64: of a thousand million edits, one is overlooked with a
    probability of 5e-11. Marks hold within one process.

    Args:
        row_hash: of the row that the document was last written from as a whole, or of a row.
        fields: `COMPARED` ones as they are now, others too; None counts as absent.
    """
    price = fields.get("price")
    plain = None if price is None else 0.0 + price  # 5 is 5.0 once it was indexed, and -0 is 0
    return text_hash(f"{row_hash}|{plain}|{fields.get('available')}|{fields.get('currency')}")


def mark_of_hit(hit: Mapping[str, Any]) -> int:
    """Return the mark of a hit with `docvalue_fields`."""
    fields = {name: values[0] for name, values in hit.get("fields", {}).items() if values}
    return mark(str(fields.get("row_hash", "")), fields)
