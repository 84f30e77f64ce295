"""`examples/encoder_plugin`, built and installed as a third party would, ingests and searches."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_wheel import NOT_COPIED, pip
from tests.support.cli import REPOSITORY, SAMPLE, Cli
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the package into."""
    home = tmp_path_factory.mktemp("plugin")
    shutil.copytree(REPOSITORY / "examples" / "encoder_plugin", home / "source", ignore=NOT_COPIED)
    pip("install", "--no-deps", "--target", home / "site", home / "source")
    return home / "site"


@pytest.fixture
def cli(es_url: str, site: Path, tmp_path: Path) -> Iterator[Cli]:
    prefix = f"t{secrets.token_hex(5)}-"
    path = os.pathsep.join([str(REPOSITORY), str(site)])
    yield Cli(
        home=tmp_path,
        options=("--index", f"{prefix}shop"),
        variables={"ES_XMODAL_URL": es_url, "PYTHONPATH": path},
    )
    delete_everything_named(es_url, prefix)


def test_a_shop_with_the_encoder_of_another_package(cli: Cli) -> None:
    listed = Cli(home=cli.home, variables=cli.variables).process("encoders", "--json").json["encoders"]
    assert [one["package"] for one in listed if one["kind"] == "colours"] == ["es-xmodal-colours"]
    shutil.copytree(SAMPLE, cli.home / "shop")
    done = cli.process("ingest", "shop/catalog.jsonl", "--encoder", "colours", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["encoded_images"] > 0
    found = cli.process("search", "a yellow chair", "--weight", "lexical=0", "--size", "5", "--json")
    assert found.code == 0, found
    assert any("yellow" in json.dumps(hit["source"]).lower() for hit in found.json["hits"])
