"""An exported encoder behind the interface of all encoders."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT, Encoder, EncoderInfo, EncoderOptions, Space
from es_xmodal.encoders.onnx.manifest import (
    PICTURE_FILE,
    TEXT_FILE,
    TOKENIZER_FILE,
    Manifest,
    broken,
    check_files,
)
from es_xmodal.encoders.onnx.session import CPU, OutOfMemoryError, choose_provider, open_session, run
from es_xmodal.encoders.onnx.tokens import Reader
from es_xmodal.errors import EncoderError

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture

_log = logging.getLogger(__name__)

_LARGEST_BATCH = 32
_MEMORY_SHARE = 0.25
"""Of the memory that is free when the encoder is loaded, for what one batch needs while it runs."""


class OnnxEncoder(Encoder):
    """Two towers in ONNX, the source's own preprocessing, the source's own tokenizer.

    The text tower is opened at once, because every search and every ingest reads texts; the picture tower
    with the first picture.

    Args:
        folder: as `es-xmodal export` wrote it.
        manifest: its description.
        options: device, batch size and threads.

    Raises:
        EncoderError: a file is missing or damaged, or the device is not there.
        MissingExtraError: the tokenizer's library is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest, options: EncoderOptions) -> None:
        self._folder, self._manifest, self._options = folder, manifest, options
        self.info = EncoderInfo(
            spec=f"onnx:{folder}",
            fingerprint=manifest.fingerprint,
            spaces=(Space(name=JOINT, dim=manifest.dim, modalities=frozenset({"text", "picture"})),),
            text_space=manifest.text_space,
            languages=manifest.languages,
            licence=manifest.licence,
            picture_side=manifest.picture_side,
        )
        _, details = choose_provider(self.info.spec, options, manifest.precision)
        device = f"cuda:{details['device_id']}" if details else "cpu"
        self._runs_on = f"{device} {manifest.precision}"
        self.batch_size = options.batch_size or batch_for(manifest.bytes_per_picture, _free_memory())
        check_files(folder, manifest, TOKENIZER_FILE)
        self._reader = Reader(folder, manifest.text)
        self._text = self._open(TEXT_FILE)
        self._pictures: Any = None
        self._opening = threading.Lock()

    @property
    def runs_on(self) -> str:
        """Device and precision, such as `cpu int8`."""
        return self._runs_on

    def prepare(self, picture: Picture) -> NDArray[np.uint8]:
        """Resize and cut one picture: uint8, shape [3, height, width]."""
        if self._pictures is None:
            # Here and not with the first batch: a damaged tower must stop the run, not spoil every picture.
            self._picture_tower()
        return self._manifest.pixels.pixels(picture.image)

    def close(self) -> None:
        """Let go of both towers."""
        self._text = self._pictures = None

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        tower = self._picture_tower()
        return {JOINT: self._halving(lambda part: {"pixels": np.stack(part)}, tower, list(batch))}

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        numbers = self._reader.numbers(batch)
        found = np.empty((len(batch), self._manifest.dim), np.float32)
        for group in alike([len(row) for row in numbers]):
            found[group] = self._halving(self._reader.inputs, self._text, [numbers[at] for at in group])
        return {JOINT: found}

    def _halving(
        self, inputs: Callable[[Sequence[Any]], dict[str, Any]], tower: Any, items: Sequence[Any]
    ) -> NDArray[np.floating]:
        """Run the items together; where the memory does not suffice, in halves, from now on."""
        try:
            found: NDArray[np.floating] = run(tower, inputs(items), self.info.spec)
        except OutOfMemoryError as error:
            if len(items) == 1:
                raise EncoderError(
                    f"encoder {self.info.spec}: the memory does not suffice for one item: {error}",
                    hint="use a smaller model, or free memory",
                ) from None
        else:
            return found
        middle = len(items) // 2
        self.batch_size = min(self.batch_size, max(1, middle))
        _log.warning("%s: not enough memory for %d items together", self.info.spec, len(items))
        return np.concatenate(
            [self._halving(inputs, tower, half) for half in (items[:middle], items[middle:])]
        )

    def _picture_tower(self) -> Any:
        with self._opening:
            if self._pictures is None:
                self._pictures = self._open(PICTURE_FILE)
            return self._pictures

    def _open(self, name: str) -> Any:
        check_files(self._folder, self._manifest, name)
        session = open_session(
            self._folder / name,
            self.info.spec,
            self._options,
            self._manifest.precision,
            keep_memory=name == PICTURE_FILE,
        )
        if session.get_providers()[0] == CPU:  # also where CUDA is there and could not be started
            self._runs_on = f"cpu {self._manifest.precision}"
        shape = session.get_outputs()[0].shape
        if len(shape) != 2 or shape[1] != self._manifest.dim:
            raise broken(
                self._folder, f"{name} gives vectors of shape {shape}, not [n, {self._manifest.dim}]"
            )
        return session


def alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group texts of like length, so that padding costs at most a half of what is read."""
    group: list[int] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and lengths[at] > 1.5 * lengths[group[0]] + 4:
            yield group
            group = []
        group.append(at)
    if group:
        yield group


def batch_for(bytes_each: int, free_bytes: int) -> int:
    """Return how many pictures a call gets: as many as a quarter of the free memory holds, 1 to 32."""
    return max(1, min(_LARGEST_BATCH, int(free_bytes * _MEMORY_SHARE) // bytes_each))


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
