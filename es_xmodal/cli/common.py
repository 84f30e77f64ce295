"""What several commands share: options, settings, consoles, JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from es_xmodal.errors import PictureError, SettingsError
from es_xmodal.media.picture import DEFAULT_LIMITS
from es_xmodal.settings import Settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])

url_option = click.option(
    "--url",
    metavar="URL[,URL]",
    help="Elasticsearch, or its nodes. [default: ES_XMODAL_URL, else the running local node]",
)
index_option = click.option("--index", default="products", show_default=True, help="Alias of the index.")
profile_option = click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Boosts and weights; `es-xmodal profile show` prints the defaults.",
)
index_encoder_option = click.option(
    "--encoder", metavar="SPEC", help="The encoder of the index, where it has another SPEC on this machine."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def settings_for(url: str | None, **given: Any) -> Settings:
    """Read the settings; without an address take that of the running local node.

    Raises:
        SettingsError: a setting cannot be used.
    """
    settings = load_settings(url=url, **given)
    if settings.url is not None:
        return settings
    from es_xmodal.local.state import running_url

    return load_settings(url=running_url(), **given)


def echo_json(value: Any) -> None:
    """Print one JSON object, readable on a terminal and compact in a pipe."""
    import orjson

    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    # As bytes, behind what was written as text: JSON is UTF-8, whatever the terminal's encoding is.
    sys.stdout.flush()
    click.echo(orjson.dumps(value, option=option | orjson.OPT_SERIALIZE_NUMPY))


def echo_json_line(value: Any) -> None:
    """Print one JSON object on one line, for output of many."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


def read_image(given: str) -> str | bytes:
    """Return what `--image` means: `-` is what comes from standard input.

    Raises:
        PictureError: nothing comes from there.
    """
    if given != "-":
        return given
    # One byte more than is allowed, so that the one that decodes can tell and an endless pipe ends.
    data = sys.stdin.buffer.read(DEFAULT_LIMITS.max_bytes + 1)
    if not data:
        raise PictureError("standard input is empty", code="empty", hint="write `--image - < photo.jpg`")
    return data


def rename_pair(text: str) -> tuple[str, str]:
    """Take `--map FIELD=NAME` apart.

    Raises:
        SettingsError: it is no such pair.
    """
    field, sign, name = text.partition("=")
    if not sign or not field.strip() or not name.strip():
        raise SettingsError(f"--map {text!r} is no pair", hint="write --map title=name")
    return field.strip(), name.strip()
