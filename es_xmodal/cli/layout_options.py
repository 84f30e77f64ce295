"""Options that say how a new version of an index is laid out; several commands have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import F
from es_xmodal.errors import SettingsError

if TYPE_CHECKING:
    from es_xmodal.index.combining import CombiningWish
    from es_xmodal.settings import Settings

_OPTIONS = (
    click.option(
        "--pictures",
        type=click.Choice(["best", "mean"]),
        help="Of a product with several: the best match counts, or their mean. [default: best]",
    ),
    click.option(
        "--role-weight", "roles", multiple=True, metavar="ROLE=W", help="detail=.5; 0: shown, not searched."
    ),
    click.option(
        "--fuse",
        type=click.Choice(["none", "add", "concat"]),
        help="One vector for text and pictures of a product. [default: none]",
    ),
    click.option("--text-share", type=float, metavar="S", help="The text's part in it. [default: 0.5]"),
    click.option(
        "--similarity",
        type=click.Choice(["cosine", "dot_product", "l2_norm"]),
        help="Of the vector fields. [default: the encoder's, cosine]",
    ),
    click.option(
        "--vector-index",
        metavar="TYPE|auto",
        help="Kind of vector index, such as int8_hnsw; auto: by size, server and licence. [default: auto]",
    ),
    click.option(
        "--expect", type=click.IntRange(1), metavar="N", help="Products in the end, where auto cannot know."
    ),
    click.option(
        "--ocr/--no-ocr",
        default=None,
        help="Read the words on pictures too; photos then find by them. [default: no; extra `ocr`]",
    ),
    click.option(
        "--placeholder",
        "placeholders",
        multiple=True,
        metavar="FILE|SHA256",
        help="A picture that shows no product, such as `no image`; it counts as none.",
    ),
    click.option("--shards", type=click.IntRange(1, 1024), help="Of a new index. [default: 1]"),
    click.option(
        "--replicas", type=click.IntRange(0, 32), help="[default: one where there is a node for it]"
    ),
    click.option("--keep", type=click.IntRange(1), default=2, show_default=True, help="Versions to keep."),
)


def layout_options(command: F) -> F:
    """Give a command the options of layout."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def combining_wish(settings: Settings, asked: dict[str, Any]) -> CombiningWish:
    """Return how pictures and texts are to be combined: as the options say, else as the settings do."""
    from es_xmodal.index.combining import CombiningWish

    roles = dict(_role(one) for one in asked["roles"])
    return CombiningWish(
        pictures=asked["pictures"] or settings.pictures,
        fuse=asked["fuse"] or settings.fuse,
        text_share=settings.text_share if asked["text_share"] is None else asked["text_share"],
        similarity=asked["similarity"] or settings.similarity,
        role_weights=roles or settings.role_weights,
    )


def placeholder_hash(text: str) -> str:
    """The content hash of a picture that is named by its hash or by a file."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    from es_xmodal.media.picture import content_hash

    try:
        return content_hash(Path(text).read_bytes())
    except OSError as error:
        raise SettingsError(
            f"--placeholder {text!r} cannot be read: {error.strerror or error}",
            hint="give a picture file, or the SHA-256 that the ingest's report names",
        ) from None


def _role(text: str) -> tuple[str, float]:
    role, sign, weight = text.rpartition("=")
    try:
        return role.strip().lower(), float(weight if sign else "?")
    except ValueError:
        raise SettingsError(
            f"--role-weight {text!r} is no pair", hint="write --role-weight detail=.5"
        ) from None
