"""Exported encoders: any source, run by ONNX Runtime alone, without torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from es_xmodal.errors import EncoderSpecError

if TYPE_CHECKING:
    from es_xmodal.encoders.base import Encoder, EncoderOptions


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load an exported encoder for the registry.

    Args:
        argument: the folder that `es-xmodal export` wrote.
        options: device, batch size and threads.

    Raises:
        EncoderSpecError: there is no such folder.
        EncoderError: a file in it is missing or damaged, or the options ask for what it cannot do.
        MissingExtraError: the tokenizer's library is not installed.
    """
    from es_xmodal.encoders.onnx.encoder import OnnxEncoder
    from es_xmodal.encoders.onnx.manifest import read_manifest

    if not argument:
        raise EncoderSpecError("encoder onnx needs a folder", hint="onnx:DIR, as `es-xmodal export` wrote it")
    folder = Path(argument)
    if not folder.is_dir():
        raise EncoderSpecError(
            f"encoder onnx: there is no folder {argument!r}",
            hint="`es-xmodal export SPEC --out DIR` makes one",
        )
    return OnnxEncoder(folder, read_manifest(folder), options)
