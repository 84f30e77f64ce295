"""How near an export is to its source: tokens exactly, vectors by cosine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from es_xmodal.encoders.base import JOINT, EncoderOptions
from es_xmodal.encoders.onnx.encoder import OnnxEncoder
from es_xmodal.encoders.onnx.manifest import Checked, Manifest, Text
from es_xmodal.encoders.onnx.tokens import Reader
from es_xmodal.errors import EncoderError
from es_xmodal.media.picture import Picture
from es_xmodal.vectors import Matrix, unit_rows

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from es_xmodal.encoders.clip.towers import Towers

FLOORS = {"fp32": 0.9999, "int8": 0.995}
"""Precision -> the smallest cosine to the source, of the worst item, with which an export is kept."""
BATCHES = (1, 3, 16)


def check_tokens(towers: Towers, folder: Path, how: Text, texts: Sequence[str]) -> None:
    """Compare the exported tokenizer with the source's own, text by text.

    Args:
        towers: the source.
        folder: where `tokenizer.json` lies.
        how: cleaning and padding of the export.
        texts: as an encoder gets them.

    Raises:
        EncoderError: a text gives other numbers.
    """
    reader = Reader(folder, how)
    for text in texts:
        wanted = towers.tokenize([text])
        numbers = reader.numbers([text])
        found = reader.inputs(numbers)
        for name in how.inputs:
            theirs = np.asarray(wanted[name])
            ours = found[name]
            shared = min(theirs.shape[1], ours.shape[1])
            padding = theirs[:, shared:]
            pad = how.pad if name == "input_ids" else 0
            if (
                not np.array_equal(theirs[:, :shared], ours[:, :shared])
                or ours.shape[1] > theirs.shape[1]
                or (padding != pad).any()
            ):
                raise EncoderError(
                    f"the tokenizer of {towers.source} reads {text[:60]!r} otherwise once it is exported",
                    hint="this tokenizer cannot be exported; use the source with torch",
                )


class Reference:
    """What the source itself makes of the samples, by its library's own preprocessing.

    Args:
        towers: the source, in fp32 on the CPU.
        images: RGB.
        texts: as an encoder gets them.
    """

    def __init__(self, towers: Towers, images: Sequence[Image], texts: Sequence[str]) -> None:
        self.images, self.texts = list(images), list(texts)
        self.pictures = _together(
            lambda part: _run(towers.picture, towers.picture_inputs, _stacked(towers, part)), self.images
        )
        self.text_vectors = _together(
            lambda part: _run(towers.text, towers.text_inputs, towers.tokenize(part)), self.texts
        )

    def compare(self, folder: Path, manifest: Manifest) -> dict[str, Checked]:
        """Run the export on the same samples, in batches of several sizes.

        Returns:
            `pictures` and `texts`.

        Raises:
            EncoderError: the export cannot be run.
        """
        return {
            "pictures": self.compare_pictures(folder, manifest),
            "texts": self.compare_texts(folder, manifest),
        }

    def compare_pictures(self, folder: Path, manifest: Manifest) -> Checked:
        """As `compare`, pictures alone."""

        def encode(encoder: OnnxEncoder) -> Matrix:
            prepared = [
                encoder.prepare(Picture(image=image, content_hash="", source="sample"))
                for image in self.images
            ]
            return encoder.encode_pictures(prepared)[JOINT]

        return _checked(folder, manifest, encode, self.pictures)

    def compare_texts(self, folder: Path, manifest: Manifest) -> Checked:
        """As `compare`, texts alone."""
        return _checked(
            folder, manifest, lambda encoder: encoder.encode_texts(self.texts)[JOINT], self.text_vectors
        )


def _checked(
    folder: Path, manifest: Manifest, encode: Callable[[OnnxEncoder], Matrix], wanted: Matrix
) -> Checked:
    found: list[Any] = []
    encoder = OnnxEncoder(folder, manifest, EncoderOptions(device="cpu"))
    for encoder.batch_size in BATCHES:
        found.append((encode(encoder) * wanted).sum(axis=1))
    encoder.close()
    cosines = np.concatenate(found)
    return Checked(mean=float(cosines.mean()), worst=float(cosines.min()), items=len(cosines))


def _stacked(towers: Towers, images: Sequence[Image]) -> dict[str, torch.Tensor]:
    import torch

    each = [towers.prepare(image) for image in images]
    return {name: torch.stack([one[name] for one in each]) for name in towers.picture_inputs}


def _run(tower: torch.nn.Module, names: Sequence[str], inputs: Any) -> Matrix:
    import torch

    with torch.inference_mode():
        found = tower(*(inputs[name] for name in names))
    return unit_rows(found.float().numpy())


def _together(run: Callable[[Sequence[Any]], Matrix], items: Sequence[Any]) -> Matrix:
    return np.concatenate([run(items[start : start + 8]) for start in range(0, len(items), 8)])
