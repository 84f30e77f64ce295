"""Bad input to the command line, with a real cluster to refuse it: one line, the right exit code."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import SAMPLE, WRONG, Cli, refused
from tests.support.encoders import HashEncoder
from tests.support.nodes import call, delete_everything_named
from tests.support.shops import ingest_shop, write_shop

pytestmark = pytest.mark.integration

PHOTO = SAMPLE / "photos" / "running-shoe.jpg"


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An index `mugs`, in a folder of files that are no good."""
    home = tmp_path_factory.mktemp("shop")
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=home, variables={"ES_XMODAL_URL": es_url, "PREFIX": prefix})
    (home / "catalog.jsonl").write_text('{"id": "1", "title": "Red mug"}\n{"id": "2", "title": "Lamp"}\n')
    (home / "words.txt").write_text("红杯子 100 n\n", encoding="utf-8")
    for name, data in (
        ("empty.jsonl", b""),
        ("blank.csv", b"\n \n"),
        ("binary.jsonl", PHOTO.read_bytes()),
        ("latin.jsonl", '{"id": "1", "title": "caf\xe9"}\n'.encode("latin-1")),
        ("half.json", b'[{"id": "1", "title": "mug"}, {"id": '),
        ("not.jpg", b"I am no picture"),
        ("cut.jpg", PHOTO.read_bytes()[:2000]),
        ("empty.jpg", b""),
    ):
        (home / name).write_bytes(data)
    (home / "folder").mkdir()
    assert cli.here("ingest", "catalog.jsonl", "--index", f"{prefix}mugs").code == 0
    yield cli
    delete_everything_named(es_url, prefix)


def mugs(shop: Cli) -> str:
    return f"{shop.variables['PREFIX']}mugs"


SEARCHES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no such field": (
        ["mug", "--filter", "prise=10"],
        (
            "filters.prise: there is no such",
            "did you mean price?",
        ),
    ),
    "attribute as field": (["mug", "--filter", "colour=red"], ("an attribute is written attributes.colour",)),
    "range of words": (
        ["mug", "--filter", "brand>=3"],
        ("filters.brand: brand is a keyword and has no ranges",),
    ),
    "no cursor": (
        ["mug", "--cursor", "abc"],
        (
            "cursor: it is not a cursor",
            "ask for the first page again",
        ),
    ),
    "no leg": (
        ["mug", "--weight", "lexical=0", "--weight", "text=0", "--weight", "image=0"],
        ("legs a weight",),
    ),
    "no picture": (["--image", "not.jpg"], ("not.jpg is not a picture (one of JPEG, PNG",)),
    "cut picture": (["--image", "cut.jpg"], ("cut.jpg",)),
    "empty picture": (["--image", "empty.jpg"], ("'empty.jpg' is empty",)),
    "missing picture": (
        ["--image", "photos/no.jpg"],
        ("picture 'photos/no.jpg' does not exist (check the path)",),
    ),
    "picture is a folder": (["--image", "folder"], ("'folder' is not a file (name a picture file)",)),
    "picture without name": (["--image", ""], ("image: a picture is empty (give a path",)),
    "picture of nobody": (["--image", "~nobody-of-that-name/a.jpg"], ("cannot be opened",)),
    "picture's name too long": (["--image", "a" * 5000], ("cannot be opened",)),
    "picture on the web": (
        ["--image", "http://10.0.0.7/a.jpg"],
        ("host '10.0.0.7' is not on the public Internet", "picture_hosts"),
    ),
    "picture with a scheme": (["--image", "file:///etc/passwd"], ("file: address, which is never opened",)),
    "broken data": (["--image", "data:image/png;base64,###"], ("broken data: address",)),
    "one of two pictures": (["--image", str(PHOTO), "--image", "not.jpg"], ("not.jpg is not a picture",)),
    "control in a name": (["--image", "\x1b[31mred.jpg"], ("does not exist",)),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_searches_that_make_no_sense(shop: Cli, case: str) -> None:
    args, says = SEARCHES[case]
    # Three in processes of their own; in the others only the cause differs.
    call_it = shop.process if case in ("no such field", "no picture", "picture on the web") else shop.here
    refused(call_it("search", *args, "--index", mugs(shop)), WRONG, *says)


def test_standard_input_that_is_no_picture(shop: Cli) -> None:
    done = shop.process("search", "--image", "-", "--index", mugs(shop), stdin=b"I am no picture")
    refused(done, WRONG, "the given bytes is not a picture")


def test_a_cursor_of_another_query(shop: Cli) -> None:
    first = shop.json("search", "mug", "--size", "1", "--index", mugs(shop))
    for other in (["lamp"], ["mug", "--weight", "text=1"], ["mug", "--filter", "price>=0"]):
        done = shop.here("search", *other, "--cursor", first["cursor"], "--index", mugs(shop))
        refused(done, WRONG, "cursor: it belongs to another query, index or profile")


def test_no_such_index_names_the_nearest(shop: Cli) -> None:
    for command in (["search", "mug"], ["plan", "mug"], ["index", "check"]):
        done = shop.here(*command, "--index", f"{shop.variables['PREFIX']}mgus")
        refused(done, WRONG, "there is no index", f"did you mean {mugs(shop)}?")


@pytest.mark.parametrize("args", [["search", "mug"], ["ingest", "catalog.jsonl"]], ids=["search", "ingest"])
def test_an_index_that_this_project_did_not_make(shop: Cli, es_url: str, args: list[str]) -> None:
    name = f"{shop.variables['PREFIX']}foreign-{args[0]}"
    call(es_url, "PUT", f"/{name}-index", {"aliases": {name: {}}})
    call(es_url, "PUT", f"/{name}-index/_doc/1?refresh=true", {"title": "mug"})
    for one in (name, f"{name}-index"):
        refused(shop.process(*args, "--index", one), WRONG, "made by es_xmodal")
    assert call(es_url, "GET", f"/{name}/_count")[1]["count"] == 1


@pytest.mark.parametrize("args", [["search", "mug"], ["ingest", "catalog.jsonl"]], ids=["search", "ingest"])
def test_an_index_of_another_tokeniser(shop: Cli, args: list[str]) -> None:
    done = shop.process(*args, "--index", mugs(shop), ES_XMODAL_USER_DICTIONARY="words.txt")
    refused(done, WRONG, "was built with another tokeniser: it carries text-", "in use is text-", "--rebuild")


def test_an_index_of_another_encoder(shop: Cli, es_url: str, tmp_path: Path) -> None:
    class Other(HashEncoder):
        def __init__(self) -> None:
            super().__init__(fingerprint="mini-00000000deadbeef")
            self.info = dataclasses.replace(self.info, spec="mini")

    index = f"{shop.variables['PREFIX']}other"
    ingest_shop(es_url, write_shop(tmp_path), index, encoder=Other())
    for args in (["search", "mug"], ["ingest", "catalog.jsonl"]):
        done = shop.process(*args, "--index", index)
        says = "another encoder: it carries mini-00000000deadbeef, in use is mini-"
        refused(done, WRONG, says, "--rebuild")


def test_an_index_of_an_encoder_that_is_not_here(shop: Cli, es_url: str, tmp_path: Path) -> None:
    index = f"{shop.variables['PREFIX']}hash"
    ingest_shop(es_url, write_shop(tmp_path), index)
    refused(shop.process("search", "mug", "--index", index), WRONG, "no encoder is called 'hash'")


CATALOGUES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "not UTF-8": (
        ["latin.jsonl"],
        (
            "latin.jsonl is not UTF-8 (byte 0xE9)",
            "save it as UTF-8",
        ),
    ),
    "missing": (["no.jsonl"], ("no.jsonl does not exist (give the path",)),
    "a folder": (["folder"], ("folder is a directory (give the path",)),
    "empty": (["empty.jsonl"], ("empty.jsonl is empty",)),
    "blank": (["blank.csv"], ("blank.csv",)),
    "binary": (["binary.jsonl"], ("binary.jsonl is a picture (a catalogue is",)),
    "cut off": (["half.json"], ("half.json",)),
    "unknown encoder": (
        ["catalog.jsonl", "--encoder", "mimi"],
        ("no encoder is called 'mimi' (did you mean 'mini'?)",),
    ),
    "no address of a service": (["catalog.jsonl", "--encoder", "http:x"], ("has no address of a service",)),
    "map to no field": (
        ["catalog.jsonl", "--map", "titel=name"],
        ("there is no field titel (the nearest is title",),
    ),
}


@pytest.mark.parametrize("case", CATALOGUES)
def test_catalogues_that_cannot_be_read(shop: Cli, es_url: str, case: str) -> None:
    args, says = CATALOGUES[case]
    call_it = shop.process if case in ("not UTF-8", "missing") else shop.here
    index = f"{shop.variables['PREFIX']}none-{case.replace(' ', '-').lower()}"
    refused(call_it("ingest", *args, "--index", index), WRONG, *says)
    assert call(es_url, "GET", f"/_alias/{index}")[0] == 404  # nothing serves
    if case != "cut off":  # only that is found out in the middle; the next ingest clears it away
        assert call(es_url, "GET", f"/{index}-v*")[1] == {}


def test_a_rejects_file_that_cannot_be_written(shop: Cli, es_url: str) -> None:
    (shop.home / "bad.jsonl").write_text('{"id": "1", "title": "mug"}\n{"id": "2"}\n')
    index = f"{shop.variables['PREFIX']}rejecting"
    done = shop.process("ingest", "bad.jsonl", "--rejects", "nowhere/r.jsonl", "--index", index)
    refused(
        done, WRONG, "the rejects file nowhere/r.jsonl cannot be written", "name another one with --rejects"
    )
    assert call(es_url, "GET", f"/_alias/{index}")[0] == 404


def test_control_characters_of_a_catalogue_do_not_reach_the_terminal(shop: Cli) -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\u202egnp.\x9b31m\x85"
    rows: list[dict[str, object]] = [
        {"id": "a1", "title": f"Red {nasty} mug", "title_zh": f"红{nasty}杯", "brand": nasty + "B"},
        {
            "id": f"b{nasty}2",
            "title": "Blue mug",
            "description": nasty,
            "attributes": {nasty + "x": nasty + "y"},
        },
        {"id": f"c{nasty}", "title": "", nasty: nasty},
        {"id": "d", "title": "Mug", "price": nasty, "images": [f"{nasty}.jpg"]},
    ]
    path = shop.home / "nasty.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = f"{shop.variables['PREFIX']}nasty"
    done = [
        shop.process("ingest", "nasty.jsonl", "--index", index),
        shop.process("search", f"red {nasty} mug", "--explain", "--index", index),
        shop.here("search", "mug", "--json", "--index", index),
        shop.here("plan", f"mug {nasty}", "--index", index),
        shop.here("index", "list", "--index", index),
    ]
    assert [one.code for one in done] == [1, 0, 0, 0, 0]
    for one in done:
        for line in (one.out + one.err).split("\n"):
            assert line.isprintable(), ascii(line)
    assert "owned" in done[1].out
