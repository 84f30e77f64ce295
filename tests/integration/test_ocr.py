"""Words on pictures on a real server: read at ingest, found by a photo, accounted for, switched off."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from es_xmodal import app
from es_xmodal.errors import PictureError
from es_xmodal.media import ocr
from es_xmodal.media.ocr import RapidReader
from tests.support.cli import WRONG, Cli, refused
from tests.support.nodes import delete_everything_named
from tests.support.words import save_words

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        sys.version_info >= (3, 13), reason="the reader of words has no release for this Python"
    ),
]

CARDS = {"one": "MANGO JUICE", "two": "OAT MILK 3%", "three": "GREEN TEA"}


def rows(prices: int = 1) -> list[dict[str, Any]]:
    found = [
        {"id": name, "title": f"Carton {name}", "price": prices, "images": [f"{name}.png"]} for name in CARDS
    ]
    return [*found, {"id": "plain", "title": "Carton without a picture"}]


def write(cli: Cli, catalog: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in catalog)
    (cli.home / "cartons.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def one_reader() -> Iterator[None]:
    """Every command of this module uses one reader, so that its models are loaded once."""
    reader = RapidReader(engines=2)
    real = ocr.load_reader

    def load(**options: int) -> ocr.WordReader:
        real(**options)  # it says so where the extra is missing
        return reader

    with mock.patch.object(app, "load_reader", load):
        yield


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another picture with the same words: other size, other place, other colour."""
    folder = tmp_path_factory.mktemp("photo")
    save_words(folder / "blank.png", "", size=(200, 150))
    return save_words(folder / "photo.png", "OAT MILK", size=(300, 200), colour=(225, 230, 250), at=50)


@pytest.fixture(scope="module")
def shop(es_url: str, cli_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An index with words; what ingest said lies in `ingested.json`."""
    prefix = f"tocr{secrets.token_hex(4)}"
    variables = {"ES_XMODAL_URL": es_url, "ES_XMODAL_DATA_DIR": str(cli_data)}
    cli = Cli(home=tmp_path_factory.mktemp("ocr"), variables=variables, options=("--index", f"{prefix}-shop"))
    for name, text in CARDS.items():
        save_words(cli.home / f"{name}.png", text)
    write(cli, rows())
    answer = cli.json("ingest", "cartons.jsonl", "--ocr")
    (cli.home / "ingested.json").write_text(json.dumps(answer), encoding="utf-8")
    yield cli
    delete_everything_named(es_url, prefix)


def test_each_picture_is_read_once_and_a_price_costs_no_reading(shop: Cli) -> None:
    first = json.loads((shop.home / "ingested.json").read_text(encoding="utf-8"))
    assert first["indexed"] == 4
    assert first["ocr_images"] + first["reused_ocr"] == 3
    assert first["failed_ocr"] == 0
    again = shop.json("ingest", "cartons.jsonl", "--ocr")
    assert (again["unchanged"], again["ocr_images"], again["reused_ocr"]) == (4, 0, 0)
    write(shop, rows(prices=2))
    edited = shop.json("ingest", "cartons.jsonl", "--ocr")
    assert (edited["updated"], edited["ocr_images"], edited["reused_ocr"]) == (3, 0, 3)


@pytest.mark.parametrize("fusion", ["convex", "rrf", "boost"])
def test_a_photo_finds_by_its_words_and_the_account_adds_up(shop: Cli, photo: Path, fusion: str) -> None:
    found = shop.json("search", "--image", photo, "--weight", "ocr=5", "--fusion", fusion, "--explain")
    assert set(found["plan"]["legs"]) == {"visual", "image", "ocr"}
    assert found["hits"][0]["id"] == "two"
    for hit in found["hits"]:
        legs = hit["legs"].values()
        assert sum(leg["contribution"] for leg in legs) == pytest.approx(hit["score"], abs=1e-6)
        assert all(
            leg["weight"] * leg["normalised"] == pytest.approx(leg["contribution"], abs=1e-6) for leg in legs
        )
    by_id = {hit["id"]: hit["legs"]["ocr"] for hit in found["hits"]}
    assert by_id["two"]["raw"] > 0
    assert by_id["three"]["raw"] in (None, 0)


def test_the_default_weight_is_enough_where_pictures_look_alike(shop: Cli, photo: Path) -> None:
    found = shop.json("search", "--image", photo)
    assert found["hits"][0]["id"] == "two"
    both = shop.json("search", "carton", "--image", photo)
    assert both["hits"][0]["id"] == "two"
    assert "ocr" in both["plan"]["legs"]
    assert "tokens.grams" in shop.here("plan", "--image", photo).out


def test_a_photo_without_words_has_no_such_leg(shop: Cli, photo: Path) -> None:
    blank = photo.with_name("blank.png")
    assert set(shop.json("search", "--image", blank)["plan"]["legs"]) == {"visual", "image"}
    told = shop.json("search", "--image", blank, "--weight", "ocr=1")
    assert any("no words were read" in one for one in told["warnings"])


def test_weight_0_does_not_even_read(shop: Cli, photo: Path) -> None:
    with mock.patch.object(RapidReader, "read", side_effect=AssertionError("was read")):
        found = shop.json("search", "--image", photo, "--weight", "ocr=0")
        words = shop.json("search", "carton")
    assert "ocr" not in found["plan"]["legs"] + words["plan"]["legs"]


def test_without_the_extra(shop: Cli, photo: Path) -> None:
    with mock.patch.object(ocr, "_PACKAGE", "no-such-package"), mock.patch.object(ocr, "_TOO_NEW", (99,)):
        refused(shop.here("search", "--image", photo), WRONG, "words on pictures", "es-xmodal[ocr]")
        refused(shop.here("ingest", "cartons.jsonl", "--ocr"), WRONG, "es-xmodal[ocr]")
        assert shop.here("search", "--image", photo, "--weight", "ocr=0").code == 0
        assert shop.here("search", "carton").code == 0


def test_the_flag_must_be_that_of_the_index(shop: Cli) -> None:
    refused(shop.here("ingest", "cartons.jsonl"), WRONG, "the words on its pictures", "with --ocr")
    asked_by_settings = shop.with_variables(ES_XMODAL_OCR="true").json("ingest", "cartons.jsonl")
    assert asked_by_settings["rebuilt"] is False
    refused(
        shop.here("ingest", "cartons.jsonl", "--no-ocr", ES_XMODAL_OCR="true"), WRONG, "--rebuild", "--ocr"
    )


def test_an_index_without_words_never_has_the_leg(shop: Cli, photo: Path) -> None:
    other = replace(shop, options=("--index", f"{shop.options[1]}-plain"))
    other.json("ingest", "cartons.jsonl")
    with mock.patch.object(RapidReader, "read", side_effect=AssertionError("was read")):
        found = other.json("search", "--image", photo, "--weight", "ocr=1")
    assert "ocr" not in found["plan"]["legs"]
    assert any("ingest --ocr" in one for one in found["warnings"])
    refused(other.here("ingest", "cartons.jsonl", "--ocr"), WRONG, "without the words", "--rebuild")


def test_a_picture_whose_words_cannot_be_read_is_a_reject_and_the_product_is_there(shop: Cli) -> None:
    other = replace(shop, options=("--index", f"{shop.options[1]}-broken"))
    # Another card for each server, so that the store of the one before does not know it.
    save_words(shop.home / "four.png", "NEW CARD", size=(260, 170), colour=(240, *secrets.token_bytes(2)))
    write(shop, [*rows(), {"id": "four", "title": "Carton four", "images": ["four.png"]}])
    failing = PictureError("the words on four.png cannot be read: test", code="not_read")
    with mock.patch.object(RapidReader, "read", side_effect=failing):
        answer = other.json("ingest", "cartons.jsonl", "--ocr", "--rejects", "rejects.jsonl", code=1)
    assert (answer["indexed"], answer["failed_ocr"], answer["without_image"]) == (5, 1, 1)
    (line,) = (shop.home / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    reject = json.loads(line)
    assert (reject["stage"], reject["field"]) == ("ocr", "images[0]")
    assert "four.png" in reject["reason"]
    answer = other.json("ingest", "cartons.jsonl", "--ocr")
    assert (answer["updated"], answer["unchanged"], answer["ocr_images"]) == (1, 4, 1), "it is tried again"
