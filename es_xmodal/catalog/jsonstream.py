"""JSON rows out of a stream: lines, the elements of an array, an array inside an object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any, Final

from es_xmodal.catalog.clean import clean_text
from es_xmodal.catalog.product import Reject
from es_xmodal.catalog.source import ESCAPED_BYTE, MAX_ROW_CHARS, Source, bounded_lines
from es_xmodal.catalog.values import MAX_DEPTH, FieldProblem
from es_xmodal.errors import CatalogError

Rows = Iterator["Reject | tuple[int, Any]"]
_CHUNK_CHARS: Final = 1 << 16
_IN_STRING: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_IN_BRACKETS: Final = re.compile(r'[^"\[\]{}]*')
_SCALAR: Final = re.compile(r"[^\s,:\"\[\]{}]*")
_BLANK: Final = re.compile(r"\s*")
_ID: Final = re.compile(r'"id"\s*:\s*"([^"\\]{1,512})"')


def _whole_number(digits: str) -> int:
    if len(digits) > 40:  # Python's own limit is far higher, and older versions have none
        raise FieldProblem("", "number_too_big", f"a whole number of {len(digits)} digits")
    return int(digits)


_DECODER: Final = json.JSONDecoder(strict=False, parse_int=_whole_number)


def parse_json(text: str) -> Any:
    """Read one JSON value; NaN and raw control characters pass here and are judged later.

    Args:
        text: the value.

    Returns:
        The value.

    Raises:
        FieldProblem: it is not JSON, not text, or nested too deeply.
    """
    escaped = ESCAPED_BYTE.search(text)
    if escaped:
        byte = ord(escaped.group()) - 0xDC00
        raise FieldProblem("", "not_utf8", f"byte 0x{byte:02X} at column {escaped.start() + 1} is not UTF-8")
    try:
        value = _DECODER.decode(text.strip("\ufeff \t\r\n"))
    except json.JSONDecodeError as error:
        raise FieldProblem("", "not_json", f"{error.msg} at column {error.colno}") from None
    except RecursionError:
        raise FieldProblem("", "too_deep", f"nested over {MAX_DEPTH} levels") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise FieldProblem("", "too_deep", f"nested over {MAX_DEPTH} levels")
    return value


def json_rows(source: Source) -> Rows:
    """Read the rows of a JSON catalogue of any of the three kinds.

    Args:
        source: the file.

    Yields:
        The number and the value of each row, or a reject where there is no value.

    Raises:
        CatalogError: the file as a whole is no such JSON, or it is cut off.
    """
    if source.kind == "object" and source.small is not None:
        row = _single_row(source.small)
        if row is not None:
            yield 1, row
            return
    with source.open_text() as stream:
        if source.kind == "lines":
            texts: Iterator[tuple[int, str | None]] = enumerate(bounded_lines(stream), 1)
            texts = ((n, text) for n, text in texts if text is None or text.strip("\ufeff \t\r\n"))
        else:
            scanner = _Scanner(stream, str(source.path))
            texts = enumerate(scanner.array() if source.kind == "array" else scanner.array_in_object(), 1)
        for number, text in texts:
            yield json_row(number, text)


def json_row(number: int, text: str | None) -> Reject | tuple[int, Any]:
    """Parse one row.

    Args:
        number: number of the row.
        text: the row as JSON; None for one that is too large.

    Returns:
        The number and the value, or a reject that keeps the text.
    """
    if text is None:
        reason = f"too_large: the row has over {MAX_ROW_CHARS} characters"
        return Reject(line=number, id=None, stage="read", field=None, reason=reason, row=None)
    try:
        return number, parse_json(text)
    except FieldProblem as problem:
        match = _ID.search(text)
        name = clean_text(match[1]) if match else None
        raw = text.rstrip("\r\n")
        return Reject(
            line=number, id=name, stage="read", field=None, reason=clean_text(str(problem)), row=raw
        )


def _single_row(text: str) -> dict[str, Any] | None:
    """Read a file that holds one object, unless it is an object around a list of rows."""
    try:
        value = parse_json(text)
    except FieldProblem:
        return None
    if not isinstance(value, dict):
        return None
    lists = (v for v in value.values() if isinstance(v, list))
    wraps = any(item and isinstance(item[0], dict) for item in lists)
    bare = all(isinstance(v, (list, dict)) for v in value.values())
    return value if {"id", "title"} <= value.keys() or not (wraps or bare) else None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


class _Scanner:
    """Cuts the elements out of a JSON array without parsing them.

    An element that is not JSON is then one bad row, and the rest is still read; a parser of the whole file
    would have to stop there.
    """

    def __init__(self, stream: IO[str], path: str) -> None:
        self._stream, self._path = stream, path
        self._text, self._at = "", 0
        self._line = 1

    def array(self) -> Iterator[str | None]:
        """Yield the elements of the array that the text is."""
        self._expect("[")
        yield from self._elements()
        self._expect_end()

    def array_in_object(self) -> Iterator[str | None]:
        """Yield the elements of the one array of objects among the values of an object."""
        found = ""
        self._expect("{")
        while self._peek() != "}":
            key = self._value() if self._peek() == '"' else None
            if key is None:
                self._fail("a field name was expected")
            self._expect(":")
            if self._peek() != "[":
                self._value()
            else:
                self._at += 1
                is_list = self._peek() == "{"
                if is_list and found:
                    hint = "keep one of them in the file"
                    raise CatalogError(
                        f"catalogue {self._path} has lists of objects in {found} and {key}", hint=hint
                    )
                found = str(key) if is_list else found
                yield from (element for element in self._elements() if is_list)
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "}":
                self._fail("a comma or } was expected")
        self._at += 1
        self._expect_end()
        if not found:
            hint = 'write an array [...], one object a line, or {"products": [...]}'
            raise CatalogError(f"catalogue {self._path} is an object without a list of products", hint=hint)

    def _elements(self) -> Iterator[str | None]:
        while self._peek() != "]":
            yield self._value()
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "]":
                self._fail("a comma or ] was expected")
        self._at += 1

    def _value(self) -> str | None:
        """Cut out the value that starts here; None if it is too large."""
        parts: list[str] = []
        size, depth, quoted, start = 0, 0, False, self._at
        while True:
            pattern = _IN_STRING if quoted else _IN_BRACKETS if depth else _SCALAR
            match = pattern.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if len(self._text) - self._at < (2 if quoted else 1) and not self._text.startswith('"', self._at):
                size += self._at - start
                parts = [*parts, self._text[start : self._at]] if size <= MAX_ROW_CHARS else []
                start = 0
                if not self._fill():
                    break
                continue
            mark = self._text[self._at]
            if quoted or mark == '"':
                quoted = not quoted
            elif depth == 0 and mark not in "[{":
                break
            else:
                depth += 1 if mark in "[{" else -1
            self._at += 1
            if depth == 0 and not quoted:
                break
        if depth or quoted:
            self._fail("the file ends in the middle of a row")
        size += self._at - start
        return "".join(parts) + self._text[start : self._at] if size <= MAX_ROW_CHARS else None

    def _fill(self) -> bool:
        """Put the next piece of the file behind what is not read yet."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        chunk = self._stream.read(_CHUNK_CHARS)
        self._text, self._at = rest + chunk, 0
        return bool(chunk)

    def _peek(self) -> str:
        """Skip blanks and look at the next character; empty at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            self._fail(f"{mark} was expected")
        self._at += 1

    def _expect_end(self) -> None:
        if self._peek():
            self._fail("there is more text after the end of the JSON")

    def _fail(self, what: str) -> None:
        line = self._line + self._text.count("\n", 0, self._at)
        what = what if self._peek() else "the file is cut off before its end"
        raise CatalogError(
            f"catalogue {self._path} is broken as a whole at line {line}: {what}",
            hint="write the file again, or as one object a line, where one bad row does not matter",
        )
