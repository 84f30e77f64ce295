"""Fields that have another name in the shop's file: `--map title=name`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from es_xmodal.catalog.product import FIELDS, IDENTIFIERS, LANGUAGE_FIELD
from es_xmodal.errors import CatalogError

_LOGGER = logging.getLogger(__name__)
_WARN_AFTER_ROWS: Final = 1_000
_ABSENT: Final = object()


def is_field(name: str) -> bool:
    """Tell whether a name is one of the catalogue format.

    Args:
        name: such as `title`, `title_zh`, `attributes.colour` or `identifiers.sku`.

    Returns:
        Whether a product can be given a value under this name.
    """
    parent, _, child = name.partition(".")
    if child:
        return parent == "attributes" or (parent == "identifiers" and child in IDENTIFIERS)
    return name in FIELDS or LANGUAGE_FIELD.fullmatch(name) is not None


def nearest(name: str, names: Iterable[str]) -> str:
    """Name what was probably meant.

    Args:
        name: a name that is wrong.
        names: those that are right.

    Returns:
        The most similar one, or nothing.
    """
    by_lower = {other.lower(): other for other in names}
    return next((by_lower[n] for n in get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)), "")


class Renames:
    """The renames of one catalogue, checked.

    Args:
        pairs: field of the catalogue format to the name that it has in the file; the name may lead into
            objects with dots.

    Raises:
        CatalogError: there is no such field in the catalogue format.
    """

    def __init__(self, pairs: Mapping[str, str]) -> None:
        for target, source in pairs.items():
            if not is_field(target) or not source:
                names = [*FIELDS, *(f"identifiers.{name}" for name in IDENTIFIERS)]
                meant = nearest(target, names)
                what = "no name after =" if is_field(target) else f"there is no field {target}"
                raise CatalogError(
                    f"--map {target}={source}: {what}",
                    hint=(f"the nearest is {meant}; " if meant and meant != target else "")
                    + f"fields are {', '.join(FIELDS)}, title_LANG, attributes.NAME, identifiers.NAME",
                )
        self.pairs = dict(pairs)
        self._unseen = dict(pairs)
        self._rows = 0

    def check_columns(self, names: Iterable[str], where: str) -> None:
        """Check that what is renamed exists, for files that name their columns up front.

        Args:
            names: the columns.
            where: the file, for the message.

        Raises:
            CatalogError: there is no such column.
        """
        names = list(names)
        for target, source in self.pairs.items():
            if source not in names and source.partition(".")[0] not in names and target not in names:
                meant = nearest(source, names)
                raise CatalogError(
                    f"--map {target}={source}: {where} has no column {source}",
                    hint=(f"the nearest is {meant}; " if meant else "")
                    + f"columns are {', '.join(names[:40])}",
                )

    def apply(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give the fields of one row their names in the catalogue format.

        A field that is absent under its name in the file keeps what stands under its right name, so a row
        that went through here can go through again. A value that has to make room is kept under
        `replaced.NAME`.

        Args:
            row: the row as it was read; it is not changed.

        Returns:
            The row with the right names.
        """
        if not self.pairs:
            return row
        found = {target: _get(row, source) for target, source in self.pairs.items()}
        found = {target: value for target, value in found.items() if value is not _ABSENT}
        self._note(found)
        result = row
        for target in found:
            result = _without(result, self.pairs[target])
        for target, value in found.items():
            if result.get(target) is not None:
                result = {**result, f"replaced.{target}": result[target]}
            result = {**result, target: value}
        return result

    def finish(self) -> None:
        """Warn about renames that no row needed; called when the last row was read."""
        for target, source in self._unseen.items():
            _LOGGER.warning("--map %s=%s: none of %d rows has a field %s", target, source, self._rows, source)
        self._unseen = {}

    def _note(self, found: Mapping[str, Any]) -> None:
        self._rows += 1
        if self._unseen:
            self._unseen = {t: source for t, source in self._unseen.items() if t not in found}
            if self._rows == _WARN_AFTER_ROWS:
                self.finish()


def _get(row: Mapping[str, Any], path: str) -> Any:
    if path in row:
        return row[path]
    head, _, rest = path.partition(".")
    inner = row.get(head)
    return _get(inner, rest) if rest and isinstance(inner, dict) else _ABSENT


def _without(row: dict[str, Any], path: str) -> dict[str, Any]:
    """Copy a row without the value at a path."""
    if path in row:
        return {key: value for key, value in row.items() if key != path}
    head, _, rest = path.partition(".")
    inner = row.get(head)
    if not rest or not isinstance(inner, dict):
        return row
    inner = _without(inner, rest)
    return {key: inner if key == head else value for key, value in row.items() if key != head or inner}
