"""The words on the pictures of a query, for an index that knows those on its own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from es_xmodal.errors import PictureError
from es_xmodal.media.ocr import READ_SIDE, WordReader
from es_xmodal.query.compose import parts_of
from es_xmodal.query.model import Query
from es_xmodal.query.ocr import OCR
from es_xmodal.query.profile import Profile
from es_xmodal.query.view import Signals
from es_xmodal.search.signals import load_query_picture
from es_xmodal.text.grams import grams


def with_words(signals: Signals, query: Query, profile: Profile, reader: WordReader) -> Signals:
    """Read the wanted pictures of a query; a picture to move away from is not read.

    Args:
        signals: what the query's vectors and terms are.
        query: what was asked.
        profile: as for `make_signals`.
        reader: reads words.

    Returns:
        The signals with what stands on each picture, and its pieces.

    Raises:
        PictureError: a picture cannot be read; the error says how to search without its words.
        MissingExtraError: the reader is not installed.
    """
    read: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for part in parts_of(query, profile):
        if part.term.kind == "image" and not part.minus:
            words = _read(part.term.value, reader)
            if words:
                read[part.label], names[part.label] = words, part.name
    pieces = grams(text for words in read.values() for text in words)
    heard = {names[label] for label, words in read.items() if grams(words)}
    return replace(signals, read=read, grams=tuple(pieces), held=_held(signals.held, heard))


def _read(value: str | bytes, reader: WordReader) -> tuple[str, ...]:
    picture = load_query_picture(value, max_side=READ_SIDE, roughly=False)
    try:
        return tuple(word.text for word in reader.read(picture))
    except PictureError as error:
        hint = "search without its words: --weight ocr=0"
        raise PictureError(error.message, code=error.code, hint=hint) from error


def _held(held: Mapping[str, frozenset[str]], heard: set[str]) -> dict[str, frozenset[str]]:
    return {name: legs | {OCR} if name in heard else legs for name, legs in held.items()}
