"""The embedded encoder behind the interface of all encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT, TEXT, VISUAL, Encoder, EncoderInfo, Space
from es_xmodal.encoders.mini.files import check_files, open_session
from es_xmodal.encoders.mini.picture import SIDE, Prepared, prepare_picture
from es_xmodal.encoders.mini.spaces import JOINT_DIM, VISUAL_DIM, Spaces
from es_xmodal.encoders.mini.text import DIM, TextTower

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture


class MiniEncoder(Encoder):
    """EfficientNet-Lite0 sees, multilingual-e5-small reads; `docs/mini.md` says how well.

    Args:
        folder: where the shipped files lie.

    Raises:
        EncoderError: a file is missing or damaged.
    """

    batch_size = 16

    def __init__(self, folder: Path) -> None:
        fingerprint = check_files(folder)
        self._text = TextTower(folder)
        self._spaces = Spaces(folder / "spaces.npz")
        self._picture = open_session(folder / "picture.onnx")
        self.info = EncoderInfo(
            spec="mini",
            fingerprint=fingerprint,
            spaces=(
                Space(name=JOINT, dim=JOINT_DIM, modalities=frozenset({"text", "picture"})),
                Space(name=VISUAL, dim=VISUAL_DIM, modalities=frozenset({"picture"})),
                Space(name=TEXT, dim=DIM, modalities=frozenset({"text"})),
            ),
            text_space=TEXT,
            languages=("en", "zh"),
            licence="Apache-2.0 AND MIT",
            picture_side=SIDE,
        )

    def prepare(self, picture: Picture) -> Prepared:
        """Fit one picture into the tower's square and count its colours."""
        return prepare_picture(picture.image)

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        pixels = np.stack([item.pixels for item in batch])
        pooled, logits = self._see(pixels)
        # A product is the same product in the mirror; the mean of both sees it more steadily.
        mirrored_pooled, mirrored_logits = self._see(np.ascontiguousarray(pixels[:, :, ::-1]))
        return self._spaces.pictures(
            (pooled + mirrored_pooled) / 2,
            (logits + mirrored_logits) / 2,
            np.stack([item.colours for item in batch]),
        )

    def _see(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        pooled, logits = self._picture.run(["pooled", "logits"], {"pixels": pixels})
        return pooled, logits

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return self._spaces.texts(self._text.sentences(batch), batch)
