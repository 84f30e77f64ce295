"""Filters: `F=V`, alternatives, ranges, existence, negations: as a person types them and as Query DSL.

brand=Apple        term; upper and lower case are the same
brand=Apple|Sony   any of these; a bar that is part of a value is written \\|, a backslash before one \\\\
brand!=Apple       not; products without a brand meet it too
price=10..20       range, both ends included; either end may be left out
price>=10          range; also >, <, <=
images=*           the product has it; images!=* it has none; a value that is a star is written \\*
attributes.colour=red
attributes.a\\<b=red  a mark in an attribute's name has a backslash before it: = < > ! and \\ itself
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError
from es_xmodal.query.fields import OUR_OWN, Fields

Operation = Literal["term", "terms", "range", "exists"]
Clause = dict[str, Any]

IDENTIFIERS = ("sku", "ean", "mpn", "gtin", "upc", "isbn")
ATTRIBUTES = "attributes."
MAX_VALUES = 1000
_OPERATIONS = ("term", "terms", "range", "exists")
_PLAIN = ("id", "brand", "category", "price", "currency", "group_id", "available")
_EXISTS_ONLY = ("images", "title", "description")
_COMPARISON = re.compile(
    r"^(?P<field>(?:\\.|[^=<>])+?)\s*(?P<sign>!=|>=|<=|>|<|=)\s*(?P<value>.*)$", re.DOTALL
)
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_ESCAPED_MARK = re.compile(r"\\([=<>!\\])")
_PIECE = re.compile(r"\\.|.", re.DOTALL)
_ESCAPED = ("\\|", "\\\\", "\\*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """One condition that every hit meets.

    Attributes:
        field: a field of the catalogue, such as `brand` or `attributes.colour`.
        operation: `term`, `terms`, `range` or `exists`.
        value: what a `term` must equal.
        values: what `terms` must equal one of.
        bounds: the ends of a `range` by `gt`, `gte`, `lt`, `lte`.
        negated: hits must not meet the condition; products without the field are hits then.

    Raises:
        QueryError: a value makes no sense; the error names the field.
    """

    field: str
    operation: Operation
    value: str = ""
    values: tuple[str, ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()
    negated: bool = False

    def __post_init__(self) -> None:
        for name in ("field", "value"):
            object.__setattr__(self, name, clean_line(getattr(self, name)))
        unique = dict.fromkeys(clean_line(one) for one in self.values)
        object.__setattr__(self, "values", tuple(unique))
        if not self.field:
            raise QueryError("a filter needs a field", field="filters", hint="write FIELD=VALUE")
        if self.operation not in _OPERATIONS:
            raise QueryError(f"{self.operation!r} is not one of {', '.join(_OPERATIONS)}", field=self._where)
        if self.operation == "range":
            self._check_bounds()
        else:
            self._check_values()

    @classmethod
    def term(cls, field: str, *values: str) -> Filter:
        """The field has this value, or any of these."""
        if len(values) == 1:
            return cls(field=field, operation="term", value=values[0])
        return cls(field=field, operation="terms", values=values)

    @classmethod
    def range(cls, field: str, **bounds: float) -> Filter:
        """The field lies between these ends: `gt`, `gte`, `lt`, `lte`."""
        return cls(field=field, operation="range", bounds=tuple(bounds.items()))

    @classmethod
    def exists(cls, field: str) -> Filter:
        """The product has the field."""
        return cls(field=field, operation="exists")

    def __invert__(self) -> Filter:
        """The opposite: `~Filter.term("brand", "Apple")`."""
        return replace(self, negated=not self.negated)

    def _check_values(self) -> None:
        given = {"term": (self.value,), "terms": self.values}.get(self.operation, ())
        if self.operation != "exists" and (not given or not all(given)):
            raise QueryError("a value is missing", field=self._where, hint=f"write {self.field}=VALUE")
        if len(given) > MAX_VALUES:
            raise QueryError(f"more than {MAX_VALUES} values", field=self._where)

    def _check_bounds(self) -> None:
        ends = dict(self.bounds)
        if not ends or not all(math.isfinite(end) for end in ends.values()):
            raise QueryError("a range needs finite numbers", field=self._where, hint="write price=10..20")
        if unknown := set(ends) - set(_SIGNS.values()):
            raise QueryError(f"a range has no {min(unknown)}", field=self._where, hint="gt, gte, lt, lte")
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
        text: such as `brand=Apple`, `brand!=A|B`, `price=10..20`, `price>=10`, `images=*`.

    Returns:
        The filter; whether its field exists is checked by `filter_clause`.

    Raises:
        QueryError: it has no field or value, or a range whose ends are not numbers.
    """
    match = _COMPARISON.match(text.strip())
    if match is None:
        raise QueryError(f"{text!r} is not a filter", field="filters", hint="write FIELD=VALUE")
    field, sign, value = match["field"].strip(), match["sign"], match["value"].strip()
    if field.startswith(ATTRIBUTES):
        field = _ESCAPED_MARK.sub(r"\1", field)
    if not value:
        raise QueryError("a value is missing", field=f"filters.{field}", hint=f"write {field}=VALUE")
    if sign in _SIGNS:
        return Filter(field=field, operation="range", bounds=((_SIGNS[sign], _number(field, value)),))
    found = _condition(field, value)
    return ~found if sign == "!=" else found


def _condition(field: str, value: str) -> Filter:
    if value == "*":
        return Filter(field=field, operation="exists")
    if ".." in value and not field.startswith(ATTRIBUTES) and _is_span(value):
        return Filter(field=field, operation="range", bounds=_span(field, value))
    parts = _alternatives(value)
    if not all(parts):
        raise QueryError(
            "a value is missing beside |", field=f"filters.{field}", hint="write \\| for a bar in a value"
        )
    return Filter.term(field, *parts)


def _alternatives(value: str) -> list[str]:
    """Cut at bars that have no backslash before them."""
    parts = [""]
    for piece in _PIECE.findall(value):
        if piece == "|":
            parts.append("")
        else:
            parts[-1] += piece[1] if piece in _ESCAPED else piece
    return [part.strip() for part in parts]


def escape_value(value: str) -> str:
    """Write a value so that `parse_filter` reads it back as it is, as in `f"brand={escape_value(brand)}"`."""
    return re.sub(r"[|\\]", r"\\\g<0>", value) if value != "*" else r"\*"


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


def filter_clause(wanted: Filter, fields: Mapping[str, str], names: Fields = OUR_OWN) -> Clause:
    """Turn a filter into Query DSL.

    Args:
        wanted: the filter.
        fields: the index's fields, dotted name to type.
        names: what they are called in this index.

    Returns:
        A clause for `bool.filter`.

    Raises:
        QueryError: the field does not exist (the nearest one is named) or cannot be filtered that way.
    """
    clause = _positive(wanted, fields, names)
    return {"bool": {"must_not": [clause]}} if wanted.negated else clause


def _positive(wanted: Filter, fields: Mapping[str, str], names: Fields) -> Clause:
    if wanted.field.startswith(ATTRIBUTES):
        return _attribute_clause(wanted, names.at("attribute_pairs"))
    name = resolve_field(wanted.field, fields, allowed=FILTERABLE)
    if wanted.operation == "exists":
        return _exists_clause(name, names)
    kind = fields[name]
    where = f"filters.{wanted.field}"
    if kind in ("text", "nested"):
        raise QueryError(
            f"{wanted.field} can only be asked for existence", field=where, hint=f"write {wanted.field}=*"
        )
    if wanted.operation == "range":
        if kind != "double":
            raise QueryError(f"{wanted.field} is a {kind} and has no ranges", field=where)
        return {"range": {names.at(name): dict(wanted.bounds)}}
    if kind == "keyword" and names.is_own(name):
        return _whatever_case(names.at(name), wanted.values or (wanted.value,))
    if wanted.operation == "terms":
        return {"terms": {names.at(name): [_typed(wanted.field, value, kind) for value in wanted.values]}}
    return {"term": {names.at(name): _typed(wanted.field, wanted.value, kind)}}


def _whatever_case(field: str, values: tuple[str, ...]) -> Clause:
    """A shop's own field need not be indexed in lower case, as ours are."""
    clauses: list[Clause] = [{"term": {field: {"value": one, "case_insensitive": True}}} for one in values]
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": clauses, "minimum_should_match": 1}}


def _typed(field: str, text: str, kind: str) -> str | float | bool:
    if kind == "double":
        return _number(field, text)
    if kind == "boolean":
        value = text.lower()
        if value not in ("true", "false"):
            raise QueryError(f"{text!r} is neither true nor false", field=f"filters.{field}")
        return value == "true"
    return text


def _attribute_clause(wanted: Filter, pairs: str) -> Clause:
    # Attributes are indexed as `name=value` in one keyword field, so that a shop with ten thousand
    # attribute names does not make ten thousand fields.
    name = wanted.field[len(ATTRIBUTES) :]
    if not name:
        raise QueryError(
            "an attribute needs a name", field="filters.attributes", hint="attributes.colour=red"
        )
    if wanted.operation == "range":
        raise QueryError("attributes have no ranges", field=f"filters.{wanted.field}")
    if wanted.operation == "exists":
        return {"prefix": {pairs: {"value": f"{name}=".lower()}}}
    if wanted.operation == "terms":
        return {"terms": {pairs: [f"{name}={value}".lower() for value in wanted.values]}}
    return {"term": {pairs: f"{name}={wanted.value}".lower()}}


def _exists_clause(name: str, names: Fields) -> Clause:
    if name == "images":
        return {"nested": {"path": names.at(name), "query": {"match_all": {}}}}
    return {"exists": {"field": names.at(name)}}


FILTERABLE = (*_PLAIN, *_EXISTS_ONLY, *(f"identifiers.{kind}" for kind in IDENTIFIERS))


def resolve_field(
    field: str,
    fields: Mapping[str, str],
    *,
    allowed: Iterable[str],
    option: str = "filters",
    verb: str = "filter",
) -> str:
    """Find the index's own name of a catalogue field.

    Args:
        field: as a person names it; `sku` stands for `identifiers.sku`.
        fields: the index's fields.
        allowed: the index's names that will do.
        option: the query's field, for the error.
        verb: what is done by the field, for the error.

    Returns:
        One of `allowed`.

    Raises:
        QueryError: there is none; the error names the nearest.
    """
    name = f"identifiers.{field}" if field in IDENTIFIERS else field
    possible = set(allowed) & set(fields)
    if name in possible:
        return name
    short = {one.removeprefix("identifiers.") for one in possible}
    near = difflib.get_close_matches(field, sorted({*possible, *short, "attributes"}), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    attribute = "" if verb == "sort" else f"; an attribute is written attributes.{field}"
    raise QueryError(
        f"there is no such field to {verb} by",
        field=f"{option}.{field}",
        hint=f"{hint}fields: {', '.join(sorted(possible))}{attribute}",
    )
