"""`es-xmodal evaluate`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from es_xmodal.app import Shop
from es_xmodal.cli.common import echo_json, index_option, json_option, settings_for, url_option
from es_xmodal.cli.render import console
from es_xmodal.cli.search import parse_weights
from es_xmodal.errors import MissingExtraError, QueryError, UsageError
from es_xmodal.evaluation.queries import JudgedQuery, read_qrels, read_queries
from es_xmodal.evaluation.runner import Evaluation, trec_lines
from es_xmodal.evaluation.runner import evaluate as run_evaluation
from es_xmodal.query.model import FUSIONS, Query
from es_xmodal.search.result import SearchResult

_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOWN = ("nDCG@10", "nDCG@10_condensed", "R@10", "RR@10", "Judged@10")
_KNOBS = ("fusion", "weights", "window")


@click.command()
@click.option("--queries", required=True, type=_FILE, help="queries.tsv: qid mode lang text image tags.")
@click.option("--qrels", required=True, type=_FILE, help="Judgements in TREC's format.")
@click.option("--configs", type=_FILE, help='JSON: {"NAME": {"fusion": ..., "weights": {...}, "window": n}}.')
@click.option("--fusion", type=click.Choice(FUSIONS), help="[default: convex]")
@click.option("--weight", "weights", multiple=True, metavar="LEG=W")
@click.option("--run-out", type=_FILE, help="Write the ranking of the first configuration as a TREC run.")
@click.option("--per-query", is_flag=True, help="With --json: every query's values too.")
@index_option
@url_option
@json_option
def evaluate(queries: Path, qrels: Path, configs: Path | None, **given: Any) -> int:
    """Measure the ranking on queries with judgements.

    Leaves with 1 when a query had no hit at all.
    """
    _check_options(configs, given)
    default = {"fusion": given["fusion"] or "convex", "weights": parse_weights(given["weights"])}
    knobs = _read_configs(configs) if configs else {"default": default}
    asked, judged = read_queries(queries), read_qrels(qrels)
    if not any(query.qid in judged for query in asked):
        raise UsageError(f"{qrels} judges no query of {queries}", hint="the qids must be the same")
    with Shop(settings=settings_for(given["url"]), index=given["index"]) as shop:
        done = {
            name: run_evaluation(asked, judged, _searcher(shop, options)) for name, options in knobs.items()
        }
    if given["run_out"]:
        name, first = next(iter(done.items()))
        _write_run(given["run_out"], trec_lines(first.run, "_".join(name.split())))
    _show(done, as_json=given["as_json"], per_query=given["per_query"])
    return 1 if any(one.empty for one in done.values()) else 0


def _check_options(configs: Path | None, given: dict[str, Any]) -> None:
    """Refuse what would have no effect, and what would fail after minutes of searching."""
    if importlib.util.find_spec("ir_measures") is None:
        raise MissingExtraError("evaluation", extra="eval")
    if configs and (given["fusion"] or given["weights"]):
        raise UsageError("--fusion and --weight do not go with --configs", hint="write them into the file")
    if given["per_query"] and not given["as_json"]:
        raise UsageError("--per-query goes with --json only")
    out = given["run_out"]
    if out and not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: there is no such folder", hint="give --run-out a path in an existing one")


def _write_run(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the run cannot be written: {error.strerror or error}") from None


def _searcher(shop: Shop, options: dict[str, Any]) -> Any:
    def search(query: JudgedQuery, size: int) -> SearchResult:
        # A mode names what takes part: a `text` query has no picture even where the file lists one.
        text = query.text if query.mode != "image" else ""
        images = [str(query.image)] if query.image and query.mode != "text" else []
        return shop.search(text, images=images, size=size, **options)

    return search


def _read_configs(path: Path) -> dict[str, dict[str, Any]]:
    try:
        configs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(configs, dict) or not configs:
        raise UsageError(f"{path}: not an object of configurations", hint='{"NAME": {"weights": {...}}}')
    for name, options in configs.items():
        unknown = set(options) - set(_KNOBS) if isinstance(options, dict) else {"(not an object)"}
        if unknown:
            raise UsageError(
                f"{path}: {name}: unknown {', '.join(sorted(unknown))}", hint=f"knobs: {', '.join(_KNOBS)}"
            )
        _check_knobs(f"{path}: {name}", options)
    return configs


def _check_knobs(where: str, options: dict[str, Any]) -> None:
    weights, window = options.get("weights", {}), options.get("window", 100)
    numbers = weights.values() if isinstance(weights, dict) else [None]
    if not all(type(one) in (int, float) for one in [*numbers, window]) or isinstance(window, float):
        raise UsageError(
            f"{where}: weights is an object of numbers, window a whole number",
            hint='{"weights": {"image": 0.5}, "window": 100}',
        )
    try:
        Query(text="any", **options)
    except QueryError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None


def _show(done: dict[str, Evaluation], *, as_json: bool, per_query: bool) -> None:
    if as_json:
        values = {name: one.to_json() for name, one in done.items()}
        for name, one in done.items():
            if per_query:
                values[name]["per_query"] = {key: dict(found) for key, found in one.values.items()}
        echo_json(values)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("configuration", "queries", "empty", *_SHOWN):
        table.add_column(column, justify="left" if column == "configuration" else "right", no_wrap=True)
    for name, one in done.items():
        summary = one.to_json()
        table.add_row(name, *_cells(summary), style="bold")
        for group, means in summary["by"].items():
            if group.startswith("mode="):
                table.add_row(f"  {group}", *_cells(means))
    console().print(table)


def _cells(means: dict[str, Any]) -> list[str]:
    empty = means.get("empty_queries")
    counts = [str(means["queries"]), "" if empty is None else str(empty)]
    return [*counts, *(f"{means[name]:.4f}" for name in _SHOWN)]
