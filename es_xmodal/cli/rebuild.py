"""`es-xmodal index rebuild`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.audit_options import audit_options, audit_wish
from es_xmodal.cli.common import echo_json, index_option, json_option, settings_for, url_option
from es_xmodal.cli.layout_options import combining_wish, layout_options, placeholder_hash

if TYPE_CHECKING:
    from es_xmodal.index.target import Target
    from es_xmodal.ingest.options import IngestOptions
    from es_xmodal.settings import Settings


@click.command("rebuild")
@index_option
@click.option("--encoder", metavar="SPEC", help="Encoder of the new version. [default: that of the index]")
@click.option(
    "--images-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Folder that the pictures' paths start from. [default: here]",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of what did not make it. [default: NAME.rejects.jsonl here]",
)
@layout_options
@click.option("--no-swap", is_flag=True, help="Let the new version wait for `index swap`.")
@audit_options
@url_option
@json_option
def rebuild(url: str | None, as_json: bool, **asked: Any) -> int:
    """Build a new version from the rows of the one that serves; no catalogue is needed.

    For another encoder, dictionary, layout or number of shards. Texts are tokenised anew; vectors come from
    the vector store, else from the index where its encoder stays, and only what is left is encoded. What is
    written to the index meanwhile is in the new version too.
    """
    from es_xmodal.app import ingest_parts
    from es_xmodal.cli.ingest import print_report, progress
    from es_xmodal.cluster.client import connect
    from es_xmodal.index.target import load_target
    from es_xmodal.ingest.audited import run_audited

    recorded = audit_wish(asked)
    settings = settings_for(url)
    client = connect(settings)
    try:
        target = load_target(client, asked["index"])
    finally:
        client.close()
    settings = settings_for(
        url,
        encoder=asked["encoder"] or target.meta.encoder.spec,
        ocr=target.meta.ocr is not None if asked["ocr"] is None else asked["ocr"],
        vector_index=asked["vector_index"],
        **recorded,
    )
    options = _options(settings, target, asked)
    with ExitStack() as stack:
        report = run_audited(
            stack.enter_context(ingest_parts(settings, asked["images_root"])),
            options,
            audit_index=settings.audit_index if settings.audit else None,
            on_progress=stack.enter_context(progress()),
        )
    if as_json:
        echo_json(report.to_json())
    else:
        print_report(report)
    return 0 if report.clean else 1


def _options(settings: Settings, target: Target, asked: dict[str, Any]) -> IngestOptions:
    from es_xmodal.ingest.options import IngestOptions

    return IngestOptions(
        catalog=Path(asked["index"]),
        index=asked["index"],
        from_index=True,
        rebuild=True,
        swap=not asked["no_swap"],
        rejects=asked["rejects"],
        vector_index=settings.vector_index,
        expect=asked["expect"],
        combining=combining_wish(settings, asked),
        shards=asked["shards"] or target.shards,
        replicas=asked["replicas"],
        keep=asked["keep"],
        version_field=target.meta.version_field,
        placeholders=frozenset(placeholder_hash(one) for one in asked["placeholders"]),
    )
