"""A row that says that its product is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from es_xmodal.catalog.clean import clean_line
from es_xmodal.catalog.values import FieldProblem, show

FIELD: Final = "deleted"
_YES: Final = frozenset({"true", "yes", "y", "1"})
_NO: Final = frozenset({"false", "no", "n", "0", ""})


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """The product of that id is to leave the index.

    Attributes:
        line: number of the row in its source, from 1.
        row: as it was read, for the rejects file.
        version: what settles it against other rows of the same id; None: there is no such field.
    """

    id: str
    line: int
    row: Mapping[str, Any]
    version: int | None = None


def is_deletion(row: Mapping[str, Any]) -> bool:
    """Whether a row deletes its product.

    Args:
        row: with the names of the catalogue format.

    Returns:
        True for `deleted`: true, 1, or those and `yes` as text; False for their opposites, null and blank.

    Raises:
        FieldProblem: `deleted` says neither yes nor no.
    """
    value = row.get(FIELD)
    if value is None or isinstance(value, bool):
        return bool(value)
    word = clean_line(str(value)).lower() if isinstance(value, (str, int, float)) else "?"
    word = word.removesuffix(".0")  # tables know numbers, not whole numbers
    if word in _YES or word in _NO:
        return word in _YES
    raise FieldProblem(FIELD, "not_yes_or_no", f"deleted {show(value)} says neither yes nor no")
