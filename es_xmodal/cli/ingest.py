"""`es-xmodal ingest`, also as `python -m es_xmodal.ingest`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.audit_options import audit_options, audit_wish
from es_xmodal.cli.common import echo_json, index_option, json_option, rename_pair, settings_for, url_option
from es_xmodal.cli.layout_options import combining_wish, layout_options, placeholder_hash
from es_xmodal.errors import SettingsError

if TYPE_CHECKING:
    from es_xmodal.ingest.pipeline import OnProgress
    from es_xmodal.ingest.report import IngestReport, Tally
    from es_xmodal.ingest.shared import SharedPicture
    from es_xmodal.settings import Settings

_SHOWN = ("indexed", "updated", "unchanged", "rejected", "deleted", "encoded_images", "encoded_texts")


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path))
@index_option
@click.option("--encoder", metavar="SPEC", help="Encoder of pictures and texts. [default: mini]")
@click.option(
    "--images-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that the pictures' paths start from. [default: the catalogue's]",
)
@click.option(
    "--map", "maps", multiple=True, metavar="FIELD=NAME", help="title=name: titles stand in `name`."
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of what did not make it. [default: CATALOG.rejects.jsonl here]",
)
@layout_options
@click.option("--rebuild", is_flag=True, help="Build a new version beside the old one, then swap.")
@click.option("--no-swap", is_flag=True, help="With --rebuild: let it wait for `index swap`.")
@click.option("--update", is_flag=True, help="Rows are partial: an id and the fields that change.")
@click.option("--delete-missing", is_flag=True, help="Delete products that the catalogue does not name.")
@click.option(
    "--delete-limit",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Of the index, that --delete-missing may delete. [default: 50]",
)
@click.option(
    "--version-field", metavar="NAME", help="A number or date in each row; of one id the newest row counts."
)
@audit_options
@click.option("--retry", is_flag=True, help="CATALOG is a rejects file; it goes once all rows made it.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where pictures and texts are embedded; ray: on a Ray cluster. [extra `ray`]",
)
@click.option("--ray-address", metavar="HOST:PORT|auto", help="[default: RAY_ADDRESS, else this machine]")
@click.option("--ray-workers", type=click.IntRange(1, 10_000), help="At most. [default: as there is room]")
@click.option(
    "--ray-gpus",
    type=click.IntRange(0, 1),
    help="Of each worker. [default: 1 where the encoder runs on one here]",
)
@url_option
@json_option
def ingest(url: str | None, encoder: str | None, as_json: bool, **asked: Any) -> int:
    """Turn a catalogue (JSON, JSONL, CSV, Parquet; also .gz) into an index, or bring an index up to date.

    Exit code 1: done, and some rows or pictures did not make it; they stand in the rejects file.
    """
    from es_xmodal.app import ingest_parts
    from es_xmodal.ingest.audited import run_audited

    settings = settings_for(
        url,
        encoder=encoder,
        vector_index=asked["vector_index"],
        ocr=asked["ocr"],
        **audit_wish(asked),
    )
    options = _options(settings, asked)
    root = asked["images_root"] or options.catalog.parent
    with ExitStack() as stack:
        parts = stack.enter_context(ingest_parts(settings, root))
        report = run_audited(
            parts,
            options,
            audit_index=settings.audit_index if settings.audit else None,
            on_progress=stack.enter_context(progress()),
        )
    if as_json:
        echo_json(report.to_json())
    else:
        print_report(report)
    return 0 if report.clean else 1


def _options(settings: Settings, asked: dict[str, Any]) -> Any:
    from es_xmodal.ingest.pipeline import IngestOptions

    return IngestOptions(
        catalog=asked["catalog"],
        index=asked["index"],
        renames=dict(rename_pair(one) for one in asked["maps"]),
        rejects=asked["rejects"],
        rebuild=asked["rebuild"],
        swap=not asked["no_swap"],
        vector_index=settings.vector_index,
        expect=asked["expect"],
        combining=combining_wish(settings, asked),
        shards=asked["shards"],
        replicas=asked["replicas"],
        keep=asked["keep"],
        update=asked["update"],
        delete_missing=asked["delete_missing"],
        delete_limit=asked["delete_limit"],
        version_field=asked["version_field"],
        retry=asked["retry"],
        placeholders=frozenset(placeholder_hash(one) for one in asked["placeholders"]),
        ray=_ray(asked),
    )


def _ray(asked: dict[str, Any]) -> Any:
    given = {name: asked[f"ray_{name}"] for name in ("address", "workers", "gpus")}
    if asked["engine"] == "ray":
        from es_xmodal.ingest.remote.ray_cluster import RayOptions

        return RayOptions(**given)
    for name, value in given.items():
        if value is not None:
            raise SettingsError(f"--ray-{name} has no effect without --engine ray")
    return None


@contextmanager
def progress() -> Iterator[OnProgress]:
    """A line that is kept up to date on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda tally: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading")

        def show(tally: Tally) -> None:
            counts = tally.counts()
            parts = [f"{counts[name]} {name.replace('_', ' ')}" for name in _SHOWN if counts[name]]
            bar.update(task, description=f"{counts['read']} rows: {', '.join(parts) or 'reading'}")

        yield show


def print_shared(pictures: Iterable[SharedPicture]) -> None:
    """Name the pictures that look like placeholders."""
    from es_xmodal.media.picture import printable

    for one in pictures:
        click.echo(
            f"{one.products} products or more share one picture, {printable(one.ref)}; if it says that there"
            f" is no picture, add --placeholder {one.content}",
            err=True,
        )


def print_report(report: IngestReport) -> None:
    """The numbers that a person looks for; nothing that stood in the catalogue is printed."""
    from es_xmodal.cli.render import console, counts_table
    from es_xmodal.index.combining import Combining
    from es_xmodal.media.picture import printable

    out = console()
    out.print(counts_table(report.counts, always=("read", "indexed", "rejected")))
    what = "a new version" if report.rebuilt else "brought up to date"
    arrow = "→" if report.serves else "stays, beside it waits"
    if report.index is None:
        out.print(f"not one row could be indexed, so {report.alias} is left as it was")
    else:
        out.print(f"{report.alias} {arrow} {report.index} ({what}, {report.seconds:.1f} s)")
    if report.brought:
        out.print(report.brought.line)
    if report.held_back:
        click.echo(f"not swapped: {report.held_back}", err=True)
    if not report.serves:
        out.print(
            f"`es-xmodal index compare --index {report.alias}` compares it with what serves,"
            f" `es-xmodal index swap --index {report.alias}` lets it serve"
        )
    if report.vector_index is not None:
        out.print(f"vector index: {report.vector_index.type} ({report.vector_index.reason})")
    if report.vectors != Combining():
        out.print(str(report.vectors))
    if report.replaced:
        out.print(f"before: {report.replaced}; `es-xmodal index rollback --index {report.alias}` goes back")
    print_shared(report.shared_pictures)
    if report.not_deleted:
        click.echo(f"--delete-missing: {printable(report.not_deleted)}", err=True)
    if report.audit and report.audit.warning:
        click.echo(f"audit: {report.audit.warning}", err=True)
    if report.rejects_file:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejects_by_reason.items())
        click.echo(f"did not make it: {reasons}; see {report.rejects_file}", err=True)
