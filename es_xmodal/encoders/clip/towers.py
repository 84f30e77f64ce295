"""What a loaded model consists of, whichever library it came from.

Who runs the model (`encoder.py`) and who writes it out for another runtime work on this and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from es_xmodal.encoders.clip.pixels import PixelRecipe

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Inputs: TypeAlias = Mapping[str, Any]
"""Name of a tower's input -> torch tensor on the CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSource:
    """Where a text tower's tokenizer comes from, for who has to carry it along.

    Args:
        kind: `simple` (CLIP's own byte pairs, which are part of open_clip) or `transformers`.
        folder: with the files of a `transformers` tokenizer; None for `simple`.
        files: names of those files.
        context: the most tokens that the tower reads.
        padding: `longest` of the batch or `max_length` (always `context` tokens).
        settings: what else open_clip's wrapper does to a text (`clean`, `strip_sep_token`, `tokenizer_mode`).
    """

    kind: str
    folder: Path | None
    files: tuple[str, ...]
    context: int
    padding: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Towers:
    """A picture tower and a text tower, float32 on the CPU, in evaluation mode.

    Args:
        kind: `open_clip` or `transformers`.
        family: the architecture, such as `clip`, `siglip`, `chinese_clip`, or open_clip's class.
        source: what was loaded, for messages.
        dim: length of the vectors.
        picture: module; called with the inputs of `picture_inputs` in that order; returns [n, dim], not unit.
        picture_inputs: names of its inputs; the first is `pixel_values`, float32 [n, 3, height, width] where
            there is a `recipe`.
        text: module; called with the inputs of `text_inputs` in that order; returns [n, dim], not unit.
        text_inputs: names of its inputs; the first is `input_ids`, int64 [n, tokens].
        recipe: how a picture becomes `pixel_values`; None where that cannot be said in its terms.
        prepare: one picture (RGB) to the inputs of the picture tower for one picture, without the batch
            dimension, by the library's own code: the reference, and the way where there is no recipe.
        tokenize: texts to the inputs of the text tower. Not safe in several threads at once.
        tokenizer: where that comes from.
        side: pixels of the square that the picture tower sees.
        fingerprint: of weights, architecture, preprocessing and tokenizer.
        languages: BCP 47 codes; `mul` is many.
        licence: of the weights, as their card says; `unknown` without one.
        half_safe: fp16 does not overflow in it as far as is known.
    """

    kind: str
    family: str
    source: str
    dim: int
    picture: torch.nn.Module
    picture_inputs: tuple[str, ...]
    text: torch.nn.Module
    text_inputs: tuple[str, ...]
    recipe: PixelRecipe | None
    prepare: Callable[[Image], Inputs]
    tokenize: Callable[[Sequence[str]], Inputs]
    tokenizer: TokenizerSource
    side: int
    fingerprint: str
    languages: tuple[str, ...]
    licence: str
    half_safe: bool = True
