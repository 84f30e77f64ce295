"""Facets: what was asked, and the aggregations that count it. `facet_counts` reads the answers.

brand              values and how many products have each
attributes.colour  values of an attribute
attributes         the attributes that there are, each with its values
price              ranges, their ends chosen so that each holds about as many products
price:0,50,100     below 0, 0 to 50, 50 to 100, from 100; the lower end is included
brand@filter       counted among all products that meet the filters

Every facet has a scope, which says what is counted:

lexical  all products that match by words and meet the filters; the default where words are searched as words
window   the products that are ranked, so those that paging can reach; the default without words
filter   all products that meet the filters, whatever was asked

A facet's own filter is left out of its counts, so that the values beside the chosen one can be chosen too; a
negated filter is not a choice and stays. With a relevance cut-off the products that match by words, or are
ranked, are the relevant ones of them. The counts are made by the request that ranks and cost no round trip;
they do not depend on the page.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import QueryError
from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.filters import ATTRIBUTES, Filter, resolve_field
from es_xmodal.query.legs import Leg, LexicalLeg, relevance
from es_xmodal.query.view import IndexView

Clause = dict[str, Any]
Scope = Literal["lexical", "window", "filter"]
SCOPES: tuple[Scope, ...] = ("lexical", "window", "filter")
FACETABLE = ("brand", "category", "price", "currency", "available", "group_id")
MAX_FACETS = 20
MAX_EDGES = 50
MAX_VALUES = 1000
ALL_ATTRIBUTES = "attributes"
"""The facet that says which attributes there are."""
PAIRS = 1000
"""Pairs of attribute and value that are looked at for it, the most frequent first."""
_SPELLERS = 100
"""Products that tell how these are spelt; no more may be asked for in an aggregation."""
_MAX_NAME_CHARS = 200
# Spelt by the shop in many ways and indexed in lower case: a product of each value tells a spelling.
_FOLDED = ("brand", "category", "attribute_pairs")
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
LADDER = tuple(float(f"{step:g}e{power}") for power in range(-2, 7) for step in _STEPS)
"""Where automatic ranges may begin and end: the smallest ranges that are counted, joined afterwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facet:
    """What is counted.

    Attributes:
        field: `brand`, `category`, `price`, `currency`, `available`, `group_id`, `attributes.NAME`, or
            `attributes` for all of them.
        edges: ends of the ranges of a number; none: chosen from the counts.
        scope: `lexical`, `window` or `filter`; None: the default of the query.
        size: values at most; the rest is counted as `other`.

    Raises:
        QueryError: a value makes no sense; the error names the field.
    """

    field: str
    edges: tuple[float, ...] = ()
    scope: Scope | None = None
    size: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", clean_line(self.field))
        if not self.field:
            raise QueryError(
                "a facet needs a field", field="facets", hint="such as brand or attributes.colour"
            )
        if len(self.field) > _MAX_NAME_CHARS:
            raise QueryError(f"longer than {_MAX_NAME_CHARS} characters", field="facets")
        if self.scope is not None and self.scope not in SCOPES:
            raise QueryError(f"{self.scope!r} is not one of {', '.join(SCOPES)}", field=self.where)
        if not 1 <= self.size <= MAX_VALUES:
            raise QueryError(f"size must be 1 to {MAX_VALUES}", field=self.where)
        self._check_edges()

    def _check_edges(self) -> None:
        if len(self.edges) > MAX_EDGES:
            raise QueryError(f"more than {MAX_EDGES} ends of ranges", field=self.where)
        if not all(math.isfinite(edge) for edge in self.edges):
            raise QueryError("the ends of ranges are finite numbers", field=self.where)
        if any(low >= high for low, high in itertools.pairwise(self.edges)):
            raise QueryError("the ends of ranges must go up", field=self.where, hint="write price:0,50,100")

    @property
    def where(self) -> str:
        """The facet's place in the query, for errors."""
        return f"facets.{self.field}"


def parse_facet(text: str) -> Facet:
    """Read a facet as it is typed on the command line.

    Args:
        text: such as `brand`, `price:0,50,100`, `attributes.colour@filter`.

    Returns:
        The facet; whether its field exists is checked by `plan_facets`.

    Raises:
        QueryError: an end of a range is not a number, or there is no such scope.
    """
    text = text.strip()
    attribute = text.startswith(ATTRIBUTES)
    bare, sign, last = text.rpartition("@")
    scope: str | None = last.strip()
    if not sign or (attribute and scope not in SCOPES):  # the name of an attribute may have a @ in it
        bare, scope = text, None
    field, colon, given = (bare, "", "") if attribute else bare.partition(":")
    name = clean_line(field)
    if colon and not given.strip():
        raise QueryError("ends of ranges are missing", field=f"facets.{name}", hint="write price:0,50,100")
    edges = tuple(_edge(name, one) for one in given.split(",")) if colon else ()
    return Facet(field=name, edges=edges, scope=scope)  # type: ignore[arg-type]  # checked there


def _edge(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise QueryError(
            f"{clean_line(text)!r} is not a number", field=f"facets.{field}", hint="write price:0,50,100"
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFacet:
    """One facet, ready to be counted.

    Attributes:
        facet: what was asked.
        source: the field, as an index of our own names it.
        names: what the fields are called in this index.
        kind: the index's type of it.
        scope: what is counted.
        filters: what every counted product meets.
        relaxed: the facet's own filter is left out of `filters`, so they are not those of the hits.
        one_shard: no other shard can have counts of the values that this one leaves out.
    """

    facet: Facet
    source: str
    kind: str
    scope: Scope
    filters: tuple[Clause, ...]
    relaxed: bool
    one_shard: bool = False
    names: Fields = OUR_OWN

    @property
    def all_attributes(self) -> bool:
        """The facet says which attributes there are."""
        return self.facet.field == ALL_ATTRIBUTES

    @property
    def attribute(self) -> str | None:
        """Name of the attribute, in lower case; None where the facet is a field, or all attributes."""
        one = self.source == "attribute_pairs" and not self.all_attributes
        return self.facet.field[len(ATTRIBUTES) :].lower() if one else None

    @property
    def folded(self) -> bool:
        """Whether the index has the values in lower case, and a product tells a spelling."""
        return self.source in _FOLDED and not self.names.is_own(self.source)

    @property
    def needs_window(self) -> bool:
        """The counted products are not those that are ranked, so they are retrieved beside them."""
        return self.scope == "window" and self.relaxed

    def counting(self) -> dict[str, Clause]:
        """The aggregations that count, whatever products they are given."""
        if not self.all_attributes:
            return {"values": self._values()}
        # A look at a product for each of so many pairs would cost more than the search.
        most = PAIRS * (1 if self.one_shard else 2)
        pairs = {"field": self.names.at(self.source), "size": PAIRS, "shard_size": most}
        source = [self.names.at("attributes")]
        spelt = {"size": _SPELLERS, "_source": source, "sort": [{self.names.ties: "asc"}]}
        return {"values": {"terms": pairs}, "spelt": {"top_hits": spelt}}

    def _values(self) -> Clause:
        if self.kind == "double":
            edges = self.facet.edges or LADDER
            ends = [{"to": edges[0]}, *_pairs(edges), {"from": edges[-1]}]
            return {"range": {"field": self.names.at(self.source), "ranges": ends}}
        # Of several shards each sends its most frequent values, more than are shown so that few are missed.
        # One shard sends no more than are shown: each value costs the look at a product for its spelling.
        most = self.facet.size * (1 if self.one_shard else 5)
        terms: Clause = {"field": self.names.at(self.source), "size": self.facet.size, "shard_size": most}
        if self.attribute is not None:
            terms["include"] = f"{_escaped(self.attribute)}=.*"
        if not self.folded:
            return {"terms": terms}
        spelt = self.names.at("attributes" if self.attribute is not None else self.source)
        one = {"size": 1, "_source": [spelt], "sort": [{self.names.ties: "asc"}]}
        return {"terms": terms, "aggs": {"one": {"top_hits": one}}}


def _pairs(edges: Sequence[float]) -> list[Clause]:
    return [{"from": low, "to": high} for low, high in itertools.pairwise(edges)]


def _escaped(text: str) -> str:
    """Take a text as itself in a regular expression of Lucene, in which `\\d` and the like mean something."""
    return re.sub(r"[^\w\s]", r"\\\g<0>", text)


def plan_facets(
    facets: Sequence[Facet],
    filters: Sequence[tuple[Filter | None, Clause]],
    view: IndexView,
    legs: Sequence[Leg],
) -> tuple[PlannedFacet, ...]:
    """Check the facets, and choose what each of them counts.

    Args:
        facets: what was asked.
        filters: every condition of the hits, with the filter that it was made of where it was one.
        view: the index.
        legs: the plan's legs.

    Returns:
        One planned facet each.

    Raises:
        QueryError: a field does not exist or cannot be counted, comes twice, or there are no words to match.
    """
    if len(facets) > MAX_FACETS:
        raise QueryError(f"more than {MAX_FACETS} facets", field="facets")
    has_words = any(leg.name == "lexical" for leg in legs)
    planned: dict[str, PlannedFacet] = {}
    for facet in facets:
        source = _source(facet, view.fields)
        if facet.edges and view.fields[source] != "double":
            raise QueryError("has no ranges, it is no number", field=facet.where)
        if facet.scope == "lexical" and not has_words:
            raise QueryError(
                "scope lexical needs words that are searched as words",
                field=facet.where,
                hint="@window, @filter",
            )
        kept = tuple(clause for one, clause in filters if not _is_own(one, facet))
        one = PlannedFacet(
            facet=facet,
            source=source,
            kind=view.fields[source],
            scope=facet.scope or ("lexical" if has_words else "window"),
            filters=kept,
            relaxed=len(kept) < len(filters),
            one_shard=view.shards == 1,
            names=view.names,
        )
        if planned.setdefault(facet.field, one) is not one:
            raise QueryError("comes twice", field=facet.where)
    return tuple(planned.values())


def _source(facet: Facet, fields: Mapping[str, str]) -> str:
    if facet.field.startswith(ATTRIBUTES):
        if facet.field == ATTRIBUTES:
            raise QueryError("an attribute needs a name", field="facets.attributes", hint="attributes.colour")
        return "attribute_pairs"
    if facet.field == ALL_ATTRIBUTES and "attribute_pairs" in fields:
        return "attribute_pairs"
    return resolve_field(facet.field, fields, allowed=FACETABLE, option="facets", verb="count")


def _is_own(one: Filter | None, facet: Facet) -> bool:
    if one is None or one.negated:
        return False
    if facet.field.startswith(ATTRIBUTES):
        return one.field.lower() == facet.field.lower()
    return one.field == facet.field


def facet_aggregations(
    facets: Sequence[PlannedFacet],
    legs: Sequence[Leg],
    windows: Mapping[str, Sequence[str]],
    window: int,
    cutoff: float | None = None,
) -> dict[str, Clause]:
    """Return the aggregations of the request that ranks.

    Args:
        facets: see `plan_facets`.
        legs: the plan's legs.
        windows: field of each facet that needs a window of its own to the products in it.
        window: candidates a leg, where there is no window to name.
        cutoff: the query's; what it leaves out is not counted, except by scope `filter`.

    Returns:
        Name to aggregation; names are numbers, since an attribute may be named anything.
    """
    return {
        f"facet{number}": _aggregation(one, legs, windows.get(one.facet.field), window, cutoff)
        for number, one in enumerate(facets)
    }


def _aggregation(
    one: PlannedFacet,
    legs: Sequence[Leg],
    products: Sequence[str] | None,
    window: int,
    cutoff: float | None,
) -> Clause:
    if one.scope == "window" and not one.relaxed:  # the products that are ranked are those of the request
        return {"filter": {"match_all": {}}, "aggs": one.counting()}
    conditions = list(one.filters)
    if products is not None:
        ids = {"ids": {"values": sorted(products)}}
        conditions = [ids, *(relevance(legs, cutoff, ids, len(products)) if products else ())]
    elif one.scope == "lexical":
        words = [_by_words(leg, cutoff) for leg in legs if isinstance(leg, LexicalLeg)]
        conditions.append({"bool": {"should": words, "minimum_should_match": 1}})
    elif one.scope == "window":
        within = {"bool": {"filter": conditions}} if conditions else None
        matching = {"bool": {"should": _matching(legs, within, window), "minimum_should_match": 1}}
        conditions = [*conditions, matching, *relevance(legs, cutoff, within, window)]
    whole = {"bool": {"filter": conditions}} if conditions else {"match_all": {}}
    # `global` looks beyond the products that are ranked.
    return {"global": {}, "aggs": {"in": {"filter": whole, "aggs": one.counting()}}}


def _by_words(leg: LexicalLeg, cutoff: float | None) -> Clause:
    return leg.clause if cutoff is None else leg.relevant(cutoff, None, 0)


def _matching(legs: Sequence[Leg], within: Clause | None, window: int) -> list[Clause]:
    """What the fusion `boost` ranks, with other filters: all that a leg matches."""
    clauses = [leg.score(1.0, within, window) for leg in legs]
    for clause in clauses:
        for body in clause.values():
            for name in ("_name", "boost", "inner_hits"):  # hits have these, counts have not
                body.pop(name, None)
    return clauses
