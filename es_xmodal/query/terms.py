"""The parts of a query: words, pictures and products, wanted or to be moved away from, each with a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError

TermKind = Literal["text", "image", "id"]
KINDS: tuple[TermKind, ...] = ("text", "image", "id")
MAX_TERMS = 32
MAX_WEIGHT = 1000.0
MAX_TEXT_CHARS = 10_000
MAX_ID_BYTES = 512
"""Elasticsearch's limit for `_id`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One part of a query.

    Attributes:
        kind: `text`, `image` (a path, a `data:` URI, or bytes) or `id` (a product of the index).
        value: the words, the picture, or the product's id.
        weight: how much it counts beside the other terms; None: the default of its place. Text has 1, the
            pictures share 1 and so do the products, since several of them are views of one wish; a term to
            move away from has the profile's `minus_weight`.
    """

    kind: TermKind
    value: str | bytes
    weight: float | None = None


def parse_minus(text: str) -> Term:
    """Read a term to move away from as it is typed.

    Args:
        text: words, `image:PATH`, `id:ID`, or `text:WORDS` for words that start like one of these.

    Returns:
        The term; `check_term` says whether it makes sense.
    """
    kind, sign, value = text.partition(":")
    for known in KINDS:
        if sign and kind == known:
            return Term(kind=known, value=value)
    return Term(kind="text", value=text)


def check_term(term: Term, *, field: str) -> Term:
    """Refuse a term that makes no sense.

    Args:
        term: any term.
        field: the part of the query that it stands in, for the error.

    Returns:
        The term, its text cleaned.

    Raises:
        QueryError: unknown kind, no value, too long, or a weight that is no weight; names the field.
    """
    if term.kind not in KINDS:
        raise QueryError(f"{term.kind!r} is not one of {', '.join(KINDS)}", field=field)
    check_weight(term.weight, field=field)
    value = term.value
    if term.kind == "image":
        if not value:
            raise QueryError("a picture is empty", field=field, hint="give a path, a data: URI, or bytes")
        return term
    if not isinstance(value, str):
        raise QueryError(f"{type(value).__name__} is not text", field=field)
    value = " ".join(clean_line(value).split()) if term.kind == "text" else clean_line(value)
    _check_length(value, term.kind, field)
    return Term(kind=term.kind, value=value, weight=term.weight)


def _check_length(value: str, kind: TermKind, field: str) -> None:
    if not value:
        raise QueryError(f"an empty {'id' if kind == 'id' else 'text'}", field=field)
    if kind == "id" and len(value.encode()) > MAX_ID_BYTES:
        raise QueryError(f"an id of more than {MAX_ID_BYTES} bytes", field=field)
    if len(value) > MAX_TEXT_CHARS:
        raise QueryError(f"more than {MAX_TEXT_CHARS} characters", field=field)


def check_weight(weight: float | None, *, field: str) -> None:
    """Refuse NaN, infinity, 0 and less.

    Raises:
        QueryError: it is no weight of a term.
    """
    if weight is None:
        return
    if not (math.isfinite(weight) and 0 < weight <= MAX_WEIGHT):
        raise QueryError(f"a term's weight is a number above 0, at most {MAX_WEIGHT:g}", field=field)
