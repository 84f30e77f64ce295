"""What was asked, and nothing about how it is answered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from es_xmodal.catalog.clean import clean_text
from es_xmodal.errors import QueryError
from es_xmodal.query.facets import Facet
from es_xmodal.query.filters import Filter
from es_xmodal.query.order import Sort
from es_xmodal.query.terms import MAX_TERMS, MAX_TEXT_CHARS, Term, TermKind, check_term, check_weight

Fusion = Literal["convex", "rrf", "boost", "server-linear", "server-rrf"]
Mode = Literal["text", "image", "text+image"]
OWN_FUSIONS: tuple[Fusion, ...] = ("convex", "rrf", "boost")
FUSIONS: tuple[Fusion, ...] = (*OWN_FUSIONS, "server-linear", "server-rrf")
CLIENT_FORMS: Mapping[Fusion, Fusion] = {"server-linear": "convex", "server-rrf": "rrf"}
"""What stands in for a fusion of the server's own where the server does not do it."""
LEGS = ("identifier", "lexical", "text", "image", "visual", "fused", "ocr")
Composed = Literal["early", "late"]
Composing = Literal["auto", "early", "late"]
COMPOSITIONS: tuple[Composing, ...] = ("auto", "early", "late")
MAX_REACH = 10_000
"""Elasticsearch's default `index.max_result_window`."""
MAX_PICTURES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One question to the shop.

    Attributes:
        text: words in any language; may be empty when there is a picture.
        pictures: paths, `data:` URIs or the bytes of pictures, all of the same wish; or terms with a weight.
        like: ids of products of the index, "like these"; or terms with a weight.
        minus: words, or terms: what to move away from. Nothing is excluded by it, it goes down.
        text_weight: weight of the words beside pictures and products in the vectors that they share.
        composition: `early` makes one vector a leg of all terms, `late` a leg of each term; `auto` takes what
            measured best.
        keep_like: the products of `like` may be hits.
        filters: conditions that every hit meets.
        facets: what is counted beside the hits, on every page the same.
        sort: another order than by score, over the products that are ranked; ties go by id.
        collapse: all variants of a product (`group_id`) are one hit, the first of them in the order.
        size: hits on one page.
        offset: hits to pass over; kept in the cursor of the page before.
        fusion: how the legs become one score.
        weights: leg name to weight; a leg that is not named keeps its default.
        lexical_query: the shop's own Query DSL as the lexical leg, with `{{query}}` where the words go.
        cutoff: a hit must be relevant in one leg at least: most of the words, or a vector so many spreads
            above what unrelated pairs score; None: everything that is ranked is a hit.
        window: candidates a leg; does not depend on `size`, so that page 2 continues page 1.
        hold: all pages show the index as it was on the first page, whatever is written meanwhile; without it
            each page is a page of the order of its own moment. Kept for 2 minutes after each page, and no
            longer than until the last page.

    Raises:
        QueryError: a value makes no sense; the error names the field.
    """

    text: str = ""
    pictures: tuple[str | bytes | Term, ...] = ()
    like: tuple[str | Term, ...] = ()
    minus: tuple[str | Term, ...] = ()
    text_weight: float | None = None
    composition: Composing = "auto"
    keep_like: bool = False
    filters: tuple[Filter, ...] = ()
    facets: tuple[Facet, ...] = ()
    sort: tuple[Sort, ...] = ()
    collapse: bool = False
    size: int = 10
    offset: int = 0
    fusion: Fusion = "convex"
    weights: Mapping[str, float] = field(default_factory=dict)
    lexical_query: Mapping[str, Any] | None = None
    cutoff: float | None = None
    window: int = 100
    hold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(clean_text(self.text).split()))
        self._check_terms()
        self._check_what()
        self._check_page()
        if self.fusion not in FUSIONS:
            raise QueryError(f"{self.fusion!r} is not one of {', '.join(FUSIONS)}", field="fusion")
        check_weights(self.weights)
        if self.cutoff is not None and not -10 <= self.cutoff <= 10:
            raise QueryError("must be a number of spreads, -10 to 10", field="cutoff")
        if self.lexical_query is not None and not self.text:
            raise QueryError(
                "there are no words to put into it", field="lexical_query", hint="give words too"
            )

    def _check_terms(self) -> None:
        for name, field_name, kind in (("pictures", "image", "image"), ("like", "like", "id")):
            terms = _terms(getattr(self, name), kind, field_name)  # type: ignore[arg-type]
            if any(term.kind != kind for term in terms):
                raise QueryError(f"only terms of kind {kind} stand here", field=field_name)
            object.__setattr__(self, name, terms)
        object.__setattr__(self, "minus", _terms(self.minus, "text", "minus"))
        check_weight(self.text_weight, field="text_weight")
        if self.text_weight is not None and not self.text:
            raise QueryError("there are no words to weigh", field="text_weight", hint="give words too")
        if self.keep_like and not self.like:
            raise QueryError("there is no product to keep", field="keep_like", hint="give ids in like too")
        if self.composition not in COMPOSITIONS:
            raise QueryError(
                f"{self.composition!r} is not one of {', '.join(COMPOSITIONS)}", field="composition"
            )

    def _check_what(self) -> None:
        if not (self.text or self.pictures or self.like):
            if self.minus:
                raise QueryError(
                    "there is nothing to move away from it", field="minus", hint="say also what is wanted"
                )
            raise QueryError("the query is empty", field="text", hint="give words, a picture, or both")
        if len(self.pictures) + len(self.like) + len(self.minus) > MAX_TERMS:
            raise QueryError(f"more than {MAX_TERMS} pictures, products and minus-terms", field="terms")
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
    def unwanted(self) -> tuple[Term, ...]:
        """What to move away from."""
        return tuple(one for one in self.minus if isinstance(one, Term))

    @property
    def mode(self) -> Mode:
        """Which modalities the query has; a product of the index has both."""
        if self.like or (self.text and self.pictures):
            return "text+image"
        return "text" if self.text else "image"


def _terms(given: Iterable[str | bytes | Term], kind: TermKind, field_name: str) -> tuple[Term, ...]:
    if isinstance(given, (str, bytes)):
        raise QueryError("must be a list, not one text", field=field_name)
    made = [one if isinstance(one, Term) else Term(kind=kind, value=one) for one in given]
    return tuple(check_term(term, field=field_name) for term in made)


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
