"""What a single string is: a picture, an address, an identifier, or words. Pure: no file is looked at."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from es_xmodal.catalog.document import identifier_key

RecognisedKind = Literal["data_uri", "url", "picture", "gtin", "identifier", "text"]

_PICTURE = re.compile(r"[^\\/]\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$", re.IGNORECASE)
_GTIN_LENGTHS = (8, 12, 13, 14)
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+[;,]", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_MODEL = re.compile(r"(?=.*[0-9])[A-Za-z0-9]+(?:[-_/.][A-Za-z0-9]+)*")
_MEASURE = re.compile(
    r"[0-9]+(?:[.,x×*/-][0-9]+)*(?:[a-z]{1,2}|cm²|inch|pack|pcs|mah|gal|wide|piece|pieces|er|hz|fps|year|years)",
    re.IGNORECASE,
)
_PLAIN_NUMBER = re.compile(r"[0-9]{1,5}|[0-9]+[.,/x-][0-9]+(?:[.,/x-][0-9]+)*")
_MODEL_CHARS = range(4, 65)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """What a string is.

    Attributes:
        kind: `data_uri`; `url` (http or https); `picture`, a path that ends like a picture's; `gtin`, an
            EAN, UPC or GTIN whose check digit is right; `identifier`, one word that looks like a model
            number or SKU; `text`.
        value: the string; of a `gtin` and an `identifier` its key, letters and digits in lower case, as
            the index's `identifier_keys` holds it.
    """

    kind: RecognisedKind
    value: str


def recognise(text: str) -> Recognised:
    """Say what a string is.

    Args:
        text: what someone typed as the whole of a query.

    Returns:
        The kind, and the value to go on with. In doubt it is `text`.
    """
    bare = text.strip()
    if _DATA_URI.match(bare):
        return Recognised(kind="data_uri", value=bare)
    if _URL.match(bare) and not any(letter.isspace() for letter in bare):
        return Recognised(kind="url", value=bare)
    if _PICTURE.search(bare) and "\n" not in bare:
        return Recognised(kind="picture", value=bare)
    plain = unicodedata.normalize("NFKC", bare)  # full-width digits, as typed with a Chinese keyboard
    if _DIGITS.fullmatch(plain) and is_gtin(identifier_key(plain)):
        return Recognised(kind="gtin", value=identifier_key(plain))
    if _looks_like_a_model(plain):
        return Recognised(kind="identifier", value=identifier_key(plain))
    return Recognised(kind="text", value=text)


def is_gtin(digits: str) -> bool:
    """Whether this is a GTIN-8, -12 (UPC), -13 (EAN, ISBN-13) or -14 with the right check digit.

    Args:
        digits: ASCII digits without blanks.
    """
    if len(digits) not in _GTIN_LENGTHS or not (digits.isascii() and digits.isdigit()):
        return False
    # From the right: the check digit counts 1, the others 3 and 1 in turn (GS1 General Specifications 7.9).
    weighted = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(reversed(digits)))
    return weighted % 10 == 0 and any(digit != "0" for digit in digits)


def _looks_like_a_model(word: str) -> bool:
    """One word of letters and digits that is neither a number nor a measure such as 500ml or 10x20cm."""
    return (
        len(word) in _MODEL_CHARS
        and _MODEL.fullmatch(word) is not None
        and _MEASURE.fullmatch(word) is None
        and _PLAIN_NUMBER.fullmatch(word) is None
    )
