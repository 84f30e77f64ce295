"""How well titles find pictures and photos find products, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from es_xmodal.adapt.gather import Gathered
from es_xmodal.adapt.split import Split
from es_xmodal.encoders.adapted.encoder import AdaptedEncoder
from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.vectors import Matrix, unit_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Of one way of searching.

    Args:
        recall_1: share of the queries whose product came first.
        recall_10: whose product was among the first ten.
        reciprocal_rank: mean of 1 / rank.
    """

    recall_1: float
    recall_10: float
    reciprocal_rank: float

    def to_json(self) -> dict[str, float]:
        """The names that reports use."""
        return {
            "R@1": round(self.recall_1, 4),
            "R@10": round(self.recall_10, 4),
            "RR": round(self.reciprocal_rank, 4),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The same queries before and after.

    Args:
        name: what is searched with what.
        queries: how many.
        among: products that are ranked.
        before: with the base.
        after: with the heads on top.
        gain: mean difference of the reciprocal ranks.
        noise: standard error of that mean.
    """

    name: str
    queries: int
    among: int
    before: Scores
    after: Scores
    gain: float
    noise: float

    @property
    def better(self) -> bool:
        """Whether the gain is more than chance explains."""
        return self.gain > 2 * self.noise and self.gain > 0

    @property
    def worse(self) -> bool:
        """Whether the loss is more than chance explains."""
        return self.gain < -2 * self.noise and self.gain < 0

    def to_json(self) -> dict[str, object]:
        """As it stands in the report."""
        return {
            "name": self.name,
            "queries": self.queries,
            "among": self.among,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "gain": round(self.gain, 4),
            "noise": round(self.noise, 4),
        }


def compare(gathered: Gathered, split: Split, adapted: AdaptedEncoder) -> list[Comparison]:
    """Search with what was held out.

    Titles of unseen products are searched among the catalogue pictures of all unseen products. Photos are
    searched among the catalogue pictures of all products, by the mean of the cosines in the spaces that
    take pictures, as a search by photo does it.

    Args:
        gathered: all pairs.
        split: what the heads were not trained on.
        adapted: trained on the rest.

    Returns:
        One comparison for titles, and one for photos where there are any.
    """
    placed = adapted.place_pictures(gathered.pictures.vectors, gathered.pictures.features)
    before = {name: gathered.pictures.vectors[name] for name in placed}
    after = {name: unit_rows(rows) for name, rows in placed.items()}
    shown = ~gathered.is_photo
    found = []
    pictures = np.flatnonzero(shown & np.isin(gathered.owners, split.products))
    asked = np.unique(gathered.owners[pictures])
    if len(asked):
        titles = gathered.texts.take(gathered.titles[asked])
        read = unit_rows(adapted.place_texts(titles.vectors, titles.features)[JOINT])
        owners = gathered.owners[pictures]
        pairs = [
            _ranks([(titles.vectors[JOINT], before[JOINT][pictures])], owners, asked),
            _ranks([(read, after[JOINT][pictures])], owners, asked),
        ]
        found.append(_comparison("title to picture, unseen products", len(asked), *pairs))
    pictures = np.flatnonzero(shown)
    rows = split.photos[np.isin(gathered.owners[split.photos], gathered.owners[pictures])]
    if len(rows):
        spaces = [name for name in (JOINT, VISUAL) if name in after]
        owners, wanted = gathered.owners[pictures], gathered.owners[rows]
        pairs = [
            _ranks([(vectors[name][rows], vectors[name][pictures]) for name in spaces], owners, wanted)
            for vectors in (before, after)
        ]
        found.append(_comparison("photo to product, unseen photos", len(np.unique(owners)), *pairs))
    return found


def _ranks(legs: Sequence[tuple[Matrix, Matrix]], owners: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rank of the wanted product by the mean cosine, its best picture counting; equal scores count half."""
    scores = np.mean([queries @ pictures.T for queries, pictures in legs], axis=0)
    names, columns = np.unique(owners, return_inverse=True)
    best = np.full((len(scores), len(names)), -np.inf)
    for column in range(scores.shape[1]):
        np.maximum(best[:, columns[column]], scores[:, column], out=best[:, columns[column]])
    own = best[np.arange(len(best)), np.searchsorted(names, wanted)][:, None]
    # Without the half, an encoder that gives everything the same vector would always be right.
    ranks: np.ndarray = 1 + (best > own).sum(axis=1) + ((best == own).sum(axis=1) - 1) / 2
    return ranks


def _comparison(name: str, among: int, before: np.ndarray, after: np.ndarray) -> Comparison:
    gains = 1 / after - 1 / before
    return Comparison(
        name=name,
        queries=len(gains),
        among=among,
        before=_scores(before),
        after=_scores(after),
        gain=float(gains.mean()),
        noise=float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else float("inf"),
    )


def _scores(ranks: np.ndarray) -> Scores:
    return Scores(
        recall_1=float((ranks <= 1).mean()),
        recall_10=float((ranks <= 10).mean()),
        reciprocal_rank=float((1 / ranks).mean()),
    )
