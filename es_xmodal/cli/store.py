"""`es-xmodal store status | gc | check | compact`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from es_xmodal.cli.common import echo_json, json_option, settings_for, url_option
from es_xmodal.settings import load_settings

if TYPE_CHECKING:
    from es_xmodal.store.upkeep import Collected

STORES: Final = {
    "vectors": "vectors of pictures and texts",
    "texts": "words on pictures",
    "addresses": "what pictures on the web were when they were last fetched",
}


@click.group()
def store() -> None:
    """Look after what this machine has computed: its size, what may go, whether it is whole.

    Everything in it can be computed again; deleting its folder is safe while nothing runs.
    """


@store.command()
@json_option
def status(as_json: bool) -> int:
    """Say how large the stores are, and which encoder's vectors are in them."""
    folder = load_settings().data_dir
    found = {name: _status(folder / name) for name in STORES}
    if as_json:
        echo_json({"folder": str(folder), **found})
        return 0
    click.echo(f"{folder}")
    for name, one in found.items():
        click.echo(
            f"{name}: {one['entries']:,} entries, {_size(one['disk_bytes'])} on disk, of which"
            f" {_size(one['free_bytes'])} free ({STORES[name]})"
        )
        for share in one["by_owner"]:
            used = f", last used {share['last_used']}" if share["last_used"] else ""
            click.echo(
                f"  {share['fingerprint']} {share['kind']}: {share['entries']:,} entries,"
                f" {_size(share['bytes'])}{used}"
            )
    return 0


@store.command()
@click.option("--older-than", type=click.IntRange(min=0), metavar="DAYS", help="Vectors unused for longer.")
@click.option(
    "--encoder", "encoders", multiple=True, metavar="FINGERPRINT", help="Vectors of this encoder; repeatable."
)
@click.option("--keep-indices", is_flag=True, help="Vectors of encoders that no index on the cluster has.")
@click.option("--max-bytes", metavar="SIZE", help="The longest unused, until the others fit: 20GB, 500MiB.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@url_option
@json_option
def gc(
    *,
    older_than: int | None,
    encoders: tuple[str, ...],
    keep_indices: bool,
    max_bytes: str | None,
    dry_run: bool,
    url: str | None,
    as_json: bool,
) -> int:
    """Delete vectors that are not wanted any more.

    Of --older-than, --encoder and --keep-indices, all that are given must hold for a vector to go;
    --max-bytes then takes more. It may run beside an ingest; the file keeps its length, see `store compact`.
    """
    from es_xmodal.store.environment import Environment
    from es_xmodal.store.upkeep import Wish, collect

    wish = Wish(
        older_than_days=older_than,
        of=frozenset(encoders) or None,
        not_of=_in_use(url) if keep_indices else None,
        max_bytes=None if max_bytes is None else _bytes(max_bytes),
    )
    if wish.empty:
        raise click.UsageError("say what may go: --older-than, --encoder, --keep-indices or --max-bytes")
    if url is not None and not keep_indices:
        raise click.UsageError("--url has no effect without --keep-indices")
    path = load_settings().data_dir / "vectors"
    done: Collected | None = None
    if path.exists():
        environment = Environment(path)
        try:
            done = collect(environment, wish, dry_run=dry_run)
        finally:
            environment.close()
    values = {
        "deleted": done.entries if done else 0,
        "deleted_bytes": done.size_bytes if done else 0,
        "kept": done.kept_entries if done else 0,
        "kept_bytes": done.kept_bytes if done else 0,
        "dry_run": dry_run,
    }
    if as_json:
        echo_json(values)
        return 0
    verb = "would delete" if dry_run else "deleted"
    click.echo(
        f"{verb} {values['deleted']:,} vectors, {_size(values['deleted_bytes'])};"
        f" {values['kept']:,} stay, {_size(values['kept_bytes'])}"
    )
    return 0


@store.command()
@json_option
def check(as_json: bool) -> int:
    """Look at every entry; delete what is damaged, and exit with 1 where something was."""
    from es_xmodal.store.environment import Environment
    from es_xmodal.store.texts import TextStore
    from es_xmodal.store.upkeep import check as check_store
    from es_xmodal.store.vectors import VectorStore

    folder = load_settings().data_dir
    whole: dict[str, Callable[[bytes], bool]] = {
        "vectors": VectorStore.is_whole,
        "texts": TextStore.is_whole,
    }
    found = {}
    for name, is_whole in whole.items():
        seen = damaged = 0
        if (folder / name).exists():
            environment = Environment(folder / name)
            try:
                seen, damaged = check_store(environment, is_whole)
            finally:
                environment.close()
        found[name] = {"checked": seen, "damaged": damaged}
    if as_json:
        echo_json(found)
    else:
        for name, one in found.items():
            bad = f"{one['damaged']:,} damaged ones deleted; they are computed again when they are needed"
            click.echo(f"{name}: {one['checked']:,} checked, {bad if one['damaged'] else 'all whole'}")
    return 1 if any(one["damaged"] for one in found.values()) else 0


@store.command()
@json_option
def compact(as_json: bool) -> int:
    """Give the room of deleted entries back to the disk; nothing else may use the stores meanwhile."""
    from es_xmodal.store.compact import compact as compact_store

    folder = load_settings().data_dir
    done = {name: compact_store(folder / name) for name in STORES}
    if as_json:
        echo_json(
            {
                name: {"before_bytes": one.before_bytes, "after_bytes": one.after_bytes}
                for name, one in done.items()
            }
        )
        return 0
    for name, one in done.items():
        click.echo(f"{name}: {_size(one.before_bytes)} → {_size(one.after_bytes)}")
    return 0


def _status(path: Path) -> dict[str, Any]:
    from es_xmodal.store.environment import Environment
    from es_xmodal.store.upkeep import shares

    if not path.exists():
        return {"entries": 0, "disk_bytes": 0, "free_bytes": 0, "by_owner": []}
    environment = Environment(path)
    try:
        space = environment.space()
        found = shares(environment) if path.name != "addresses" else []
    finally:
        environment.close()
    return {
        "entries": space.entries,
        "disk_bytes": space.disk_bytes,
        "free_bytes": space.disk_bytes - space.filled_bytes,
        "by_owner": [
            {
                "fingerprint": share.owner.fingerprint or "(frames of videos)",
                "kind": share.owner.kind,
                "entries": share.entries,
                "bytes": share.size_bytes,
                "last_used": _day(share.last_used_day),
            }
            for share in found
        ],
    }


def _in_use(url: str | None) -> frozenset[str]:
    """Fingerprints of the encoders of all indices on the cluster, also of those that do not serve."""
    from es_xmodal.cluster.client import connect
    from es_xmodal.index.versions import list_names, list_versions

    client = connect(settings_for(url))
    try:
        versions = [one for name in list_names(client) for one in list_versions(client, name)]
    finally:
        client.close()
    return frozenset(one.meta.encoder.fingerprint for one in versions if one.meta)


def _bytes(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise click.UsageError(f"--max-bytes {text} is no size; write 20GB or 500MiB") from None


def _day(number: int | None) -> str | None:
    return None if number is None else (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _size(count: int) -> str:
    units = ("KiB", "MiB", "GiB")
    power = min((count.bit_length() - 1) // 10, len(units)) if count else 0
    return f"{count / 1024**power:,.1f} {units[power - 1]}" if power else f"{count:,} bytes"
