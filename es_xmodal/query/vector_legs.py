"""The vector legs of a plan: those that the query has a vector for and the index a field."""

from __future__ import annotations

from collections.abc import Mapping

from es_xmodal.query.legs import DEFAULT_OVERSAMPLE, VectorLeg, fields_of, leg_kind
from es_xmodal.query.model import Mode
from es_xmodal.query.profile import FUSED
from es_xmodal.query.similarity import DEFAULT
from es_xmodal.query.view import IndexView, Signals

PHOTO = "fused_photo"
"""Key of the calibration of the leg `fused` for a query that is a photo."""


def vector_legs(
    signals: Signals, weights: Mapping[str, float], view: IndexView, mode: Mode
) -> list[VectorLeg]:
    """Make the legs.

    Args:
        signals: the query's vectors.
        weights: leg to weight; a leg without one is left out.
        view: the index.
        mode: of the query.

    Returns:
        The legs in the order of `VECTOR_FIELDS`; several of one kind where a late composition split it.
    """
    return [
        VectorLeg(
            name=name,
            weight=weights[kind] * signals.shares.get(name, 1.0),
            vector=vector,
            calibration=view.calibration.get(_calibrated_as(name, mode)) or view.calibration.get(kind),
            path=path,
            names=view.names,
            similarity=view.similarities.get(path, DEFAULT),
            quantised=view.quantised and (not view.oversample or path in view.oversample),
            oversample=view.oversample.get(path, DEFAULT_OVERSAMPLE),
        )
        for kind, path in fields_of(view.fields).items()
        if kind in weights
        for name, vector in signals.vectors.items()
        if leg_kind(name) == kind
    ]


def _calibrated_as(name: str, mode: Mode) -> str:
    """A photo meets one vector of text and pictures otherwise than words do."""
    kind, _, term = name.partition(":")
    photo = term.startswith("picture") if term else mode == "image"
    return PHOTO if kind == FUSED and photo else kind
