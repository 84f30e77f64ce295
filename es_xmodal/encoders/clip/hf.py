"""Models in the format of transformers: the CLIP and SigLIP families, Chinese and multilingual ones."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.clip.checkpoint import (
    fingerprint,
    languages_of,
    licence_of,
    read_json,
    tokenizer_files,
    without_place,
)
from es_xmodal.encoders.clip.encoder import ClipEncoder
from es_xmodal.encoders.clip.hf_files import load_model, load_processor, load_tokenizer, weight_files
from es_xmodal.encoders.clip.hub import model_folder, quiet, require
from es_xmodal.encoders.clip.pixels import PixelRecipe, agrees
from es_xmodal.encoders.clip.towers import Inputs, TokenizerSource, Towers
from es_xmodal.errors import EncoderError, EncoderSpecError

if TYPE_CHECKING:
    from PIL.Image import Image

KIND = "transformers"
_WEIGHTS = (("*.safetensors",), ("pytorch_model*.bin*",))
_ROBERTA = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "altclip_text_model"})
_OVERFLOW = frozenset({"t5", "mt5", "umt5"})
_MANY_WORDS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Family:
    """How an architecture pools and reads.

    Args:
        model: transformers' class.
        text: `pooler` or `first`: which state of the text is projected.
        padding: as its processor pads when it is used as documented.
        languages: of its text tower, where nothing else tells.
        pictures: inputs of its picture tower.
    """

    model: str
    text: str = "pooler"
    padding: str = "longest"
    languages: tuple[str, ...] = ("mul",)
    pictures: tuple[str, ...] = ("pixel_values",)


_FAMILIES: Mapping[str, _Family] = {
    "clip": _Family(model="CLIPModel", languages=("en",)),
    "siglip": _Family(model="SiglipModel", padding="max_length", languages=("en",)),
    "siglip2": _Family(
        model="Siglip2Model",
        padding="max_length",
        pictures=("pixel_values", "pixel_attention_mask", "spatial_shapes"),
    ),
    "chinese_clip": _Family(model="ChineseCLIPModel", text="first", languages=("zh",)),
    "altclip": _Family(model="AltCLIPModel", text="first"),
    "metaclip_2": _Family(model="MetaClip2Model"),
    "vision-text-dual-encoder": _Family(model="VisionTextDualEncoderModel", languages=("en",)),
}


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load `transformers:NAME`, a folder or a model of the hub.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        EncoderError: it is not there, incomplete, damaged, of an unknown family, or in an unsafe format.
    """
    spec = f"{KIND}:{argument}"
    if not argument:
        raise EncoderSpecError(
            f"{spec} names no model", hint="transformers:FOLDER or transformers:ORGANISATION/NAME"
        )
    require(spec, "torch", "transformers", "safetensors")
    return ClipEncoder(spec, towers(model_folder(argument, spec=spec, weights=_WEIGHTS), spec), options)


def towers(folder: Path, spec: str) -> Towers:
    """Load the towers from a folder.

    Args:
        folder: with `config.json`, weights, tokenizer and preprocessing.
        spec: for messages.

    Raises:
        EncoderError: as `load`.
    """
    config = read_json(folder / "config.json")
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None:
        known = ", ".join(sorted(_FAMILIES))
        raise EncoderError(f"encoder {spec} is a {config.get('model_type')!r}, not one of: {known}")
    with quiet():
        loaded = _Loaded(
            folder=folder,
            spec=spec,
            family=family,
            config=config,
            model=load_model(folder, family.model, spec),
            processor=load_processor(folder, spec),
        )
        return _joined(loaded, load_tokenizer(folder, loaded.model.config.text_config.vocab_size, spec))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    folder: Path
    spec: str
    family: _Family
    config: Mapping[str, Any]
    model: Any
    processor: Any


def _joined(loaded: _Loaded, tokenizer: Any) -> Towers:
    from es_xmodal.encoders.clip import modules

    folder, family, model, processor = loaded.folder, loaded.family, loaded.model, loaded.processor

    def prepare(image: Image) -> Inputs:
        # Said, because older releases guess it from the shape and fail at a picture of one pixel.
        found = processor(images=image, input_data_format="channels_last", return_tensors="pt")
        return {name: found[name][0] for name in family.pictures}

    reading = _Reading(tokenizer, model, family)
    recipe = _recipe(processor)
    if recipe is not None and not agrees(recipe, lambda image: prepare(image)["pixel_values"].numpy()):
        recipe = None
    run_text = modules.first_token if family.text == "first" else modules.pooler_output
    run_picture = modules.pooler_output if len(family.pictures) == 1 else modules.patches
    text = modules.parts(body=model.text_model, projection=getattr(model, "text_projection", None))
    picture = modules.parts(body=model.vision_model, projection=getattr(model, "visual_projection", None))
    files = tokenizer_files(folder)
    return Towers(
        kind=KIND,
        family=str(loaded.config["model_type"]),
        source=str(folder),
        dim=_dim(model),
        picture=modules.Tower(picture, family.pictures, run_picture).eval(),
        picture_inputs=family.pictures,
        text=modules.Tower(text, reading.names, run_text).eval(),
        text_inputs=reading.names,
        recipe=recipe,
        prepare=prepare,
        tokenize=reading,
        tokenizer=TokenizerSource(
            kind=KIND,
            folder=folder,
            files=files,
            context=reading.context,
            padding=family.padding,
            settings={},
        ),
        side=max(recipe.shape) if recipe is not None else _side(processor),
        fingerprint=_fingerprint(loaded, recipe, reading.context),
        languages=languages_of(folder) or _languages(model, family),
        licence=licence_of(folder),
        half_safe=model.config.text_config.model_type not in _OVERFLOW,
    )


def _fingerprint(loaded: _Loaded, recipe: PixelRecipe | None, context: int) -> str:
    folder = loaded.folder
    return fingerprint(
        KIND,
        weights=weight_files(folder, loaded.spec),
        settings={
            "config": without_place(loaded.config),
            "pixels": recipe.as_dict() if recipe is not None else _described(loaded.processor),
            "context": context,
        },
        tokenizer=[folder / name for name in tokenizer_files(folder)],
    )


class _Reading:
    """Texts to the inputs of a text tower, as the family's processor does when used as documented."""

    def __init__(self, tokenizer: Any, model: Any, family: _Family) -> None:
        config = model.config.text_config
        positions = int(getattr(config, "max_position_embeddings", 512))
        if config.model_type in _ROBERTA:  # their positions start behind the padding's number
            positions -= int(config.pad_token_id or 0) + 1
        self.context = min(positions, int(tokenizer.model_max_length))
        self._tokenizer, self._padding = tokenizer, family.padding
        known = inspect.signature(model.text_model.forward).parameters
        self.names = tuple(name for name in self(["a"]) if name in known)

    def __call__(self, texts: Sequence[str]) -> Inputs:
        how = {"padding": self._padding, "truncation": True, "max_length": self.context}
        with warnings.catch_warnings():  # about texts that look like a mark of the vocabulary
            warnings.simplefilter("ignore")
            found: Inputs = self._tokenizer(list(texts), **how, return_tensors="pt")
        return found


def _dim(model: Any) -> int:
    projection = getattr(model, "text_projection", None)
    if projection is not None:
        return int(projection.weight.shape[0])
    text = model.config.text_config
    return int(getattr(text, "projection_size", None) or text.hidden_size)


def _recipe(processor: Any) -> PixelRecipe | None:
    """The processor's settings in our terms, where they can be said so."""
    given = _described(processor)
    size, crop = dict(given.get("size") or {}), dict(given.get("crop_size") or {})
    if not given.get("do_resize") or given.get("do_pad") or not {"image_mean", "image_std"} <= given.keys():
        return None
    cut = (
        (int(crop["height"]), int(crop["width"]))
        if given.get("do_center_crop") and "height" in crop
        else None
    )
    if size.get("shortest_edge") and cut is not None and not size.get("longest_edge"):
        resize, target = "shortest", (int(size["shortest_edge"]),) * 2
    elif size.get("height") and size.get("width"):
        resize, target = "squash", (int(size["height"]), int(size["width"]))
    else:
        return None
    normal = bool(given.get("do_normalize"))
    values: dict[str, Any] = {
        "resize": resize, "size": target, "crop": cut, "resample": int(given.get("resample", 3)),
        "halving": "floor", "scale": float(given["rescale_factor"]) if given.get("do_rescale") else 1.0,
        "mean": tuple(given["image_mean"]) if normal else (0.0, 0.0, 0.0),
        "std": tuple(given["image_std"]) if normal else (1.0, 1.0, 1.0),
    }  # fmt: skip
    return PixelRecipe(**values)


def _described(processor: Any) -> dict[str, Any]:
    found = without_place(processor.to_dict())
    kept = {
        key: value for key, value in found.items() if not key.endswith(("_type", "_class")) and key[0] != "_"
    }
    return dict(kept)


def _side(processor: Any) -> int:
    """Of a processor that keeps the shape: a square of as many pixels as it takes."""
    given = _described(processor)
    if "max_num_patches" in given:
        return int(given["patch_size"] * given["max_num_patches"] ** 0.5)
    return max((int(n) for n in dict(given.get("size") or {}).values() if n), default=224)


def _languages(model: Any, family: _Family) -> tuple[str, ...]:
    return ("mul",) if model.config.text_config.vocab_size >= _MANY_WORDS else family.languages
