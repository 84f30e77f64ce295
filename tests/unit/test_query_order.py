"""Sort and collapse, as typed and as Query DSL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import QueryError
from es_xmodal.query.cursor import check_cursor, read_cursor, write_cursor
from es_xmodal.query.model import Query
from es_xmodal.query.order import Sort, parse_sort, read_variants, sort_clauses
from es_xmodal.query.plan import Found, build_plan
from tests.support.plans import FIELDS, plan_for, signals, view

pytestmark = pytest.mark.unit

FOUND = {"lexical": Found(ids=("a", "b", "c"), top=8.0, total=3)}
TIES = {"id": "asc"}


@pytest.mark.parametrize(
    ("typed", "clauses"),
    [
        ((), ("_score", TIES)),
        (("price",), ({"price": {"order": "asc", "missing": "_last"}}, TIES)),
        (("-price",), ({"price": {"order": "desc", "missing": "_last"}}, TIES)),
        ((" - id ",), ({"id": {"order": "desc", "missing": "_last"}},)),
        (
            ("-score", "brand"),
            ({"_score": {"order": "desc"}}, {"brand": {"order": "asc", "missing": "_last"}}, TIES),
        ),
    ],
)
def test_clauses(typed: tuple[str, ...], clauses: tuple[object, ...]) -> None:
    assert sort_clauses([parse_sort(one) for one in typed], FIELDS) == clauses


@pytest.mark.parametrize(
    ("typed", "field", "says"),
    [
        (("",), "sort", "is no order"),
        (("-",), "sort", "is no order"),
        (("prise",), "sort.prise", "did you mean price?"),
        (("title",), "sort.title", "no such field to sort by"),
        (("category",), "sort.category", "no such field to sort by"),
        (("attributes.colour",), "sort.attributes.colour", "no such field to sort by"),
        (("price", "-price"), "sort.price", "twice"),
        (("price", "brand", "id", "score", "currency"), "sort", "more than 4"),
    ],
)
def test_nonsense_is_one_line(typed: tuple[str, ...], field: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        sort_clauses([parse_sort(one) for one in typed], FIELDS)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_order_or_one_line(typed: str) -> None:
    try:
        clauses = sort_clauses([parse_sort(typed)], FIELDS)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert len(clauses) in (1, 2)


def test_an_order_is_written_as_it_is_typed() -> None:
    assert [str(Sort(field="price")), str(parse_sort("-price"))] == ["price", "-price"]


def test_order_and_variants_belong_to_the_cursor() -> None:
    plain, priced, one_each = plan_for(), plan_for(sort=(Sort(field="price"),)), plan_for(collapse=True)
    digest = read_cursor(write_cursor(priced, offset=10)).digest
    check_cursor(digest, plan_for(sort=(Sort(field="price"),), offset=10))
    for other in (plain, one_each, plan_for(sort=(Sort(field="price", descending=True),))):
        with pytest.raises(QueryError, match="another query"):
            check_cursor(digest, other)


def test_only_the_last_request_sorts_and_collapses() -> None:
    plan = plan_for(sort=(Sort(field="price"),), collapse=True)
    assert plan.retrieve == plan_for().retrieve
    request = plan.rank(FOUND)
    assert request is not None
    body = request.bodies[0]
    assert body["sort"] == [{"price": {"order": "asc", "missing": "_last"}}, TIES]
    assert body["track_scores"] is True
    assert body["collapse"] == {"field": "collapse_key"}
    counts = body["aggs"]["variants"]["terms"]
    assert counts["shard_size"] == 3, "fewer would miss variants that lie on several shards"
    assert counts["min_doc_count"] == 2


def test_an_index_without_the_key_says_so() -> None:
    fields = {name: kind for name, kind in FIELDS.items() if name != "collapse_key"}
    with pytest.raises(QueryError, match="--rebuild"):
        build_plan(Query(text="x", collapse=True), signals(), view(fields=fields))


def test_reading_variants() -> None:
    buckets = [{"key": "g:a", "doc_count": 3}]
    assert read_variants({"aggregations": {"variants": {"buckets": buckets}}}) == {"g:a": 3}
    assert read_variants({"hits": {}}) == {}
