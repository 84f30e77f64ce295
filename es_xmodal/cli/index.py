"""`es-xmodal index list | check | swap | rollback | drop`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import echo_json, index_option, json_option, settings_for, url_option

if TYPE_CHECKING:
    from es_xmodal.cluster.client import Client
    from es_xmodal.index.versions import Version
    from es_xmodal.settings import Settings


@click.group()
def index() -> None:
    """List, check, swap, roll back and drop the versions of an index."""


@index.command("list")
@click.option("--index", "name", help="Alias of one index. [default: all that es_xmodal made]")
@url_option
@json_option
def list_command(name: str | None, url: str | None, as_json: bool) -> int:
    """List indices and their versions."""
    from es_xmodal.index.target import load_target
    from es_xmodal.index.versions import list_names, list_versions

    with _client(settings_for(url)) as client:
        names = [name] if name else list_names(client)
        found = {one: list_versions(client, one) for one in names}
        if name and not found[name]:
            load_target(client, name)  # says that there is none, and names the nearest
    rows = [{"alias": alias, **_row(one)} for alias, versions in found.items() for one in versions]
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


@index.command()
@click.argument("version")
@index_option
@url_option
@json_option
def swap(version: str, index: str, url: str | None, as_json: bool) -> int:
    """Let VERSION (its name or number) serve."""
    from es_xmodal.index.versions import find_version
    from es_xmodal.index.versions import swap as swap_to

    with _client(settings_for(url)) as client:
        now = find_version(client, index, version).index
        before = swap_to(client, index, now)
    _say(as_json, f"{index} → {now}", {"alias": index, "before": before, "now": now})
    return 0


@index.command()
@index_option
@url_option
@json_option
def rollback(index: str, url: str | None, as_json: bool) -> int:
    """Let the complete version before the one that serves serve again."""
    from es_xmodal.index.versions import rollback as roll_back

    with _client(settings_for(url)) as client:
        before, now = roll_back(client, index)
    _say(as_json, f"{index} → {now} (was {before})", {"alias": index, "before": before, "now": now})
    return 0


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
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console().print(table)
