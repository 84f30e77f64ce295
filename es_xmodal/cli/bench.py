"""`es-xmodal bench`: what each kind of vector index is worth on the shop's own vectors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.capacity import capacity
from es_xmodal.cli.common import echo_json, index_option, json_option, settings_for, url_option

if TYPE_CHECKING:
    from es_xmodal.evaluation.recall import RecallReport


@click.group()
def bench() -> None:
    """Measure on the shop's own data, and plan with what was measured."""


bench.add_command(capacity)


@bench.command()
@index_option
@click.option(
    "--sample",
    type=click.IntRange(100, 100_000),
    default=5_000,
    show_default=True,
    help="Products to read at most; 256 MiB of vectors at most.",
)
@click.option(
    "--types",
    metavar="TYPE,TYPE",
    help="Such as hnsw,int8_hnsw. [default: every type that the server takes]",
)
@url_option
@json_option
def recall(index: str, sample: int, types: str | None, url: str | None, as_json: bool) -> int:
    """Recall, score error, latency and size of every kind of vector index, and which one to choose.

    Copies a sample of the index's vectors into temporary indices on the same cluster, one after the other,
    and deletes each when it is measured. The index itself is only read.
    """
    from es_xmodal.cluster.client import connect
    from es_xmodal.evaluation.recall import measure_recall

    asked = [one.strip() for one in (types or "").split(",") if one.strip()]
    client = connect(settings_for(url))
    try:
        report = measure_recall(client, index, sample=sample, kinds=asked, on_progress=_say)
    finally:
        client.close()
    if as_json:
        echo_json(report.to_json())
    else:
        show(report)
    return 0


def _say(doing: str) -> None:
    if sys.stderr.isatty():
        click.echo(doing, err=True)


def show(report: RecallReport) -> None:
    """Print the table and what follows from it."""
    from rich.table import Table

    from es_xmodal.cli.render import console

    table = Table(box=None, pad_edge=False, title_justify="left", title=_title(report))
    for name in ("type", "field", "asked with", "again"):
        table.add_column(name, no_wrap=True)
    for name in ("recall@10", "@100", "error max", "mean", "final", "ms", "disk", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind in report.kinds:
        sizes = (_size(kind.disk_bytes), _size(report.facts.memory(kind.kind)))
        for one in kind.rows:
            table.add_row(*_cells(kind.kind, one, sizes))
            sizes = ("", "")
    out = console()
    out.print(table)
    out.print(
        "again: the best candidates are scored again with the floats; final: the largest error of what "
        "ranks in the end;\ndisk: of the sample; memory: of the whole index, outside the heap"
    )
    for name, reason in report.left_out.items():
        out.print(f"{name}: not measured, {reason}")
    now = ", ".join(sorted(set(report.present.values())))
    out.print(f"now: {now}; it should be: {report.choice.type} ({report.choice.reason})")


def _title(report: RecallReport) -> str:
    return (
        f"{report.index}: {report.sampled} of {report.products} products, asked with {report.held_out} others"
    )


def _cells(kind: str, one: Any, sizes: tuple[str, str]) -> tuple[str, ...]:
    return (
        kind,
        one.field.removeprefix("images."),
        one.asked,
        "yes" if one.rescored else "no",
        f"{one.recall_at_10:.3f}",
        f"{one.recall_at_100:.3f}",
        f"{one.max_error:.5f}",
        f"{one.mean_error:.5f}",
        f"{one.final_error:.5f}",
        f"{one.median_ms:.1f}",
        *sizes,
    )


def _size(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"
