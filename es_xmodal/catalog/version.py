"""Which of several rows of one product is the newest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from es_xmodal.catalog.clean import clean_line
from es_xmodal.catalog.values import FieldProblem, show

_WHOLE: Final = re.compile(r"\d{1,19}")
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")
_FRACTION: Final = re.compile(r"(\.\d+)")
_MOST: Final = 2**63 - 1


def version_of(row: Mapping[str, Any], field: str) -> int:
    """Read the version of a row.

    Args:
        row: with the names of the catalogue format.
        field: a whole number, or a date with or without time in ISO 8601; without a zone it is UTC.

    Returns:
        The number, or the milliseconds since 1970.

    Raises:
        FieldProblem: the row has no such field, or it is neither, or negative.
    """
    value = row.get(field)
    if value is None or value == "":
        raise FieldProblem(field, "missing", f"the row has no {field}, which settles its version")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        text = clean_line(value) if isinstance(value, str) else ""
        number = int(text) if _WHOLE.fullmatch(text) else _milliseconds(text)
    if not 0 <= number <= _MOST:
        raise FieldProblem(
            field, "no_version", f"{field} {show(value)} is neither a whole number from 0 nor a date"
        )
    return number


def _milliseconds(text: str) -> int:
    """Milliseconds since 1970; -1 where the text is no date."""
    if not _DATED.fullmatch(text):
        return -1
    # Python 3.10 reads neither Z nor fractions of other than three or six digits.
    text = _FRACTION.sub(lambda match: match[1][:7].ljust(7, "0"), text.replace("Z", "+00:00"), count=1)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return -1
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    return round(when.timestamp() * 1000)
