"""Filters as typed, and as Query DSL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError
from es_xmodal.query.filters import Filter, escape_value, filter_clause, parse_filter
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
        ("brand=A|B", {"terms": {"brand": ["A", "B"]}}),
        ("brand= A | B |A", {"terms": {"brand": ["A", "B"]}}),
        (r"brand=A\|B", {"term": {"brand": "A|B"}}),
        (r"brand=A\\|B", {"terms": {"brand": ["A\\", "B"]}}),
        (r"brand=A\B", {"term": {"brand": r"A\B"}}),
        (r"brand=\*", {"term": {"brand": "*"}}),
        ("sku=a|b", {"terms": {"identifiers.sku": ["a", "b"]}}),
        ("price=10|20", {"terms": {"price": [10.0, 20.0]}}),
        ("available=true|false", {"terms": {"available": [True, False]}}),
        ("attributes.Colour=Red|Blue", {"terms": {"attribute_pairs": ["colour=red", "colour=blue"]}}),
        ("brand!=Apple", {"bool": {"must_not": [{"term": {"brand": "Apple"}}]}}),
        ("brand!=A|B", {"bool": {"must_not": [{"terms": {"brand": ["A", "B"]}}]}}),
        ("brand!=*", {"bool": {"must_not": [{"exists": {"field": "brand"}}]}}),
        ("price!=10..20", {"bool": {"must_not": [{"range": {"price": {"gte": 10.0, "lte": 20.0}}}]}}),
        ("attributes.wow!=yes", {"bool": {"must_not": [{"term": {"attribute_pairs": "wow=yes"}}]}}),
        (
            "images!=*",
            {"bool": {"must_not": [{"nested": {"path": "images", "query": {"match_all": {}}}}]}},
        ),
        ("attributes.range=1..2", {"term": {"attribute_pairs": "range=1..2"}}),
        (r"attributes.a\=b=c", {"term": {"attribute_pairs": "a=b=c"}}),
        (r"attributes.\<b\>\!!=c", {"bool": {"must_not": [{"term": {"attribute_pairs": "<b>!=c"}}]}}),
        (r"attributes.a\\b\c=d", {"term": {"attribute_pairs": r"a\b\c=d"}}),
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
        ("url=*", "no such field"),
        ("brand=A|", "missing beside |"),
        ("brand!=|", "missing beside |"),
        ("brand!=", "a value is missing"),
        ("price=1|cheap", "'cheap' is not a number"),
        ("price!=cheap", "not a number"),
        ("available=true|maybe", "'maybe' is neither"),
        ("title!=x", "write title=*"),
        ("title=x|y", "write title=*"),
        ("brnad!=A", "did you mean brand?"),
        ("skuu=A", "did you mean sku?"),
        ("attributes.=x", "needs a name"),
    ],
)
def test_nonsense_is_one_line(typed: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        filter_clause(parse_filter(typed), FIELDS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field.startswith("filters")


@pytest.mark.parametrize(
    "options",
    [
        {"field": "price", "operation": "range"},
        {"field": "price", "operation": "range", "bounds": (("above", 1.0),)},
        {"field": "", "operation": "exists"},
        {"field": "brand", "operation": "term"},
        {"field": "brand", "operation": "terms"},
        {"field": "brand", "operation": "terms", "values": ("a", " ")},
        {"field": "brand", "operation": "terms", "values": tuple(map(str, range(1001)))},
        {"field": "brand", "operation": "like", "value": "a"},
    ],
)
def test_nonsense_is_refused_at_construction(options: dict[str, Any]) -> None:
    with pytest.raises(QueryError) as caught:
        Filter(**options)
    assert caught.value.field.startswith("filters")


def test_constructors_say_the_same_as_text() -> None:
    assert Filter.term("brand", "A") == parse_filter("brand=A")
    assert Filter.term("brand", "A", "B") == parse_filter("brand=A|B")
    assert Filter.range("price", gte=1, lte=2) == parse_filter("price=1..2")
    assert Filter.range("price", gt=1) == parse_filter("price>1")
    assert Filter.exists("images") == parse_filter("images=*")
    assert ~Filter.exists("images") == parse_filter("images!=*")
    assert ~~Filter.exists("images") == parse_filter("images=*")


@given(
    st.lists(st.text(min_size=1).map(clean_line).map(str.strip).filter(bool), min_size=1, max_size=5),
    st.booleans(),
)
def test_escaped_values_are_read_back(values: list[str], negated: bool) -> None:
    typed = f"brand{'!=' if negated else '='}{'|'.join(map(escape_value, values))}"
    if len(values) == 1 and ".." in values[0]:
        return  # that is a range
    expected = Filter.term("brand", *values)
    found = parse_filter(typed)
    assert found.negated == negated
    assert (found.values or (found.value,)) == (expected.values or (expected.value,))


@given(st.text())
def test_any_text_is_a_filter_or_one_line(typed: str) -> None:
    try:
        clause = filter_clause(parse_filter(typed), FIELDS)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert len(clause) == 1
