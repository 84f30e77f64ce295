"""Run a test collection through a searcher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_xmodal.evaluation.measures import Qrels, average, per_query
from es_xmodal.evaluation.queries import JudgedQuery
from es_xmodal.search.result import SearchResult

DEPTH = 100
"""Hits a query in a run."""

Search = Callable[[JudgedQuery, int], SearchResult]
"""Answers a query with at most that many hits."""
OnQuery = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One configuration, measured.

    Attributes:
        run: qid to (product id to score), best first.
        values: measure name to (qid to value).
        empty: queries without a hit.
        groups: group name, such as `mode=text`, to its qids.
    """

    run: Mapping[str, Mapping[str, float]]
    values: Mapping[str, Mapping[str, float]]
    empty: tuple[str, ...]
    groups: Mapping[str, Sequence[str]]

    @property
    def qids(self) -> list[str]:
        """The judged queries."""
        return list(self.run)

    def to_json(self) -> dict[str, Any]:
        """Means over all queries, number of queries and of empty ones, and means by group."""
        by_group = {
            name: {"queries": len(group), **average(self.values, group)}
            for name, group in self.groups.items()
        }
        return {
            **average(self.values, self.qids),
            "queries": len(self.qids),
            "empty_queries": len(self.empty),
            "by": by_group,
        }


def _nothing() -> None:
    """Say nothing."""


def evaluate(
    queries: Iterable[JudgedQuery], qrels: Qrels, search: Search, on_query: OnQuery = _nothing
) -> Evaluation:
    """Answer every judged query and measure.

    Args:
        queries: the queries; those without a judgement are left out.
        qrels: the judgements.
        search: answers one query.
        on_query: called after each query.

    Returns:
        The run and its measures.

    Raises:
        MissingExtraError: ir_measures is not installed.
        XModalError: a search failed.
    """
    judged = [query for query in queries if query.qid in qrels]
    run = {}
    for query in judged:
        result = search(query, DEPTH + len(query.exclude))
        run[query.qid] = [hit.id for hit in result.hits]
        on_query()
    return measure(judged, qrels, run)


def measure(
    queries: Iterable[JudgedQuery], qrels: Qrels, rankings: Mapping[str, Sequence[str]]
) -> Evaluation:
    """Measure rankings, whoever made them.

    Args:
        queries: the queries; those without a judgement are left out.
        qrels: the judgements.
        rankings: qid to products, best first. A query that is absent has found nothing. What a query excludes
            is taken out here, and what lies beyond the first `DEPTH` products is cut off.

    Returns:
        The run and its measures.

    Raises:
        MissingExtraError: ir_measures is not installed.
    """
    judged = [query for query in queries if query.qid in qrels]
    run = {query.qid: _scored(rankings.get(query.qid, ()), query.exclude) for query in judged}
    return Evaluation(
        run=run,
        values=per_query({query.qid: qrels[query.qid] for query in judged}, run),
        empty=tuple(qid for qid, ranking in run.items() if not ranking),
        groups=_groups(judged),
    )


def _groups(queries: Iterable[JudgedQuery]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for query in queries:
        groups[f"mode={query.mode}"].append(query.qid)
        if query.lang:
            groups[f"mode={query.mode},lang={query.lang}"].append(query.qid)
            groups[f"lang={query.lang}"].append(query.qid)
        for tag in dict.fromkeys(query.tags):
            groups[f"tag={tag}"].append(query.qid)
    # Modes first, then languages, then tags; each in the order of the queries.
    return {
        name: groups[name] for kind in ("mode=", "lang=", "tag=") for name in groups if name.startswith(kind)
    }


def _scored(products: Sequence[str], exclude: frozenset[str]) -> dict[str, float]:
    ids = [product for product in products if product not in exclude][:DEPTH]
    # The measures sort by score; ties and rounding must not reorder what the ranking decided.
    return {product: float(len(ids) - place) for place, product in enumerate(ids)}
