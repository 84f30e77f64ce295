"""Models of open_clip: `ARCH@PRETRAINED`, and folders in the form in which it publishes models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
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
from es_xmodal.encoders.clip.hub import model_folder, quiet, require
from es_xmodal.encoders.clip.open_clip_files import build_model, build_tokenizer, find_weights, text_config
from es_xmodal.encoders.clip.pixels import PixelRecipe, agrees
from es_xmodal.encoders.clip.towers import Inputs, TokenizerSource, Towers
from es_xmodal.errors import EncoderError, EncoderSpecError

if TYPE_CHECKING:
    from PIL.Image import Image

KIND = "open_clip"
CONFIG = "open_clip_config.json"
_HUB = "hf-hub:"
_WEIGHTS = (("open_clip*.safetensors",), ("open_clip*.bin",))
_MANY_WORDS = 100_000
_OVERFLOW = ("t5", "mt5", "umt5")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """Where the parts of a model are, before anything is loaded.

    Args:
        spec: for messages.
        model: `model_cfg` as open_clip writes it.
        pixels: `preprocess_cfg` as open_clip writes it.
        weights: the checkpoint.
        folder: of the model where it lies in one; tokenizer files and model card are there.
    """

    spec: str
    model: Mapping[str, Any]
    pixels: Mapping[str, Any]
    weights: Path
    folder: Path | None


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load `open_clip:ARCH@PRETRAINED`, or `open_clip:hf-hub:ORGANISATION/NAME`.

    Args:
        argument: an architecture that open_clip knows, `@`, and a tag that it knows or a checkpoint file.
        options: device and precision.

    Raises:
        MissingExtraError: torch or open_clip is not installed.
        EncoderSpecError: no such architecture or tag.
        EncoderError: the weights cannot be had, do not fit, or are in an unsafe format.
    """
    spec = f"{KIND}:{argument}"
    name, at, pretrained = argument.partition("@")
    hub = argument.startswith(_HUB)
    if not hub and not (name and at and pretrained):
        raise EncoderSpecError(
            f"{spec} is no model with weights",
            hint="open_clip:ARCH@TAG or ARCH@FILE, as in ViT-B-32@laion2b_s34b_b79k",
        )
    require(spec, "torch", "open_clip", "transformers")
    if hub:
        folder = model_folder(argument.removeprefix(_HUB), spec=spec, weights=_WEIGHTS)
        return ClipEncoder(spec, towers(folder, spec), options)
    with quiet():
        return ClipEncoder(spec, _towers(_named(name, pretrained, spec)), options)


def towers(folder: Path, spec: str) -> Towers:
    """Load the towers from a folder with `open_clip_config.json` and weights.

    Raises:
        EncoderError: something of it is missing, damaged, does not fit, or is in an unsafe format.
    """
    config = read_json(folder / CONFIG)
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        raise EncoderError(f"encoder {spec}: {folder / CONFIG} has no model_cfg")
    pixels = config.get("preprocess_cfg")
    source = _Source(
        spec=spec,
        model=model,
        pixels=pixels if isinstance(pixels, dict) else {},
        weights=find_weights(folder, spec),
        folder=folder,
    )
    with quiet():
        return _towers(source)


def _named(name: str, pretrained: str, spec: str) -> _Source:
    """An architecture by name, with a checkpoint file or a tag."""
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        near = get_close_matches(name, open_clip.list_models(), n=3, cutoff=0.4)
        raise EncoderSpecError(
            f"open_clip knows no architecture {name!r}", hint=f"nearest: {', '.join(near) or 'none'}"
        )
    path = Path(pretrained).expanduser()
    if path.is_file():
        return _Source(spec=spec, model=config, pixels={}, weights=path.resolve(), folder=None)
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise EncoderSpecError(
            f"{name} has no weights {pretrained!r}, and there is no such file",
            hint=f"tags: {', '.join(tags) or 'none'}",
        )
    if bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
        # open_clip only warns, and its vectors are then worse than the model's.
        other = name.removesuffix("-quickgelu") if config.get("quick_gelu") else f"{name}-quickgelu"
        raise EncoderSpecError(
            f"{pretrained} was trained with another activation than {name}",
            hint=f"use open_clip:{other}@{pretrained}",
        )
    return _Source(spec=spec, model=config, pixels=tag, weights=_fetched(tag, spec), folder=None)


def _fetched(tag: Mapping[str, Any], spec: str) -> Path:
    import open_clip

    repository, _, name = str(tag.get("hf_hub") or "").rpartition("/")
    if repository:
        safe = [[f"{Path(name).stem}.safetensors"], [name]] if name else _WEIGHTS
        folder = model_folder(repository, spec=spec, weights=safe)
        names = [one[0] for one in safe if name and (folder / one[0]).is_file()]
        return folder / names[0] if names else find_weights(folder, spec)
    try:
        return Path(open_clip.download_pretrained(dict(tag)))
    except Exception as error:  # network, permission, disk: an error for each
        reason = " ".join(str(error).split())[:160]
        raise EncoderError(
            f"encoder {spec}: the weights could not be fetched: {reason}",
            hint="fetch them where there is a network; write ARCH@FILE, or local:DIR",
        ) from None


def _towers(source: _Source) -> Towers:
    from es_xmodal.encoders.clip import modules

    config = deepcopy(dict(source.model))
    text = text_config(config, source.folder, source.spec)
    model = build_model({**config, "text_cfg": text}, source.weights, source.spec)
    tokenizer = build_tokenizer(text, source.folder, source.spec)
    pixels = _pixels(source.pixels, model)
    transform = _transform(pixels)
    recipe = _recipe(pixels)
    exact = agrees(recipe, lambda image: transform(image).numpy())
    size = _pair(pixels["size"])

    def prepare(image: Image) -> Inputs:
        return {"pixel_values": transform(image)}

    def tokenize(texts: Sequence[str]) -> Inputs:
        return {"input_ids": tokenizer(list(texts))}

    return Towers(
        kind=KIND,
        family=type(model).__name__,
        source=str(source.folder or source.weights),
        dim=int(config["embed_dim"]),
        picture=modules.Tower(model, ("pixel_values",), modules.open_clip_picture).eval(),
        picture_inputs=("pixel_values",),
        text=modules.Tower(model, ("input_ids",), modules.open_clip_text).eval(),
        text_inputs=("input_ids",),
        recipe=recipe if exact else None,
        prepare=prepare,
        tokenize=tokenize,
        tokenizer=_tokenizer_source(tokenizer, text),
        side=max(size),
        fingerprint=_fingerprint(source, model, pixels, _tokenizer_folder(tokenizer)),
        languages=(languages_of(source.folder) if source.folder else ()) or _languages(tokenizer),
        licence=licence_of(source.folder) if source.folder else "unknown",
        half_safe=not any(_model_type(model) == one for one in _OVERFLOW),
    )


def _fingerprint(source: _Source, model: Any, pixels: Mapping[str, Any], folder: Path | None) -> str:
    settings = deepcopy(dict(source.model))
    text = settings.get("text_cfg", {})
    if text.pop("hf_model_name", None):  # a name or a place; what it stands for counts
        settings["text_model"] = without_place(model.text.config.to_dict())
    for key in ("hf_tokenizer_name", "hf_model_pretrained"):
        text.pop(key, None)
    settings.get("vision_cfg", {}).pop("timm_model_pretrained", None)
    return fingerprint(
        KIND,
        weights=[source.weights],
        settings={"config": settings, "pixels": {**pixels, "size": _pair(pixels["size"])}},
        tokenizer=[folder / name for name in tokenizer_files(folder)] if folder is not None else [],
    )


def _tokenizer_source(tokenizer: Any, text: Mapping[str, Any]) -> TokenizerSource:
    folder = _tokenizer_folder(tokenizer)
    return TokenizerSource(
        kind="transformers" if folder is not None else "simple",
        folder=folder,
        files=tokenizer_files(folder) if folder is not None else (),
        context=int(tokenizer.context_length),
        padding="max_length",
        settings=dict(text.get("tokenizer_kwargs") or {}, tokenizer_mode=text.get("tokenizer_mode")),
    )


def _pixels(given: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The settings of the preprocessing, as open_clip joins them."""
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    found: dict[str, Any] = merge_preprocess_dict(PreprocessCfg(), dict(given))
    found["size"] = model.visual.image_size
    return found


def _transform(pixels: Mapping[str, Any]) -> Any:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**pixels), is_train=False)


def _recipe(pixels: Mapping[str, Any]) -> PixelRecipe:
    size, way = _pair(pixels["size"]), pixels["resize_mode"]
    values: dict[str, Any] = {
        "resize": way, "size": size, "crop": None if way == "squash" else size,
        "resample": 2 if pixels["interpolation"] == "bilinear" else 3,
        "fill": pixels["fill_color"] if way == "longest" else 0, "halving": "even", "scale": None,
        "mean": tuple(pixels["mean"]), "std": tuple(pixels["std"]),
    }  # fmt: skip
    return PixelRecipe(**values)


def _pair(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _tokenizer_folder(tokenizer: Any) -> Path | None:
    """Where the files of a transformers tokenizer lie; None for CLIP's own."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return None
    folder = Path(str(inner.name_or_path))
    return folder if folder.is_dir() else None


def _model_type(model: Any) -> str:
    return str(getattr(getattr(getattr(model, "text", None), "config", None), "model_type", ""))


def _languages(tokenizer: Any) -> tuple[str, ...]:
    inner = getattr(tokenizer, "tokenizer", None)
    return ("mul",) if inner is not None and len(inner) >= _MANY_WORDS else ("en",)
