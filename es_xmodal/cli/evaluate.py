"""`es-xmodal evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from es_xmodal.cli.common import (
    echo_json,
    index_encoder_option,
    index_option,
    json_option,
    profile_option,
    settings_for,
    url_option,
)
from es_xmodal.cli.evaluation_options import (
    check_options,
    groups_shown,
    read_configs,
    read_runs,
    run_paths,
    with_profiles,
)
from es_xmodal.cli.evaluation_report import Report, show
from es_xmodal.cli.search import parse_weights
from es_xmodal.errors import UsageError
from es_xmodal.evaluation.queries import JudgedQuery, read_qrels, read_queries
from es_xmodal.evaluation.runner import Search, measure
from es_xmodal.evaluation.runner import evaluate as run_evaluation
from es_xmodal.evaluation.trec import trec_lines
from es_xmodal.query.model import FUSIONS
from es_xmodal.search.result import SearchResult
from es_xmodal.shop import Shop

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--queries", required=True, type=_FILE, help="queries.tsv: qid mode lang text image tags.")
@click.option("--qrels", required=True, type=_FILE, help="Judgements in TREC's format.")
@click.option(
    "--configs",
    type=_FILE,
    help='JSON: {"NAME": {"fusion": ..., "weights": {...}, "window": n, ...}}; compared with the first.',
)
@click.option("--fusion", type=click.Choice(FUSIONS), help="[default: convex]")
@click.option("--weight", "weights", multiple=True, metavar="LEG=W")
@click.option(
    "--run", "runs", multiple=True, metavar="NAME=FILE", help="Measure a TREC run made elsewhere beside them."
)
@click.option("--run-out", type=_FILE, help="Write the first ranking as a TREC run, the others to FILE-NAME.")
@click.option("--by", metavar="mode,lang,tag", help="Rows of the table.  [default: mode,lang]")
@click.option("--worst", type=click.IntRange(min=1), metavar="N", help="Show the N biggest losses.")
@click.option("--per-query", is_flag=True, help="With --json: every query's values too.")
@profile_option
@index_encoder_option
@index_option
@url_option
@json_option
def evaluate(queries: Path, qrels: Path, configs: Path | None, **given: Any) -> int:
    """Measure the ranking on queries with judgements.

    Several configurations are compared with the first one by a paired test. Leaves with 1 when a query had no
    hit at all.
    """
    check_options(configs, given)
    default = {"fusion": given["fusion"] or "convex", "weights": parse_weights(given["weights"])}
    knobs = with_profiles(configs, read_configs(configs)) if configs else {"default": default}
    outs = run_paths(given["run_out"], list(knobs)) if given["run_out"] else {}
    runs = read_runs(given["runs"], taken=list(knobs))
    asked, judged = read_queries(queries), read_qrels(qrels)
    asked = [query for query in asked if query.qid in judged]
    if not asked:
        raise UsageError(f"{qrels} judges no query of {queries}", hint="the qids must be the same")
    done = {name: measure(asked, judged, run) for name, run in runs.items()}
    with (
        Shop(
            settings=settings_for(given["url"], profile=given["profile"]),
            index=given["index"],
            encoder=given["encoder"],
        ) as shop,
        _progress(len(asked) * len(knobs)) as step,
    ):
        ours = {
            name: run_evaluation(asked, judged, searcher(shop, options), partial(step, name))
            for name, options in knobs.items()
        }
    for name, path in outs.items():
        _write_run(path, trec_lines(ours[name].run, name))
    report = Report(done={**ours, **done}, queries={query.qid: query for query in asked})
    if given["as_json"]:
        echo_json(report.to_json(per_query=given["per_query"], worst_count=given["worst"]))
    else:
        show(report, by=groups_shown(given["by"]), worst_count=given["worst"])
    return 1 if any(one.empty for one in report.done.values()) else 0


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)


def _write_run(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the run cannot be written: {error.strerror or error}") from None


def searcher(shop: Shop, options: dict[str, Any]) -> Search:
    """Return what answers the queries of a test collection.

    Args:
        shop: the index.
        options: of every search; see `Shop.query`.
    """
    without_words = {name: value for name, value in options.items() if name != "lexical_query"}

    def search(query: JudgedQuery, size: int) -> SearchResult:
        # A mode names what takes part: a `text` query has no picture even where the file lists one.
        text = query.text if query.mode != "image" else ""
        images = [str(query.image)] if query.image and query.mode != "text" else []
        return shop.search(text, images=images, size=size, **(options if text else without_words))

    return search
