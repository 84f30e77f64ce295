"""`es-xmodal kibana export` and `es-xmodal kibana import`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import F, echo_json, index_option, json_option, settings_for, url_option
from es_xmodal.errors import SettingsError

if TYPE_CHECKING:
    from es_xmodal.kibana.client import Connection, Imported
    from es_xmodal.kibana.objects import SavedObject
    from es_xmodal.settings import Settings

_NAMES = {"index-pattern": "data view", "search": "session", "lens": "chart", "dashboard": "dashboard"}


@click.group()
def kibana() -> None:
    """Look at an index and its ingests in Kibana: products with pictures, coverage and rejects over time."""


def _object_options(command: F) -> F:
    """What `export` and `import` are told about the objects."""
    decorators: list[Callable[[Any], Any]] = [
        index_option,
        click.option(
            "--data-view-title", "title", metavar="NAME", help="Name of the data view. [default: the alias]"
        ),
        click.option(
            "--image-url-template",
            "template",
            metavar="URL",
            help="Where pictures are, such as https://shop.example/img/{{rawValue}}, where the catalogue"
            " names files.",
        ),
        click.option(
            "--audit-index", metavar="NAME", help="Where ingests are recorded. [default: es-xmodal-ingests]"
        ),
        click.option(
            "--space",
            default="",
            metavar="ID",
            callback=lambda ctx, param, value: "" if value == "default" else value,
            help="Kibana's space. [default: the default one]",
        ),
        url_option,
        json_option,
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@kibana.command()
@_object_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="File to write. [default: standard output]",
)
def export(out: Path, url: str | None, as_json: bool, **asked: Any) -> int:
    """Write a file that Kibana imports, as NDJSON.

    In Kibana: Stack Management → Saved Objects → Import. A data view with pictures, a session (saved search)
    of the products, and a dashboard of coverage and ingests. The same index gives the same ids, so that a
    second import replaces the first.
    """
    from es_xmodal.kibana.export import to_ndjson

    objects, notes = _objects(_settings(url, asked), asked)
    to_file = str(out) != "-"
    if to_file:
        try:
            out.write_bytes(to_ndjson(objects))
        except OSError as error:
            raise SettingsError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    if as_json:
        listed = [_listed(one) for one in objects] if to_file else objects
        echo_json({"file": str(out) if to_file else None, "objects": listed, "notes": notes})
        return 0
    if to_file:
        click.echo(f"{len(objects)} objects in {out}")
    else:
        sys.stdout.flush()
        click.echo(to_ndjson(objects), nl=False)
    _say(notes)
    return 0


@kibana.command("import")
@_object_options
@click.option("--kibana-url", metavar="URL", help="Kibana. [default: ES_XMODAL_KIBANA_URL]")
@click.option("--overwrite", is_flag=True, help="Replace the objects of an earlier import.")
def import_command(
    kibana_url: str | None, overwrite: bool, url: str | None, as_json: bool, **asked: Any
) -> int:
    """Import the objects that `export` would write into a Kibana.

    Credentials come from ES_XMODAL_KIBANA_API_KEY, or from ES_XMODAL_KIBANA_USERNAME and
    ES_XMODAL_KIBANA_PASSWORD, else they are those for Elasticsearch. Exit code 1: some objects were not
    imported.
    """
    from es_xmodal.kibana.client import import_objects
    from es_xmodal.kibana.export import to_ndjson

    settings = _settings(url, asked, kibana_url=kibana_url)
    connection = _connection(settings)
    objects, notes = _objects(settings, asked)
    found = import_objects(connection, to_ndjson(objects), space=asked["space"], overwrite=overwrite)
    _report(found, as_json, notes)
    return 1 if found.failed else 0


def _settings(url: str | None, asked: dict[str, Any], **given: Any) -> Settings:
    """A named place where ingests are recorded says that they are."""
    name = asked["audit_index"]
    return settings_for(url, audit=True if name else None, audit_index=name, **given)


def _objects(settings: Settings, asked: dict[str, Any]) -> tuple[list[SavedObject], list[str]]:
    """The objects, and what a person should know about them."""
    from es_xmodal.cluster.client import connect
    from es_xmodal.index.names import check_name
    from es_xmodal.ingest.report import STAGES
    from es_xmodal.kibana.export import Wish, build_objects
    from es_xmodal.kibana.reading import read_shown
    from es_xmodal.kibana.shown import check_template

    template = check_template(asked["template"]) if asked["template"] else None
    with closing(connect(settings)) as client:
        shown, on_the_web = read_shown(client, asked["index"])
    wish = Wish(
        alias=asked["index"],
        shown=shown,
        pictures=template is not None or bool(on_the_web),
        template=template,
        title=asked["title"],
        audit_index=check_name(settings.audit_index) if settings.audit else None,
        space=asked["space"],
    )
    notes = []
    if shown.picture is None:
        notes.append(
            "no pictures: Discover cannot show the field that they are in; `ingest --rebuild` adds one"
            " that it can"
        )
    elif template is None and on_the_web is False:
        notes.append("no pictures: they are files; say with --image-url-template where a browser finds them")
    if not settings.audit:
        notes.append("no dashboard: ingests are not recorded (ES_XMODAL_AUDIT)")
    return build_objects(wish, STAGES), notes


def _connection(settings: Settings) -> Connection:
    from es_xmodal.kibana.client import Connection

    if not settings.kibana_url:
        raise SettingsError(
            "no address of a Kibana is known", hint="give --kibana-url or set ES_XMODAL_KIBANA_URL"
        )
    own = settings.kibana_api_key is not None or settings.kibana_username is not None
    return Connection(
        url=settings.kibana_url,
        api_key=settings.kibana_api_key if own else settings.api_key,
        username=settings.kibana_username if own else settings.username,
        password=settings.kibana_password if own else settings.password,
        ca_certs=settings.ca_certs,
        verify_certs=settings.verify_certs,
        timeout_s=settings.timeout_s,
    )


def _listed(one: SavedObject) -> dict[str, Any]:
    attributes = one["attributes"]
    return {"type": one["type"], "id": one["id"], "title": attributes.get("name") or attributes["title"]}


def _report(found: Imported, as_json: bool, notes: list[str]) -> None:
    if as_json:
        done = [{"type": o.type, "id": o.id, "title": o.title, "replaced": o.replaced} for o in found.done]
        failed = [{"type": o.type, "id": o.id, "title": o.title, "reason": o.reason} for o in found.failed]
        echo_json({"imported": done, "failed": failed, "notes": notes})
        return
    for one in found.done:
        how = "replaced" if one.replaced else "imported"
        click.echo(_clean(f"{how}: {_NAMES.get(one.type, one.type)} {one.title}"))
    for bad in found.failed:
        click.echo(
            _clean(f"not imported: {_NAMES.get(bad.type, bad.type)} {bad.title}: {bad.reason}"), err=True
        )
    _say(notes)


def _say(notes: list[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _clean(text: str) -> str:
    """On one line: a title may hold anything."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
