"""`es-xmodal demo`: the main job on the sample catalogue, from nothing to a ranking."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

from es_xmodal.cli.common import settings_for
from es_xmodal.cli.contact_sheet import Shown, draw
from es_xmodal.cli.render import result_table
from es_xmodal.errors import UsageError
from es_xmodal.resources import data_path
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop

INDEX = "products"
PAGE_PORT = 8000
"""Of the page; another one where something listens there."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
# (title, words, the words in English, picture below the sample's folder)
SEARCHES = (
    ("words, in English", "couch in leather", "", None),
    ("words, in Chinese", "红色网线", "red network cable", None),
    ("a photo", "", "", "photos/running-shoe.jpg"),
    ("a photo and words", "换成灰绿色", "in grey-green instead", "photos/yellow-chair.jpg"),
)


@click.command()
@click.option("--url", metavar="URL", help="Elasticsearch. [default: ES_XMODAL_URL, else a local node]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("demo.png"),
    show_default=True,
    help="Where the picture goes.",
)
@click.option(
    "--page",
    is_flag=True,
    help="Serve the search page of the sample instead, and open it where it can be seen.",
)
def demo(url: str | None, out: Path, page: bool) -> int:
    """Start a local Elasticsearch, ingest the sample catalogue, show three kinds of search.

    Afterwards the local Elasticsearch runs on, to be tried; `es-xmodal down` stops it.
    """
    if not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: there is no such folder", hint="give --out a path in an existing one")
    url = load_settings(url=url).url or _local_url()
    sample = data_path("ingest", "sample")
    _ingest(sample / "catalog.jsonl", url)
    if page:
        return _serve(sample, url)
    shown = []
    with Shop(settings=settings_for(url), index=INDEX) as shop:
        for title, text, gloss, photo in SEARCHES:
            picture = sample / photo if photo else None
            result = shop.search(text, images=[str(picture)] if picture else [], size=5)
            asked = [f'"{text}"'] if text else []
            asked += [f"--image {_short(picture)}"] if picture else []
            click.secho(f"\n{title}: {_program()} search {' '.join(asked)}", bold=True)
            result_table(result)
            shown.append(Shown(text=text, gloss=gloss, picture=picture, result=result))
    draw(shown, images_root=sample).save(out)
    _how_to_go_on(out, sample)
    return 0


def _local_url() -> str:
    from es_xmodal.cli.node import start_detached
    from es_xmodal.local.state import running_url

    return running_url() or start_detached(port=None if _is_free(9200) else 0)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _ingest(catalog: Path, url: str) -> None:
    from es_xmodal.cli.ingest import ingest
    from es_xmodal.cli.main import run

    code = run(ingest, [str(catalog), "--index", INDEX, "--url", url])
    if code:
        raise click.exceptions.Exit(code)


def _serve(sample: Path, url: str) -> int:
    """The page, until it is stopped, which is no failure."""
    from es_xmodal.cli.main import run
    from es_xmodal.cli.serve import PREFIX, serve

    options = ["--index", INDEX, "--url", url, "--images-root", str(sample), "--quiet", "--open"]
    if f"{PREFIX}PORT" not in os.environ and not _is_free(PAGE_PORT):
        options += ["--port", "0"]
    click.echo("The search page of the sample, at this address; Ctrl-C stops it:", err=True)
    code = run(serve, options)
    if code not in (0, INTERRUPTED):
        return code
    click.echo(f"The local Elasticsearch runs on; stop it with: {_program()} down", err=True)
    return 0


def _how_to_go_on(out: Path, sample: Path) -> None:
    click.secho(f"\nThe same as a picture: {out}", bold=True)
    program = _program()
    click.echo(
        "Go on with:\n"
        f'  {program} search "green plant" --filter "price<=20" --explain\n'
        f"  {program} search --image {_short(sample / 'photos' / 'table-lamp.jpg')}\n"
        f'  {program} plan "red cable"          the requests, for Kibana\'s Console\n'
        f"  {program} ingest YOUR_CATALOG.jsonl --index myshop\n"
        f"  {program} down                      stop the local Elasticsearch"
    )


def _program() -> str:
    """How this program was called, so that the commands run as printed."""
    called = Path(sys.argv[0])
    return _short(called) if called.name == "es-xmodal" and called.exists() else "es-xmodal"


def _short(path: Path) -> str:
    """Relative to the working directory where it lies below it."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)
