"""`enrich` as a command, and the other commands on an enriched index."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, refused
from tests.support.enriching import make_shop, shop_client, shop_mapping
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration

COUNT = 12
MAP = ("--map", "title=name", "--map", "images=photo_urls", "--map", "brand=vendor.label")


@pytest.fixture
def cli(bare_cli: Cli, tmp_path: Path) -> Cli:
    return Cli(home=tmp_path, variables=bare_cli.variables)


@pytest.fixture
def index(es_url: str, tmp_path: Path) -> Iterator[str]:
    """A shop's index whose name no other test has."""
    prefix = f"t{secrets.token_hex(5)}-"
    make_shop(es_url, f"{prefix}shop", tmp_path, COUNT)
    yield f"{prefix}shop"
    delete_everything_named(es_url, prefix)


def test_enrich_and_everything_after_it(cli: Cli, index: str) -> None:
    report = cli.json("enrich", index, *MAP, "--map", "id=sku", "--images-root", cli.home)
    assert (report["read"], report["indexed"], report["documents"], report["enriched"]) == (COUNT,) * 4
    assert report["own_fields"]["price"] == "price"
    again = cli.here("enrich", index, "--docs-per-second", "1000", "--all")
    assert again.code == 0, again
    assert f"{COUNT} of {COUNT} documents enriched" in again.out
    assert "read as:" in again.out

    (hit,) = cli.json("search", "red mug 3", "--size", "1", "--index", index)["hits"]
    assert (hit["id"], hit["source"]["id"], hit["best_image"]) == ("1003", "3", "photos/3.png")
    own = {"match": {"name": "{{query}}"}}
    (cli.home / "shop.json").write_text(json.dumps(own), encoding="utf-8")
    asked = ("--image", "photos/4.png", "--lexical-query", "shop.json", "--index", index)
    found = cli.json("search", "mug", *asked)
    assert {"lexical", "image", "visual"} <= set(found["plan"]["legs"])
    assert found["hits"][0]["legs"]["lexical"]["raw"]
    assert "es_xmodal.tokens.title" in cli.here("plan", "mug", "--index", index).out

    checked = cli.here("index", "check", "--index", index)
    assert checked.code == 0, checked
    doctor = cli.json("doctor", "--index", index)
    bad = {one["code"] for one in doctor["findings"] if one["severity"] in ("warning", "error")}
    assert not bad & {"vector-missing", "not-calibrated", "dims-mismatch", "encoder-mismatch"}
    refused(cli.here("ingest", "x.jsonl", "--index", index), 2)


def test_undo(cli: Cli, index: str) -> None:
    cli.json("enrich", index, *MAP, "--images-root", cli.home)
    done = cli.here("enrich", index, "--undo")
    assert done.code == 0, done
    assert f"taken back from {COUNT} documents" in done.out
    assert "what stays: the empty field es_xmodal in the mapping" in done.out
    assert cli.json("enrich", index, "--undo")["undone"] == 0
    refused(cli.here("search", "mug", "--index", index), 2, "was not made by es_xmodal")


def test_a_copy_is_put_in_its_place(cli: Cli, es_url: str, index: str) -> None:
    done = cli.here("enrich", index, *MAP, "--images-root", cli.home, "--to", f"{index}-2")
    assert done.code == 0, done
    assert f"{COUNT} documents copied from {index}" in done.out
    assert '"remove_index"' in done.out
    refused(cli.here("enrich", index, "--to", f"{index}-2", "--swap"), 2, "--swap", "no alias")
    with shop_client(es_url) as client:
        client.indices.put_alias(index=index, name=f"{index}-now")
    swapped = cli.here("enrich", f"{index}-now", "--images-root", cli.home, "--to", f"{index}-2", "--swap")
    assert swapped.code == 0, swapped
    assert f"{index}-now → {index}-2" in swapped.out


def test_what_did_not_make_it(cli: Cli, es_url: str, index: str) -> None:
    with shop_client(es_url) as client:
        client.update(index=index, id="1001", doc={"photo_urls": "photos/none.png"})
        client.update(index=index, id="1002", doc={"name": ""}, refresh=True)
    asked = ("enrich", index, *MAP, "--images-root", cli.home, "--rejects", "r.jsonl")
    report = cli.json(*asked, code=1)
    assert (report["indexed"], report["rejected"], report["failed_pictures"]) == (COUNT - 1, 1, 1)
    rejects = [json.loads(line) for line in (cli.home / "r.jsonl").read_text("utf-8").splitlines()]
    assert {(one["id"], one["field"]) for one in rejects} == {("1001", "images[0]"), ("1002", "title")}
    told = cli.here(*asked)  # the document without a title is looked at again
    assert told.code == 1
    assert "did not make it: 1 row/empty; see r.jsonl" in told.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--map", "title=nmae"), ("has no field nmae", "name")),
        (("--map", "titel=name"), ("no field titel", "title")),
        ((), ("no field is named for the title", "--map title=name")),
        (("--since", "5"), ("--since-field",)),
        (("--all", "--since", "5", "--since-field", "sku"), ("contradict",)),
        (("--swap",), ("--to NEW",)),
        (("--to", "x", "--since", "5", "--since-field", "sku"), ("--to and --since contradict",)),
        (("--undo", "--all"), ("--undo and --all contradict",)),
        (("--undo",), ("never enriched",)),
        ((*MAP, "--docs-per-second", "0"), ("docs-per-second",)),
        ((*MAP, "--placeholder", "nothing.png"), ("--placeholder",)),
        ((*MAP, "--since", "x", "--since-field", "nothing"), ("has no field nothing",)),
    ],
)
def test_wrong_calls_are_one_line(cli: Cli, index: str, args: tuple[str, ...], says: tuple[str, ...]) -> None:
    refused(cli.here("enrich", index, *args), 2, *says)


def test_a_clash_and_a_block_are_one_line(cli: Cli, es_url: str, index: str) -> None:
    refused(cli.here("enrich", f"{index}-nowhere"), 2, "there is no index")
    with shop_client(es_url) as client:
        body = shop_mapping()
        body["mappings"]["properties"]["es_xmodal"] = {"type": "keyword"}
        client.indices.create(index=f"{index}-clash", **body)
        client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    says = ("es_xmodal", "as keyword", "an object")
    refused(cli.here("enrich", f"{index}-clash", "--map", "title=name"), 2, *says)
    refused(cli.here("enrich", index, *MAP), 2, "index.blocks.write", "--to NEW")
