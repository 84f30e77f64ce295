"""The embedded encoder: real weights in the package, no network, no torch."""

from __future__ import annotations

from pathlib import Path

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.errors import EncoderSpecError


def load_mini(folder: Path | None = None, threads: int | None = None) -> Encoder:
    """Load the embedded encoder.

    Args:
        folder: where its files lie; the package's own when None.
        threads: cores that it may use; None: all, at most 8.

    Raises:
        EncoderError: its files are missing or damaged.
    """
    from es_xmodal.encoders.mini.encoder import MiniEncoder
    from es_xmodal.encoders.mini.files import DATA

    return MiniEncoder(folder or DATA, threads)


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load the embedded encoder for the registry.

    Raises:
        EncoderError: its files are missing or damaged, or the options ask for what it cannot do.
    """
    if argument:
        raise EncoderSpecError(f"encoder mini takes no argument, and {argument!r} is one", hint="write mini")
    options.cpu_only("mini")
    encoder = load_mini(threads=options.threads)
    encoder.batch_size = options.batch_size or encoder.batch_size
    return encoder
