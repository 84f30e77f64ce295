"""The sample catalogue in a real index, made once for each server and used by many tests."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import SAMPLE, Cli
from tests.support.nodes import delete_everything_named

EXTRA = 40
"""Products without a picture beside the 80 of the sample, so that a ranking can have 100 hits."""


@pytest.fixture(scope="session")
def cli_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vector store for all servers: what one of them encoded, the next one reuses."""
    return tmp_path_factory.mktemp("cli-data")


@pytest.fixture(scope="session")
def bare_cli(es_url: str, cli_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line on `es_url`, no index named."""
    variables = {"ES_XMODAL_URL": es_url, "ES_XMODAL_DATA_DIR": str(cli_data)}
    return Cli(home=tmp_path_factory.mktemp("cli"), variables=variables)


@pytest.fixture(scope="session")
def sample_cli(bare_cli: Cli, es_url: str) -> Iterator[Cli]:
    """The command line on an index of 120 products; what ingest printed lies in `ingested.json`."""
    rows = (SAMPLE / "catalog.jsonl").read_text(encoding="utf-8").splitlines()
    rows += [
        json.dumps({"id": f"sock-{number:02d}", "title": f"Striped sock, size {number}", "price": number})
        for number in range(EXTRA)
    ]
    (bare_cli.home / "catalog.jsonl").write_text("\n".join(rows), encoding="utf-8")
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=bare_cli.home, variables=bare_cli.variables, options=("--index", f"{prefix}shop"))
    done = cli.here("ingest", "catalog.jsonl", "--images-root", SAMPLE, "--json")
    assert done.code == 0, done
    (cli.home / "ingested.json").write_text(done.out, encoding="utf-8")
    yield cli
    delete_everything_named(es_url, prefix)
