"""`es-xmodal encoders`: which encoders are there, and what one of them is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import echo_json, json_option
from es_xmodal.settings import load_settings

if TYPE_CHECKING:
    from es_xmodal.encoders.base import Encoder
    from es_xmodal.encoders.listing import Kind


@click.command()
@click.argument("spec", required=False)
@json_option
def encoders(spec: str | None, as_json: bool) -> int:
    """List the encoders that can be used; with a SPEC, load that one and say what it is."""
    if spec is not None:
        about = _loaded(spec)
        if as_json:
            echo_json(about)
        else:
            _show_one(about)
        return 0
    from es_xmodal.encoders.listing import list_encoders

    kinds = list_encoders()
    if as_json:
        echo_json({"encoders": [kind.to_json() for kind in kinds]})
    else:
        _show_all(kinds)
    return 0


def _loaded(spec: str) -> dict[str, Any]:
    from es_xmodal.app import make_encoder

    encoder = make_encoder(load_settings(), spec)
    try:
        return describe(encoder)
    finally:
        encoder.close()


def describe(encoder: Encoder) -> dict[str, Any]:
    """Return what an encoder says of itself, as JSON values."""
    info = encoder.info
    spaces = [
        {
            "name": space.name,
            "dim": space.dim,
            "similarity": space.similarity,
            "modalities": sorted(space.modalities),
        }
        for space in info.spaces
    ]
    return {
        "spec": info.spec,
        "fingerprint": info.fingerprint,
        "spaces": spaces,
        "text_space": info.text_space,
        "languages": list(info.languages),
        "licence": info.licence,
        "picture_side": info.picture_side,
        "batch_size": encoder.batch_size,
        "runs_on": encoder.runs_on,
    }


def _show_one(about: Mapping[str, Any]) -> None:
    from rich.table import Table

    from es_xmodal.cli.render import console

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("spec", "fingerprint"):
        table.add_row(name, about[name])
    for space in about["spaces"]:
        what = " and ".join(f"{modality}s" for modality in reversed(space["modalities"]))
        table.add_row(f"space {space['name']}", f"{space['dim']} numbers, {space['similarity']}, {what}")
    table.add_row("titles in", about["text_space"] or "no space of texts")
    table.add_row("languages", ", ".join(about["languages"]) or "not said")
    table.add_row("licence", about["licence"])
    table.add_row("sees", f"{about['picture_side']} x {about['picture_side']} pixels")
    table.add_row("runs on", f"{about['runs_on']}, {about['batch_size']} items at once")
    console().print(table)


def _show_all(kinds: list[Kind]) -> None:
    from rich.table import Table

    from es_xmodal.cli.render import console

    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("SPEC", "what", "spaces", "languages", "licence", "runs on", "package"):
        table.add_column(name, overflow="fold", no_wrap=name in ("SPEC", "spaces", "package"))
    for kind in kinds:
        table.add_row(
            kind.spec + (" *" if kind.default else ""),
            kind.about,
            "\n".join(f"{name} {dim}" for name, dim in kind.spaces.items()),
            ", ".join(kind.languages),
            kind.licence,
            kind.device,
            f"{kind.package} {kind.version}".strip(),
        )
    out.print(table)
    out.print("* used where none is named; what is empty depends on the model: es-xmodal encoders SPEC")
    for kind in kinds:
        if kind.missing:
            out.print(f"{kind.kind} needs {', '.join(kind.missing)}: {kind.install}")
