"""Vectors for callers that want to do something of their own with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from es_xmodal.search.signals import load_query_picture
from es_xmodal.shop import Shop
from es_xmodal.vectors import Matrix


def encode(shop: Shop, texts: Sequence[str], pictures: Sequence[str | bytes]) -> dict[str, Any]:
    """Encode texts and pictures with the encoder of the index.

    Args:
        shop: the index.
        texts: any number.
        pictures: `data:` URIs or bytes.

    Returns:
        Space to vectors, for both.

    Raises:
        PictureError: a picture cannot be used.
        EncoderError: the encoder cannot be loaded, or cannot encode this.
    """
    encoder = shop.encoder()
    side = encoder.info.decode_side
    prepared = [encoder.prepare(load_query_picture(one, max_side=side)) for one in pictures]
    return {
        "encoder": encoder.info.spec,
        "fingerprint": encoder.info.fingerprint,
        "texts": _as_lists(encoder.encode_texts(texts) if texts else {}),
        "images": _as_lists(encoder.encode_pictures(prepared) if prepared else {}),
    }


def _as_lists(found: Mapping[str, Matrix]) -> dict[str, list[list[float]]]:
    return {name: rows.astype(float).round(7).tolist() for name, rows in found.items()}
