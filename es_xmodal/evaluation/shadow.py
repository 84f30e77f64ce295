"""Two versions of an index answer the same queries, side by side, before one takes the other's place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import Any, Final

from es_xmodal.evaluation.compare import CONFIDENCE, Difference, compare
from es_xmodal.evaluation.measures import Qrels
from es_xmodal.evaluation.queries import JudgedQuery
from es_xmodal.evaluation.runner import DEPTH, Evaluation, OnQuery, Search, measure

TOP: Final = 10
MAIN: Final = "nDCG@10"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one version answered.

    Attributes:
        rankings: qid to product ids, best first.
        seconds: of every timed search of the first `TOP` hits, the encoding of the query included.
    """

    rankings: Mapping[str, Sequence[str]]
    seconds: Sequence[float]

    @property
    def empty(self) -> list[str]:
        """Queries without a hit."""
        return [qid for qid, ranking in self.rankings.items() if not ranking]

    def latency_ms(self) -> dict[str, float | None]:
        """Median and 95th percentile of the timed searches."""
        if len(self.seconds) < 2:
            one = self.seconds[0] * 1000 if self.seconds else None
            return {"p50": one, "p95": one}
        cuts = quantiles(self.seconds, n=100, method="inclusive")
        return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shadow:
    """How two versions differ.

    Attributes:
        old, new: their answers.
        overlap: qid to the share of the first `TOP` hits that both have.
        judged: both, measured; None without judgements.
        difference: of the new one in `MAIN` over the old one; None without judgements.
    """

    old: Answers
    new: Answers
    overlap: Mapping[str, float]
    judged: tuple[Evaluation, Evaluation] | None
    difference: Difference | None

    @property
    def mean_overlap(self) -> float | None:
        """Over all queries."""
        return fmean(self.overlap.values()) if self.overlap else None

    @property
    def is_worse(self) -> bool:
        """Whether the judgements say that the new one is worse, beyond chance."""
        found = self.difference
        return found is not None and found.difference < 0 and found.p < 1 - CONFIDENCE

    def least_alike(self, count: int) -> list[tuple[str, float]]:
        """The queries whose first hits changed most.

        Args:
            count: how many at most; queries that did not change are left out.
        """
        changed = [(qid, share) for qid, share in self.overlap.items() if share < 1]
        return sorted(changed, key=lambda item: (item[1], item[0]))[:count]

    def to_json(self, *, worst: int) -> dict[str, Any]:
        """Return JSON values only.

        Args:
            worst: queries to name, those that changed most.
        """
        found: dict[str, Any] = {
            "queries": len(self.overlap),
            "overlap@10": self.mean_overlap,
            "least_alike": [{"qid": qid, "overlap@10": share} for qid, share in self.least_alike(worst)],
            "empty_queries": {"old": self.old.empty, "new": self.new.empty},
            "latency_ms": {"old": self.old.latency_ms(), "new": self.new.latency_ms()},
            "worse": self.is_worse,
        }
        if self.judged and self.difference:
            old, new = (fmean(one.values[MAIN].values()) for one in self.judged)
            found[MAIN] = {"old": old, "new": new, **self.difference.to_json()}
        return found


def shadow(
    queries: Sequence[JudgedQuery],
    old: Search,
    new: Search,
    *,
    qrels: Qrels | None = None,
    rounds: int = 3,
    on_query: OnQuery = lambda: None,
) -> Shadow:
    """Let two versions answer the same queries.

    The first pass is not timed: it warms up both and gives the rankings. Then both are timed in turns, the
    one that begins changing from query to query, so that what else the machine does meets both alike.

    Args:
        queries: the queries; judged ones among them are measured.
        old: answers from the version that serves.
        new: answers from the one that is to take its place.
        qrels: the judgements; None: there are none.
        rounds: timed searches of each query.
        on_query: called after each pass over a query.

    Returns:
        How they differ.

    Raises:
        MissingExtraError: there are judgements, and ir_measures or scipy is not installed.
        XModalError: a search failed.
    """
    searches = (old, new)
    rankings: tuple[dict[str, list[str]], ...] = ({}, {})
    seconds: tuple[list[float], ...] = ([], [])
    for query in queries:
        for search, ranking in zip(searches, rankings, strict=True):
            hits = search(query, DEPTH + len(query.exclude)).hits
            ranking[query.qid] = [hit.id for hit in hits if hit.id not in query.exclude]
        on_query()
    for turn in range(rounds):
        for place, query in enumerate(queries):
            for which in (0, 1) if (turn + place) % 2 == 0 else (1, 0):
                start = time.perf_counter()
                searches[which](query, TOP)
                seconds[which].append(time.perf_counter() - start)
            on_query()
    judged = _judged(queries, qrels, rankings)
    return Shadow(
        old=Answers(rankings=rankings[0], seconds=seconds[0]),
        new=Answers(rankings=rankings[1], seconds=seconds[1]),
        overlap={qid: overlap(first, rankings[1][qid]) for qid, first in rankings[0].items()},
        judged=judged,
        difference=compare(judged[0], {"new": judged[1]}, judged[0].qids)["new"][MAIN] if judged else None,
    )


def overlap(first: Sequence[str], second: Sequence[str], top: int = TOP) -> float:
    """Return which share of the first hits two rankings have in common.

    Args:
        first: product ids, best first.
        second: the same of another ranking.
        top: hits that are looked at.

    Returns:
        From 0 to 1; of two lists of different length the longer one counts. 1 where both are empty.
    """
    left, right = set(first[:top]), set(second[:top])
    longest = max(len(left), len(right))
    return len(left & right) / longest if longest else 1.0


def _judged(
    queries: Sequence[JudgedQuery], qrels: Qrels | None, rankings: tuple[dict[str, list[str]], ...]
) -> tuple[Evaluation, Evaluation] | None:
    asked = [query for query in queries if qrels and query.qid in qrels]
    if not asked or qrels is None:
        return None
    return measure(asked, qrels, rankings[0]), measure(asked, qrels, rankings[1])
