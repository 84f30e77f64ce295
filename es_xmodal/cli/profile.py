"""`es-xmodal profile`."""

from __future__ import annotations

from pathlib import Path

import click

from es_xmodal.app import load_profile
from es_xmodal.cli.common import echo_json, json_option, profile_option
from es_xmodal.query.profile import DEFAULT_PROFILE
from es_xmodal.query.profile_file import profile_json, write_profile
from es_xmodal.settings import load_settings


@click.group()
def profile() -> None:
    """The boosts and weights of the ranking."""


@profile.command()
@profile_option
@json_option
def show(profile: Path | None, as_json: bool) -> None:
    """Print the profile in use, or that of --profile, with everything that it leaves to the defaults.

    The output is a profile file: write it to a file, change it, and use that with --profile or as the setting
    `profile`.
    """
    path = load_settings(profile=profile).profile
    shown = load_profile(path) if path else DEFAULT_PROFILE
    if as_json:
        echo_json(profile_json(shown))
    else:
        click.echo(write_profile(shown), nl=False)
