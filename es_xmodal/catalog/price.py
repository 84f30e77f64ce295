"""Prices as people write them: `¥1,299.00`, `1.299,00 €`, `EUR 12,50`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# After NFKC, so full-width signs are here too. A bare ¥ is read as yuan: yen prices say JPY, JP¥ or 円.
# fmt: off
_SIGNS: Final = {
    "US$": "USD", "HK$": "HKD", "NT$": "TWD", "AU$": "AUD", "A$": "AUD", "CA$": "CAD", "C$": "CAD",
    "S$": "SGD", "R$": "BRL", "$": "USD", "CN¥": "CNY", "JP¥": "JPY", "¥": "CNY", "RMB": "CNY",
    "人民币": "CNY", "元": "CNY", "円": "JPY", "원": "KRW", "₩": "KRW", "€": "EUR", "£": "GBP",
    "₹": "INR", "₽": "RUB", "₺": "TRY", "₫": "VND", "₴": "UAH", "฿": "THB", "₪": "ILS",
    "ZŁ": "PLN", "KČ": "CZK",
}
_CODES: Final = frozenset((
    "AED", "ARS", "AUD", "BDT", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP",
    "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "ISK", "JOD", "JPY", "KES", "KRW", "KWD", "KZT", "LKR",
    "MAD", "MOP", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB",
    "SAR", "SEK", "SGD", "THB", "TND", "TRY", "TWD", "UAH", "USD", "UYU", "UZS", "VND", "ZAR",
))
# fmt: on
_SEVERAL: Final = frozenset({"KR", "RS"})  # written in several countries: a price, but no currency
_NUMBER: Final = re.compile(r"(?<![^\W\d_])[.,]\d+|\d[\d.,' ]*")
_BLANK_GROUPS: Final = re.compile(r"(?<=\d)[ '](?=\d{3}(?!\d))")
_PLAIN: Final = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_EXPONENT: Final = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+")
_COMMA_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}")
_DOT_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+")


def parse_price(text: str) -> tuple[float, str | None] | None:
    """Read a price that is written as text.

    Of two kinds of separator the last is the decimal one. A single kind that stands between groups of three
    digits separates thousands, with one exception: a lone dot in a bare number is a decimal point (`1.299` is
    about 1.3, `1.299 €` is 1299). A bare ¥ means yuan and a bare $ means US dollars.

    Args:
        text: one amount, with or without a sign or a three-letter code of a currency.

    Returns:
        The amount, which may be negative, or infinite where no float is as large, and the currency if one is
        written; None if this is no price.
    """
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("’", "'").strip()
    text = " ".join(text.split())
    if _EXPONENT.fullmatch(text):
        return float(text), None
    match = _NUMBER.search(text)
    if match is None:
        return None
    before, after = text[: match.start()], text[match.end() :].strip()
    if after.startswith("-"):  # Swiss and German "12.-" and "12,-"
        after = after[1:].strip()
    negative = "-" in before
    before = before.replace("-", "", 1).replace("+", "", 1).strip()
    known, currency = _currency(f"{before} {after}")
    amount = _amount(match.group().rstrip(" .,'"), signed=currency is not None or bool(before or after))
    if amount is None or not known:
        return None
    return (-amount if negative else amount), currency


def _currency(around: str) -> tuple[bool, str | None]:
    """Name the currency of what stands around a number; the first value is False for other words."""
    words = [word.rstrip(".") for word in around.upper().split()]
    if len(words) > 2 or any(w not in _SIGNS and w not in _CODES and w not in _SEVERAL for w in words):
        return False, None
    codes = [word for word in words if word in _CODES] + [_SIGNS[word] for word in words if word in _SIGNS]
    return True, next(iter(codes), None)


def _amount(digits: str, *, signed: bool) -> float | None:
    """Read digits with separators.

    Args:
        digits: begins with a digit; holds digits, dots, commas, blanks and apostrophes.
        signed: a currency is written beside the number.

    Returns:
        The amount, or None if the separators make no sense.
    """
    digits = _BLANK_GROUPS.sub("", digits)
    comma, dot = digits.rfind(","), digits.rfind(".")
    if comma >= 0 and dot >= 0:
        thousands, decimal = (",", ".") if dot > comma else (".", ",")
        whole, _, fraction = digits.rpartition(decimal)
        grouped = _COMMA_GROUPS if thousands == "," else _DOT_GROUPS
        digits = f"{whole.replace(thousands, '')}.{fraction}" if grouped.fullmatch(whole) else ""
    elif _COMMA_GROUPS.fullmatch(digits):
        digits = digits.replace(",", "")
    elif digits.count(".") > 1 or (dot >= 0 and signed):
        digits = digits.replace(".", "") if _DOT_GROUPS.fullmatch(digits) else digits
    elif comma >= 0:
        digits = digits.replace(",", ".", 1)
    return float(digits) if _PLAIN.fullmatch(digits) else None
