"""What was asked, and nothing about how it is answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from es_xmodal.catalog.clean import clean_text
from es_xmodal.errors import QueryError
from es_xmodal.query.filters import Filter

Fusion = Literal["convex", "rrf", "boost"]
Mode = Literal["text", "image", "text+image"]
FUSIONS: tuple[Fusion, ...] = ("convex", "rrf", "boost")
LEGS = ("lexical", "text", "image", "visual")
MAX_TEXT_CHARS = 10_000
MAX_REACH = 10_000
"""Elasticsearch's default `index.max_result_window`."""
MAX_PICTURES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One question to the shop.

    Attributes:
        text: words in any language; may be empty when there is a picture.
        pictures: paths, `data:` URIs or the bytes of pictures, all of the same wish.
        filters: conditions that every hit meets.
        size: hits on one page.
        offset: hits to pass over; kept in the cursor of the page before.
        fusion: how the legs become one score.
        weights: leg name to weight; a leg that is not named keeps its default.
        window: candidates a leg; does not depend on `size`, so that page 2 continues page 1.

    Raises:
        QueryError: a value makes no sense; the error names the field.
    """

    text: str = ""
    pictures: tuple[str | bytes, ...] = ()
    filters: tuple[Filter, ...] = ()
    size: int = 10
    offset: int = 0
    fusion: Fusion = "convex"
    weights: Mapping[str, float] = field(default_factory=dict)
    window: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(clean_text(self.text).split()))
        self._check_what()
        self._check_page()
        if self.fusion not in FUSIONS:
            raise QueryError(f"{self.fusion!r} is not one of {', '.join(FUSIONS)}", field="fusion")
        check_weights(self.weights)

    def _check_what(self) -> None:
        if not self.text and not self.pictures:
            raise QueryError("the query is empty", field="text", hint="give words, a picture, or both")
        if len(self.text) > MAX_TEXT_CHARS:
            raise QueryError(f"more than {MAX_TEXT_CHARS} characters", field="text")
        if len(self.pictures) > MAX_PICTURES:
            raise QueryError(f"more than {MAX_PICTURES} pictures", field="image")

    def _check_page(self) -> None:
        if not 10 <= self.window <= 1000:
            raise QueryError("must be 10 to 1000", field="window")
        if not 1 <= self.size <= 1000:
            raise QueryError("must be 1 to 1000", field="size")
        if not 0 <= self.offset < MAX_REACH:
            raise QueryError(f"must be 0 to {MAX_REACH - 1}", field="offset")

    @property
    def mode(self) -> Mode:
        """Which modalities the query has."""
        if self.text and self.pictures:
            return "text+image"
        return "text" if self.text else "image"


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse unknown legs and weights that are no weights.

    Args:
        weights: leg name to weight.

    Raises:
        QueryError: an unknown leg, a negative weight, NaN, infinity, or nothing above 0.
    """
    for leg, weight in weights.items():
        if leg not in LEGS:
            raise QueryError("there is no such leg", field=f"weights.{leg}", hint=f"legs: {', '.join(LEGS)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise QueryError("a weight is a number of 0 or more", field=f"weights.{leg}")
