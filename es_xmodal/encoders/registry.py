"""Which encoder does a SPEC name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import EncoderSpecError

DEFAULT_SPEC = "mini"
"""The encoder that is used when none is named: in the package, works offline."""

_PLANNED = frozenset({"open_clip", "transformers", "local", "onnx", "http"})


def _mini() -> Encoder:
    from es_xmodal.encoders.mini import load_mini

    return load_mini()


_LOADERS: Mapping[str, Callable[[], Encoder]] = {"mini": _mini}


def encoder_names() -> tuple[str, ...]:
    """Return the SPEC strings that can be loaded, sorted."""
    return tuple(sorted(_LOADERS))


def load_encoder(spec: str = DEFAULT_SPEC) -> Encoder:
    """Load an encoder.

    Args:
        spec: its name, such as `mini`.

    Returns:
        The encoder, ready to use.

    Raises:
        EncoderSpecError: no encoder is called that.
        EncoderError: it is known, and its files are missing or damaged.
    """
    loader = _LOADERS.get(spec.strip())
    if loader is not None:
        return loader()
    kind = spec.split(":", 1)[0].strip()
    if ":" in spec and kind in _PLANNED:
        raise EncoderSpecError(
            f"encoder {spec!r}: the kind {kind!r} is not in this version",
            hint=f"this version has: {', '.join(encoder_names())}",
        )
    near = get_close_matches(spec.strip().lower(), encoder_names(), n=1, cutoff=0.5)
    known = ", ".join(encoder_names())
    hint = f"did you mean {near[0]!r}?" if near else f"this version has: {known}"
    raise EncoderSpecError(f"no encoder is called {spec!r}", hint=hint)
