"""The records of a CSV file, each whole or reported, whatever its quotes do."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from es_xmodal.catalog.clean import clean_line
from es_xmodal.catalog.columns import find_delimiter
from es_xmodal.catalog.renames import Renames
from es_xmodal.catalog.source import MAX_ROW_CHARS
from es_xmodal.errors import CatalogError


class Broken:
    """A record that cannot become a row.

    Args:
        cells: its cells, or its first line as a single text where it has no cells.
        reason: a code, a colon and a sentence.
    """

    def __init__(self, cells: list[str], reason: str) -> None:
        self.cells, self.reason = cells, clean_line(reason)


class Records(Iterator["list[str] | Broken"]):
    """Records of a CSV; a broken one costs as few of the following lines as possible.

    A quote that is opened by mistake would swallow the lines up to the next quote, or all of them. So a
    record of several lines that does not end as it should gives up its first line only, and the others are
    read again.

    Args:
        lines: physical lines; None for one that is too long.
    """

    def __init__(self, lines: Iterator[str | None]) -> None:
        self._feed = _Feed(lines)
        self._delimiter = ","
        self._reader = csv.reader(self._feed, strict=True)
        self._width = 0

    def header(self, renames: Renames, path: str) -> list[str]:
        """Read the first record that is not blank, and with it the delimiter.

        Args:
            renames: names of fields in the file.
            path: the file, for messages.

        Returns:
            The names of the columns, cleaned.

        Raises:
            CatalogError: there is no such record.
        """
        try:
            line = next((line for line in self._feed if line.strip()), "")
            if line.lower().startswith("sep="):  # Excel's own way to name the delimiter, which shows anyway
                line = next((line for line in self._feed if line.strip()), "")
        except _TooLargeError:
            line = ""
        self._delimiter = find_delimiter(line, renames)
        self._feed.put_back(line)
        self._reader = csv.reader(self._feed, delimiter=self._delimiter, strict=True)
        cells = next(self, Broken([], "it is too long"))
        if isinstance(cells, Broken):
            hint = "the first line must name the columns; check its quotes"
            raise CatalogError(f"catalogue {path}: the header cannot be read ({cells.reason})", hint=hint)
        self._width = len(cells)
        return [clean_line(cell) for cell in cells]

    def __next__(self) -> list[str] | Broken:
        while True:
            self._feed.start()
            try:
                cells = [cell.strip() for cell in next(self._reader)]
            except csv.Error as error:
                return self._mended(str(error))
            except _TooLargeError:
                first = self._feed.resume()
                return Broken([first[:1000]], f"too_large: the record has over {MAX_ROW_CHARS} characters")
            if self._width and any(cells[self._width :]):
                return self._surplus(cells)
            if any(cells):
                return cells

    def _mended(self, error: str) -> list[str] | Broken:
        """Deal with quotes in wrong places: one line may be read leniently, several lines may not."""
        if len(self._feed.record) == 1:
            # The second line tells whether the first one ends inside quotes: then the reader takes both.
            lenient = csv.reader(iter([_plain(self._feed.record[0]), "\n"]), delimiter=self._delimiter)
            cells = [cell.strip() for cell in next(lenient)]
            if lenient.line_num == 1:
                return self._too_many(cells) if self._width and any(cells[self._width :]) else cells
        return Broken([self._feed.resume()], f"bad_quotes: {error}")

    def _surplus(self, cells: list[str]) -> Broken:
        """Reject a record with too many cells; if others of its lines are records, only its first line."""
        lines = self._feed.record
        if len(lines) > 1 and any(self._is_record(line) for line in lines[1:]):
            return Broken([self._feed.resume()], "bad_quotes: a quote is opened and not closed")
        return self._too_many(cells)

    def _too_many(self, cells: list[str]) -> Broken:
        return Broken(cells, f"too_many_cells: the record has {len(cells)} cells, the header {self._width}")

    def _is_record(self, line: str) -> bool:
        try:
            cells = next(csv.reader([_plain(line)], delimiter=self._delimiter, strict=True), [])
        except csv.Error:
            return False
        return len(cells) == self._width > 1


class _TooLargeError(Exception):
    """A record goes on for longer than a row may be."""


class _Feed(Iterator[str]):
    """Physical lines for a `csv.reader`, which are kept until the record they belong to is complete."""

    def __init__(self, lines: Iterator[str | None]) -> None:
        self._lines = lines
        self._again: deque[str | None] = deque()
        self.record: list[str] = []
        self._size = 0

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if line is None:
            if self.record:  # the record that came before it is given up first
                self._again.appendleft(None)
            raise _TooLargeError
        self.record.append(line)
        self._size += len(line)
        if self._size > MAX_ROW_CHARS:
            raise _TooLargeError
        return _plain(line)

    def start(self) -> None:
        """Begin a record."""
        self.record, self._size = [], 0

    def put_back(self, line: str) -> None:
        """Have a line read again."""
        self._again.appendleft(line)

    def resume(self) -> str:
        """Give up the first line of the record and have the others read again.

        Returns:
            The line that was given up; empty if it was too long to be held.
        """
        self._again.extendleft(reversed(self.record[1:]))
        return self.record[0].rstrip("\r\n") if self.record else ""


def _plain(line: str) -> str:
    """A line as `csv` accepts it on every version of Python: without NUL, one kind of line end."""
    if "\r" in line or "\x00" in line:
        return line.replace("\x00", "").rstrip("\r\n").replace("\r", " ") + "\n"
    return line
