"""Stands in for the programs that a page calls, so that a page can be run as it is written.

`es-xmodal` and `python -m es_xmodal` are the real ones, with a prefix on every index name, so that a
developer's own indices are left alone. Commands that would change the machine are checked, not run: `up` and
`down` (a node is there), `pip install` (what it names must exist), `make` (a dry run).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "ES_XMODAL_TEST_PREFIX"
INSIDE = "ES_XMODAL_TEST_INSIDE_MAKE"
HAVE_INDEX = ("ingest", "search", "plan", "evaluate")
HAVE_INDEX_BELOW = ("check", "rebuild", "compare", "swap", "rollback", "drop")


def main(name: str, args: Sequence[str]) -> int:
    """Do what the program of this name would do."""
    if name == "es-xmodal":
        return es_xmodal(args)
    if name == "pip":
        return pip(args)
    if name == "make":
        return make(args)
    if list(args[:2]) == ["-m", "es_xmodal"]:
        return es_xmodal(args[2:])
    if list(args[:2]) == ["-m", "es_xmodal.ingest"]:
        return es_xmodal(["ingest", *args[2:]])
    return subprocess.run([sys.executable, *args], check=False).returncode


def es_xmodal(args: Sequence[str]) -> int:
    """The real program, on index names with a prefix."""
    from es_xmodal.cli import demo
    from es_xmodal.cli.main import root, run

    prefix = os.environ[PREFIX]
    command = next((one for one in args if not one.startswith("-")), "")
    if command in ("up", "down"):
        return run(_without_effect(root, command), list(args)[list(args).index(command) + 1 :])
    demo.INDEX = f"{prefix}{demo.INDEX}"
    if command == "demo" and "--url" not in args:
        args = [*args, "--url", os.environ["ES_XMODAL_URL"]]
    return run(root, with_prefix(args, prefix))


def with_prefix(args: Sequence[str], prefix: str) -> list[str]:
    """The arguments, with the prefix on the index that they name or leave to the default."""
    changed = list(args)
    for place, one in enumerate(changed):
        if one == "--index" and place + 1 < len(changed):
            changed[place + 1] = f"{prefix}{changed[place + 1]}"
            return changed
        if one.startswith("--index="):
            changed[place] = one.replace("--index=", f"--index={prefix}")
            return changed
    words = [one for one in changed if not one.startswith("-")]
    below = words[:1] == ["index"] and words[1:2] and words[1] in HAVE_INDEX_BELOW
    if (words[:1] and words[0] in HAVE_INDEX) or below:
        changed += ["--index", f"{prefix}products"]
    return changed


def _without_effect(root: click.Command, name: str) -> click.Command:
    assert isinstance(root, click.Group)
    command = root.get_command(click.Context(root), name)
    assert command is not None
    command.callback = lambda **options: click.echo(f"{name}: checked, not done")
    return command


def make(args: Sequence[str]) -> int:
    """A dry run by the real `make`: it is looked for behind the folder of the stand-ins."""
    if os.environ.get(INSIDE):
        # Without this, a stand-in that finds itself calls itself until the machine is full.
        sys.stderr.write("make: the stand-in called itself\n")
        return 2
    behind = os.environ["PATH"].partition(os.pathsep)[2]
    program = shutil.which("make", path=behind)
    if program is None:
        sys.stderr.write("make: not installed\n")
        return 2
    command = [program, "--dry-run", "--silent", "-C", str(REPOSITORY), *args]
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "PATH": behind, INSIDE: "1"}, check=False
    ).returncode


def pip(args: Sequence[str]) -> int:
    """Check that what would be installed exists."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for wanted in args:
        found = re.fullmatch(r"(?:es-xmodal|\.)(?:\[(.*)\])?", wanted)
        extras = found[1].split(",") if found and found[1] else []
        known = all(re.search(rf"^{re.escape(extra)} = \[", project, re.M) for extra in extras)
        if not known or not (found or wanted in ("install", "--editable", "-e", "--upgrade", "-U")):
            sys.stderr.write(f"pip: the page wants {wanted}, which this project does not have\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
