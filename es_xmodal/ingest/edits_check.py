"""Which ways of editing an index go together, and which file can be fed back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from es_xmodal.catalog.product import REJECT_KEYS
from es_xmodal.errors import CatalogError, SettingsError

if TYPE_CHECKING:
    from es_xmodal.ingest.options import IngestOptions

DELETE_LIMIT_PERCENT: Final = 50.0
"""`delete_missing` refuses to delete more of an index than that, unless it is told another number."""

_APART: Final = (
    ("update", "rebuild", "partial rows change an index that is there; they cannot make one"),
    ("update", "delete_missing", "a file of edits does not name the products that are to stay"),
    ("update", "version_field", "Elasticsearch has no external versions for updates of a part of a document"),
    ("delete_missing", "rebuild", "a new version holds what the catalogue names and nothing else"),
    ("delete_missing", "retry", "a rejects file does not name the products that are to stay"),
    ("rebuild", "retry", "a new version of the rejects alone would lose everything else"),
)


def check_options(options: IngestOptions) -> None:
    """Refuse what makes no sense together, and a rejects file that would be lost.

    Args:
        options: of the ingest.

    Raises:
        SettingsError: two options contradict each other, or one has no effect.
        CatalogError: the rejects would overwrite the catalogue; `retry` is given something else than rejects.
    """
    for one, other, reason in _APART:
        if getattr(options, one) and getattr(options, other):
            raise SettingsError(f"{_flag(one)} and {_flag(other)} do not go together: {reason}")
    if options.delete_limit is not None and not options.delete_missing:
        raise SettingsError("--delete-limit has no effect without --delete-missing")
    if not (options.swap or options.rebuild):
        raise SettingsError("--no-swap has no effect without --rebuild")
    if options.retry:
        _check_rejects(options.catalog)
        return
    catalog, rejects = options.catalog, options.rejects_path
    if catalog.exists() and rejects.exists() and catalog.samefile(rejects):
        raise CatalogError(
            f"the rejects would overwrite the catalogue {catalog}",
            hint="name another file with --rejects; where it is a file of rejects, say --retry",
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check_rejects(path: Path) -> None:
    """A file that is no file of rejects would be overwritten, or deleted where everything went well."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
        value = json.loads(first)
    except OSError as error:
        raise CatalogError(
            f"--retry: {path} cannot be read: {error.strerror or error}",
            hint="where an ingest left no such file, nothing was rejected",
        ) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.keys() != REJECT_KEYS:
        raise CatalogError(
            f"--retry: {path} is no file of rejects", hint="a catalogue is ingested without --retry"
        )
