"""From words and pictures to the signals that a plan is made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from es_xmodal.encoders.base import JOINT, VISUAL, Encoder
from es_xmodal.errors import PictureError
from es_xmodal.media.picture import Picture, decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.query.model import Query
from es_xmodal.query.view import Signals
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.vectors import Matrix, Vector, unit_rows

_log = logging.getLogger(__name__)

_HINTS = {
    "missing": "check the path",
    "not_a_file": "name a picture file",
    "not_fetched": "save it, then name the file",
}


def make_signals(query: Query, analyzer: Analyzer | None, encoder: Encoder | None) -> Signals:
    """Tokenise the words and embed words and pictures.

    Several pictures are taken as views of one wish: their vectors are averaged. Words and pictures meet in
    the joint space as the normalised sum of both (early composition).

    Args:
        query: what was asked.
        analyzer: the index's tokeniser; None when no leg looks at words.
        encoder: the index's encoder; None when no leg looks at vectors.

    Returns:
        Terms, and a unit vector for each leg that the query and the encoder allow.

    Raises:
        PictureError: a picture cannot be used; the message says which.
        EncoderError: the encoder cannot encode this.
    """
    terms = tuple(analyzer.query_terms(query.text)) if analyzer and query.text else ()
    vectors = _vectors(query, encoder) if encoder else {}
    return Signals(terms=terms, vectors=vectors)


def _vectors(query: Query, encoder: Encoder) -> dict[str, Vector]:
    by_leg: dict[str, Vector] = {}
    joint: list[Vector] = []
    if query.text:
        found = encoder.encode_texts([query.text])
        joint.append(found[JOINT][0])
        if encoder.info.text_space:
            by_leg["text"] = found[encoder.info.text_space][0]
    if query.pictures:
        pictures = [load_query_picture(one, max_side=encoder.info.decode_side) for one in query.pictures]
        seen = encoder.encode_pictures([encoder.prepare(picture) for picture in pictures])
        joint.append(_mean(seen[JOINT]))
        if VISUAL in seen:
            by_leg["visual"] = _mean(seen[VISUAL])
    return {**by_leg, "image": _mean(np.stack(joint))}


def _mean(rows: Matrix) -> Vector:
    mean: Vector = unit_rows(rows.mean(axis=0, keepdims=True))[0]
    return mean


def load_query_picture(source: str | bytes, *, max_side: int) -> Picture:
    """Read and decode one picture of a query.

    Args:
        source: a path, a `data:` URI, or the bytes themselves.
        max_side: larger pictures may be decoded at a reduced scale, down to so many pixels a side.

    Returns:
        The picture.

    Raises:
        PictureError: it is missing, too large, or no picture.
    """
    if isinstance(source, bytes):
        return decode_picture(source, source="the given bytes", max_side=max_side)
    name = source if len(source) <= 200 else f"{source[:60]}…"
    return decode_picture(_read(source, name), source=name, max_side=max_side)


def _read(source: str, name: str) -> bytes:
    try:
        if source.startswith("data:") or "://" in source:
            return PictureSource(Path()).read(source)
        # Resolved first: a link in one folder to a picture in another is the caller's own choice.
        path = Path(source).expanduser().resolve()
        if path.is_dir() or not source.strip():
            raise PictureError(f"{name!r} is not a file", code="not_a_file")
        return PictureSource(path.parent).read(path.name)
    except PictureError as error:
        message = f"picture {name!r} does not exist" if error.code == "missing" else error.message
        hint = error.hint or _HINTS.get(error.code, "")
        raise PictureError(message, code=error.code, hint=hint) from None
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, ~nobody, a loop of links, NUL
        raise PictureError(f"picture {name!r} cannot be opened: {error}", code="unreadable") from None


def needed(weights: Mapping[str, float], legs: Sequence[str]) -> bool:
    """Whether any of these legs takes part."""
    return any(leg in weights for leg in legs)
