"""Architecture, weights and tokenizer of an open_clip model: complete, safe, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from es_xmodal.encoders.clip.checkpoint import mismatch, read_state, tokenizer_files
from es_xmodal.encoders.clip.hub import small_files
from es_xmodal.errors import EncoderError, XModalError

_PREFERRED = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
"""Names of weights in the order in which open_clip looks for them."""

_UNUSED = ("logit_scale", "logit_bias")
_NUMBERS = ("input_resolution", "context_length", "vocab_size")
_TOKENIZER_OPTIONS = frozenset({"clean", "strip_sep_token", "language", "reduction_mask"})


def find_weights(folder: Path, spec: str) -> Path:
    """Return the checkpoint of a folder.

    Raises:
        EncoderError: there is none, or several and none has a usual name.
    """
    for name in _PREFERRED:
        if (folder / name).is_file():
            return folder / name
    others = sorted(
        path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pth", ".pt")
    )
    if len(others) == 1:
        return others[0]
    names = ", ".join(path.name for path in others[:4]) or "none"
    raise EncoderError(
        f"encoder {spec}: which weights in {folder} are meant is not clear: {names}",
        hint=f"name them {_PREFERRED[0]}",
    )


def text_config(config: Mapping[str, Any], folder: Path | None, spec: str) -> dict[str, Any]:
    """Return the settings of the text tower, with names of folders inside the model's made whole.

    Raises:
        EncoderError: the configuration of its text model cannot be had.
    """
    text = dict(config.get("text_cfg") or {})
    name = text.get("hf_model_name")
    if not name:
        return text
    inside = folder / str(name) if folder is not None else None
    place = inside if inside is not None and inside.is_dir() else small_files(str(name), spec=spec)
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # damaged files, unknown architectures: an error for each
        raise _broken(spec, f"text model {name!r}", error) from None
    name = str(place)
    return {**text, "hf_model_name": name, "hf_model_pretrained": False}


def build_model(config: Mapping[str, Any], weights: Path, spec: str) -> Any:
    """Build the architecture and fill all of it from the checkpoint.

    Args:
        config: `model_cfg` as open_clip writes it.
        weights: the checkpoint.
        spec: for messages.

    Raises:
        EncoderError: the architecture is none, or the checkpoint does not fill it exactly.
    """
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    parts = {key: value for key, value in config.items() if key != "custom_text"}
    vision = dict(parts.get("vision_cfg") or {})
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    custom = config.get("custom_text") or "hf_model_name" in config["text_cfg"]
    kind = CoCa if custom and "multimodal_cfg" in config else CustomTextCLIP if custom else CLIP
    state = read_state(weights)
    try:
        model = kind(**{**parts, "vision_cfg": vision})
    except Exception as error:  # any value may stand in a configuration
        raise _broken(spec, "architecture", error) from None
    return _filled(model, state, weights, spec)


def _filled(model: Any, state: dict[str, Any], weights: Path, spec: str) -> Any:
    """Put a checkpoint into a model, in the forms that open_clip itself accepts; nothing is resized."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        state = convert_state_dict(model, {key: state[key] for key in state if key not in _NUMBERS})
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
        own = model.state_dict()
        for key in _UNUSED:  # they scale the loss, not the vectors
            if key in own:
                state[key] = state[key].reshape(own[key].shape) if key in state else own[key]
        state.pop("text.transformer.embeddings.position_ids", None)
        shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
        found = model.load_state_dict({k: v for k, v in state.items() if k not in shapes}, strict=False)
    except XModalError:
        raise
    except Exception as error:  # checkpoints of other projects fail in as many ways as there are
        raise _broken(spec, f"checkpoint {weights}", error) from None
    if shapes:
        ours, theirs = list(own[shapes[0]].shape), list(state[shapes[0]].shape)
        raise EncoderError(
            f"checkpoint {weights} does not fit the model: {shapes[0]} is {theirs}, not {ours}",
            hint="it belongs to another architecture or picture size",
        )
    wrong = mismatch(weights, found.missing_keys, found.unexpected_keys)
    if wrong is not None:
        raise wrong
    return model.float().eval()


def build_tokenizer(text: Mapping[str, Any], folder: Path | None, spec: str) -> Any:
    """Return open_clip's tokenizer for a text tower.

    Args:
        text: `text_cfg`.
        folder: of the model; its own tokenizer files come first, as in open_clip.
        spec: for messages.

    Raises:
        EncoderError: it cannot be had, or the configuration asks for what may run code.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    options = dict(text.get("tokenizer_kwargs") or {})
    if not options.keys() <= _TOKENIZER_OPTIONS:
        odd = ", ".join(sorted(options.keys() - _TOKENIZER_OPTIONS))
        raise EncoderError(
            f"encoder {spec}: tokenizer_kwargs in its configuration has {odd}, which is not read"
        )
    context = int(text.get("context_length", 77))
    name = text.get("hf_tokenizer_name")
    try:
        if not name:
            return SimpleTokenizer(context_length=context, **options)
        mode = text.get("tokenizer_mode")
        own = folder is not None and tokenizer_files(folder)
        source = folder if own else small_files(str(name), spec=spec)
        found = HFTokenizer(
            str(source), context_length=context, tokenizer_mode=mode, trust_remote_code=False, **options
        )
    except XModalError:
        raise
    except Exception as error:  # cache, network, damaged files: an error for each
        raise _broken(spec, "tokenizer", error) from None
    words, room = len(found.tokenizer), int(text.get("vocab_size", 0))
    if room and words > room and "hf_model_name" not in text:
        raise EncoderError(f"encoder {spec}: its tokenizer knows {words} tokens and the model {room}")
    return found


def _broken(spec: str, part: str, error: Exception) -> EncoderError:
    reason = " ".join(str(error).split())[:200]
    return EncoderError(
        f"encoder {spec}: its {part} cannot be used: {type(error).__name__}: {reason}",
        hint="download or copy the model again",
    )
