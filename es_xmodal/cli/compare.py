"""`es-xmodal index compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import (
    echo_json,
    index_option,
    json_option,
    profile_option,
    settings_for,
    url_option,
)
from es_xmodal.errors import UsageError

if TYPE_CHECKING:
    from es_xmodal.cluster.client import Client
    from es_xmodal.evaluation.queries import JudgedQuery
    from es_xmodal.evaluation.shadow import Shadow
    from es_xmodal.index.target import Target

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("compare")
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--queries", type=_FILE, help="queries.tsv. [default: titles of the index]")
@click.option("--qrels", type=_FILE, help="Judgements in TREC's format: nDCG@10 of both.")
@click.option(
    "--sample",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Titles, without --queries.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Timed searches a query."
)
@click.option("--worst", type=click.IntRange(0), default=5, show_default=True, help="Queries to name.")
@click.option(
    "--encoder", "encoders", multiple=True, metavar="SPEC", help="One of a version, under its name here."
)
@click.option(
    "--dictionary",
    "dictionaries",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="One of a version, where it is not that of the settings.",
)
@profile_option
@index_option
@url_option
@json_option
def compare(old: str | None, new: str | None, **asked: Any) -> int:
    """Let two versions answer the same queries: by default the one that serves and the newest other one.

    Leaves with 1 where judgements say that NEW is worse, beyond chance (two-sided paired t-test, 95 %).
    """
    from es_xmodal.cli.evaluate import searcher
    from es_xmodal.cluster.client import connect
    from es_xmodal.evaluation.queries import read_qrels, read_queries
    from es_xmodal.evaluation.shadow import shadow
    from es_xmodal.shop import shops_of_versions

    if asked["qrels"] and not asked["queries"]:
        raise UsageError("--qrels has no effect without --queries", hint="give the queries that were judged")
    settings = settings_for(asked["url"], profile=asked["profile"])
    qrels = read_qrels(asked["qrels"]) if asked["qrels"] else None
    queries = read_queries(asked["queries"]) if asked["queries"] else None
    client = connect(settings)
    try:
        targets = _targets(client, asked["index"], old, new)
        sides = [_side(client, one) for one in targets]
        queries = queries if queries is not None else _titles(client, targets[0], asked["sample"])
    finally:
        client.close()
    if qrels is not None and not any(one.qid in qrels for one in queries):
        raise UsageError(
            f"{asked['qrels']} judges no query of {asked['queries']}", hint="the qids must be the same"
        )
    with shops_of_versions(
        settings, targets, encoders=asked["encoders"], dictionaries=asked["dictionaries"]
    ) as shops:
        first, second = (searcher(one, {}) for one in shops)
        found = shadow(queries, first, second, qrels=qrels, rounds=asked["rounds"])
    if asked["as_json"]:
        told = {"old": sides[0], "new": sides[1], "sampled": not asked["queries"]}
        echo_json({"alias": asked["index"], **told, **found.to_json(worst=asked["worst"])})
    else:
        _show(found, sides, queries, sampled=not asked["queries"], worst=asked["worst"])
    return 1 if found.is_worse else 0


def _targets(client: Client, name: str, old: str | None, new: str | None) -> tuple[Target, Target]:
    from es_xmodal.index.target import load_target
    from es_xmodal.index.versions import find_version, newest_other

    if old and not new:
        raise UsageError("one version alone is compared with nothing", hint="name two, or none")
    serving = load_target(client, name)
    first = load_target(client, find_version(client, name, old).index) if old else serving
    second = find_version(client, name, new).index if new else newest_other(client, name)
    return first, load_target(client, second)


def _side(client: Client, target: Target) -> dict[str, Any]:
    """What can be said of a version without asking it anything."""
    from es_xmodal.index.coverage import coverage_of
    from es_xmodal.index.stored_vectors import size_of

    documents, coverage = coverage_of(client, target)
    return {
        "index": target.index,
        "encoder": target.meta.encoder.spec,
        "documents": documents,
        "bytes": size_of(client, target.index),
        "coverage": {name: round(share, 4) for name, share in coverage.items()},
    }


def _titles(client: Client, target: Target, count: int) -> list[JudgedQuery]:
    """Titles of the index in the place of queries: they show what changes, not what is right."""
    from es_xmodal.evaluation.queries import JudgedQuery
    from es_xmodal.index.stored_vectors import sampled_titles

    return [
        JudgedQuery(qid=id_, mode="text", lang="", text=title, image=None, tags=(), exclude=frozenset())
        for id_, title in sampled_titles(client, target.index, most=count)
    ]


def _show(
    found: Shadow,
    sides: Sequence[dict[str, Any]],
    queries: Sequence[JudgedQuery],
    *,
    sampled: bool,
    worst: int,
) -> None:
    from rich.table import Table

    from es_xmodal.cli.render import console

    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "old", "new"):
        table.add_column(name, overflow="fold")
    for row in _rows(found, sides):
        table.add_row(*row)
    out.print(table)
    alike = found.mean_overlap
    what = "titles of the index as queries (no --queries)" if sampled else "queries"
    if alike is not None:
        out.print(f"overlap@10: {alike:.3f} over {len(found.overlap)} {what}")
    texts = {one.qid: one.text or (one.image.name if one.image else "") for one in queries}
    for qid, share in found.least_alike(worst):
        out.print(f"  {share:.1f}  {qid}  {texts[qid]}", markup=False)
    if found.difference is None:
        out.print("no judgements, so that nobody can say which is better: give --queries and --qrels")
        return
    one = found.difference
    told = (
        "worse"
        if found.is_worse
        else "better"
        if one.difference > 0 and one.p < 0.05
        else "no difference beyond chance"
    )
    out.print(
        f"nDCG@10: {one.difference:+.4f}, p {one.p:.4f} (two-sided paired t-test, {one.queries} queries):"
        f" {told}; {one.better} queries gain, {one.worse} lose"
    )


def _rows(found: Shadow, sides: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    from statistics import fmean

    from es_xmodal.evaluation.shadow import MAIN

    rows = [(name, str(sides[0][name]), str(sides[1][name])) for name in ("index", "encoder", "documents")]
    rows.append(("megabytes", *(f"{one['bytes'] / 1e6:.1f}" for one in sides)))  # type: ignore[arg-type]
    for name in dict.fromkeys((*sides[0]["coverage"], *sides[1]["coverage"])):
        shares = [one["coverage"].get(name) for one in sides]
        cells = ["" if share is None else f"{100 * share:.1f} %" for share in shares]
        rows.append((f"with {name.replace('_', ' ')}", cells[0], cells[1]))
    if found.judged:
        old, new = (fmean(one.values[MAIN].values()) for one in found.judged)
        rows.append((MAIN, f"{old:.4f}", f"{new:.4f}"))
    rows.append(("empty queries", str(len(found.old.empty)), str(len(found.new.empty))))
    for name in ("p50", "p95"):
        times = [one.latency_ms()[name] for one in (found.old, found.new)]
        cells = ["" if one is None else f"{one:.1f}" for one in times]
        rows.append((f"{name}, ms", cells[0], cells[1]))
    return rows
