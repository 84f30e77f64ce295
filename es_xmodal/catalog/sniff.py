"""Guesses about a file from its first bytes: encoding and kind."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any, Final, Literal

from es_xmodal.errors import CatalogError

_FORMATS_HINT: Final = "a catalogue is a JSON array, JSON Lines, CSV or Parquet, each also .gz"
_MAGIC: Final = (
    (
        b"PK\x03\x04",
        "a ZIP archive or an Excel workbook",
        "save the sheet as CSV (UTF-8), or unpack the archive",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"BZh", "compressed with bzip2", "unpack it; of compressed files only .gz is read"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it; of compressed files only .gz is read"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it; of compressed files only .gz is read"),
    (b"\x1f\x8b", "compressed twice", "unpack it once"),
    (b"%PDF", "a PDF", _FORMATS_HINT),
    (b"\x89PNG", "a picture", _FORMATS_HINT),
    (b"\xff\xd8\xff", "a picture", _FORMATS_HINT),
    (b"GIF8", "a picture", _FORMATS_HINT),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
)
_CONTROLS: Final = bytes({*range(32), 127} - {9, 10, 13})
_LINES_NAMES: Final = (".jsonl", ".ndjson", ".jl")
_TABLE_NAMES: Final = (".csv", ".tsv", ".tab", ".txt")
_JSON_START: Final = re.compile(r"\s*(?:\[\s*[\[{]|\{\s*\")")
_MARKUP: Final = re.compile(r"\s*<(?:!doctype|html|\?xml|rss|feed)", re.IGNORECASE)
_ESCAPED: Final = re.compile("[\udc80-\udcff]")
_GB_CHARACTER: Final = re.compile(
    rb"([\xa1-\xf7][\xa1-\xfe])|[\x81-\xfe][0-9][\x81-\xfe][0-9]|[\x81-\xfe][\x40-\x7e\x80-\xfe]|[\x80-\xff]"
)


def marked_encoding(head: bytes) -> str | None:
    """Name the encoding that a byte order mark or zero bytes give away.

    Args:
        head: the start of the file.

    Returns:
        Python's name of the encoding, or None.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    half = len(head) // 2
    low, high = head[0::2].count(0), head[1::2].count(0)
    if half >= 8 and max(low, high) > half * 0.4 and min(low, high) < half * 0.05:
        return "utf-16-le" if high > low else "utf-16-be"
    return None


def refuse_binary(head: bytes, path: Path) -> None:
    """Raise for a file that holds no text.

    Args:
        head: the start of the file.
        path: the file, for the message.

    Raises:
        CatalogError: this is a picture, an archive or other binary data.
    """
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise CatalogError(f"catalogue {path} is {what}", hint=hint)
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > 1 and controls * 10 > len(head):
        raise CatalogError(f"catalogue {path} is binary data, not text", hint=_FORMATS_HINT)


def refuse_empty(text: str, path: Path) -> None:
    """Raise for a file in which nothing is.

    Args:
        text: the start of the file.
        path: the file, for the message.

    Raises:
        CatalogError: there is no text, or it is markup.
    """
    if not text.strip("\ufeff\x00 \t\r\n"):
        raise CatalogError(f"catalogue {path} is empty", hint="an empty catalogue would empty the index")
    if _MARKUP.match(text):
        raise CatalogError(f"catalogue {path} is XML or HTML", hint=_FORMATS_HINT)


def guessed_encoding(sample: bytes, path: Path) -> str:
    """Tell UTF-8 from GB18030.

    GB18030 text read as UTF-8 is broken in most of its characters, and a damaged UTF-8 file in few. Two bytes
    from the old GB2312 square make up most of Chinese text, and hardly ever occur in single-byte encodings.

    Args:
        sample: whole lines, the first of which holds bytes over 0x7F.
        path: the file, for the message.

    Returns:
        `utf-8-sig` or `gb18030`.

    Raises:
        CatalogError: it is neither.
    """
    text = sample.decode("utf-8", "surrogateescape")
    broken = len(_ESCAPED.findall(text))
    good = sum(1 for c in text if c > "\x7f") - broken
    if broken == 0:
        return "utf-8-sig"
    characters = _GB_CHARACTER.findall(sample)
    common = sum(1 for character in characters if character)
    undecoded = len(_ESCAPED.findall(sample.decode("gb18030", "surrogateescape")))
    fits_gb = common >= len(characters) * 0.6 and undecoded <= len(characters) * 0.02
    if fits_gb and good < broken * 2:
        return "gb18030"
    lines = text.splitlines()
    if good >= broken or sum(1 for line in lines if _ESCAPED.search(line)) * 2 < len(lines):
        return "utf-8-sig"
    byte = ord(next(iter(_ESCAPED.findall(text)))) - 0xDC00
    raise CatalogError(
        f"catalogue {path} is not UTF-8 (byte 0x{byte:02X}) and does not look like GB18030",
        hint="save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8",
    )


def kind(text: str, path: Path, *, whole: bool) -> Literal["lines", "array", "object", "table"]:
    """Tell JSON Lines, a JSON array, a JSON object and a table apart.

    Args:
        text: the start of the file.
        path: the file; its name decides where the content does not.
        whole: the text is the whole file.

    Returns:
        The kind.

    Raises:
        CatalogError: the name says JSON and the content does not.
    """
    name = path.name.lower().removesuffix(".gz")
    body = text.lstrip("\ufeff \t\r\n")
    if name.endswith(_TABLE_NAMES) and not _JSON_START.match(body):
        return "table"
    lines = [line for line in body.split("\n", 20) if line.strip()]
    first = _json(lines[0]) if len(lines) > 1 or whole else None
    if body[0] == "[":
        # Lines that are lists are bad rows, but rows; a list of objects on one line is a whole catalogue.
        of_objects = isinstance(first, list) and bool(first) and isinstance(first[0], dict)
        is_row = first is not None and (name.endswith(_LINES_NAMES) or not of_objects)
        return "lines" if is_row and len(lines) > 1 else "array"
    if body[0] == "{":
        many = len(lines) > 1 and (first is not None or lines[1].startswith("{"))
        return "lines" if many or name.endswith(_LINES_NAMES) else "object"
    if name.endswith(_LINES_NAMES):
        return "lines"
    if name.endswith(".json"):
        raise CatalogError(f"catalogue {path} holds no JSON array or object", hint=_FORMATS_HINT)
    return "table"


def _json(line: str) -> Any:
    try:
        return json.loads(line, strict=False)
    except (ValueError, RecursionError):
        return None
