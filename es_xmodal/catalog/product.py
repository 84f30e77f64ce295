"""What a catalogue yields: a product, or a row that was refused and why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STAGES: Final = ("read", "row", "picture", "encode", "index")
IDENTIFIERS: Final = ("sku", "ean", "mpn", "gtin", "upc", "isbn")
FIELDS: Final = (
    "id",
    "title",
    "description",
    "brand",
    "category",
    "price",
    "currency",
    "identifiers",
    "attributes",
    "images",
    "url",
    "group_id",
    "available",
    "deleted",
)
LANGUAGE_FIELD: Final = re.compile(r"(title|description)_([a-z]{2}(?:[-_][A-Za-z]{2,4})?)")
REJECT_KEYS: Final = frozenset({"line", "id", "stage", "field", "reason", "row"})

# A rejects file is opened in editors and terminals: what would act there is written as an escape.
_ESCAPED = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageNote:
    """What a row says about one of its pictures beside where it is.

    Attributes:
        role: such as `main` or `detail`, in lower case.
        weight: its part in the mean of the product's pictures; 0: shown, not searched; None: as its role has.
    """

    role: str | None = None
    weight: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """One row of a catalogue, checked and cleaned.

    Attributes:
        titles: language to title, from `title_zh` and the like.
        images: references as they stand in the row: paths, addresses or data URIs.
        image_notes: reference to what the row says about that picture; most rows say nothing.
        extra: fields that the catalogue format does not know, as JSON values.
        line: number of the row in its source, from 1 (JSONL: the line; CSV: the record after the header).
    """

    id: str
    title: str
    titles: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    brand: str | None = None
    category: tuple[str, ...] = ()
    price: float | None = None
    currency: str | None = None
    identifiers: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    image_notes: Mapping[str, ImageNote] = field(default_factory=dict)
    url: str | None = None
    group_id: str | None = None
    available: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    version: int | None = None
    """What settles it against other rows of the same id; None: there is no such field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """A row, or a part of one, that did not make it.

    Attributes:
        line: number of the row in its source, from 1.
        id: id of the product, where it could be read.
        stage: `read`, `row`, `picture`, `encode` or `index`.
        field: the field that is wrong, where it is one field.
        reason: a code, a colon and a sentence, such as `negative: price is -5`.
        row: the row as it was read; a broken line as text.
    """

    line: int
    id: str | None
    stage: str
    field: str | None
    reason: str
    row: Any

    @property
    def code(self) -> str:
        """The short stable word that the reason starts with."""
        return self.reason.partition(":")[0]

    def to_json(self) -> str:
        """Write the reject as one line of a rejects file, without its line end.

        Returns:
            Legal JSON on one line; NaN and infinite numbers in the row are written as text.
        """
        data = {key: getattr(self, key) for key in ("line", "id", "stage", "field", "reason")}
        text = json.dumps({**data, "row": _legal(self.row)}, ensure_ascii=False, default=str)
        return _ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _legal(value: Any) -> Any:
    """Replace the numbers that JSON has no way to write."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, Mapping):
        return {str(key): _legal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_legal(item) for item in value]
    return value
