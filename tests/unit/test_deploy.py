"""The containers without an engine: lint, the specification's schema, interpolation, rules of the house."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.local.lock import VERSIONS
from tests.support.cli import REPOSITORY
from tests.support.compose import (
    COMPOSE,
    DOCKERFILE,
    EXAMPLE,
    InterpolationError,
    interpolate,
    load,
    read_env,
    uses,
)
from tests.support.nodes import require

pytestmark = pytest.mark.unit

TEXT = COMPOSE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = load()["services"]
ONE_SHOTS = ("users", "sample")
OURS = (*ONE_SHOTS, "service")
SECRETS = {name for name, value in read_env(EXAMPLE).items() if not value}


def programme(name: str) -> str:
    """A program of the test extra, which lies beside this Python."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    require(found is not None, f"{name} is not installed")
    return str(found)


def validate(tree: object, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "compose.json").write_text(json.dumps(tree), encoding="utf-8")
    command = [programme("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_dockerfile_has_no_findings(tmp_path: Path) -> None:
    done = subprocess.run([programme("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp && pip install thing\n")
    done = subprocess.run([programme("hadolint"), bad], capture_output=True, text=True, check=False)
    assert {"DL3007", "DL3013"} <= set(re.findall(r"DL\d+", done.stdout))


def test_the_file_follows_the_specification(tmp_path: Path) -> None:
    filled = load({name: f"secret-{name}-0123456789" for name in SECRETS})
    assert validate(load(), tmp_path).returncode == 0
    assert validate(filled, tmp_path).returncode == 0
    filled["services"]["service"]["memory_limit"] = "1g"
    assert validate(filled, tmp_path).returncode != 0


def test_every_variable_is_in_the_example_and_the_other_way_round() -> None:
    example = read_env(EXAMPLE)
    used = {one.name: one.default for one in uses(TEXT)}
    assert set(used) == set(example)
    assert {name for name, default in used.items() if default is None} == SECRETS
    assert all(example[name] == default for name, default in used.items() if default is not None)


def test_a_missing_secret_says_what_to_do() -> None:
    for missing in SECRETS:
        environment = dict.fromkeys(SECRETS - {missing}, "x")
        with pytest.raises(InterpolationError, match=f"{missing}: run deploy/make-env.sh"):
            load(environment)


def test_interpolation() -> None:
    assert interpolate({"a": ["${A:-1}$$", 2]}, {}) == {"a": ["1$", 2]}
    assert interpolate("${A:-1}", {"A": "3"}) == "3"
    for wrong in ("$A", "${A", "5$"):
        with pytest.raises(InterpolationError):
            interpolate(wrong, {"A": "1"})


def test_the_servers_are_the_version_that_the_tests_run() -> None:
    newest = next(iter(VERSIONS))
    for name in ("elasticsearch", "kibana"):
        assert SERVICES[name]["image"].endswith(f"/{name}:{newest}")


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_bounded_and_bound(name: str) -> None:
    one = SERVICES[name]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["mem_limit"]
    assert one["logging"]["options"]["max-size"]
    assert not {"privileged", "network_mode", "pid", "ipc", "cap_add", "env_file"} & set(one)
    assert one["restart"] == ("no" if name in ONE_SHOTS else "unless-stopped")
    for port in one.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    if name in ONE_SHOTS:
        assert "ports" not in one
    else:
        assert one["healthcheck"]["retries"]
    if name in OURS:
        assert (one["read_only"], one["init"]) == (True, True)


def test_no_secret_stands_in_the_file() -> None:
    for one in SERVICES.values():
        for name, value in one["environment"].items():
            if re.search("PASSWORD|KEY", name):
                assert re.fullmatch(r"(\w+:)?\$\{\w+:\?[^}]*\}(,\w+:\$\{\w+:\?[^}]*\})?", value), name


def test_everybody_waits_for_what_is_needed() -> None:
    waits = {name: one.get("depends_on", {}) for name, one in SERVICES.items()}
    assert waits["users"] == {"elasticsearch": {"condition": "service_healthy"}}
    for name, needed in (("sample", "users"), ("kibana", "users"), ("service", "sample")):
        assert waits[name][needed] == {"condition": "service_completed_successfully"}
    named = {volume.partition(":")[0] for one in SERVICES.values() for volume in one.get("volumes", ())}
    assert named == set(load()["volumes"])


def test_make_env_fills_in_fresh_secrets_once(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = shutil.copy(REPOSITORY / "deploy" / "make-env.sh", tmp_path / "deploy")
    shutil.copy(EXAMPLE, tmp_path)
    assert subprocess.run([script], capture_output=True, check=False).returncode == 0
    made, example = read_env(tmp_path / ".env"), read_env(EXAMPLE)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert all(re.fullmatch("[A-Za-z0-9]{32}", made[name]) for name in SECRETS)
    assert len({made[name] for name in SECRETS}) == len(SECRETS)
    assert {name: made[name] for name in set(example) - SECRETS} == {
        name: value for name, value in example.items() if value
    }
    before = (tmp_path / ".env").read_bytes()
    again = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    assert (tmp_path / ".env").read_bytes() == before


def test_env_files_are_neither_committed_nor_sent_to_the_builder() -> None:
    assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any("env" in line for line in ignored if line.startswith("!"))


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert "gcc" not in text
    assert "pip " not in last
    assert last.index("USER ") < last.index("ENTRYPOINT ")
