"""What an exported folder says about itself: `es_xmodal_encoder.json`, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_xmodal.encoders.clip.pixels import PixelRecipe
from es_xmodal.encoders.registry import MANIFEST
from es_xmodal.errors import EncoderError
from es_xmodal.resources import sha256_of
from es_xmodal.vectors import MAX_DIM

FORMAT = 1
"""Raised when a reader of an older version would misread the folder."""
PICTURE_FILE = "picture.onnx"
TEXT_FILE = "text.onnx"
TOKENIZER_FILE = "tokenizer.json"

Precision = Literal["fp32", "int8"]
TextInput = Literal["input_ids", "attention_mask", "token_type_ids"]
Cleaning = Literal["none", "lower", "whitespace", "canonicalize", "siglip"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Part):
    """From a text to what the tower reads.

    Args:
        cleaning: what is done before the tokenizer: nothing, as transformers' SigLIP does, or what open_clip
            calls by that name.
        length: tokens at most, marks of start and end included.
        fixed: every text is padded to `length`; else only to the longest one beside it.
        pad: the number that pads.
        zeroed: a number that is replaced by 0, or None (open_clip's `strip_sep_token`).
        inputs: what the tower takes: `input_ids`, and perhaps `attention_mask` and `token_type_ids`.
    """

    cleaning: Cleaning
    length: int = Field(ge=1, le=65536)
    fixed: bool
    pad: int = Field(ge=0)
    zeroed: int | None = None
    inputs: tuple[TextInput, ...]


class Checked(_Part):
    """Cosine between source and export: the mean, and the worst, of so many items."""

    mean: float
    worst: float
    items: int


class Manifest(_Part):
    """The whole description; `docs/export.md` explains it for readers of the file."""

    kind: Literal["onnx"] = "onnx"
    format: int = FORMAT
    source: str
    source_fingerprint: str
    fingerprint: str
    precision: Precision
    dim: int = Field(ge=1, le=MAX_DIM)
    text_space: str | None
    languages: tuple[str, ...]
    licence: str
    picture_side: int = Field(ge=1)
    bytes_per_picture: int = Field(ge=1)
    pixels: PixelRecipe
    text: Text
    files: dict[str, str]
    verified: dict[str, Checked]
    made_with: dict[str, str] = Field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Read the description of an exported folder.

    Raises:
        EncoderError: it is missing, damaged, of a newer version, or names files outside the folder.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise broken(folder, f"{MANIFEST} cannot be read: {error.strerror}") from None
    except ValueError:
        raise broken(folder, f"{MANIFEST} is damaged") from None
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        raise EncoderError(
            f"encoder {folder}: written by a newer version of es_xmodal (format {raw['format']})",
            hint="upgrade es-xmodal, or export again",
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "it"
        raise broken(folder, f"{MANIFEST} is damaged: {name}: {first['msg']}") from None
    for name in manifest.files:
        if name != Path(name).name or name in ("", ".", ".."):
            raise broken(folder, f"{MANIFEST} names the file {name!r}, which is outside the folder")
    for name in (PICTURE_FILE, TEXT_FILE, TOKENIZER_FILE):
        if name not in manifest.files:
            raise broken(folder, f"{MANIFEST} lists no {name}")
    return manifest


def check_files(folder: Path, manifest: Manifest, prefix: str) -> None:
    """Compare the files whose names start so with their checksums.

    Raises:
        EncoderError: one is missing, unreadable or not what was exported.
    """
    for name, digest in sorted(manifest.files.items()):
        if not name.startswith(prefix):
            continue
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise broken(folder, f"{name} cannot be read: {error.strerror}") from None
        if found != digest:
            raise broken(folder, f"{name} is not the file that was exported (its checksum differs)")


def broken(folder: Path, what: str) -> EncoderError:
    """Return the error of a damaged folder."""
    return EncoderError(f"encoder {folder}: {what}", hint="export it again with `es-xmodal export`")
