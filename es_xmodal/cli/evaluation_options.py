"""The options of `evaluate`: what goes together, which files are read and written."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from es_xmodal.app import load_profile
from es_xmodal.errors import MissingExtraError, QueryError, UsageError
from es_xmodal.evaluation.trec import read_run
from es_xmodal.query.model import Query

GROUPS = ("mode", "lang", "tag")
KNOBS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "fusion": ((str,), "a name"),
    "weights": ((dict,), "an object of numbers"),
    "window": ((int,), "a whole number"),
    "composition": ((str,), "a name"),
    "cutoff": ((int, float), "a number"),
    "lexical_query": ((dict,), "an object of Query DSL"),
    "profile": ((str,), "the path of a profile"),
}
"""What a configuration may set: the types of its value, and the same in words."""


def check_options(configs: Path | None, given: Mapping[str, Any]) -> None:
    """Refuse what would have no effect, and what would fail after minutes of searching.

    Raises:
        UsageError: two options do not go together, or a folder does not exist.
        MissingExtraError: what computes the measures is not installed.
    """
    if importlib.util.find_spec("ir_measures") is None:
        raise MissingExtraError("evaluation", extra="eval")
    if configs and (given["fusion"] or given["weights"]):
        raise UsageError("--fusion and --weight do not go with --configs", hint="write them into the file")
    if given["per_query"] and not given["as_json"]:
        raise UsageError("--per-query goes with --json only")
    if given["by"] is not None and given["as_json"]:
        raise UsageError("--by does not go with --json", hint="the JSON holds every group")
    groups_shown(given["by"])
    out = given["run_out"]
    if out and not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: there is no such folder", hint="give --run-out a path in an existing one")


def groups_shown(by: str | None) -> frozenset[str]:
    """Read `--by mode,lang,tag`.

    Raises:
        UsageError: it names something else.
    """
    names = [name.strip() for name in ("mode,lang" if by is None else by).split(",")]
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"--by: {name!r} is none of {', '.join(GROUPS)}")
    return frozenset(names)


def read_runs(given: Sequence[str], *, taken: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Read `--run NAME=FILE` options.

    Args:
        given: the options.
        taken: names of the configurations.

    Returns:
        Name to (qid to product ids).

    Raises:
        UsageError: one is not written like that, a name comes twice, or a file is no run.
    """
    runs: dict[str, dict[str, list[str]]] = {}
    for one in given:
        name, sign, path = (part.strip() for part in one.partition("="))
        if not sign or not name or not path:
            raise UsageError(f"--run {one!r} is no run", hint="write --run NAME=FILE")
        if name in taken or name in runs:
            raise UsageError(f"--run {name}: there is a configuration or run of that name already")
        runs[name] = read_run(Path(path))
    return runs


def run_paths(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """Which configuration's run goes to which file: the first to `--run-out` itself, the others beside it.

    Args:
        out: such as `run.txt`.
        names: of the configurations.

    Returns:
        Name to path, such as `run-NAME.txt`.

    Raises:
        UsageError: two names come to the same file.
    """
    paths = {names[0]: out}
    for name in names[1:]:
        safe = re.sub(r"[^\w.-]+", "_", name)
        path = out.with_name(f"{out.stem}-{safe}{out.suffix}")
        for other, used in paths.items():
            if str(used).lower() == str(path).lower():
                raise UsageError(f"--run-out: {other!r} and {name!r} would both go to {path.name}")
        paths[name] = path
    return paths


def read_configs(path: Path) -> dict[str, dict[str, Any]]:
    """Read `--configs`.

    Args:
        path: JSON: name to an object of knobs.

    Returns:
        Name to options of a search.

    Raises:
        UsageError: it is not that; names the configuration.
    """
    try:
        configs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(configs, dict) or not configs:
        raise UsageError(f"{path}: not an object of configurations", hint='{"NAME": {"weights": {...}}}')
    for name, options in configs.items():
        unknown = set(options) - set(KNOBS) if isinstance(options, dict) else {"(not an object)"}
        if unknown:
            raise UsageError(
                f"{path}: {name}: unknown {', '.join(sorted(unknown))}", hint=f"knobs: {', '.join(KNOBS)}"
            )
        _check_knobs(f"{path}: {name}", options)
    return configs


def with_profiles(path: Path, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Load the profiles that configurations name; their paths start from the folder of the file.

    Args:
        path: the file of `--configs`.
        configs: what `read_configs` found in it.

    Returns:
        The configurations, with profiles in place of paths.

    Raises:
        SettingsError: a profile cannot be read, or a key in it is wrong.
    """
    return {
        name: {**one, "profile": load_profile(path.parent / one["profile"])}
        if "profile" in one
        else dict(one)
        for name, one in configs.items()
    }


def _check_knobs(where: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        types, words = KNOBS[name]
        numbers = value.values() if name == "weights" and isinstance(value, dict) else []
        right = type(value) in types and all(type(one) in (int, float) for one in numbers)
        if not right:
            raise UsageError(f"{where}: {name} is {words}")
    try:
        Query(text="any", **{name: value for name, value in options.items() if name != "profile"})
    except QueryError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
