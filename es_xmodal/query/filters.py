"""Filters: `F=V`, ranges and existence, as a person types them and as Query DSL.

brand=Apple        term; upper and lower case are the same
price=10..20       range, both ends included; either end may be left out
price>=10          range; also >, <, <=
images=*           the product has it
attributes.colour=red
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError

Operation = Literal["term", "range", "exists"]
Clause = dict[str, Any]

IDENTIFIERS = ("sku", "ean", "mpn", "gtin", "upc", "isbn")
ATTRIBUTES = "attributes."
_PLAIN = ("id", "brand", "category", "price", "currency", "group_id", "available")
_EXISTS_ONLY = ("images", "title", "description", "url")
_COMPARISON = re.compile(r"^(?P<field>[^=<>]+?)\s*(?P<sign>>=|<=|>|<|=)\s*(?P<value>.*)$", re.DOTALL)
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """One condition that every hit meets.

    Attributes:
        field: a field of the catalogue, such as `brand` or `attributes.colour`.
        operation: `term`, `range` or `exists`.
        value: what a `term` must equal.
        bounds: the ends of a `range` by `gt`, `gte`, `lt`, `lte`.
    """

    field: str
    operation: Operation
    value: str = ""
    bounds: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("field", "value"):
            object.__setattr__(self, name, clean_line(getattr(self, name)))
        if not self.field:
            raise QueryError("a filter needs a field", field="filters", hint="write FIELD=VALUE")
        if self.operation == "range":
            self._check_bounds()

    def _check_bounds(self) -> None:
        ends = dict(self.bounds)
        if not ends or not all(math.isfinite(end) for end in ends.values()):
            raise QueryError("a range needs finite numbers", field=self._where, hint="write price=10..20")
        low = max((ends[name] for name in ("gt", "gte") if name in ends), default=-math.inf)
        high = min((ends[name] for name in ("lt", "lte") if name in ends), default=math.inf)
        if low > high:
            raise QueryError(f"the range {low:g}..{high:g} is upside down", field=self._where)

    @property
    def _where(self) -> str:
        return f"filters.{self.field}"


def parse_filter(text: str) -> Filter:
    """Read a filter as it is typed on the command line.

    Args:
        text: such as `brand=Apple`, `price=10..20`, `price>=10`, `images=*`.

    Returns:
        The filter; whether its field exists is checked by `filter_clause`.

    Raises:
        QueryError: it has no field or value, or a range whose ends are not numbers.
    """
    match = _COMPARISON.match(text.strip())
    if match is None:
        raise QueryError(f"{text!r} is not a filter", field="filters", hint="write FIELD=VALUE")
    field, sign, value = match["field"].strip(), match["sign"], match["value"].strip()
    if not value:
        raise QueryError("a value is missing", field=f"filters.{field}", hint=f"write {field}=VALUE")
    if sign != "=":
        return Filter(field=field, operation="range", bounds=((_SIGNS[sign], _number(field, value)),))
    if value == "*":
        return Filter(field=field, operation="exists")
    if ".." in value and not field.startswith(ATTRIBUTES) and _is_span(value):
        return Filter(field=field, operation="range", bounds=_span(field, value))
    return Filter(field=field, operation="term", value=value)


def _is_span(value: str) -> bool:
    low, _, high = value.partition("..")
    return bool(low or high) and not any(letter.isalpha() for letter in low + high)


def _span(field: str, value: str) -> tuple[tuple[str, float], ...]:
    low, _, high = value.partition("..")
    ends = (("gte", low.strip()), ("lte", high.strip()))
    return tuple((name, _number(field, end)) for name, end in ends if end)


def _number(field: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise QueryError(f"{value!r} is not a number", field=f"filters.{field}") from None
    if not math.isfinite(number):
        raise QueryError(f"{value!r} is not a finite number", field=f"filters.{field}")
    return number


def filter_clause(wanted: Filter, fields: Mapping[str, str]) -> Clause:
    """Turn a filter into Query DSL.

    Args:
        wanted: the filter.
        fields: the index's fields, dotted name to type.

    Returns:
        A clause for `bool.filter`.

    Raises:
        QueryError: the field does not exist (the nearest one is named) or cannot be filtered that way.
    """
    if wanted.field.startswith(ATTRIBUTES):
        return _attribute_clause(wanted)
    name = _resolve(wanted.field, fields)
    if wanted.operation == "exists":
        return _exists_clause(name)
    kind = fields[name]
    where = f"filters.{wanted.field}"
    if kind in ("text", "nested"):
        raise QueryError(
            f"{wanted.field} can only be asked for existence", field=where, hint=f"write {wanted.field}=*"
        )
    if wanted.operation == "range":
        if kind != "double":
            raise QueryError(f"{wanted.field} is a {kind} and has no ranges", field=where)
        return {"range": {name: dict(wanted.bounds)}}
    return {"term": {name: _typed(wanted, kind)}}


def _typed(wanted: Filter, kind: str) -> str | float | bool:
    if kind == "double":
        return _number(wanted.field, wanted.value)
    if kind == "boolean":
        value = wanted.value.lower()
        if value not in ("true", "false"):
            raise QueryError(f"{wanted.value!r} is neither true nor false", field=f"filters.{wanted.field}")
        return value == "true"
    return wanted.value


def _attribute_clause(wanted: Filter) -> Clause:
    # Attributes are indexed as `name=value` in one keyword field, so that a shop with ten thousand
    # attribute names does not make ten thousand fields.
    name = wanted.field[len(ATTRIBUTES) :]
    if wanted.operation == "range":
        raise QueryError("attributes have no ranges", field=f"filters.{wanted.field}")
    if wanted.operation == "exists":
        return {"prefix": {"attribute_pairs": {"value": f"{name}=".lower()}}}
    return {"term": {"attribute_pairs": f"{name}={wanted.value}".lower()}}


def _exists_clause(name: str) -> Clause:
    if name == "images":
        return {"nested": {"path": "images", "query": {"match_all": {}}}}
    return {"exists": {"field": name}}


def _resolve(field: str, fields: Mapping[str, str]) -> str:
    """The index's own name of a catalogue field."""
    name = f"identifiers.{field}" if field in IDENTIFIERS else field
    allowed = {*_PLAIN, *_EXISTS_ONLY, *(f"identifiers.{kind}" for kind in IDENTIFIERS)} & set(fields)
    if name in allowed:
        return name
    known = sorted({*allowed, *IDENTIFIERS, "attributes"})
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise QueryError(
        "there is no such field to filter by",
        field=f"filters.{field}",
        hint=f"{hint}fields: {', '.join(sorted(allowed))}; an attribute is written attributes.{field}",
    )
