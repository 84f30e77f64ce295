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

    def to_json(self) -> dict[str, Any]:
        """Means over all queries, number of queries and of empty ones, and means by group."""
        qids = list(next(iter(self.values.values())))
        by_group = {
            name: {"queries": len(group), **average(self.values, group)}
            for name, group in self.groups.items()
        }
        return {
            **average(self.values, qids),
            "queries": len(qids),
            "empty_queries": len(self.empty),
            "by": by_group,
        }


def evaluate(queries: Iterable[JudgedQuery], qrels: Qrels, search: Search) -> Evaluation:
    """Answer every judged query and measure.

    Args:
        queries: the queries; those without a judgement are left out.
        qrels: the judgements.
        search: answers one query.

    Returns:
        The run and its measures.

    Raises:
        MissingExtraError: ir_measures is not installed.
        XModalError: a search failed.
    """
    judged = [query for query in queries if query.qid in qrels]
    run = {query.qid: _ranking(query, search) for query in judged}
    groups: dict[str, list[str]] = defaultdict(list)
    for query in judged:
        groups[f"mode={query.mode}"].append(query.qid)
        if query.lang:
            groups[f"mode={query.mode},lang={query.lang}"].append(query.qid)
        for tag in query.tags:
            groups[f"tag={tag}"].append(query.qid)
    return Evaluation(
        run=run,
        values=per_query({query.qid: qrels[query.qid] for query in judged}, run),
        empty=tuple(qid for qid, ranking in run.items() if not ranking),
        groups=groups,
    )


def _ranking(query: JudgedQuery, search: Search) -> dict[str, float]:
    result = search(query, DEPTH + len(query.exclude))
    ids = [hit.id for hit in result.hits if hit.id not in query.exclude][:DEPTH]
    # The measures sort by score; ties and rounding must not reorder what the ranking decided.
    return {product: float(len(ids) - place) for place, product in enumerate(ids)}


def trec_lines(run: Mapping[str, Mapping[str, float]], tag: str) -> list[str]:
    """A run in TREC's format: `qid Q0 docid rank score tag`."""
    return [
        f"{qid} Q0 {product} {rank} {score:g} {tag}"
        for qid, ranking in run.items()
        for rank, (product, score) in enumerate(ranking.items(), start=1)
    ]
