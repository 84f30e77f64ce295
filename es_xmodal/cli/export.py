"""`es-xmodal export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import echo_json, json_option

if TYPE_CHECKING:
    from es_xmodal.encoders.export.write import ExportReport


@click.command()
@click.argument("spec")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write; it must not be there yet, or be empty.",
)
@click.option("--int8", is_flag=True, help="8-bit matrix products: smaller, several times faster on a CPU.")
@json_option
def export(spec: str, out: Path, int8: bool, as_json: bool) -> None:
    """Write the encoder SPEC as ONNX, to be used as onnx:DIR without torch.

    The export is compared with its source on pictures and texts of many kinds before DIR appears. In fp32 it
    keeps the source's fingerprint, so that one index serves both; with --int8 it has its own.
    """
    from es_xmodal.encoders.export.write import export_encoder

    report = export_encoder(spec, out, int8=int8, on_step=lambda step: click.echo(f"{step} ...", err=True))
    if as_json:
        echo_json(_as_json(report))
    else:
        _print(report)


def _as_json(report: ExportReport) -> dict[str, Any]:
    whole = report.manifest.model_dump(mode="json")
    return {"encoder": f"onnx:{report.folder}", "bytes": report.bytes, **whole}


def _print(report: ExportReport) -> None:
    manifest = report.manifest
    click.echo(
        f"onnx:{report.folder}  {manifest.precision}, {report.bytes / 1e6:.1f} MB, {manifest.dim} dimensions"
    )
    for what, one in manifest.verified.items():
        click.echo(f"{what}: cosine to {manifest.source} {one.mean:.6f} on average, {one.worst:.6f} at worst")
    click.echo(f"fingerprint {manifest.fingerprint}")
