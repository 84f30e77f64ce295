"""Parquet, read in batches."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final

from es_xmodal.catalog.renames import Renames
from es_xmodal.catalog.source import Source
from es_xmodal.errors import CatalogError, MissingExtraError

_BATCH_ROWS: Final = 256


def parquet_rows(source: Source, renames: Renames, *, partial: bool = False) -> Iterator[tuple[int, Any]]:
    """Read the rows of a Parquet file.

    Args:
        source: the file.
        renames: names of fields in the file.
        partial: rows need no title.

    Yields:
        The number of each row, from 1, and the row as JSON values.

    Raises:
        CatalogError: the file is damaged, or a column is missing.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("Parquet catalogues", extra="parquet") from None
    with tempfile.TemporaryFile() as unpacked:
        where: Any = source.path
        if source.gzipped:  # Parquet is read from its end, so a stream will not do
            with source.open_bytes() as stream:
                shutil.copyfileobj(stream, unpacked, 1 << 20)
            where = unpacked
        try:
            with parquet.ParquetFile(where) as file:
                _check_columns(file.schema_arrow.names, renames, source, partial)
                number = 0
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, _json_value(row)
        except pyarrow.ArrowException as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = "write the file again"
            raise CatalogError(f"catalogue {source.path} is damaged Parquet: {first}", hint=hint) from error


def _check_columns(names: list[str], renames: Renames, source: Source, partial: bool) -> None:
    renames.check_columns(names, f"catalogue {source.path}")
    deletes = "deleted" in names or "deleted" in renames.pairs
    for field in ("id",) if partial or deletes else ("id", "title"):
        if field not in names and field not in renames.pairs:
            raise CatalogError(
                f"catalogue {source.path} has no column {field}",
                hint=f"name the column: --map {field}=COLUMN; columns are {', '.join(names[:20])}",
            )


def _json_value(value: Any) -> Any:
    """Turn a value of Arrow into one of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):  # a map column
            return {str(key): _json_value(item) for key, item in value}
        return [_json_value(item) for item in value]
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    return value


def _text_or_data(value: bytes) -> str:
    """Bytes are text where they can be; a picture becomes a data URI."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return "data:application/octet-stream;base64," + base64.b64encode(value).decode("ascii")


_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (bytes, _text_or_data),
    (Decimal, lambda value: float(value) if value.is_finite() else float("nan")),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
)
