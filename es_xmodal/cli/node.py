"""The commands `up`, `down` and `status`: a thin skin over `es_xmodal.local`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from es_xmodal.local.service import UpResult

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.option("--version", metavar="VERSION", help="9.5.3 or 8.19.21. [default: 9.5.3]")
@click.option("--port", type=int, metavar="PORT", help="HTTP port; 0: any free one. [default: 9200]")
@click.option("--nodes", type=int, metavar="N", help="Make a cluster of so many nodes. [default: 1]")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the indices. [default: below the user's data folder]",
)
@click.option("--heap", metavar="SIZE", help="Heap of each node, as 1g or 1536m. [default: by memory]")
@click.option("--x-pack", is_flag=True, help="Add Elastic's module that answers GET _license.")
@click.option("--detach", is_flag=True, help="Return when it is ready, and leave it running.")
@_json
def up(
    *,
    version: str | None,
    port: int | None,
    nodes: int | None,
    data: Path | None,
    heap: str | None,
    x_pack: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Start a real Elasticsearch on this machine, for trying and testing.

    It has no security and listens on the loopback address only. Without --detach it runs until Ctrl-C.
    """
    from es_xmodal.local import service
    from es_xmodal.local.machine import parse_heap

    heap_mib = parse_heap(heap) if heap else None
    request = service.UpRequest(
        version=version, port=port, nodes=nodes, data=data, heap_mib=heap_mib, x_pack=x_pack
    )
    result = service.up(request, detach=detach, progress=_Bar(), say=_say)
    if result.cluster is None or detach:
        if result.cluster is not None:
            result.cluster.release()
        _print_up(result, as_json=as_json)
        return
    _say("press Ctrl-C to stop it")
    service.attend(result, announce=partial(_print_up, result, as_json=as_json))
    _say("stopped")


@click.command()
@_json
def down(as_json: bool) -> None:
    """Stop the local Elasticsearch that `up` started, and nothing else."""
    from es_xmodal.local import service

    state = service.down()
    if as_json:
        click.echo(json.dumps({"stopped": state is not None, "url": state.url if state else None}))
    elif state is None:
        click.echo("no local node is running")
    else:
        click.echo(f"stopped Elasticsearch {state.version} at {state.url}")


@click.command()
@_json
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Say what the local Elasticsearch is doing; leaves with 1 when it is not ready."""
    from es_xmodal.local import service

    found = service.status()
    if as_json:
        click.echo(json.dumps(found))
    else:
        for line in _status_lines(found):
            click.echo(line)
    if not found["ready"]:
        context.exit(1)


def start_detached(*, port: int | None) -> str:
    """Start the local node, or find it running, and leave it running.

    Args:
        port: HTTP port; 0: any free one; None: the default.

    Returns:
        Its address.

    Raises:
        LocalNodeError: it cannot be started.
        MissingExtraError: the `local` extra is not installed.
    """
    from es_xmodal.local import service

    result = service.up(service.UpRequest(port=port), detach=True, progress=_Bar(), say=_say)
    if result.cluster is not None:
        result.cluster.release()
    return result.state.url


def _print_up(result: UpResult, *, as_json: bool) -> None:
    state = result.state
    if as_json:
        content = {
            "url": state.url,
            "version": state.version,
            "nodes": len(state.nodes),
            "data": state.data,
            "x_pack": state.x_pack,
            "java": state.java,
            "fast_vectors": state.vectors.startswith("Panama"),
            "already_running": result.already,
        }
        click.echo(json.dumps(content))
    else:
        how = "is already running" if result.already else "is ready"
        click.echo(f"Elasticsearch {state.version} {how} at {state.url}")


def _status_lines(found: dict[str, Any]) -> list[str]:
    if not found["running"]:
        lines = ["no local node is running", f"  Java      {found['java']}"]
        if found["download_mib"]:
            lines.append(
                f"  download  about {found['download_mib']} MiB at the first start of {found['version']}"
            )
        return lines
    ready = "is ready" if found["ready"] else "is not ready yet"
    where = f" at {found['url']}" if found["url"] else ""
    lines = [
        f"Elasticsearch {found['version']} {ready}{where}",
        f"  health    {found['health'] or 'no answer'}",
        f"  Java      {found['java']}",
        f"  vectors   {'fast (SIMD)' if found['fast_vectors'] else 'plain'}",
        f"  x-pack    {'yes' if found['x_pack'] else 'no'}",
        f"  data      {found['data']}",
    ]
    for node in found["nodes"]:
        state = f"process {node['pid']}, {node['memory_mib']} MiB" if node["running"] else "has ended"
        lines.append(f"  {node['name']}    {state}, log {node['log']}")
    return lines


def _say(line: str) -> None:
    click.echo(line, err=True)


class _Bar:
    """Downloads as a bar on a terminal, as two lines elsewhere."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, *, files: int, size_bytes: int) -> None:
        if not sys.stderr.isatty():
            _say(f"downloading {files} jars, {size_bytes / 2**20:.0f} MiB")
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(f"downloading {files} jars", total=size_bytes)
        self._progress.start()

    def advance(self, size_bytes: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, size_bytes)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
