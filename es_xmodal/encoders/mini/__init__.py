"""The embedded encoder: real weights in the package, no network, no torch."""

from __future__ import annotations

from pathlib import Path

from es_xmodal.encoders.base import Encoder


def load_mini(folder: Path | None = None) -> Encoder:
    """Load the embedded encoder.

    Args:
        folder: where its files lie; the package's own when None.

    Raises:
        EncoderError: its files are missing or damaged.
    """
    from es_xmodal.encoders.mini.encoder import MiniEncoder
    from es_xmodal.encoders.mini.files import DATA

    return MiniEncoder(folder or DATA)
