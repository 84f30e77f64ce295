"""docker-compose.yml as Compose would see it, without Compose: interpolation, and what a container runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.cli import REPOSITORY

COMPOSE = REPOSITORY / "docker-compose.yml"
EXAMPLE = REPOSITORY / ".env.example"
DOCKERFILE = REPOSITORY / "Dockerfile"
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<how>[?-])(?P<rest>[^{}]*))?\}|(?P<odd>.?))"
)


class InterpolationError(ValueError):
    """A variable is required and missing, or a `$` stands where Compose knows none."""


@dataclass(frozen=True)
class Use:
    """One `${NAME...}`."""

    name: str
    default: str | None
    """None: it is required."""


def uses(text: str) -> Iterator[Use]:
    """Every variable of a text."""
    for match in _VARIABLE.finditer(text):
        if match["odd"] is not None:
            raise InterpolationError(f"neither ${{NAME}} nor $$: {match[0]!r}")
        if match["name"]:
            yield Use(match["name"], match["rest"] if match["how"] == "-" else None)


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Fill a tree in; only values, as Compose does."""
    if isinstance(value, dict):
        return {name: interpolate(one, environment) for name, one in value.items()}
    if isinstance(value, list):
        return [interpolate(one, environment) for one in value]
    if not isinstance(value, str):
        return value
    list(uses(value))

    def fill(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = environment.get(match["name"])
        if found:
            return found
        if match["how"] == "-":
            return str(match["rest"])
        raise InterpolationError(f"{match['name']}: {match['rest'] or 'is not set'}")

    return _VARIABLE.sub(fill, value)


def load(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with its anchors merged; filled in where an environment is given."""
    tree: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return tree if environment is None else dict(interpolate(tree, environment))


def read_env(path: Path) -> dict[str, str]:
    """An env file without quotes, which is all that ours needs."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def image_default(instruction: str) -> list[str]:
    """The last ENTRYPOINT or CMD of the Dockerfile, in its JSON form."""
    found = re.findall(rf"^{instruction} (\[.*\])$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    command: list[str] = json.loads(found[-1])
    return command
