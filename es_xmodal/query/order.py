"""Another order than by score, and one hit for all variants of a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError
from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.filters import resolve_field

Clause = dict[str, Any]

SCORE = "score"
SORTABLE = ("price", "brand", "id", "currency", "available", "group_id")
COLLAPSE_KEY = "collapse_key"
VARIANTS = "variants"
"""Name of the aggregation that counts the variants of each product."""
MAX_SORTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Sort:
    """One key of an order.

    Attributes:
        field: `price`, `brand`, `id`, `currency`, `available`, `group_id`, or `score`.
        descending: the largest first. Products without the field come last either way.
    """

    field: str
    descending: bool = False

    def __str__(self) -> str:
        """The key as it is typed: `price`, `-price`."""
        return f"-{self.field}" if self.descending else self.field


def parse_sort(text: str) -> Sort:
    """Read `price`, or `-price` for the largest first.

    Raises:
        QueryError: there is no field.
    """
    bare = clean_line(text)
    field = bare.removeprefix("-").strip()
    if not field:
        raise QueryError(f"{text!r} is no order", field="sort", hint="write price, or -price")
    return Sort(field=field, descending=bare.startswith("-"))


def sort_clauses(
    wanted: Sequence[Sort], fields: Mapping[str, str], names: Fields = OUR_OWN
) -> tuple[Clause | str, ...]:
    """Turn an order into Query DSL.

    Args:
        wanted: the keys, the first one first; none: by score.
        fields: the index's fields.
        names: what they are called in this index.

    Returns:
        Clauses for `sort`; ties go by id.

    Raises:
        QueryError: a field does not exist, has no order, or comes twice.
    """
    if not wanted:
        return by_score(names)
    if len(wanted) > MAX_SORTS:
        raise QueryError(f"more than {MAX_SORTS} keys", field="sort")
    clauses: dict[str, Clause] = {}
    for one in wanted:
        if one.field in clauses:
            raise QueryError("comes twice", field=f"sort.{one.field}")
        clauses[one.field] = _clause(one, fields, names)
    settled = "id" in clauses and names.at("id") == names.ties
    return (*clauses.values(), *([] if settled else [{names.ties: "asc"}]))


def by_score(names: Fields = OUR_OWN) -> tuple[Clause | str, ...]:
    """The order where nothing else was asked for; ties go by id."""
    return ("_score", {names.ties: "asc"})


def _clause(one: Sort, fields: Mapping[str, str], names: Fields) -> Clause:
    order = "desc" if one.descending else "asc"
    if one.field == SCORE:
        return {"_score": {"order": order}}
    known = {**fields, SCORE: "float"}
    name = resolve_field(one.field, known, allowed=(*SORTABLE, SCORE), option="sort", verb="sort")
    return {names.at(name): {"order": order, "missing": "_last"}}


def collapse_parts(candidates: int, names: Fields = OUR_OWN) -> tuple[Clause, Clause]:
    """Return what makes one hit of all variants of a product.

    Args:
        candidates: how many products the search ranks at most.
        names: what the index calls its fields.

    Returns:
        The value of `collapse`, and an aggregation that counts the variants of every product that has
        several: Elasticsearch itself counts documents, not groups.
    """
    most = max(1, candidates)
    field = names.at(COLLAPSE_KEY)
    counts = {"field": field, "min_doc_count": 2, "size": max(1, most // 2), "shard_size": most}
    return {"field": field}, {"terms": counts}


def check_collapse(fields: Mapping[str, str]) -> None:
    """Refuse to collapse in an index that was made before it could.

    Raises:
        QueryError: the index has no key to collapse on.
    """
    if COLLAPSE_KEY not in fields:
        raise QueryError(
            "this index has no collapse_key",
            field="collapse",
            hint="ingest its catalogue again with --rebuild",
        )


def read_variants(answer: Mapping[str, Any]) -> dict[str, int]:
    """Read how many variants each product has among those that were ranked.

    Args:
        answer: of a search that collapses.

    Returns:
        Collapse key to count, where there are two or more.
    """
    buckets = answer.get("aggregations", {}).get(VARIANTS, {}).get("buckets", [])
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}
