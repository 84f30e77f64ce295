"""From words and pictures to the signals that a plan is made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from es_xmodal.encoders.base import JOINT, VISUAL, Encoder
from es_xmodal.errors import PictureError
from es_xmodal.index.fused import Fusing
from es_xmodal.media.picture import Picture, decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import is_video, video_frames
from es_xmodal.query.compose import Part, compose, held_by, parts_of
from es_xmodal.query.model import Query
from es_xmodal.query.profile import DEFAULT_PROFILE, FUSED, Profile
from es_xmodal.query.view import Signals
from es_xmodal.vectors import Matrix, Vector, unit_rows

_log = logging.getLogger(__name__)

_HINTS = {
    "missing": "check the path",
    "not_a_file": "name a picture file",
    "not_fetched": "save it, then name the file",
}


def make_signals(
    query: Query,
    terms: tuple[str, ...],
    encoder: Encoder | None,
    *,
    stored: Mapping[str, Mapping[str, Vector]] = MappingProxyType({}),
    profile: Profile = DEFAULT_PROFILE,
    fusing: Fusing | None = None,
) -> Signals:
    """Embed words and pictures, and compose them.

    Args:
        query: what was asked.
        terms: the query's words, as the index's tokeniser cut them.
        encoder: the index's encoder; None when nothing has to be embedded.
        stored: vectors of the products that the query names, by leg.
        profile: default weights of terms, and what the composition `auto` means.
        fusing: how queries meet the one vector of a product; None: the index has no such field.

    Returns:
        Terms, and a unit vector for each leg that the query and the encoder allow.

    Raises:
        PictureError: a picture cannot be used; the message says which.
        EncoderError: the encoder cannot encode this.
        QueryError: the terms leave nothing to look for.
    """
    parts = parts_of(query, profile)
    vectors = {part.label: stored.get(str(part.term.value), {}) for part in parts if part.term.kind == "id"}
    if encoder:
        vectors |= _texts(parts, encoder, fusing)
        vectors |= _pictures(parts, encoder, fusing)
    how = profile.composition if query.composition == "auto" else query.composition
    composed = compose(parts, vectors, how)
    several = sum(not part.minus for part in parts) > 1
    return Signals(
        terms=terms,
        vectors=composed.vectors,
        shares=composed.shares,
        composition="late" if how == "late" and (several or query.composition == "late") else "early",
        held={part.name: held_by(part, vectors) for part in parts},
    )


def _texts(parts: Sequence[Part], encoder: Encoder, fusing: Fusing | None) -> dict[str, dict[str, Vector]]:
    texts = [part for part in parts if part.term.kind == "text"]
    if not texts:
        return {}
    found = encoder.encode_texts([str(part.term.value) for part in texts])
    if fusing:
        return {
            part.label: {FUSED: fusing.of_text(row)} for part, row in zip(texts, _rows(found), strict=True)
        }
    spaces = {"image": JOINT, "text": encoder.info.text_space}
    return {
        part.label: {leg: found[space][at] for leg, space in spaces.items() if space}
        for at, part in enumerate(texts)
    }


def _pictures(parts: Sequence[Part], encoder: Encoder, fusing: Fusing | None) -> dict[str, dict[str, Vector]]:
    shown = [part for part in parts if part.term.kind == "image"]
    if not shown:
        return {}
    groups = [load_query_pictures(one.term.value, max_side=encoder.info.decode_side) for one in shown]
    whole = encoder.encode_pictures([encoder.prepare(picture) for group in groups for picture in group])
    sizes = [len(group) for group in groups]
    found = {space: _means(rows, sizes) for space, rows in whole.items()}
    if fusing:
        rows = zip(shown, _rows(found), strict=True)
        return {part.label: {FUSED: fusing.of_picture(row)} for part, row in rows}
    spaces = {"image": JOINT, "visual": VISUAL}
    return {
        part.label: {leg: found[space][at] for leg, space in spaces.items() if space in found}
        for at, part in enumerate(shown)
    }


def _means(rows: Matrix, sizes: Sequence[int]) -> Matrix:
    """One vector a group: of a picture its own, of a video the mean of its frames, which are one wish."""
    ends = np.cumsum(sizes)
    groups = [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    return np.stack(
        [group[0] if len(group) == 1 else unit_rows(group.mean(axis=0, keepdims=True))[0] for group in groups]
    )


def _rows(found: Mapping[str, Matrix]) -> list[dict[str, Vector]]:
    """Item by item: space to vector."""
    count = len(next(iter(found.values())))
    return [{space: rows[at] for space, rows in found.items()} for at in range(count)]


def load_query_picture(source: str | bytes, *, max_side: int, roughly: bool = True) -> Picture:
    """Read and decode one picture of a query; of a video the first frame that tells something.

    Arguments and errors are those of `load_query_pictures`.
    """
    return load_query_pictures(source, max_side=max_side, roughly=roughly)[0]


def load_query_pictures(source: str | bytes, *, max_side: int, roughly: bool = True) -> list[Picture]:
    """Read and decode one picture of a query, or the frames of a video.

    Args:
        source: a path, a `data:` URI, or the bytes themselves.
        max_side: larger pictures may be decoded at a reduced scale, down to so many pixels a side.
        roughly: see `decode_picture`; an encoder resizes anyway.

    Returns:
        The picture, or the frames.

    Raises:
        PictureError: it is missing, too large, or no picture.
    """
    name = "the given bytes"
    if isinstance(source, str):
        name = source if len(source) <= 200 else f"{source[:60]}…"
    data = source if isinstance(source, bytes) else _read(source, name)
    if is_video(data):
        return [frame.picture for frame in video_frames(data, source=name, max_side=max_side)]
    return [decode_picture(data, source=name, max_side=max_side, roughly=roughly)]


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
