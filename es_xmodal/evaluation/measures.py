"""Measures of a ranking, computed by ir_measures; data in, named numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from es_xmodal.errors import MissingExtraError

Run = Mapping[str, Mapping[str, float]]
"""qid to (product id to score)."""
Qrels = Mapping[str, Mapping[str, int]]
"""qid to (product id to grade)."""

NAMES = ("nDCG@10", "R@10", "R@100", "RR@10", "Success@1", "Judged@10")
CONDENSED = "_condensed"
"""Suffix of measures over judged products only (T. Sakai, 2007: condensed lists)."""


def per_query(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Measure every judged query.

    Args:
        qrels: the judgements.
        run: the rankings; a query without one counts as 0 in every measure.

    Returns:
        Measure name to (qid to value); the condensed ones have the suffix `_condensed`.

    Raises:
        MissingExtraError: ir_measures is not installed.
    """
    plain = _calculate(qrels, run, NAMES)
    judged_only = {
        qid: {product: score for product, score in ranking.items() if product in qrels.get(qid, {})}
        for qid, ranking in run.items()
    }
    names = [name for name in NAMES if name != "Judged@10"]
    condensed = _calculate(qrels, judged_only, names)
    return {**plain, **{f"{name}{CONDENSED}": values for name, values in condensed.items()}}


def _calculate(qrels: Qrels, run: Run, names: Iterable[str]) -> dict[str, dict[str, float]]:
    try:
        import ir_measures
    except ImportError:
        raise MissingExtraError("evaluation", extra="eval") from None
    measures = {ir_measures.parse_measure(name): name for name in names}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures.values()}
    ranked = {qid: dict(ranking) for qid, ranking in run.items() if ranking and qid in qrels}
    if not ranked:
        return values
    judged = {qid: dict(qrels[qid]) for qid in ranked}
    for metric in ir_measures.iter_calc(list(measures), judged, ranked):
        values[measures[metric.measure]][metric.query_id] = float(metric.value)
    return values


def average(values: Mapping[str, Mapping[str, float]], qids: Iterable[str]) -> dict[str, float]:
    """Average per-query values over some queries.

    Args:
        values: what `per_query` returned.
        qids: the queries to average over.

    Returns:
        Measure name to mean; empty when there is no query.
    """
    chosen = list(qids)
    if not chosen:
        return {}
    return {name: fmean(by_query[qid] for qid in chosen) for name, by_query in values.items()}
