"""Weights, tokenizer and preprocessing from a folder, by transformers: complete, safe, or an error.

Code that a model's folder brings along is never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from es_xmodal.encoders.clip.checkpoint import mismatch, read_json, tokenizer_files
from es_xmodal.errors import EncoderError, XModalError

_NO_WORDS = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}


def weight_files(folder: Path, spec: str) -> list[Path]:
    """Return the files that transformers reads the weights from.

    Raises:
        EncoderError: there are none, or some are missing.
    """
    for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                 "pytorch_model.bin.index.json"):  # fmt: skip
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix != ".json":
            return [path]
        shards = sorted({folder / str(one) for one in dict(read_json(path).get("weight_map", {})).values()})
        lost = [one.name for one in shards if not one.is_file()]
        if lost or not shards:
            raise EncoderError(f"encoder {spec}: {path.parent} lacks {', '.join(lost) or 'weights'}")
        return shards
    raise EncoderError(
        f"encoder {spec}: {folder} has no weights",
        hint="model.safetensors or pytorch_model.bin is looked for",
    )


def load_model(folder: Path, name: str, spec: str) -> Any:
    """Load weights; every one of the model's must be there, and no others.

    Args:
        folder: with `config.json` and the weights.
        name: transformers' class of the model.
        spec: for messages.

    Raises:
        EncoderError: they are missing, partial, damaged, of another model, or in an unsafe format.
    """
    import transformers

    weight_files(folder, spec)
    kind = getattr(transformers, name, None)
    if kind is None:
        raise EncoderError(
            f"encoder {spec} needs {name}, which transformers {transformers.__version__} lacks",
            hint="pip install --upgrade transformers",
        )
    try:
        model, report = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except Exception as error:  # damaged or hostile files bring nearly every exception there is
        raise _unusable(spec, "weights", error) from None
    wrong = mismatch(folder, report["missing_keys"], _foreign(report["unexpected_keys"]))
    if wrong is not None or report.get("mismatched_keys") or report.get("error_msgs"):
        raise wrong or EncoderError(
            f"encoder {spec}: weights in {folder} have other shapes than its config.json"
        )
    return model.float().eval()


def _foreign(keys: Sequence[str]) -> list[str]:
    """Keys that nobody reads: positions that are counted, and poolers that some families leave out."""
    harmless = ("position_ids", "pooler.dense.weight", "pooler.dense.bias")
    return [key for key in keys if not key.endswith(harmless)]


def load_tokenizer(folder: Path, room: int, spec: str) -> Any:
    """Load the tokenizer of a folder.

    Args:
        folder: with its files.
        room: tokens that the model knows.
        spec: for messages.

    Raises:
        EncoderError: it is missing, damaged, or of another model.
    """
    from transformers import AutoTokenizer

    if not set(tokenizer_files(folder)) - _NO_WORDS:  # transformers would make an empty vocabulary of its own
        raise EncoderError(
            f"encoder {spec}: {folder} has no tokenizer", hint="copy its tokenizer files there"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # as above
        raise _unusable(spec, "tokenizer", error) from None
    words = len(tokenizer)
    if words > room:
        raise EncoderError(
            f"encoder {spec}: the tokenizer in {folder} knows {words} tokens and the model {room}",
            hint="it belongs to another model",
        )
    return tokenizer


def load_processor(folder: Path, spec: str) -> Any:
    """Load the preprocessing, in the version that runs on Pillow: the models were published with that one.

    Raises:
        EncoderError: it is missing or damaged.
    """
    import transformers

    newer = int(transformers.__version__.partition(".")[0]) >= 5
    how: dict[str, Any] = {"backend": "pil"} if newer else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, **how
        )
    except Exception as error:  # as above
        raise _unusable(spec, "preprocessing", error) from None


def _unusable(spec: str, part: str, error: Exception) -> EncoderError:
    if isinstance(error, XModalError):
        raise error
    reason = " ".join(str(error).split())[:200]
    return EncoderError(
        f"encoder {spec}: its {part} cannot be loaded: {type(error).__name__}: {reason}",
        hint="download or copy the model again; weights are read from safetensors or plain tensors only",
    )
