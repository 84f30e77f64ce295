"""Pictures with words on them, and a reader of words without a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from es_xmodal.errors import PictureError
from es_xmodal.media.ocr import Word

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture


def draw_words(
    text: str,
    *,
    size: tuple[int, int] = (240, 160),
    colour: tuple[int, int, int] = (250, 250, 245),
    at: int = 20,
) -> Image.Image:
    """A plain card with large letters; `at` moves them, so that two pictures of one text differ."""
    card = Image.new("RGB", size, colour)
    font = ImageFont.load_default(size=min(size) // 5)
    ImageDraw.Draw(card).text((at, size[1] // 3), text, fill=(20, 20, 30), font=font)
    return card


def save_words(path: Path, text: str, **how: object) -> Path:
    """The same as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_words(text, **how).save(path)  # type: ignore[arg-type]
    return path


class NamedReader:
    """Knows by content hash what stands on a picture.

    Args:
        known: content hash to words.
        broken: content hashes of pictures that cannot be read.
        fingerprint: of the reader.
        pause_s: how long one reading takes.
    """

    def __init__(
        self,
        known: Mapping[str, tuple[str, ...]],
        *,
        broken: frozenset[str] = frozenset(),
        fingerprint: str = "ocr-test",
        pause_s: float = 0.0,
    ) -> None:
        self.fingerprint = fingerprint
        self.read_pictures: list[str] = []
        self._known = known
        self._broken = broken
        self._pause_s = pause_s
        self._lock = threading.Lock()

    def read(self, picture: Picture) -> tuple[Word, ...]:
        with self._lock:
            self.read_pictures.append(picture.content_hash)
        time.sleep(self._pause_s)
        if picture.content_hash in self._broken:
            raise PictureError(f"the words on {picture.source} cannot be read: test", code="not_read")
        return tuple(Word(text=text, score=0.9) for text in self._known.get(picture.content_hash, ()))
