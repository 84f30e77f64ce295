"""A profile as a file: TOML, with every default written out and said in words."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_xmodal.errors import SettingsError
from es_xmodal.query.model import OWN_FUSIONS
from es_xmodal.query.profile import (
    CLASSES,
    DEFAULT_PROFILE,
    FUSED,
    LEGS_OF,
    OPTIONAL,
    ORIGINAL_FIELDS,
    TOKEN_FIELDS,
    Profile,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
_SINGLE = {
    "name": "what you call it; has no effect",
    "short_terms": "queries of at most so many words are of the class `short`",
    "long_terms": "queries of at least so many words are of the class `long`",
    "max_terms": "words beyond these are left out of the leg `lexical`",
    "relevant_words": "--cutoff: a product with so many of the words is relevant, whatever the vectors say",
    "typo_boost": "boost of Latin words that differ by a letter or two; 0: mistyped words are not found",
    "min_spreads": "a vector leg whose best hit lies less than so many spreads above its floor stays below 1",
    "minus_weight": "weight of what to move away from",
    "composition": "several terms: `early`, one vector a leg, or `late`, a leg each",
}
_TABLES = {
    "field_boosts": "Fields of the leg `lexical` that hold the words as they were cut; 0 leaves one out.",
    "original_boosts": "Fields of the leg `lexical` that hold the text as it was.",
    "pins": "Weight of a product whose identifier was asked for; above the sum of the legs it is first.",
}
_KNOWN = {"field_boosts": TOKEN_FIELDS, "original_boosts": ORIGINAL_FIELDS, "pins": OWN_FUSIONS}
_WEIGHTS = ("convex", "boost")
_ABOUT_WEIGHTS = {
    "convex": "Weights of the legs for the fusions `convex` (divided by their sum) and `rrf`.",
    "boost": "Weights of the legs for the fusion `boost`: factors on raw scores.",
}


def parse_profile(text: str, *, where: str) -> Profile:
    """Read a profile.

    Args:
        text: TOML. What it does not name keeps its default.
        where: name of the file, for errors.

    Returns:
        The profile.

    Raises:
        SettingsError: it is not TOML, of another format, or a key is unknown or has a value that makes no
            sense; the error names file and key.
    """
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, brackets in brackets
        raise SettingsError(f"profile {where} is not valid TOML: {error}") from None
    try:
        return _profile(found)
    except SettingsError as error:
        message = error.message.removeprefix("profile: ")
        raise SettingsError(f"profile {where}: {message}", hint=error.hint) from None


def _profile(found: dict[str, Any]) -> Profile:
    if "format" not in found:
        raise SettingsError("format: is missing", hint=f"write `format = {FORMAT}` in its first line")
    if type(found["format"]) is not int or found["format"] != FORMAT:
        raise SettingsError(f"format: {found['format']!r} is not known here", hint=f"this is {FORMAT}")
    _known("", found, ("format", *_SINGLE, *_TABLES, "weights"))
    values: dict[str, Any] = {key: found[key] for key in _SINGLE if key in found}
    for key in _TABLES:
        table = dict(_flat(_table(key, found.get(key, {}))))
        _known(key, table, _KNOWN[key])
        values[key] = {**getattr(DEFAULT_PROFILE, key), **table}
    weights = _table("weights", found.get("weights", {}))
    _known("weights", weights, _WEIGHTS)
    for fusion in _WEIGHTS:
        values[fusion] = _rows(fusion, weights.get(fusion, {}))
    return Profile(**values)


def _rows(fusion: str, found: Any) -> dict[str, dict[str, float]]:
    where = f"weights.{fusion}"
    table = _table(where, found)
    _known(where, table, CLASSES)
    rows = {row: dict(legs) for row, legs in getattr(DEFAULT_PROFILE, fusion).items()}
    for row, legs in table.items():
        _known(f"{where}.{row}", _table(f"{where}.{row}", legs), (*LEGS_OF[row], FUSED))
        rows[row] = {**rows.get(row, {}), **legs}
    return rows


def _table(where: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise SettingsError(f"{where}: must be a table", hint=f"write [{where}], and its keys below it")
    return found


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`tokens.title = 3` without quotes is a table in TOML, and means the field all the same."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value


def _known(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
        path, other = (f"{where}.{one}" if where else one for one in (key, near))
        raise SettingsError(f"{path}: there is no such key", hint=f"the nearest is {other}")


def write_profile(profile: Profile) -> str:
    """Write a profile with everything that it holds.

    Args:
        profile: any profile.

    Returns:
        TOML; `parse_profile` makes the same profile of it.
    """
    lines = [
        "# A ranking profile of es_xmodal. What is left out keeps its default; these are all keys.",
        "# Use it with --profile FILE, ES_XMODAL_PROFILE, or `profile` in es_xmodal.toml.",
        "",
        f"format = {FORMAT}",
    ]
    lines += [f"{key} = {_value(getattr(profile, key))}  # {about}" for key, about in _SINGLE.items()]
    for key, about in _TABLES.items():
        lines += ["", f"# {about}", f"[{key}]", *_pairs(getattr(profile, key))]
    for fusion in _WEIGHTS:
        rows: Mapping[str, Mapping[str, float]] = getattr(profile, fusion)
        lines += ["", f"# {_ABOUT_WEIGHTS[fusion]}"]
        for row in CLASSES:
            if row in rows:
                lines += [f"[weights.{fusion}.{_key(row)}]", *_pairs(rows[row]), ""]
        left = [row for row in OPTIONAL if row not in rows]
        lines += [
            f"# [weights.{fusion}.{row}] may be there too; what it leaves out is as in `text`."
            for row in left
        ]
    return "\n".join(lines) + "\n"


def profile_json(profile: Profile) -> dict[str, Any]:
    """A profile's values by the keys of its file, and its digest."""
    singles = {key: getattr(profile, key) for key in (*_SINGLE, *_TABLES)}
    weights = {fusion: getattr(profile, fusion) for fusion in _WEIGHTS}
    return {"format": FORMAT, **singles, "weights": weights, "digest": profile.label.digest}


def _pairs(table: Mapping[str, float]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() else f'"{key}"'


def _value(value: str | float) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
