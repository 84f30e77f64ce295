"""`es-xmodal index list | check | rebuild | compare | swap | rollback | drop`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import (
    F,
    echo_json,
    index_encoder_option,
    index_option,
    json_option,
    settings_for,
    url_option,
)
from es_xmodal.cli.compare import compare
from es_xmodal.cli.rebuild import rebuild

if TYPE_CHECKING:
    from es_xmodal.cluster.client import Client
    from es_xmodal.index.versions import Version
    from es_xmodal.settings import Settings


@click.group()
def index() -> None:
    """List, check, rebuild, compare, swap, roll back and drop the versions of an index."""


index.add_command(rebuild)
index.add_command(compare)


@index.command("list")
@click.option("--index", "name", help="Alias of one index. [default: all that es_xmodal made]")
@url_option
@json_option
def list_command(name: str | None, url: str | None, as_json: bool) -> int:
    """List indices and their versions."""
    from es_xmodal.index.target import load_target
    from es_xmodal.index.versions import list_names, list_versions, notes

    with _client(settings_for(url)) as client:
        names = [name] if name else list_names(client)
        found = {one: list_versions(client, one) for one in names}
        if name and not found[name]:
            load_target(client, name)  # says that there is none, and names the nearest
    rows = [
        {"alias": alias, **_row(one), "note": note}
        for alias, versions in found.items()
        for one, note in zip(versions, notes(versions), strict=True)
    ]
    if as_json:
        echo_json({"indices": rows})
    else:
        _table(rows, nothing="no index was made by es_xmodal here")
    return 0


@index.command()
@index_option
@click.option("--encoder", metavar="SPEC", help="Compare with this encoder. [default: mini]")
@url_option
@json_option
def check(index: str, encoder: str | None, url: str | None, as_json: bool) -> int:
    """Check state, fingerprints and coverage; exit code 1 where something is wrong."""
    from es_xmodal.app import make_analyzer, make_encoder
    from es_xmodal.index.check import check_index

    settings = settings_for(url, encoder=encoder)
    with _client(settings) as client:
        findings = check_index(
            client,
            index,
            encoder=make_encoder(settings).info.fingerprint,
            text=make_analyzer(settings).fingerprint,
        )
    rows = [{"what": one.what, "ok": one.ok, "detail": one.detail} for one in findings]
    if as_json:
        echo_json({"alias": index, "findings": rows})
    else:
        _table([{**row, "ok": "ok" if row["ok"] else "WRONG"} for row in rows], nothing="")
    return 0 if all(one.ok for one in findings) else 1


def _moving(command: F) -> F:
    """Give a command the options of bringing over what was written meanwhile."""
    for option in reversed(
        (
            click.option(
                "--images-root",
                type=click.Path(path_type=Path, exists=True, file_okay=False),
                default=Path(),
                help="Folder of the pictures, where products were edited meanwhile. [default: here]",
            ),
            click.option(
                "--leave-edits",
                is_flag=True,
                help="Swap at once, without what was written since; no encoder is loaded.",
            ),
            index_encoder_option,
            index_option,
            url_option,
            json_option,
        )
    ):
        command = option(command)
    return command


@index.command()
@click.argument("version", required=False)
@_moving
def swap(version: str | None, **asked: Any) -> int:
    """Let VERSION (its name or number; the newest that is complete) serve.

    What was written to the version that serves since the other one was built is brought over before.
    """
    from es_xmodal.index.versions import newest_other

    return _move(lambda client, name: version or newest_other(client, name), **asked)


@index.command()
@_moving
def rollback(**asked: Any) -> int:
    """Let the complete version before the one that serves serve again.

    What was written since that one was replaced is brought over before.
    """
    from es_xmodal.index.versions import version_before

    return _move(lambda client, name: version_before(client, name)[1], **asked)


def _move(
    choose: Callable[[Client, str], str],
    *,
    index: str,
    url: str | None,
    as_json: bool,
    images_root: Path,
    leave_edits: bool,
    encoder: str | None,
) -> int:
    from es_xmodal.app import parts_of_version
    from es_xmodal.ingest.swapping import move_alias

    settings = settings_for(url)
    with _client(settings) as client:
        moved = move_alias(
            client,
            index,
            choose(client, index),
            parts_for=lambda target: parts_of_version(settings, target, images_root, encoder=encoder),
            leave_edits=leave_edits,
        )
    was = f" (was {moved.before})" if moved.before else ""
    _say(as_json, f"{index} → {moved.now}{was}", {"alias": index, **moved.to_json()})
    if moved.brought and not as_json:
        click.echo(moved.brought.line)
    if moved.left != 0:
        count = "nobody knows how many" if moved.left is None else moved.left
        click.echo(f"left behind in {moved.before}: {count} operations", err=True)
    if moved.rejects_file:
        reasons = ", ".join(f"{count} {reason}" for reason, count in (moved.rejects_by_reason or {}).items())
        click.echo(f"did not make it: {reasons}; see {moved.rejects_file}", err=True)
    return 1 if moved.rejects_file else 0


@index.command()
@click.argument("version")
@index_option
@url_option
@json_option
def drop(version: str, index: str, url: str | None, as_json: bool) -> int:
    """Delete VERSION (its name or number), which must not serve."""
    from es_xmodal.index.versions import drop as drop_version

    with _client(settings_for(url)) as client:
        gone = drop_version(client, index, version)
    _say(as_json, f"deleted {gone}", {"alias": index, "deleted": gone})
    return 0


@contextmanager
def _client(settings: Settings) -> Iterator[Client]:
    from es_xmodal.cluster.client import connect

    client = connect(settings)
    try:
        yield client
    finally:
        client.close()


def _row(one: Version) -> dict[str, Any]:
    meta = one.meta
    return {
        "index": one.index,
        "serving": one.serving,
        "state": one.state,
        "documents": meta.counts.get("documents") if meta else None,
        "created": meta.created if meta else None,
        "encoder": meta.encoder.spec if meta else None,
    }


def _say(as_json: bool, line: str, value: dict[str, Any]) -> None:
    if as_json:
        echo_json(value)
    else:
        click.echo(line)


def _table(rows: list[dict[str, Any]], *, nothing: str) -> None:
    from rich.table import Table

    from es_xmodal.cli.render import console

    if not rows:
        click.echo(nothing)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold", no_wrap=name == "index")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else str(value)
