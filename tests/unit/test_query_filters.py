"""Filters as typed, and as Query DSL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import QueryError
from es_xmodal.query.filters import Filter, filter_clause, parse_filter
from tests.support.plans import FIELDS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "clause"),
    [
        ("brand=Apple", {"term": {"brand": "Apple"}}),
        ("brand = A=B", {"term": {"brand": "A=B"}}),
        ("brand=A\udcffB\x1b[31mC", {"term": {"brand": "A\ufffdBC"}}),
        ("sku=AB-1", {"term": {"identifiers.sku": "AB-1"}}),
        ("identifiers.ean=20", {"term": {"identifiers.ean": "20"}}),
        ("price=10", {"term": {"price": 10.0}}),
        ("price=10..20", {"range": {"price": {"gte": 10.0, "lte": 20.0}}}),
        ("price=..20", {"range": {"price": {"lte": 20.0}}}),
        ("price=10..", {"range": {"price": {"gte": 10.0}}}),
        ("price>=10", {"range": {"price": {"gte": 10.0}}}),
        ("price<10.5", {"range": {"price": {"lt": 10.5}}}),
        ("available=TRUE", {"term": {"available": True}}),
        ("images=*", {"nested": {"path": "images", "query": {"match_all": {}}}}),
        ("brand=*", {"exists": {"field": "brand"}}),
        ("attributes.Colour=Red", {"term": {"attribute_pairs": "colour=red"}}),
        ("attributes.size=*", {"prefix": {"attribute_pairs": {"value": "size="}}}),
        ("attributes.range=1..2", {"term": {"attribute_pairs": "range=1..2"}}),
    ],
)
def test_clause(typed: str, clause: dict[str, object]) -> None:
    assert filter_clause(parse_filter(typed), FIELDS) == clause


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("brand", "not a filter"),
        ("brand=", "a value is missing"),
        ("price=cheap", "not a number"),
        ("price>cheap", "not a number"),
        ("price=20..10", "upside down"),
        ("price=nan..1", "not a number"),
        ("price=nan", "not a finite number"),
        ("price=-1e999", "not a finite number"),
        ("price>nan", "finite"),
        ("price>=inf", "finite"),
        ("prise=10", "did you mean price?"),
        ("colour=red", "attributes.colour"),
        ("title=x", "write title=*"),
        ("brand>=3", "no ranges"),
        ("available=maybe", "neither true nor false"),
        ("attributes.size>=3", "no ranges"),
        ("text_vector=*", "no such field"),
    ],
)
def test_nonsense_is_one_line(typed: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        filter_clause(parse_filter(typed), FIELDS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field.startswith("filters")


def test_a_range_needs_bounds() -> None:
    with pytest.raises(QueryError):
        Filter(field="price", operation="range")
    with pytest.raises(QueryError):
        Filter(field="", operation="exists")


@given(st.text())
def test_any_text_is_a_filter_or_one_line(typed: str) -> None:
    try:
        clause = filter_clause(parse_filter(typed), FIELDS)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert len(clause) == 1
