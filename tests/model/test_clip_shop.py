"""The whole job with models that have one space: ingest, search by words and photo, doctor, another model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import SAMPLE, WRONG, Cli, refused
from tests.support.nodes import call, delete_everything_named
from tests.support.tiny_models import TinyModel, make_tiny

pytestmark = [pytest.mark.model, pytest.mark.integration]

ROWS = 12
Shop = tuple[Cli, TinyModel, str]


@pytest.fixture(scope="module", params=["clip", "open_clip_vit"])
def shop(
    request: pytest.FixtureRequest, es_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The first products of the sample in an index made with a tiny model."""
    home = tmp_path_factory.mktemp("shop")
    model = make_tiny(request.param, home / "model")
    rows = (SAMPLE / "catalog.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    (home / "catalog.jsonl").write_text("\n".join(rows), encoding="utf-8")
    index = f"tclip{abs(hash((es_url, request.param))) % 10**8}"
    variables = {"ES_XMODAL_URL": es_url, "ES_XMODAL_DEVICE": "cpu"}
    yield Cli(home=home, variables=variables, options=("--index", index)), model, es_url
    delete_everything_named(es_url, index)


@pytest.fixture(scope="module")
def made(shop: Shop) -> Shop:
    cli, model, _ = shop
    report = cli.json("ingest", "catalog.jsonl", "--images-root", SAMPLE, "--encoder", model.spec)
    assert (report["indexed"], report["rejected"]) == (ROWS, 0)
    assert report["encoded_images"] > 0 and report["encoded_texts"] > 0
    return shop


def test_the_index_has_one_space_and_no_field_for_pictures_alone(made: Shop) -> None:
    cli, model, url = made
    _, answer = call(url, "GET", f"/{cli.options[1]}/_mapping")
    (mapping,) = (one["mappings"] for one in answer.values())
    ours = mapping["_meta"]["es_xmodal"]
    assert ours["encoder"]["spec"] == model.spec
    assert list(ours["encoder"]["spaces"]) == ["joint"] and ours["encoder"]["text_space"] == "joint"
    assert set(ours["calibration"]) == {"image", "text"}
    assert "visual" not in mapping["properties"]["images"]["properties"]
    assert mapping["properties"]["text_vector"]["dims"] == ours["encoder"]["spaces"]["joint"]["dim"]


def test_words_and_photos_find_products(made: Shop) -> None:
    cli, _, _ = made
    words = cli.json("search", "wireless mouse")
    # Chance decides what such a model finds near; every leg must have its say nevertheless.
    mouse = next(hit for hit in words["hits"] if hit["id"] == "mouse")
    assert all(mouse["legs"][leg]["raw"] > 0 for leg in ("lexical", "text", "image"))
    assert words["warnings"] == [] and set(words["plan"]["legs"]) == {"lexical", "text", "image"}
    photo = SAMPLE / "images" / "tablet.jpg"
    seen = cli.json("search", "--image", photo)
    assert seen["plan"]["legs"] == ["image"]
    assert (
        seen["hits"][0]["id"].startswith("tablet-") and seen["hits"][0]["best_image"] == "images/tablet.jpg"
    )
    raw = seen["hits"][0]["legs"]["image"]["raw"]
    assert raw == pytest.approx(
        1.0, abs=2e-3
    )  # the very picture, after a trip through the store and the index
    both = cli.json("search", "tablet", "--image", photo)
    assert both["hits"][0]["id"].startswith("tablet-") and "lexical" in both["plan"]["legs"]


def test_nothing_is_encoded_twice_and_the_doctor_is_content(made: Shop) -> None:
    cli, model, _ = made
    again = cli.json("ingest", "catalog.jsonl", "--images-root", SAMPLE, "--encoder", model.spec)
    assert (again["unchanged"], again["encoded_images"], again["encoded_texts"]) == (ROWS, 0, 0)
    done = cli.here("doctor")
    assert "dimensions and similarity fit" in done.out and "bad" not in done.out, done
    assert "calibration          image, text" in done.out


def test_another_model_of_the_same_size_is_refused(made: Shop) -> None:
    cli, _, _ = made
    other = make_tiny("chinese_clip", cli.home / "other")
    done = cli.here("ingest", "catalog.jsonl", "--images-root", SAMPLE, "--encoder", other.spec)
    refused(done, WRONG, "was built with another encoder", "--rebuild")


def test_bad_specs_and_devices_are_one_line(shop: Shop, tmp_path: Path) -> None:
    cli, model, _ = shop
    for spec, words in (
        (f"local:{tmp_path}", "holds no model"),
        (f"local:{tmp_path / 'none'}", "there is no folder"),
        ("open_clip:ViT-B-32", "ARCH@TAG"),
        ("opne_clip:ViT-B-32", "did you mean 'open_clip'"),
    ):
        refused(cli.here("ingest", "catalog.jsonl", "--encoder", spec), WRONG, words)
    done = cli.here("ingest", "catalog.jsonl", "--encoder", model.spec, ES_XMODAL_DEVICE="cuda:99")
    refused(done, WRONG, "no device cuda:99")
