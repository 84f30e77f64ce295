"""`es-xmodal search` and `es-xmodal plan`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from es_xmodal.cli.common import (
    F,
    echo_json,
    index_encoder_option,
    index_option,
    json_option,
    profile_option,
    read_image,
    settings_for,
    url_option,
)
from es_xmodal.cli.explain_chart import check_chart_path, draw_chart
from es_xmodal.cli.given import pictures_in_text
from es_xmodal.cli.render import ledger_table, result_table
from es_xmodal.errors import QueryError
from es_xmodal.query.console import console_text
from es_xmodal.query.model import COMPOSITIONS, FUSIONS, LEGS, Query
from es_xmodal.search.explain import Explanation
from es_xmodal.search.explain import explain as explain_hit
from es_xmodal.shop import Shop


def _query_options(command: F) -> F:
    """The arguments that `search` and `plan` have in common."""
    decorators: list[Callable[[Any], Any]] = [
        click.argument("text", required=False, default=""),
        click.option(
            "--image", "images", multiple=True, metavar="PATH|URL|-", help="A picture; - is standard input."
        ),
        click.option("--like", multiple=True, metavar="ID", help="Products like this one of the index."),
        click.option(
            "--minus", multiple=True, metavar="TEXT", help="Move away from words, image:PATH, or id:ID."
        ),
        click.option("--keep-like", is_flag=True, help="The products of --like may be hits."),
        click.option(
            "--compose",
            "composition",
            type=click.Choice(COMPOSITIONS),
            default="auto",
            show_default=True,
            help="Several terms: early, one vector a leg; late, a leg each.",
        ),
        click.option(
            "--filter", "filters", multiple=True, metavar="F=V", help="brand=X|Y, price=10..20, images!=*."
        ),
        click.option(
            "--facet",
            "facets",
            multiple=True,
            metavar="F",
            help="Count brand, price:0,50, attributes and so on.",
        ),
        click.option("--sort", multiple=True, metavar="F", help="price, or -price for the largest first."),
        click.option("--collapse", is_flag=True, help="One hit for all variants of a product."),
        click.option("--size", default=10, show_default=True, help="Hits on one page."),
        click.option("--fusion", type=click.Choice(FUSIONS), default="convex", show_default=True),
        click.option("--weight", "weights", multiple=True, metavar="LEG=W", help=f"Legs: {', '.join(LEGS)}."),
        click.option(
            "--lexical-query",
            "own_query",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="The shop's own Query DSL as the lexical leg; {{query}} is the text.",
        ),
        click.option(
            "--cutoff", type=float, metavar="SPREADS", help="Leave out what no leg finds relevant; try 1."
        ),
        click.option("--window", type=int, help="Candidates a leg. [default: 100]"),
        click.option("--cursor", help="Next page: the cursor in the answer before."),
        profile_option,
        index_encoder_option,
        index_option,
        url_option,
        json_option,
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@click.command()
@_query_options
@click.option("--hold", is_flag=True, help="All pages show the index as it was on the first page.")
@click.option("--explain", is_flag=True, help="Show every leg's part of every score.")
@click.option(
    "--explain-chart",
    "chart",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the parts of every score as bars: a .png or an .svg.",
)
def search(
    url: str | None, index: str, as_json: bool, explain: bool, chart: Path | None, **asked: Any
) -> int:
    """Search by words, by picture, or by both."""
    cursor, hold = asked.pop("cursor"), asked.pop("hold")
    if chart:
        check_chart_path(chart)
    notes = pictures_in_text(asked)
    with _shop(url, index, asked) as shop:
        query = replace(_query(shop, asked), hold=hold)
        result = shop.search(query, cursor=cursor)
        result = replace(result, warnings=(*notes, *result.warnings))
        why = [explain_hit(hit, query.filters) for hit in result.hits] if explain else []
    if chart:
        draw_chart(result, chart)
    if as_json:
        echo_json(_with_explanations(result.to_json(), why))
        return 0
    result_table(result)
    if explain:
        ledger_table(list(zip(result.hits, why, strict=True)))
    _say(result.warnings)
    return 0


@click.command()
@_query_options
def plan(url: str | None, index: str, as_json: bool, **asked: Any) -> int:
    """Print the requests of a search, to paste into Kibana's Console.

    The second request holds the ids that the first one finds, so the first one is sent.
    """
    cursor = asked.pop("cursor")
    notes = pictures_in_text(asked)
    with _shop(url, index, asked) as shop:
        planned = shop.plan(_query(shop, asked), cursor=cursor)
    if as_json:
        legs = [{"name": leg.name, "weight": leg.weight} for leg in planned.plan.legs]
        requests = [
            {"index": index, "endpoint": one.endpoint, "params": dict(one.params), "bodies": list(one.bodies)}
            for one in planned.requests
        ]
        echo_json(
            {
                "fusion": planned.plan.fusion,
                "composition": planned.plan.composition,
                "class": planned.plan.query_class,
                "profile": planned.plan.profile.to_json(),
                "legs": legs,
                "requests": requests,
                "warnings": [*notes, *planned.plan.warnings],
            }
        )
        return 0
    click.echo("\n\n".join(console_text(index, request) for request in planned.requests))
    _say((*notes, *planned.plan.warnings))
    return 0


def _shop(url: str | None, index: str, asked: dict[str, Any]) -> Shop:
    settings = settings_for(url, profile=asked.pop("profile"))
    return Shop(settings=settings, index=index, encoder=asked.pop("encoder"))


def _say(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(f"note: {warning}", err=True)


def _with_explanations(answer: dict[str, Any], why: Sequence[Explanation]) -> dict[str, Any]:
    for hit, one in zip(answer["hits"], why, strict=False):  # no explanations where none were asked for
        hit["explain"] = one.to_json()
    return answer


def _query(shop: Shop, asked: dict[str, Any]) -> Query:
    return shop.query(
        asked["text"],
        images=_pictures(asked["images"]),
        like=asked["like"],
        minus=asked["minus"],
        keep_like=asked["keep_like"],
        composition=asked["composition"],
        filters=asked["filters"],
        facets=asked["facets"],
        sort=asked["sort"],
        collapse=asked["collapse"],
        size=asked["size"],
        fusion=asked["fusion"],
        weights=parse_weights(asked["weights"]),
        lexical_query=read_own_query(asked["own_query"]) if asked["own_query"] else None,
        cutoff=asked["cutoff"],
        window=asked["window"],
    )


def read_own_query(path: Path) -> dict[str, Any]:
    """Read a file of Query DSL.

    Args:
        path: JSON: a query, or a search body with a `query`.

    Returns:
        The object in it.

    Raises:
        QueryError: it cannot be read, or is not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as JSON: {error}", field="lexical_query") from None
    if not isinstance(found, dict):
        raise QueryError(f"{path} holds no JSON object", field="lexical_query")
    return found


def _pictures(given: Sequence[str]) -> list[str | bytes]:
    if given.count("-") > 1:
        raise QueryError("standard input is given twice", field="image", hint="it holds one picture")
    return [read_image(one) for one in given]


def parse_weights(given: Sequence[str]) -> dict[str, float]:
    """Read `LEG=W` options.

    Raises:
        QueryError: one of them is not written like that.
    """
    weights = {}
    for one in given:
        leg, sign, number = one.partition("=")
        try:
            weights[leg.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise QueryError(f"{one!r} is not a weight", field="weights", hint="write LEG=W, as in image=0.5")
    return weights
