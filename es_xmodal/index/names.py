"""Names of indices: what a person may call one, and how its versions are numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from es_xmodal.errors import SettingsError

_FORBIDDEN = re.compile(r'[\\/*?"<>|,#:\s]')
_MAX_BYTES = 200
"""Elasticsearch allows 255; the rest is left for the version's suffix and the builder's alias."""


def check_name(name: str) -> str:
    """Return the name if Elasticsearch takes it as an alias.

    Args:
        name: what the caller calls the index.

    Returns:
        The same name.

    Raises:
        SettingsError: it is no single, legal name (wildcards and lists are none).
    """
    bad = _FORBIDDEN.search(name)
    if not name or name in (".", "..") or name != name.lower() or name[0] in "-_+." or bad:
        raise SettingsError(
            f"index: {name!r} cannot name an index",
            hint="use lower-case letters, digits, - and _, and start with a letter or digit",
        )
    if len(name.encode()) > _MAX_BYTES:
        raise SettingsError(f"index: the name is longer than {_MAX_BYTES} bytes")
    return name


def physical_name(name: str, number: int) -> str:
    """Return the name of one version.

    Args:
        name: the alias.
        number: from 1.

    Returns:
        Such as `products-v0001`.
    """
    return f"{name}-v{number:04d}"


def version_number(name: str, physical: str) -> int | None:
    """Return which version of an alias an index is.

    Args:
        name: the alias.
        physical: name of the index.

    Returns:
        Its number, or None where it is not named like a version of that alias.
    """
    found = re.fullmatch(re.escape(name) + r"-v(\d{4,9})", physical)
    return int(found.group(1)) if found else None


def base_name(physical: str) -> str:
    """Return the alias that an index is named after.

    Args:
        physical: name of an index.

    Returns:
        Such as `products`; empty where it is not named like a version.
    """
    found = re.fullmatch(r"(.+)-v\d{4,9}", physical)
    return found.group(1) if found else ""


def writer_alias(name: str, run_id: str) -> str:
    """Return the alias through which a builder writes to the version that it builds.

    A bulk request that requires an alias fails when the index behind it was dropped; without it
    Elasticsearch would make a new index of that name, with a guessed mapping.

    Args:
        name: the alias of the finished index.
        run_id: id of the run that builds.

    Returns:
        Such as `products-build-3f2a9c`.
    """
    return f"{name}-build-{run_id}"


def edits_alias(index: str) -> str:
    """Return the alias through which the version that serves is written.

    It moves in the same step as the alias that is searched. A writer that does not know of a swap yet thus
    finds no index, in place of one that has another encoder or that nobody searches any more.

    Args:
        index: physical name.

    Returns:
        Such as `products-v0001-edits`.
    """
    return f"{index}-edits"


def catch_up_alias(index: str, run_id: str) -> str:
    """Return the alias through which a complete version catches up with the one that serves.

    Args:
        index: physical name of the version that catches up.
        run_id: id of the run that writes.

    Returns:
        Such as `products-v0002-follows-3f2a9c`.
    """
    return f"{index}-follows-{run_id}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like the given one.

    Args:
        name: what was asked for.
        known: what there is.

    Returns:
        The nearest, or None where none is near.
    """
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return found[0] if found else None
