"""Is one configuration better than another: paired tests over the same queries.

The test is the two-sided paired t-test. On per-query measures it agrees with the randomisation test nearly
always, and its interval and its p-value never contradict each other (M. Smucker, J. Allan, B. Carterette: A
Comparison of Statistical Significance Tests for Information Retrieval Evaluation, CIKM 2007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from es_xmodal.errors import MissingExtraError
from es_xmodal.evaluation.runner import Evaluation

CONFIDENCE = 0.95
_SAME = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far a configuration lies above the first one, in one measure.

    Attributes:
        difference: mean over the queries; above 0 is better than the first.
        low, high: its 95 % confidence interval; None with fewer than two queries.
        p: probability of a difference of this size or more if there were none, either way.
        p_holm: the same after Holm's correction for the number of configurations compared.
        better, worse: queries that gained, and that lost.
        queries: how many there are.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    better: int
    worse: int
    queries: int

    def to_json(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self)


def paired(first: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two configurations, query by query.

    Args:
        first: values of the first configuration.
        other: values of the other one, for the same queries in the same order; at least one.

    Returns:
        The difference, not yet corrected for several comparisons.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    gains = [after - before for before, after in zip(first, other, strict=True)]
    gains = [0.0 if abs(gain) < _SAME else gain for gain in gains]
    low, high, p = _t_test(gains)
    return Difference(
        difference=fmean(gains),
        low=low,
        high=high,
        p=p,
        p_holm=p,
        better=sum(gain > 0 for gain in gains),
        worse=sum(gain < 0 for gain in gains),
        queries=len(gains),
    )


def _t_test(gains: Sequence[float]) -> tuple[float | None, float | None, float]:
    """Confidence interval and p-value of a mean."""
    count, mean = len(gains), fmean(gains)
    if count < 2:
        return None, None, 1.0
    error = stdev(gains) / math.sqrt(count)
    if error <= _SAME:
        # All gains are alike, so t has no value. The share of sign flips that give a mean as large is the
        # p-value of the randomisation test: two of the 2^count.
        return mean, mean, 1.0 if mean == 0 else 2.0 ** (1 - count)
    try:
        from scipy.stats import t
    except ImportError:
        raise MissingExtraError("the paired test", extra="eval") from None
    reach = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return mean - reach, mean + reach, float(2 * t.sf(abs(mean / error), count - 1))


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that all of them together err at most as often as one.

    S. Holm: A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = highest
    return corrected


Differences = Mapping[str, Difference]
"""Measure name to difference."""


def compare(
    first: Evaluation, others: Mapping[str, Evaluation], qids: Sequence[str]
) -> dict[str, dict[str, Difference]]:
    """Compare several configurations with the first one.

    Args:
        first: what the others are compared with.
        others: name to configuration, measured on the same queries.
        qids: the queries that count; at least one.

    Returns:
        Name to (measure to difference). Holm's correction covers the configurations, for each measure alone:
        who looks at many measures or groups still sees some small p-values by chance.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    found: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for measure, values in first.values.items():
        before = [values[qid] for qid in qids]
        row = [paired(before, [other.values[measure][qid] for qid in qids]) for other in others.values()]
        corrected = holm([one.p for one in row])
        for name, one, p in zip(others, row, corrected, strict=True):
            found[name][measure] = replace(one, p_holm=p)
    return found


def worst(
    values: Mapping[str, float], first: Mapping[str, float] | None, count: int
) -> list[tuple[str, float]]:
    """The queries that a configuration does worst on.

    Args:
        values: qid to value of one measure.
        first: the same of the configuration to compare with; None: there is none.
        count: how many at most.

    Returns:
        qid and loss against the first (a negative number), or, without a first, qid and value; worst first.
        A query that lost nothing is no loss and is left out.
    """
    if first is None:
        return sorted(values.items(), key=lambda item: (item[1], item[0]))[:count]
    losses = [(qid, value - first[qid]) for qid, value in values.items() if value - first[qid] < -_SAME]
    return sorted(losses, key=lambda item: (item[1], item[0]))[:count]
