"""`es-xmodal doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from es_xmodal.cli.common import echo_json, json_option, settings_for, url_option

if TYPE_CHECKING:
    from es_xmodal.index.advice import Diagnosis

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


@click.command()
@click.option("--index", "name", help="Alias or index to check, also one that es_xmodal did not make.")
@url_option
@json_option
def doctor(name: str | None, url: str | None, as_json: bool) -> int:
    """Say what the cluster can do, what is wrong with an index, and how to mend it.

    Changes nothing. Exit code 1 where there is a warning or an error. docs/doctor.md lists every finding.
    """
    from es_xmodal.app import make_analyzer, make_encoder
    from es_xmodal.cluster.capabilities import survey
    from es_xmodal.cluster.client import connect
    from es_xmodal.index.advice import worst
    from es_xmodal.index.doctor import Asked, diagnose_cluster, diagnose_index

    settings = settings_for(url)
    asked = Asked(
        encoder_for=lambda spec: make_encoder(settings, spec).info,
        text=make_analyzer(settings).fingerprint,
        window=settings.window,
    )
    client = connect(settings)
    try:
        cluster = diagnose_cluster(client)
        index = diagnose_index(client, name, asked) if name else []
        capabilities = survey(client)
    finally:
        client.close()
    verdict = worst([*cluster, *index])
    if as_json:
        echo_json(
            {
                "worst": verdict,
                "capabilities": capabilities.to_json(),
                "cluster": [one.to_json() for one in cluster],
                "index": name,
                "findings": [one.to_json() for one in index],
            }
        )
    else:
        _show("cluster", cluster)
        if name:
            _show(f"index {name}", index)
    return 1 if verdict in ("warning", "error") else 0


def _show(title: str, findings: list[Diagnosis]) -> None:
    """Good things in one line each; of the others also what they cost and what to do."""
    from rich.table import Table
    from rich.text import Text

    from es_xmodal.cli.render import console

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("", "what", "found, what it costs, what to do"):
        table.add_column(name, overflow="fold")
    for one in findings:
        about = Text(one.about)
        told = Text(one.detail)
        if one.fix:
            about.append(f"\n{one.code}", style="dim")
            told.append(f"\n{one.costs}", style="dim")
            told.append(f"\n→ {one.fix}")
        table.add_row(Text(one.severity, style=_STYLES[one.severity]), about, told)
    console().print(table)
