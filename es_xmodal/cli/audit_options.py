"""Options that say whether and where a run is recorded; every command that writes an index has them."""

from __future__ import annotations

from typing import Any

import click

from es_xmodal.cli.common import F
from es_xmodal.errors import SettingsError

AUDIT_OPTIONS = {"audit_index": "--audit-index", "no_audit": "--no-audit"}
"""Name of the argument to the option."""


def audit_options(command: F) -> F:
    """Give a command the options of the record."""
    command = click.option("--no-audit", is_flag=True, help="Do not record the run.")(command)
    return click.option(
        "--audit-index", metavar="NAME", help="Records the run here. [default: es-xmodal-ingests]"
    )(command)


def audit_wish(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the settings `audit` and `audit_index`; None: as they are set elsewhere.

    Args:
        asked: the command's options.

    Raises:
        SettingsError: the options contradict each other.
    """
    nowhere, index = asked["no_audit"], asked["audit_index"]
    if nowhere and index:
        raise SettingsError("--no-audit and --audit-index exclude each other", hint="give one of them")
    return {"audit": False if nowhere else (True if index else None), "audit_index": index}
