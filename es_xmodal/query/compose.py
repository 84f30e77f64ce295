"""Composed queries: several terms become one vector of a leg (early), or a leg each (late).

Every term has a vector in some legs: words in `text` and `image`, a picture in `image` and `visual`, a
product of the index in all three. What is to be moved away from is subtracted, in both compositions: no
product is excluded by it, it only goes down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from es_xmodal.errors import QueryError
from es_xmodal.query.legs import VECTOR_FIELDS
from es_xmodal.query.model import Composed, Query
from es_xmodal.query.profile import Profile
from es_xmodal.query.terms import Term
from es_xmodal.vectors import Vector, unit_rows

MAX_LATE = 8
"""Wanted terms of a late query: each has a search of its own in up to three legs."""
_NOTHING_LEFT = 1e-4
_PLACES = {"text": "text", "image": "picture", "id": "like"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One term with its weight decided.

    Attributes:
        label: `text`, `picture-2`, `like`, `minus-1`: the second half of a leg's name.
        term: the term.
        weight: above 0.
        minus: to be moved away from.
    """

    label: str
    term: Term
    weight: float
    minus: bool = False

    @property
    def name(self) -> str:
        """The part as a warning names it."""
        value = self.term.value
        if not self.minus:
            return self.label
        return f"minus {value[:40]!r}" if isinstance(value, str) else self.label


@dataclass(frozen=True, kw_only=True)
class Composition:
    """The query vectors.

    Attributes:
        how: `early` or `late`.
        vectors: leg, or `leg:label` where a leg was split, to a vector of unit length.
        shares: the same keys to the part of the leg's weight; the shares of one leg add up to 1.
    """

    how: Composed
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)


def parts_of(query: Query, profile: Profile) -> tuple[Part, ...]:
    """The terms of a query in order: text, pictures, products, then what to move away from.

    Args:
        query: what was asked.
        profile: default weights.

    Returns:
        The parts.
    """
    text = [Term(kind="text", value=query.text, weight=query.text_weight)] if query.text else []
    wanted = [
        part
        for group in (text, query.pictures, query.like)
        for part in _group(_as_terms(group), 1.0 / max(1, len(group)))
    ]
    unwanted = [
        Part(label=f"minus-{at}", term=term, weight=term.weight or profile.minus_weight, minus=True)
        for at, term in enumerate(_as_terms(query.minus), start=1)
    ]
    return (*wanted, *unwanted)


def _as_terms(given: Sequence[Term | str | bytes]) -> list[Term]:
    """A query's fields hold terms once it is made; their types name what its maker may give."""
    return [one for one in given if isinstance(one, Term)]


def _group(terms: Sequence[Term], default: float) -> list[Part]:
    many = len(terms) > 1
    return [
        Part(
            label=f"{_PLACES[term.kind]}-{at}" if many else _PLACES[term.kind],
            term=term,
            weight=default if term.weight is None else term.weight,
        )
        for at, term in enumerate(terms, start=1)
    ]


def compose(parts: Sequence[Part], vectors: Mapping[str, Mapping[str, Vector]], how: Composed) -> Composition:
    """Make the query vectors of every leg.

    Args:
        parts: see `parts_of`.
        vectors: label of a part to leg to unit vector; a part that a leg cannot look at is absent there.
        how: `early` or `late`.

    Returns:
        The composition. A leg that no wanted part can use is left out.

    Raises:
        QueryError: what is to be moved away from leaves nothing of what was wanted, or too many wanted
            terms for `late`.
    """
    if how == "late" and sum(not part.minus for part in parts) > MAX_LATE:
        raise QueryError(f"late takes at most {MAX_LATE} wanted terms", field="composition")
    found: dict[str, Vector] = {}
    shares: dict[str, float] = {}
    for leg in VECTOR_FIELDS:
        able = [part for part in parts if leg in vectors.get(part.label, {})]
        wanted = [part for part in able if not part.minus]
        away = _sum([part for part in able if part.minus], vectors, leg)
        total = sum(part.weight for part in wanted)
        if how == "early" or len(wanted) <= 1:
            if wanted:
                found[leg], shares[leg] = _unit(_sum(wanted, vectors, leg) - away), 1.0
            continue
        for part in wanted:
            # The weight of what is moved away from is meant against the whole of what is wanted.
            mine = vectors[part.label][leg].astype(np.float64) - away / total
            name = f"{leg}:{part.label}"
            found[name], shares[name] = _unit(mine), part.weight / total
    return Composition(how=how, vectors=found, shares=shares)


def held_by(part: Part, vectors: Mapping[str, Mapping[str, Vector]]) -> frozenset[str]:
    """The legs that look at a part, where they take part; wanted words are also searched as words."""
    words = ("identifier", "lexical") if part.term.kind == "text" and not part.minus else ()
    return frozenset((*words, *vectors.get(part.label, {})))


def _sum(
    parts: Sequence[Part], vectors: Mapping[str, Mapping[str, Vector]], leg: str
) -> NDArray[np.float64] | float:
    if not parts:
        return 0.0
    rows = [part.weight * vectors[part.label][leg].astype(np.float64) for part in parts]
    total: NDArray[np.float64] = np.sum(rows, axis=0)
    return total


def _unit(vector: NDArray[np.float64] | float) -> Vector:
    wide = np.asarray(vector, dtype=np.float64)
    if np.linalg.norm(wide) < _NOTHING_LEFT:
        raise QueryError(
            "what is to be moved away from leaves nothing of what is asked for",
            field="minus",
            hint="use other words, or a smaller weight",
        )
    unit: Vector = unit_rows(wide[None])[0]
    return unit
