"""Checks of single values of a row: text, numbers, yes or no, and whatever is kept as it is."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from es_xmodal.catalog.clean import clean_block, clean_line, clean_text
from es_xmodal.catalog.price import parse_price

MAX_ID_BYTES: Final = 512
MAX_TEXT_BYTES: Final = 1_000_000
MAX_WORD_CHARS: Final = 8_191
MAX_DEPTH: Final = 50

_YES: Final = frozenset(
    {"true", "yes", "y", "1", "in stock", "instock", "available", "有货", "有貨", "现货", "現貨"}
)
_NO: Final = frozenset(
    {"false", "no", "n", "0", "out of stock", "outofstock", "unavailable", "sold out", "soldout"}
    | {"not available", "discontinued", "无货", "無貨", "缺货", "缺貨", "售罄"}
)


class FieldProblem(Exception):
    """One field of a row cannot be used.

    Args:
        field: the field, with dots inside objects.
        code: a short stable word.
        text: what is wrong, for a person.
    """

    def __init__(self, field: str, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.field = field


def show(value: Any, limit: int = 60) -> str:
    """Write a value for a message: short, on one line, without control characters.

    Args:
        value: a JSON value.
        limit: most characters.

    Returns:
        The value as JSON, cut where it is long.
    """
    if isinstance(value, (list, tuple, dict)):
        return "a list" if not isinstance(value, dict) else "an object"
    text = value[: limit + 1] if isinstance(value, str) else str(value)
    text = clean_line(text)
    text = text if len(text) <= limit else text[:limit] + "…"
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text


def scalar_text(value: Any, field: str) -> str:
    """Turn a single JSON value into text; whole numbers lose their `.0`.

    Args:
        value: text, number or truth value.
        field: the field, for the message.

    Returns:
        The value as text, not yet cleaned.

    Raises:
        FieldProblem: the value is a list, an object or not a finite number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(_sized(value, field))
    if isinstance(value, float):
        _finite(value, field)
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    raise FieldProblem(field, "wrong_type", f"{field} must be one text, not {show(value)}")


def word(value: Any, field: str) -> str | None:
    """Read a short text on one line, such as a brand.

    Args:
        value: text or number; None counts as absent.
        field: the field, for the message.

    Returns:
        The cleaned text, or None where nothing is left of it.

    Raises:
        FieldProblem: wrong type, or longer than a keyword may be.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise FieldProblem(field, "wrong_type", f"{field} must be text, not {show(value)}")
    text = clean_line(scalar_text(value, field))
    if len(text) > MAX_WORD_CHARS:
        raise FieldProblem(field, "too_long", f"{field} has {len(text)} characters, at most {MAX_WORD_CHARS}")
    return text or None


def long_text(value: Any, field: str, *, lines: bool) -> str:
    """Read a title or a description.

    Args:
        value: text or number; None counts as empty.
        field: the field, for the message.
        lines: line ends inside stay.

    Returns:
        The cleaned text.

    Raises:
        FieldProblem: wrong type, or more than `MAX_TEXT_BYTES`.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        raise FieldProblem(field, "wrong_type", f"{field} must be text, not {show(value)}")
    text = scalar_text(value, field)
    text = clean_block(text) if lines else clean_line(text)
    size = len(text) if text.isascii() else len(text.encode("utf-8"))
    if size > MAX_TEXT_BYTES:
        raise FieldProblem(field, "too_long", f"{field} has {size} bytes, at most {MAX_TEXT_BYTES}")
    return text


def price(value: Any) -> tuple[float | None, str | None]:
    """Read a price.

    Args:
        value: a number, or text such as `¥1,299.00`; None and blank text count as absent.

    Returns:
        The amount and the currency that is written beside it.

    Raises:
        FieldProblem: not a price, negative, not finite.
    """
    currency = None
    if value is None or (isinstance(value, str) and not clean_line(value)):
        return None, None
    if isinstance(value, str):
        if value.strip().lower().lstrip("+-") in {"nan", "inf", "infinity"}:
            raise FieldProblem("price", "not_finite", f"price is {show(value)}")
        parsed = parse_price(clean_line(value)) if len(value) <= 100 else None
        if parsed is None:
            raise FieldProblem("price", "not_a_price", f"price {show(value)} cannot be read as one amount")
        value, currency = parsed
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldProblem("price", "wrong_type", f"price must be a number, not {show(value)}")
    if isinstance(value, int):
        _sized(value, "price")
    _finite(float(value), "price")
    if value < 0:
        raise FieldProblem("price", "negative", f"price is {show(value)}")
    return abs(float(value)), currency


def availability(value: Any) -> bool | None:
    """Read whether a product can be bought.

    Args:
        value: a truth value, words such as `in stock`, or the number of pieces; None and blank text count as
            absent.

    Returns:
        True, False, or None where it is not said.

    Raises:
        FieldProblem: the value says neither yes nor no.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        _finite(float(_sized(value, "available") if isinstance(value, int) else value), "available")
        if value >= 0:
            return value > 0
    elif isinstance(value, str):
        text = clean_line(value).lower().replace("_", " ").replace("-", " ")
        if not text or text in _YES or text in _NO:
            return text in _YES if text else None
    else:
        raise FieldProblem("available", "wrong_type", f"available must be true or false, not {show(value)}")
    raise FieldProblem("available", "not_yes_or_no", f"available {show(value)} says neither yes nor no")


def kept(value: Any, field: str, depth: int = 0) -> Any:
    """Check and clean a value that is kept as it is.

    Args:
        value: any JSON value.
        field: the field, for the message.
        depth: how many lists and objects are around it.

    Returns:
        The same value with clean strings.

    Raises:
        FieldProblem: nested too deeply, or a number that JSON and Elasticsearch cannot carry.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return _finite(value, field)
    if isinstance(value, int):
        if value.bit_length() > 63:
            raise FieldProblem(field, "number_too_big", f"{field} is a whole number over 64 bits")
        return value
    if depth >= MAX_DEPTH:
        raise FieldProblem(field, "too_deep", f"{field} is nested over {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {clean_text(key): kept(item, f"{field}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [kept(item, f"{field}[{i}]", depth + 1) for i, item in enumerate(value)]
    return value


def _finite(value: float, field: str) -> float:
    if not math.isfinite(value):
        raise FieldProblem(field, "not_finite", f"{field} is {value}, not a finite number")
    return value


def _sized(value: int, field: str) -> int:
    if value.bit_length() > 128:
        raise FieldProblem(field, "number_too_big", f"{field} is a number of over 128 bits")
    return value
