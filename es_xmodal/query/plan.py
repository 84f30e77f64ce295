"""The pure plan: from a query, its signals and an index's view to plain Elasticsearch requests.

`convex` takes two round trips. First every leg finds its candidates (one `_msearch`). Then one search over
the ids of all candidates scores every leg exactly, and Elasticsearch itself adds them up: since each leg is
normalised by an affine map, the fused score is a sum of boosted scores, up to a constant. So the page, its
sources, its best pictures and its order come from one request, without a script.

`boost` takes one round trip: the raw scores times the weights.

`server-linear` and `server-rrf` take three: a retriever of the server ranks, the legs are asked as for
`convex` so that the ledger can show the formula, and the last search gives the page in the retriever's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from es_xmodal.errors import QueryError
from es_xmodal.query.facets import PlannedFacet, facet_aggregations, plan_facets
from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.filters import Filter, filter_clause
from es_xmodal.query.fusion import AffineFusion, Fused, RrfFusion, boost_scales, convex_scales
from es_xmodal.query.identifiers import possible_identifiers
from es_xmodal.query.legs import Leg, LexicalLeg, fields_of, relevance
from es_xmodal.query.lexical import lexical_clause, strict_clause
from es_xmodal.query.model import CLIENT_FORMS, MAX_REACH, Composed, Fusion, Query
from es_xmodal.query.ocr import OCR, ocr_leg, why_no_leg
from es_xmodal.query.order import VARIANTS, by_score, check_collapse, collapse_parts, sort_clauses
from es_xmodal.query.profile import (
    DEFAULT_PROFILE,
    FUSED,
    ORIGINAL_FIELDS,
    READ_FIELD,
    TOKEN_FIELDS,
    Profile,
    ProfileName,
    QueryClass,
)
from es_xmodal.query.server import retriever_body, server_fusion, server_weights, settle
from es_xmodal.query.template import fill_template
from es_xmodal.query.terms import Term
from es_xmodal.query.vector_legs import vector_legs
from es_xmodal.query.view import IndexView, Signals

Body = dict[str, Any]

SEARCH_PARAMS = {"search_type": "dfs_query_then_fetch"}
"""BM25 statistics over all shards, so that a score does not depend on where a document lies."""
RANK_PARAMS = {**SEARCH_PARAMS, "include_named_queries_score": "true"}
SERVER_RANK_PARAMS = {"include_named_queries_score": "true"}
"""A retriever takes BM25 statistics from each shard alone, so the legs beside it must too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request to Elasticsearch.

    Attributes:
        endpoint: `_search` or `_msearch`.
        params: URL parameters; for `_msearch` they stand in each header.
        bodies: one body for `_search`, one a leg for `_msearch`.
    """

    endpoint: str
    params: Mapping[str, str]
    bodies: tuple[Body, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one leg found in the first round trip.

    Attributes:
        ids: products, best first.
        top: raw score of the best one; None when there is none.
        total: number of matches.
        at_least: the number is a lower bound.
        scores: raw scores of the products.
    """

    ids: tuple[str, ...]
    top: float | None
    total: int
    at_least: bool = False
    scores: tuple[float, ...] = ()

    @property
    def raws(self) -> dict[str, float]:
        """Product to its raw score, best first."""
        return dict(zip(self.ids, self.scores, strict=True))

    @property
    def ranks(self) -> dict[str, int]:
        """Product to its rank in the leg, from 1."""
        return {product: rank for rank, product in enumerate(self.ids, start=1)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one query is answered.

    Attributes:
        alias: the index to ask.
        fusion: how legs are fused.
        legs: the legs, with their weights.
        filters: clauses that every hit meets.
        composition: how several terms became query vectors.
        size, offset: the page.
        order: the order of the hits, by score where nothing else was asked for.
        collapse: all variants of a product are one hit.
        facets: what is counted.
        weighted_rrf: the server's `rrf` takes weights.
        profile: name and digest of the profile.
        query_class: what kind of query it is; chooses the row of weights.
        warnings: what the caller should know, such as words that were left out.
        names: what the index calls its fields.
    """

    alias: str
    fusion: Fusion
    legs: tuple[Leg, ...]
    filters: tuple[Body, ...]
    size: int
    offset: int
    window: int
    min_spreads: float
    composition: Composed = "early"
    cutoff: float | None = None
    order: tuple[Body | str, ...] = by_score()
    collapse: bool = False
    facets: tuple[PlannedFacet, ...] = ()
    weighted_rrf: bool = False
    profile: ProfileName = DEFAULT_PROFILE.label
    query_class: QueryClass = "text"
    warnings: tuple[str, ...] = field(default=())
    names: Fields = OUR_OWN

    @property
    def two_trips(self) -> bool:
        """Whether candidates are retrieved before they are ranked."""
        return self.fusion != "boost"

    @cached_property
    def server(self) -> Request | None:
        """The search by a retriever of the server, the first one sent; None where it has no part."""
        if self.fusion not in CLIENT_FORMS:
            return None
        body = retriever_body(self.fusion, self.legs, self._server_weights, self.window, self.filters)
        return Request(endpoint="_search", params={}, bodies=(body,))

    @property
    def _server_weights(self) -> dict[str, float]:
        return server_weights(self.fusion, self.legs, weighted_rrf=self.weighted_rrf)

    @cached_property
    def retrieve(self) -> Request:
        """The first of two round trips: every leg's candidates, ids and scores only.

        Behind the legs' bodies stand those of the facets that count another window than that of the hits.
        """
        bodies = [
            self._candidates(leg, self.filters, total=isinstance(leg, LexicalLeg)) for leg in self.legs
        ] + [
            self._candidates(leg, one.filters, total=False)
            for one in self.facets
            if one.needs_window
            for leg in self.legs
        ]
        params = {} if self.server else SEARCH_PARAMS
        return Request(endpoint="_msearch", params=params, bodies=tuple(bodies))

    def _candidates(self, leg: Leg, filters: tuple[Body, ...], *, total: bool) -> Body:
        # Sorted, so that ties at the edge of the window do not depend on the shard copy; a retriever is not,
        # and its ledger must break them as it does.
        order = {} if self.server else {"sort": list(by_score(self.names))}
        body = {**leg.retrieve(self.window, filters), **order}
        return {**body, "_source": False, "track_total_hits": total}

    def fuse(self, found: Mapping[str, Found], ranked: Mapping[str, float] | None = None) -> Fused:
        """How the legs become one score, from what the legs found, and the server's scores where it fuses."""
        if self.server:
            raws = {name: leg.raws for name, leg in found.items()}
            return server_fusion(self.fusion, self._server_weights, raws, ranked or {})
        if self.fusion == "boost":
            return AffineFusion(scales=boost_scales(self.legs))
        if self.fusion == "rrf":
            weights = {leg.name: leg.weight for leg in self.legs}
            return RrfFusion(weights=weights, ranks={name: leg.ranks for name, leg in found.items()})
        tops = {name: leg.top for name, leg in found.items() if leg.top is not None}
        return AffineFusion(scales=convex_scales(self.legs, tops, self.min_spreads))

    def rank(
        self,
        found: Mapping[str, Found],
        windows: Mapping[str, Sequence[str]] | None = None,
        ranked: Mapping[str, float] | None = None,
    ) -> Request | None:
        """The last round trip: score the candidates in every leg, add up, return the page.

        Args:
            found: leg name to what it found; ignored by `boost`, which has one round trip.
            windows: see `read_windows`; ignored by `boost`.
            ranked: product to the server's score, where `server` asked for it.

        Returns:
            The request; None when there is no candidate and nothing to count.
        """
        ids = sorted(ranked or () if self.server else {one for leg in found.values() for one in leg.ids})
        if self.two_trips and not ids:
            return self._request({"match_none": {}}, 0, windows or {}) if self.facets else None
        only: Body | None = {"ids": {"values": ids}} if self.two_trips else None
        count = len(ids) if self.two_trips else self.window
        scope = only or _all_of(self.filters)
        clauses = {
            "filter": [*([only] if only else self.filters), *relevance(self.legs, self.cutoff, scope, count)],
            "should": self.fuse(found, ranked).clauses(self.legs, scope, count),
            "minimum_should_match": 0 if only else 1,
        }
        return self._request({"bool": clauses}, len(ids) if self.two_trips else MAX_REACH, windows or {})

    def _request(self, query: Body, candidates: int, windows: Mapping[str, Sequence[str]]) -> Request:
        body = self._page(query)
        counts = facet_aggregations(self.facets, self.legs, self._windows(windows), self.window, self.cutoff)
        if self.collapse:
            body["collapse"], counts[VARIANTS] = collapse_parts(candidates, self.names)
        if counts:
            body["aggs"] = counts
        params = SERVER_RANK_PARAMS if self.server else RANK_PARAMS
        return Request(endpoint="_search", params=params, bodies=(body,))

    def _windows(self, found: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
        """Each facet with a window of its own to the products in it; `boost` has no window."""
        needing = [one.facet.field for one in self.facets if one.needs_window and self.two_trips]
        return {name: found.get(name, ()) for name in needing}

    def _page(self, query: Body) -> Body:
        return {
            "query": query,
            "from": self.offset,
            "size": min(self.size, MAX_REACH - self.offset),
            "sort": list(self.order),
            "track_scores": True,
            "track_total_hits": True,
            "_source": self.names.source,
        }


def _all_of(filters: tuple[Body, ...]) -> Body | None:
    return {"bool": {"filter": list(filters)}} if filters else None


def build_plan(query: Query, signals: Signals, view: IndexView, profile: Profile = DEFAULT_PROFILE) -> Plan:
    """Plan a query. Pure: the same arguments give the same plan.

    Args:
        query: what was asked.
        signals: the query's words and vectors.
        view: the index.
        profile: default weights and boosts.

    Returns:
        The plan.

    Raises:
        QueryError: a filter names a field that the index does not have.
    """
    one_leg = FUSED in fields_of(view.fields)
    weights = (profile.fused_weights if one_leg else profile.weights)(query, signals.terms)
    legs = _legs(query, signals, view, profile, weights)
    if query.collapse:
        check_collapse(view.fields)
    conditions = _conditions(query, view)
    fusion, instead = settle(query.fusion, legs, view)
    return Plan(
        alias=view.alias,
        fusion=fusion,
        weighted_rrf=view.weighted_rrf,
        legs=tuple(legs),
        filters=tuple(clause for _, clause in conditions),
        order=sort_clauses(query.sort, view.fields, view.names),
        names=view.names,
        collapse=query.collapse,
        facets=plan_facets(query.facets, conditions, view, legs),
        composition=signals.composition,
        size=query.size,
        offset=query.offset,
        window=query.window,
        cutoff=query.cutoff,
        min_spreads=profile.min_spreads,
        profile=profile.label,
        query_class=profile.query_class(query, signals.terms),
        warnings=(
            *instead,
            *_warnings(signals, profile),
            *_idle(query, legs, why_no_leg(signals, view)),
            *_unheard(query, signals, legs),
        ),
    )


def _legs(
    query: Query, signals: Signals, view: IndexView, profile: Profile, weights: Mapping[str, float]
) -> list[Leg]:
    """The legs that have something to say; there is at least one."""
    legs: list[Leg] = []
    identifiers = possible_identifiers(query.text)
    if identifiers and "identifier" in weights and "identifier_keys" in view.fields:
        clause: Body = {
            "constant_score": {"filter": {"terms": {view.names.at("identifier_keys"): list(identifiers)}}}
        }
        legs.append(LexicalLeg(name="identifier", weight=weights["identifier"], clause=clause, pinned=True))
    if query.text and "lexical" in weights:
        legs.append(_lexical_leg(query, signals, weights["lexical"], profile, view))
    legs += vector_legs(signals, weights, view, query.mode)
    read = ocr_leg(signals, weights[OCR], view) if OCR in weights else None
    legs += [read] if read else []
    if not legs:
        raise QueryError(
            f"no leg can answer a query of mode {query.mode}",
            field="weights",
            hint=f"give one of these legs a weight above 0: {', '.join(_possible(query, view))}",
        )
    return legs


def _conditions(query: Query, view: IndexView) -> list[tuple[Filter | None, Body]]:
    """What every hit meets, with the filter that it was made of where it was one."""
    asked = [(one, filter_clause(one, view.fields, view.names)) for one in query.filters]
    return [*asked, *((None, clause) for clause in _left_out(query))]


def _left_out(query: Query) -> tuple[Body, ...]:
    """Who asks for more like these has these already."""
    if not query.like or query.keep_like:
        return ()
    known = sorted({str(term.value) for term in query.like if isinstance(term, Term)})
    return ({"bool": {"must_not": [{"ids": {"values": known}}]}},)


def _unheard(query: Query, signals: Signals, legs: list[Leg]) -> tuple[str, ...]:
    """A part of the query that no leg looks at is said, not passed over."""
    kinds = {leg.kind for leg in legs}
    unheard = [label for label, held in signals.held.items() if not held & kinds]
    found = [f"{label} has no effect: no leg of this search looks at it" for label in unheard]
    if query.composition == "late" and not any(":" in leg.name for leg in legs):
        found.append("the composition late changes nothing: no leg looks at more than one term")
    return tuple(found)


def _lexical_leg(
    query: Query, signals: Signals, weight: float, profile: Profile, view: IndexView
) -> LexicalLeg:
    if query.lexical_query is not None:
        return LexicalLeg(weight=weight, clause=fill_template(query.lexical_query, query.text))
    missing = _missing(view)
    clause = lexical_clause(query.text, signals.terms, profile, missing=missing, names=view.names)
    strict = strict_clause(signals.terms, profile, missing=missing, names=view.names)
    return LexicalLeg(weight=weight, clause=clause, strict=strict)


def _missing(view: IndexView) -> set[str]:
    """Fields of words that the index lacks; an index of our own may lack those of the pictures only."""
    if not view.names.prefix:
        return {READ_FIELD} - view.fields.keys()
    parents = {name.partition(".")[0] + ".*" for name in view.fields if "." in name}
    return {*TOKEN_FIELDS, *ORIGINAL_FIELDS} - view.fields.keys() - parents


def _possible(query: Query, view: IndexView) -> list[str]:
    legs = ["lexical", "text"] if query.text else []
    legs += ["image"] + (["visual"] if query.pictures else []) + [FUSED]
    there = fields_of(view.fields)
    return [leg for leg in legs if leg == "lexical" or leg in there]


def _idle(query: Query, legs: list[Leg], why_no_ocr: str) -> tuple[str, ...]:
    """A weight that cannot have an effect is said, not passed over."""
    able = {leg.kind for leg in legs}
    if FUSED in able and FUSED not in query.weights:  # its weight is made of theirs
        able |= {"text", "image", "visual"}
    idle = [name for name, weight in query.weights.items() if weight > 0 and name not in able]
    why = f"nothing in this index answers a query of mode {query.mode} there"
    reasons = {OCR: why_no_ocr if query.pictures else why}
    return tuple(f"the weight of {name} has no effect: {reasons.get(name, why)}" for name in idle)


def _warnings(signals: Signals, profile: Profile) -> tuple[str, ...]:
    if len(signals.terms) > profile.max_terms:
        return (f"only the first {profile.max_terms} of {len(signals.terms)} words are searched as words",)
    return ()
