"""Another encoder with heads on top, that `es-xmodal adapt` has trained on a shop's own pairs."""

from __future__ import annotations

from es_xmodal.encoders.base import Encoder, EncoderOptions

KIND = "adapted"


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Load an adapted encoder for the registry.

    Args:
        argument: the folder that `es-xmodal adapt` has written.
        options: for the base.

    Raises:
        EncoderError: the folder is missing or damaged, or its base is another one now.
    """
    from es_xmodal.encoders.adapted.folder import load_adapted

    return load_adapted(argument, options)
