"""`local:DIR`: a model in a folder, in the form of either library."""

from __future__ import annotations

from pathlib import Path

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.clip import hf, open_clip
from es_xmodal.encoders.clip.encoder import ClipEncoder
from es_xmodal.encoders.clip.hub import require
from es_xmodal.encoders.clip.towers import Towers
from es_xmodal.errors import EncoderError, EncoderSpecError


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load a folder with `open_clip_config.json` or transformers' `config.json`.

    Raises:
        MissingExtraError: what it needs is not installed.
        EncoderError: it is no such folder, or something in it is missing, damaged or unsafe.
    """
    spec = f"local:{argument}"
    if not argument:
        raise EncoderSpecError("local: names no folder", hint="local:DIR")
    return ClipEncoder(spec, folder_towers(Path(argument), spec), options)


def folder_towers(folder: Path, spec: str) -> Towers:
    """Load the towers of a folder of either form.

    Raises:
        MissingExtraError: what it needs is not installed.
        EncoderError: as `load`.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise EncoderError(f"encoder {spec}: there is no folder {str(folder)!r}")
    folder = folder.resolve()
    if (folder / open_clip.CONFIG).is_file():
        require(spec, "torch", "open_clip", "transformers")
        return open_clip.towers(folder, spec)
    if (folder / "config.json").is_file():
        require(spec, "torch", "transformers", "safetensors")
        return hf.towers(folder, spec)
    raise EncoderError(
        f"encoder {spec}: {folder} holds no model",
        hint=f"{open_clip.CONFIG} (open_clip) or config.json (transformers) is looked for",
    )
