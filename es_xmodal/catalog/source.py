"""What kind of file a catalogue is, and opening it."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, cast

from es_xmodal.catalog import sniff
from es_xmodal.errors import CatalogError

Kind = Literal["lines", "array", "object", "table", "parquet"]
MAX_ROW_CHARS: Final = 32 << 20
_SAMPLE_BYTES: Final = 1 << 20
_ASCII_SEARCH_BYTES: Final = 256 << 20
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A catalogue file whose kind is known.

    Attributes:
        kind: JSON Lines, a JSON array, an object around an array, a table (CSV), or Parquet.
        encoding: Python's name of the encoding; `utf-8-sig` also stands for plain UTF-8.
        newline: what ends a line, `\\n` or (old Macintosh files) `\\r`.
        small: the whole text, where the file is at most 1 MiB.
    """

    path: Path
    gzipped: bool
    kind: Kind
    encoding: str = "utf-8-sig"
    newline: str = "\n"
    small: str | None = None

    def open_bytes(self) -> IO[bytes]:
        """Open the file for reading, decompressed.

        Returns:
            A binary stream.
        """
        return _open(self.path, self.gzipped)

    def open_text(self) -> io.TextIOWrapper:
        """Open the file for reading as text.

        Returns:
            A text stream; a byte that is not text becomes a character that `ESCAPED_BYTE` finds.
        """
        errors = "replace" if self.encoding.startswith("utf-16") else "surrogateescape"
        stream = self.open_bytes()
        return io.TextIOWrapper(stream, encoding=self.encoding, errors=errors, newline=self.newline)


def inspect(path: Path) -> Source:
    """Look at a file and tell how to read it, by content first and by name second.

    Args:
        path: the catalogue.

    Returns:
        The file and its kind.

    Raises:
        CatalogError: it is missing, a directory, empty, not text, or in no encoding that can be told.
    """
    with reading(path):
        if not path.is_file():
            what = (
                "is a directory" if path.is_dir() else "does not exist" if not path.exists() else "is no file"
            )
            raise CatalogError(
                f"catalogue {path} {what}", hint="give the path of a JSON, JSONL, CSV or Parquet file"
            )
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        with _open(path, gzipped) as stream:
            head = stream.read(_SAMPLE_BYTES)
            whole = not stream.read(1)
        if head.startswith(b"PAR1"):
            return Source(path=path, gzipped=gzipped, kind="parquet")
        encoding = _encoding(path, gzipped, head)
    text = _decode(head, encoding)
    sniff.refuse_empty(text, path)
    kind = sniff.kind(text, path, whole=whole)
    if kind != "table" and encoding == "gb18030":
        raise CatalogError(
            f"catalogue {path} is JSON but not UTF-8; it looks like GB18030",
            hint=f"convert it: iconv -f GB18030 -t UTF-8 {path.name} > utf8-{path.name}",
        )
    newline = "\r" if kind == "table" and "\r" in text and "\n" not in text else "\n"
    small = text if whole else None
    return Source(path=path, gzipped=gzipped, kind=kind, encoding=encoding, newline=newline, small=small)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what can happen while a file is read into the error of this package.

    Args:
        path: the file, for the message.

    Raises:
        CatalogError: the file cannot be read or is cut off.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        hint = "copy the file again, and check it with gzip -t"
        raise CatalogError(
            f"catalogue {path}: the gzip data is damaged or cut off ({error})", hint=hint
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CatalogError(
            f"catalogue {path} cannot be read: {reason}", hint="check the path and its rights"
        ) from error


def bounded_lines(stream: IO[str], newline: str = "\n") -> Iterator[str | None]:
    """Read lines, never holding more than `MAX_ROW_CHARS` of one.

    Args:
        stream: an open text.
        newline: what ends its lines.

    Yields:
        Each line with its end; None for a line that is too long.
    """
    while line := stream.readline(MAX_ROW_CHARS + 1):
        if len(line) <= MAX_ROW_CHARS:
            yield line
            continue
        while line and not line.endswith(newline):
            line = stream.readline(_SAMPLE_BYTES)
        yield None


def _open(path: Path, gzipped: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if gzipped else path.open("rb")


def _decode(head: bytes, encoding: str) -> str:
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    return codecs.getincrementaldecoder(encoding)(errors=errors).decode(head)


def _encoding(path: Path, gzipped: bool, head: bytes) -> str:
    encoding = sniff.marked_encoding(head)
    if encoding:
        return encoding
    sniff.refuse_binary(head, path)
    sample = _foreign_sample(path, gzipped)
    return sniff.guessed_encoding(sample, path) if sample else "utf-8-sig"


def _foreign_sample(path: Path, gzipped: bool) -> bytes:
    """Read some lines from the first one on that is not ASCII; empty if there is none in a long way."""
    with _open(path, gzipped) as stream:
        for _ in range(_ASCII_SEARCH_BYTES // _SAMPLE_BYTES):
            chunk = stream.read(_SAMPLE_BYTES)
            if not chunk:
                break
            match = _NOT_ASCII.search(chunk)
            if match:
                sample = chunk[chunk.rfind(b"\n", 0, match.start()) + 1 :] + stream.read(_SAMPLE_BYTES // 4)
                more = bool(stream.read(1))
                return sample[: sample.rfind(b"\n") + 1] or sample if more else sample
    return b""
