"""Files of a model: weights from safe formats only, and the fingerprint of all that makes a vector."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from es_xmodal.errors import EncoderError
from es_xmodal.resources import sha256_of

REVISION = 1
"""Of the code here; raised when the same files give other vectors than before."""

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip
"""Names under which the libraries keep a tokenizer."""

_PLACE = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
)
_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "cc-by-4.0": "CC-BY-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0"}
_HIDDEN = frozenset(
    {"tokenizer_file", "name_or_path", "_name_or_path", "special_tokens_map_file", "cache_dir"}
)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        EncoderError: there is no such file, or it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncoderError(
            f"{path.parent} has no {path.name}", hint="the download or copy is incomplete"
        ) from None
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read: {error}", hint="download or copy it again") from None
    if not isinstance(found, dict):
        raise EncoderError(f"{path} holds no JSON object", hint="download or copy it again")
    return found


def read_state(path: Path) -> dict[str, Any]:
    """Read tensors by name, from safetensors or from a pickle that holds tensors and nothing else.

    Raises:
        EncoderError: the file is missing, damaged, or would have to run code.
    """
    import torch

    if not path.is_file():
        raise EncoderError(f"there is no checkpoint {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files bring nearly every exception there is
        reason = " ".join(str(error).split())[:160]
        raise EncoderError(
            f"checkpoint {path} cannot be read safely: {type(error).__name__}: {reason}",
            hint="use safetensors, or a .pt/.bin file that holds nothing but tensors",
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise EncoderError(f"checkpoint {path} holds something else than named tensors")
    if not found:
        raise EncoderError(f"checkpoint {path} is empty")
    return {name.removeprefix("module."): value for name, value in found.items()}


def mismatch(path: Path | str, missing: Iterable[str], unexpected: Iterable[str]) -> EncoderError | None:
    """Return the error of a checkpoint that does not fill the model exactly, or None."""
    parts = []
    for word, names in (("missing", sorted(missing)), ("unexpected", sorted(unexpected))):
        if names:
            more = ", ..." if len(names) > 3 else ""
            parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{more})")
    if not parts:
        return None
    return EncoderError(
        f"checkpoint {path} does not fit the model: {'; '.join(parts)}",
        hint="it is incomplete or belongs to another architecture; weights are never made up",
    )


def fingerprint(
    kind: str, *, weights: Sequence[Path], settings: Mapping[str, Any], tokenizer: Sequence[Path] = ()
) -> str:
    """Name all that makes a vector: `KIND-` and 16 hexadecimal digits.

    Device, precision and the place of the files do not count.

    Args:
        kind: first part of the name.
        weights: files of the weights.
        settings: architecture, preprocessing and whatever else counts; fit for JSON.
        tokenizer: its files; JSON among them counts by what it says about texts.
    """
    parts = {
        "revision": REVISION,
        "weights": sorted(sha256_of(path) for path in weights),
        "settings": settings,
        "tokenizer": {path.name: _tokenizer_hash(path) for path in tokenizer},
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _tokenizer_hash(path: Path) -> str:
    if path.name != "tokenizer_config.json":
        return sha256_of(path)
    kept = {key: value for key, value in read_json(path).items() if key not in _HIDDEN}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def without_place(config: Any) -> Any:
    """Return a model's configuration without what says where it lies or how it was saved."""
    if isinstance(config, Mapping):
        return {key: without_place(value) for key, value in config.items() if key not in _PLACE}
    if isinstance(config, (list, tuple)):
        return [without_place(value) for value in config]
    return config


def tokenizer_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the tokenizer's files in a folder."""
    return tuple(name for name in TOKENIZER_FILES if (folder / name).is_file())


def licence_of(folder: Path) -> str:
    """Return the licence that the model card in a folder names, or `unknown`."""
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)", _card(folder), re.MULTILINE)
    return _SPDX.get(found[1].lower(), found[1]) if found else "unknown"


def languages_of(folder: Path) -> tuple[str, ...]:
    """Return the languages that the model card in a folder names; empty where it names none."""
    found = re.search(r"^language:[ \t]*(.*(?:\n[ \t]*-.*)*)", _card(folder), re.MULTILINE)
    codes = re.findall(r"multilingual|\b[A-Za-z]{2,3}(?:-[A-Za-z]{2,4})?\b", found[1]) if found else []
    return tuple("mul" if code.lower() == "multilingual" else code for code in dict.fromkeys(codes))


def _card(folder: Path) -> str:
    """The head of a model card, as hubs want it; empty where there is none."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:8192]
    except OSError:
        return ""
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    return head[1] if head else ""
