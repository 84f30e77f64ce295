"""Which encoder does a SPEC name: `KIND`, `KIND:ARGUMENT`, or a folder.

Another package adds a kind with an entry point of the group `es_xmodal.encoders`, whose name is the kind and
whose object is a `Loader`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.errors import EncoderError, EncoderSpecError, XModalError

DEFAULT_SPEC = "mini"
"""The encoder that is used when none is named: in the package, works offline."""

ENTRY_POINTS = "es_xmodal.encoders"
MANIFEST = "es_xmodal_encoder.json"
"""Stands in a folder that one of our commands has written; {"kind": ...} names the kind that reads it."""

Loader: TypeAlias = Callable[[str, EncoderOptions], Encoder]
"""From what stands behind the colon (empty where there is none), and device and precision, to an encoder."""

# Kind -> where its loader lives. Written here, so that naming a kind imports none of them.
_BUILT_IN: Mapping[str, str] = {
    "mini": "es_xmodal.encoders.mini:load",
    "adapted": "es_xmodal.encoders.adapted:load",
    "http": "es_xmodal.encoders.http:load",
    "local": "es_xmodal.encoders.clip.local:load",
    "onnx": "es_xmodal.encoders.onnx:load",
    "open_clip": "es_xmodal.encoders.clip.open_clip:load",
    "transformers": "es_xmodal.encoders.clip.hf:load",
}

_LOADERS: dict[str, Loader] = {}
"""Kinds that stand in for those of the same name: tests put encoders without a model here."""


def built_in_kinds() -> tuple[str, ...]:
    """Return the kinds of SPEC that this package brings, in no order."""
    return tuple(_BUILT_IN)


def foreign_kinds() -> dict[str, EntryPoint]:
    """Return the kinds that other packages bring; one of our own names is not given away."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS) if point.name not in _BUILT_IN}


def encoder_kinds() -> tuple[str, ...]:
    """Return the kinds of SPEC that can be loaded, sorted; those of other packages included."""
    return tuple(sorted({*_BUILT_IN, *_LOADERS, *foreign_kinds()}))


def load_encoder(spec: str = DEFAULT_SPEC, options: EncoderOptions | None = None) -> Encoder:
    """Load an encoder.

    Args:
        spec: `mini`, `KIND:ARGUMENT`, or a folder that an es_xmodal command has written.
        options: device and precision; None: the best that is there.

    Returns:
        The encoder, ready to use.

    Raises:
        EncoderSpecError: no encoder is called that.
        EncoderError: it is known, and its files are missing or damaged.
        MissingExtraError: it needs a part that is not installed.
    """
    spec = spec.strip()
    kind, argument = _folder(Path(spec)) if spec and Path(spec).is_dir() else ("", "")
    if not kind:
        kind, _, argument = spec.partition(":")
    loader = _loader(kind)
    if loader is None:
        raise _unknown(spec)
    return loader(argument, options or EncoderOptions())


def _loader(kind: str) -> Loader | None:
    if kind in _LOADERS:
        return _LOADERS[kind]
    if kind in _BUILT_IN:
        module, _, name = _BUILT_IN[kind].partition(":")
        loader: Loader = getattr(importlib.import_module(module), name)
        return loader
    point = foreign_kinds().get(kind)
    return None if point is None else _from_entry_point(point)


def _folder(path: Path) -> tuple[str, str]:
    """Kind and argument of a folder that one of our commands has written; empty where it is none."""
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", ""
    except (OSError, ValueError) as error:
        raise EncoderError(f"encoder {path}: {MANIFEST} cannot be read: {error}") from None
    try:
        kind = json.loads(text)["kind"]
    except (ValueError, KeyError, TypeError):
        kind = None
    if not isinstance(kind, str) or not kind:
        raise EncoderError(
            f"encoder {path}: {MANIFEST} is damaged",
            hint="repeat the command that made it",
        )
    return kind, str(path.resolve())


def _from_entry_point(point: EntryPoint) -> Loader:
    try:
        loader: Loader = point.load()
    except XModalError:
        raise
    except Exception as error:  # the code of another package: anything may come
        raise EncoderError(
            f"encoder {point.name!r} of another package cannot be loaded: {type(error).__name__}: {error}",
            hint=f"its entry point is {point.value}; reinstall or remove that package",
        ) from error
    return loader


def _unknown(spec: str) -> EncoderSpecError:
    kinds = encoder_kinds()
    if spec and Path(spec).is_dir():
        return EncoderSpecError(
            f"folder {spec!r} holds no encoder that an es_xmodal command has written",
            hint="a model's own folder is written as local:DIR",
        )
    near = get_close_matches(spec.partition(":")[0].strip().lower(), kinds, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"kinds: {', '.join(kinds)}"
    return EncoderSpecError(f"no encoder is called {spec!r}", hint=hint)
