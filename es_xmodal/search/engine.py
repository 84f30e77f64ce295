"""Search: look up the index, make the signals, run the plan, read the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from elasticsearch import Elasticsearch

from es_xmodal.catalog.document import from_document
from es_xmodal.cluster.capabilities import RETRIEVERS, is_retriever_refusal, probe, remember_refusal
from es_xmodal.cluster.search import refusal_of_query, search
from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import ClusterAnswerError, ClusterError, QueryError
from es_xmodal.index.fused import fusing_of
from es_xmodal.index.target import Target
from es_xmodal.media.ocr import WordReader, load_reader
from es_xmodal.query.answers import (
    RankedHit,
    leg_ranks,
    read_found,
    read_hits,
    read_ranked,
    read_windows,
)
from es_xmodal.query.cursor import (
    Cursor,
    check_cursor,
    read_cursor,
    write_cursor,
)
from es_xmodal.query.facet_counts import read_facets
from es_xmodal.query.fusion import Fused, ServerFusion
from es_xmodal.query.legs import VECTOR_FIELDS, fields_of
from es_xmodal.query.model import CLIENT_FORMS, MAX_REACH, Query
from es_xmodal.query.ocr import OCR
from es_xmodal.query.order import read_variants
from es_xmodal.query.plan import Found, Plan, Request, build_plan
from es_xmodal.query.profile import DEFAULT_PROFILE, Profile
from es_xmodal.query.server import retriever_name
from es_xmodal.query.template import fill_template
from es_xmodal.query.view import Calibration, IndexView, Signals
from es_xmodal.search.explain import matched_words
from es_xmodal.search.parts import LazyParts
from es_xmodal.search.reading import Reading, open_reading
from es_xmodal.search.result import Hit, SearchResult, Total
from es_xmodal.search.signals import make_signals, needed
from es_xmodal.search.stored import document_of, named_products, read_stored, stored_request
from es_xmodal.search.targets import Targets
from es_xmodal.search.tracing import span
from es_xmodal.search.words import with_words
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.grams import FORMAT as GRAMS_FORMAT
from es_xmodal.vectors import Vector

_HIGHLIGHTED = ("title", "description")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSearch:
    """A plan and the requests that it comes to, in the order in which they are sent."""

    plan: Plan
    requests: tuple[Request, ...]


class Searcher:
    """Answers queries on one index. Safe to use from several threads.

    Args:
        client: see `es_xmodal.cluster.client.connect`.
        index: an alias made by ingest.
        encoder_for: the index's SPEC to an encoder; called once, when a vector is first needed.
        analyzer_for: gives the tokeniser; called once, when words are first looked at.
        reader_for: gives the reader of words on pictures; called once, when one is first read.
        timeout_s: seconds that one request may take.
        profile: default weights and boosts.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        *,
        encoder_for: Callable[[str], Encoder],
        analyzer_for: Callable[[], Analyzer],
        reader_for: Callable[[], WordReader] = load_reader,
        timeout_s: float = 30.0,
        profile: Profile = DEFAULT_PROFILE,
    ) -> None:
        self._client = client
        self._index = index
        self._parts = LazyParts(encoder_for, analyzer_for, reader_for)
        self._timeout_s = timeout_s
        self._profile = profile
        self._targets = Targets(client, index)

    def close(self) -> None:
        """Release the encoder; the client stays with its owner."""
        self._parts.close()

    def search(
        self, query: Query, *, cursor: str | None = None, profile: Profile | None = None
    ) -> SearchResult:
        """Answer a query.

        Args:
            query: what was asked.
            cursor: of the page before, for the next page of the same query.
            profile: for this query; None: the searcher's.

        Returns:
            One page of hits.

        Raises:
            QueryError: the query makes no sense for this index, or the cursor is of another query or profile.
            PictureError: a picture cannot be used.
            IndexStateError: no such index, not ours, or built with another encoder or tokeniser.
            ClusterError: Elasticsearch could not be reached, refused, or answered in part only.
        """
        try:
            chosen = profile or self._profile
            page = None if cursor is None else read_cursor(cursor, hold=query.hold)

            def run(target: Target) -> SearchResult:
                with self._reading(query, page, target) as reading:
                    return self._search(query, page, target, chosen, reading)

            held = page.held if page else None
            with span("search", index=self._index, fusion=query.fusion):
                return run(self._targets.held(held)) if held else self._targets.run(run)
        except ClusterAnswerError as error:
            raise self._blame(query, error) from error

    def check(self) -> str:
        """Look the index up, whatever is known of it.

        Returns:
            Its physical name.

        Raises:
            IndexStateError: there is none, or it is not complete.
            ClusterError: Elasticsearch could not be reached or refuses.
        """
        return self._targets.load().index

    def encoder(self) -> Encoder:
        """Return the encoder of the index, loaded when that has not happened yet.

        Raises:
            EncoderError: it cannot be loaded.
            IndexStateError: no such index, or built with another encoder.
            ClusterError: Elasticsearch could not be reached or refuses.
        """
        target = self._targets.known()
        return self._parts.encoder(target)

    def product(self, id_: str) -> Mapping[str, Any] | None:
        """Return one product as a catalogue row; None where the index has none of that id.

        Raises:
            ClusterError: Elasticsearch could not be reached, refused, or answered in part only.
        """
        target = self._targets.known()
        body = {"query": {"ids": {"values": [id_]}}, "size": 1, "_source": target.meta.names.source}
        hits = search(self._client, self._index, body, timeout_s=self._timeout_s)["hits"]["hits"]
        return from_document(document_of(target, hits[0])) if hits else None

    def plan(
        self, query: Query, *, cursor: str | None = None, profile: Profile | None = None
    ) -> PlannedSearch:
        """Work out the requests of a query without fetching hits.

        The last request of `convex` holds the ids that the first one finds, so that one is sent.

        Args:
            query: what was asked.
            cursor: of the page before.
            profile: as for `search`.

        Returns:
            The plan and its requests.

        Raises:
            XModalError: as `search`.
        """
        page = None if cursor is None else read_cursor(cursor, hold=query.hold)
        if query.hold or (page and page.held):
            raise QueryError("a plan is of the index as it is now", field="hold", hint="plan without it")

        def run(target: Target) -> PlannedSearch:
            with self._reading(query, page, target) as reading:
                plan, _, ranked = self._plan(query, page, target, profile or self._profile, reading)
                last = plan.rank(*self._retrieve(plan, reading), ranked)
            requests = (plan.server, plan.retrieve if plan.two_trips else None, last)
            return PlannedSearch(plan=plan, requests=tuple(one for one in requests if one))

        try:
            return self._targets.run(run)
        except ClusterAnswerError as error:
            raise self._blame(query, error) from error

    def _reading(self, query: Query, page: Cursor | None, target: Target) -> AbstractContextManager[Reading]:
        held = page.held if page else None
        return open_reading(self._client, target, timeout_s=self._timeout_s, hold=query.hold, held=held)

    def _search(
        self, query: Query, page: Cursor | None, target: Target, profile: Profile, reading: Reading
    ) -> SearchResult:
        started = time.perf_counter()
        plan, terms, ranked_there = self._plan(query, page, target, profile, reading)
        found, windows = self._retrieve(plan, reading)
        last = plan.rank(found, windows, ranked_there)
        answer: Mapping[str, Any] = {"hits": {"hits": []}}
        if last:
            with reading.watch.stage("rank"):
                answer = reading.search(last.bodies[0], last.params)
        fused = plan.fuse(found, ranked_there)
        document = partial(document_of, target)
        ranked = read_hits(answer, fused, offset=plan.offset, names=plan.names, document=document)
        ranks = leg_ranks(found, [hit.id for hit in ranked])
        variants = read_variants(answer)
        extras = {"marker": partial(self._highlight, terms), "matcher": partial(self._matched, terms)}
        total = _total(plan, found, answer, variants)
        end = plan.offset + len(ranked)
        following = None
        if ranked and end < total.reachable:
            following = write_cursor(plan, offset=end, held=reading.held)
        else:
            reading.close()
        return SearchResult(
            hits=tuple(_hit(hit, ranks.get(hit.id, {}), variants, extras) for hit in ranked),
            total=total,
            took_ms=(time.perf_counter() - started) * 1000,
            fusion=plan.fusion,
            legs=tuple(leg.name for leg in plan.legs),
            composition=plan.composition,
            query_class=plan.query_class,
            profile=plan.profile,
            requests=bool(plan.server) + plan.two_trips + bool(last),
            cursor=following,
            facets=read_facets(plan.facets, answer) if last else {},
            sort=tuple(str(one) for one in query.sort),
            collapse=plan.collapse,
            warnings=(*plan.warnings, *_differences(fused, ranked)),
            timings=reading.watch.timings(),
        )

    def _plan(
        self, query: Query, page: Cursor | None, target: Target, profile: Profile, reading: Reading
    ) -> tuple[Plan, frozenset[str], dict[str, float] | None]:
        """The plan, the words to mark in the hits, and the server's scores where a retriever of it ranks."""
        if page:
            query = replace(query, offset=page.offset)
        signals = self._signals(query, target, profile, reading)
        plan = build_plan(query, signals, self._view(query, target), profile)
        ranked = self._ranked_there(plan, reading)
        if plan.server and ranked is None:  # refused: planned again, without trying it from now on
            plan = build_plan(query, signals, self._view(query, target), profile)
        if page:
            check_cursor(page.digest, plan)
        return plan, frozenset(signals.terms), ranked

    def _view(self, query: Query, target: Target) -> IndexView:
        view = index_view(target)
        if view.quantised:  # servers before 8.18 refuse `rescore_vector`
            view = replace(view, quantised=probe(self._client).rescore_vector)
        if query.fusion not in CLIENT_FORMS:
            return view
        server = probe(self._client)
        # None: only trying tells.
        may = frozenset(name for name in RETRIEVERS if server.allows(name) is not False)
        return replace(view, retrievers=may, weighted_rrf=server.weighted_rrf)

    def _ranked_there(self, plan: Plan, reading: Reading) -> dict[str, float] | None:
        """What a retriever of the server ranks; None where the plan has none, or the server refused it."""
        if plan.server is None:
            return None
        try:
            answer = reading.search(plan.server.bodies[0])
        except ClusterError as error:
            if not is_retriever_refusal(error):
                raise
            remember_refusal(self._client, retriever_name(plan.fusion))
            return None
        return read_ranked(answer)

    def _retrieve(self, plan: Plan, reading: Reading) -> tuple[dict[str, Found], dict[str, list[str]]]:
        """What the legs found, and what the windows of the facets hold."""
        if not plan.two_trips:
            return {}, {}
        with reading.watch.stage("retrieve"):
            how = plan.retrieve.params.get("search_type")
            answers = reading.msearch(plan.retrieve.bodies, search_type=how)
            for leg, answer in zip(plan.legs, answers, strict=False):  # behind them come the facets' windows
                reading.watch.leg(leg.name, answer.get("took", 0))
        return read_found(plan.legs, answers), read_windows(plan.legs, plan.facets, answers)

    def _signals(self, query: Query, target: Target, profile: Profile, reading: Reading) -> Signals:
        encoder = None
        with reading.watch.stage("words"):
            terms = self._terms(query, target)
        weights = profile.weights(query, terms)
        embeds = query.text or query.pictures or any(one.kind != "id" for one in query.unwanted)
        if embeds and needed(weights, tuple(VECTOR_FIELDS)):
            encoder = self._parts.encoder(target)
        stored = self._stored(query, target, reading)
        fusing = fusing_of(target.meta)
        with reading.watch.stage("encode"):
            signals = make_signals(query, terms, encoder, stored=stored, profile=profile, fusing=fusing)
        if query.pictures and OCR in weights and target.meta.ocr:
            target.meta.check_grams(GRAMS_FORMAT)
            return with_words(signals, query, profile, self._parts.reader())
        return signals

    def _terms(self, query: Query, target: Target) -> tuple[str, ...]:
        if not query.text:
            return ()
        analyzer = self._parts.analyzer()
        target.meta.check_text(analyzer.fingerprint)
        return tuple(analyzer.query_terms(query.text))

    def _stored(self, query: Query, target: Target, reading: Reading) -> dict[str, dict[str, Vector]]:
        """The vectors of the products that the query names."""
        products = named_products(query)
        if not products:
            return {}
        names = target.meta.names
        answer = reading.search(stored_request(products, target.fields, names))
        return read_stored(answer, query, fields_of(target.fields), fusing_of(target.meta), names)

    def _highlight(self, terms: frozenset[str], source: Mapping[str, Any]) -> dict[str, str]:
        if not terms:
            return {}
        analyzer = self._parts.analyzer()
        fields = [name for name in source if name.split("_")[0] in _HIGHLIGHTED]
        marked = {name: analyzer.mark(str(source[name]), terms) for name in fields}
        return {name: text for name, text in marked.items() if text != source[name]}

    def _matched(self, terms: frozenset[str], source: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return matched_words(self._parts.analyzer(), terms, source) if terms else {}

    def _blame(self, query: Query, error: ClusterAnswerError) -> Exception:
        """A query of the caller's own that the server refuses is the caller's error, not the cluster's."""
        if query.lexical_query is None:
            return error
        clause = fill_template(query.lexical_query, query.text)
        reason = refusal_of_query(self._client, self._index, clause)
        return QueryError(reason, field="lexical_query") if reason else error


def _hit(
    hit: RankedHit, ranks: Mapping[str, int], variants: Mapping[str, int], extras: Mapping[str, Any]
) -> Hit:
    return Hit(
        id=hit.id,
        rank=hit.rank,
        score=hit.ledger.score,
        ledger=hit.ledger,
        source=from_document(hit.source),
        best_image=hit.best_image,
        leg_ranks=ranks,
        variants=None if hit.collapse_key is None else variants.get(hit.collapse_key, 1),
        **extras,
    )


def _differences(fused: Fused, ranked: Sequence[RankedHit]) -> tuple[str, ...]:
    """Where the server fuses, its own scores are compared with the ledger's."""
    return fused.notes([hit.id for hit in ranked]) if isinstance(fused, ServerFusion) else ()


def index_view(target: Target) -> IndexView:
    """The part of a target that a plan depends on."""
    calibration = {
        leg: Calibration(floor=one.floor, spread=one.spread) for leg, one in target.meta.calibration.items()
    }
    return IndexView(
        alias=target.alias,
        shards=target.shards,
        fields=target.fields,
        names=target.meta.names,
        quantised=target.quantised,
        oversample=target.oversample,
        calibration=calibration,
        similarities=target.similarities,
    )


def _total(
    plan: Plan, found: Mapping[str, Found], answer: Mapping[str, Any], variants: Mapping[str, int]
) -> Total:
    candidates = answer["hits"].get("total", {"value": 0})["value"]
    hits = candidates - sum(count - 1 for count in variants.values())
    lexical = found.get("lexical")
    # A cut-off leaves out some of those that match by words, too: the candidates that are left are counted.
    value = max(candidates, lexical.total if lexical and plan.cutoff is None else 0)
    at_least = bool(lexical and lexical.at_least) or any(leg.kind in VECTOR_FIELDS for leg in plan.legs)
    return Total(value=value, at_least=at_least, reachable=min(hits, MAX_REACH))
