"""`es-xmodal adapt`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import echo_json, json_option, rename_pair
from es_xmodal.settings import load_settings

if TYPE_CHECKING:
    from es_xmodal.adapt.features import OnProgress
    from es_xmodal.adapt.run import AdaptReport

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path))
@click.option("--encoder", metavar="SPEC", help="The base, which stays as it is. [default: mini]")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the new encoder."
)
@click.option(
    "--photos",
    type=_FILE,
    metavar="FILE",
    help="Photos of products: TSV, CSV or JSONL with product id and picture path.",
)
@click.option(
    "--clicks",
    type=_FILE,
    metavar="FILE",
    help="Queries that led to products: query, product id and, if known, a weight.",
)
@click.option("--map", "maps", multiple=True, metavar="FIELD=NAME", help="As for ingest.")
@click.option(
    "--images-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that the pictures' paths start from. [default: the catalogue's]",
)
@json_option
def adapt(encoder: str | None, as_json: bool, **asked: Any) -> int:
    """Learn from the shop's own titles and pictures, and write an encoder that knows them.

    A part is held out and searched before and after; where that is no gain, or the catalogue is too small,
    nothing is written and the exit code is 1. Then: es-xmodal ingest CATALOG --encoder DIR.
    """
    from es_xmodal.adapt.run import check_out, run_adapt
    from es_xmodal.app import make_encoder
    from es_xmodal.cli.adapt_chart import draw_comparisons
    from es_xmodal.store.vectors import VectorStore

    options = _options(asked)
    check_out(options.out)
    settings = load_settings(encoder=encoder)
    base = make_encoder(settings)
    try:
        with VectorStore.open(settings.data_dir / "vectors") as store, _progress() as on_progress:
            report = run_adapt(base, store, options, draw=draw_comparisons, on_progress=on_progress)
    finally:
        base.close()
    if as_json:
        echo_json(report.to_json())
    else:
        _print_report(report)
    return 0 if report.adapted else 1


def _options(asked: dict[str, Any]) -> Any:
    from es_xmodal.adapt.run import AdaptOptions

    return AdaptOptions(
        catalog=asked["catalog"],
        out=asked["out"],
        images_root=asked["images_root"],
        photos=asked["photos"],
        clicks=asked["clicks"],
        renames=dict(rename_pair(one) for one in asked["maps"]),
    )


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A line that is kept up to date on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def _print_report(report: AdaptReport) -> None:
    """What was there, the table before and after, and what to do next."""
    from rich.table import Table

    from es_xmodal.cli.render import console

    counts, out = report.counts, console()
    out.print(
        f"{counts.sampled:,} products, {counts.pictures:,} catalogue pictures, {counts.photos:,} photos,"
        f" {counts.captions:,} texts, {counts.clicks:,} clicked queries"
    )
    if report.comparisons:
        table = Table(box=None, pad_edge=False)
        for name in ("held out", "queries", "among", "", "R@1", "R@10", "mean 1/rank"):
            table.add_column(name, justify="left" if name in ("held out", "") else "right")
        for one in report.comparisons:
            for when, scores in (("before", one.before), ("after", one.after)):
                head = (one.name, str(one.queries), str(one.among)) if when == "before" else ("", "", "")
                numbers = (scores.recall_1, scores.recall_10, scores.reciprocal_rank)
                table.add_row(*head, when, *(f"{number:.3f}" for number in numbers))
        out.print(table)
    _warn(report)
    if report.adapted:
        seconds = sum(report.seconds.values())
        out.print(f"{report.out}: {report.fingerprint} on {report.base} ({seconds:.1f} s)")
    else:
        click.echo(f"nothing was changed: {report.reason}", err=True)


def _warn(report: AdaptReport) -> None:
    counts = report.counts
    left_out = (
        (counts.rejected, "rows of the catalogue cannot be read; `es-xmodal ingest` says why"),
        (counts.unusable_pictures, f"pictures cannot be used, such as: {'; '.join(counts.first_failures)}"),
        (counts.photos_of_unknown_products, "photos are of products that the catalogue does not have"),
        (counts.photos_of_other_split, "photos belong to another split than train"),
        (counts.clicks_of_unknown_products, "clicks are on products that the catalogue does not have"),
    )
    for count, what in left_out:
        if count:
            click.echo(f"left out: {count:,} {what}", err=True)
