"""`es-xmodal enrich`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.audit_options import AUDIT_OPTIONS, audit_options, audit_wish
from es_xmodal.cli.common import echo_json, json_option, rename_pair, settings_for, url_option
from es_xmodal.errors import SettingsError

if TYPE_CHECKING:
    from es_xmodal.enrich.options import EnrichOptions
    from es_xmodal.enrich.report import EnrichReport
    from es_xmodal.ingest.options import Parts
    from es_xmodal.ingest.pipeline import OnProgress
    from es_xmodal.settings import Settings


@click.command()
@click.argument("index")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FIELD=NAME",
    help="title=name: titles stand in `name`; dots lead into objects. [default: as last time]",
)
@click.option("--encoder", metavar="SPEC", help="Encoder of pictures and texts. [default: mini]")
@click.option(
    "--images-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that the pictures' paths start from. [default: the working directory]",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of what did not make it. [default: INDEX.rejects.jsonl here]",
)
@click.option(
    "--placeholder",
    "placeholders",
    multiple=True,
    metavar="FILE|SHA256",
    help="A picture that shows no product, such as `no image`; it counts as none.",
)
@click.option(
    "--docs-per-second",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Documents that are written a second, at most.",
)
@click.option(
    "--all", "whole", is_flag=True, help="Look at every document, not only at what was written since."
)
@click.option("--since", metavar="VALUE", help="Look at documents whose --since-field is VALUE or later.")
@click.option("--since-field", metavar="NAME", help="The shop's field of the last edit, a date or a number.")
@click.option(
    "--vector-index",
    metavar="TYPE|auto",
    help="Kind of vector index, such as int8_hnsw; auto: by size, server and licence. [default: auto]",
)
@click.option(
    "--to",
    "new",
    metavar="NEW",
    help="Enrich a copy of that name, for a mapping that cannot take the fields.",
)
@click.option("--swap", is_flag=True, help="INDEX is an alias: it stands for the copy when that is complete.")
@click.option("--undo", is_flag=True, help="Take back what was written, as far as Elasticsearch allows.")
@audit_options
@url_option
@json_option
def enrich(url: str | None, encoder: str | None, as_json: bool, undo: bool, **asked: Any) -> int:
    """Add pictures and vectors to INDEX, an index (or an alias of one) that the shop already has, in place.

    Everything goes below the one field `es_xmodal` of the documents; the shop's own fields are not touched,
    and its own queries give what they gave. Run it again to take what the shop wrote since, or to go on after
    a stop.

    Exit code 1: done, and some documents or pictures did not make it; they stand in the rejects file.
    """
    if undo:
        return _undo(url, as_json, {**asked, "encoder": encoder})
    if asked["swap"] and not asked["new"]:
        raise SettingsError("--swap goes with --to NEW")
    from es_xmodal.app import ingest_parts
    from es_xmodal.cli.ingest import progress
    from es_xmodal.enrich.beside import run_beside
    from es_xmodal.enrich.run import run_enrich

    settings = settings_for(
        url, encoder=encoder, vector_index=asked["vector_index"], ocr=False, **audit_wish(asked)
    )
    options = _options(settings.vector_index, asked)
    with ExitStack() as stack:
        parts = stack.enter_context(ingest_parts(settings, asked["images_root"] or Path()))
        show = stack.enter_context(progress())

        def run(show: OnProgress) -> EnrichReport:
            if asked["new"]:
                return run_beside(parts, options, asked["new"], swap=asked["swap"], on_progress=show)
            return run_enrich(parts, options, on_progress=show)

        report = _recorded(run, parts, settings, asked["index"], show)
    if as_json:
        echo_json(report.to_json())
    else:
        _print_report(report)
    return 0 if report.clean else 1


def _recorded(
    run: Callable[[OnProgress], EnrichReport],
    parts: Parts,
    settings: Settings,
    name: str,
    show: OnProgress,
) -> EnrichReport:
    """Run, and record the run where the settings say so."""
    from es_xmodal.ingest.audited import About, run_recorded

    if not settings.audit:
        return run(show)
    about = About(command="enrich", alias=name, audit_index=settings.audit_index)
    report, audited = run_recorded(run, parts, about, show)
    return replace(report, audit=audited)


def _undo(url: str | None, as_json: bool, asked: dict[str, Any]) -> int:
    """What belongs to an enrichment alone has no effect here, so it is refused."""
    idle = {
        "maps": "--map",
        "encoder": "--encoder",
        "images_root": "--images-root",
        "rejects": "--rejects",
        "placeholders": "--placeholder",
        "whole": "--all",
        "since": "--since",
        "since_field": "--since-field",
        "vector_index": "--vector-index",
        "new": "--to",
        "swap": "--swap",
        **AUDIT_OPTIONS,
    }
    given = next((option for name, option in idle.items() if asked[name]), None)
    if given:
        raise SettingsError(f"--undo and {given} contradict each other")
    from es_xmodal.cluster.client import connect
    from es_xmodal.enrich.undo import run_undo

    with connect(settings_for(url)) as client:
        report = run_undo(client, asked["index"], docs_per_second=asked["docs_per_second"])
    if as_json:
        echo_json(report.to_json())
        return 0
    click.echo(f"{report.index}: taken back from {report.undone:,} documents")
    for one in report.left:
        click.echo(f"what stays: {one}")
    return 0


def _options(vector_index: str, asked: dict[str, Any]) -> EnrichOptions:
    from es_xmodal.cli.layout_options import placeholder_hash
    from es_xmodal.enrich.options import EnrichOptions

    value, name = asked["since"], asked["since_field"]
    if (value is None) != (name is None):
        raise SettingsError(
            "--since and --since-field go together", hint="--since 2026-01-31 --since-field edited"
        )
    if value is not None and asked["whole"]:
        raise SettingsError("--all and --since contradict each other")
    if value is not None and asked["new"]:
        raise SettingsError("--to and --since contradict each other", hint="a copy is enriched as a whole")
    return EnrichOptions(
        index=asked["index"],
        paths=dict(rename_pair(one) for one in asked["maps"]),
        rejects=asked["rejects"],
        docs_per_second=asked["docs_per_second"],
        since=None if value is None else (name, value),
        whole=asked["whole"],
        vector_index=vector_index,
        placeholders=frozenset(placeholder_hash(one) for one in asked["placeholders"]),
    )


def _print_report(report: EnrichReport) -> None:
    """The numbers that a person looks for; nothing that stood in the documents is printed."""
    from es_xmodal.cli.ingest import print_shared
    from es_xmodal.cli.render import console, counts_table

    out = console()
    out.print(counts_table(report.counts, always=("read", "indexed", "rejected")))
    done = f"{report.enriched:,} of {report.documents:,} documents enriched"
    out.print(f"{report.index}: {done} ({report.seconds:.1f} s)")
    out.print("read as: " + ", ".join(f"{part}={path}" for part, path in sorted(report.paths.items())))
    if report.copied_from:
        _print_copy(report)
    print_shared(report.shared_pictures)
    if report.audit and report.audit.warning:
        click.echo(f"audit: {report.audit.warning}", err=True)
    if report.rejects_file:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejects_by_reason.items())
        click.echo(f"did not make it: {reasons}; see {report.rejects_file}", err=True)


def _print_copy(report: EnrichReport) -> None:
    click.echo(f"{report.copied:,} documents copied from {report.copied_from}")
    if report.swapped:
        click.echo(f"{report.swapped} → {report.index}; {report.copied_from} is left as it was")
        return
    add = f'{{"add": {{"index": "{report.index}", "alias": "{report.name}"}}}}'
    if report.name == report.copied_from:
        remove = f'{{"remove_index": {{"index": "{report.copied_from}"}}}}'
        click.echo(f"to put it in the place of {report.name}, which deletes that:")
    else:
        remove = f'{{"remove": {{"index": "{report.copied_from}", "alias": "{report.name}"}}}}'
        click.echo(f"to put it in the place of {report.copied_from}:")
    click.echo(f'POST _aliases {{"actions": [{remove}, {add}]}}')
