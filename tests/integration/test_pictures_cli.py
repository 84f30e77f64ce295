"""The command line with several pictures of a product and one vector for text and pictures."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.cli import WRONG, Cli, refused
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration

COLOURS = {"mug": (200, 20, 30), "lamp": (20, 160, 60), "sofa": (30, 60, 200)}


def write(home: Path) -> None:
    """Three products of two pictures each, one of which is a detail; and one without a picture."""
    rows: list[dict[str, Any]] = [{"id": "gift", "title": "Gift card"}]
    for name, colour in COLOURS.items():
        for at in range(2):
            Image.new("RGB", (64, 64), tuple(max(0, value - 20 * at) for value in colour)).save(
                home / f"{name}-{at}.png"
            )
        images = [{"url": f"{name}-1.png", "role": "detail"}, {"ref": f"{name}-0.png", "role": "main"}]
        rows.append({"id": name, "title": f"A fine {name}", "images": images})
    (home / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def shop(bare_cli: Cli, es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line in a folder with a catalogue; no index yet."""
    prefix = f"t{secrets.token_hex(5)}-"
    home = tmp_path_factory.mktemp("pictures-cli")
    write(home)
    yield replace(bare_cli, home=home, options=("--index", f"{prefix}shop"))
    delete_everything_named(es_url, prefix)


def test_from_ingest_to_search(shop: Cli) -> None:
    asked = ["--fuse", "concat", "--role-weight", "detail=.5", "--text-share", "0.4"]
    report = shop.json("ingest", "catalog.jsonl", *asked, "--similarity", "dot_product")
    wanted = {
        "pictures": "mean",
        "fuse": "concat",
        "similarity": "dot_product",
        "role_weights": {"detail": 0.5},
        "text_share": 0.4,
    }
    assert report["vectors"] == wanted
    assert (report["indexed"], report["without_image"]) == (4, 1)

    found = shop.json("search", "mug", "--image", "mug-0.png", "--explain")
    assert found["plan"]["legs"] == ["lexical", "fused"]
    assert found["hits"][0]["id"] == "mug"
    assert found["hits"][0]["best_image"] == "mug-0.png", "the picture of the role `main`"
    assert set(found["hits"][0]["legs"]) == {"lexical", "fused"}
    alone = shop.json("search", "--image", "sofa-0.png")
    assert (alone["plan"]["legs"], alone["hits"][0]["id"]) == (["fused"], "sofa")
    assert [hit["id"] for hit in shop.json("search", "--like", "lamp")["hits"]].count("lamp") == 0
    weighed = shop.json("search", "mug", "--weight", "fused=3", "--weight", "lexical=1")
    assert weighed["hits"][0]["legs"]["fused"]["weight"] == pytest.approx(0.75)

    requests = shop.json("plan", "mug", "--cutoff", "1")["requests"]
    assert '"field": "fused_vector"' in json.dumps(requests)
    assert "images.joint" not in json.dumps([one["bodies"][0].get("knn") for one in requests])

    checked = {row["what"]: row for row in shop.json("index", "check")["findings"]}
    assert "fuse concat" in checked["vectors"]["detail"]
    assert checked["with a vector of text and pictures"]["detail"] == "4 of 4"
    examined = {one["about"]: one for one in shop.json("doctor")["findings"]}
    assert {one["severity"] for one in examined.values()} <= {"ok", "note"}
    assert "fuse concat" in examined["vectors"]["detail"]
    assert examined["vectors and encoder"]["code"] == "ok"

    again = shop.json("ingest", "catalog.jsonl")
    assert (again["unchanged"], again["vectors"]) == (4, wanted)
    refused(
        shop.here("ingest", "catalog.jsonl", "--fuse", "add"),
        WRONG,
        "fuse concat",
        "this ingest asks for pictures mean; fuse add",
        "--rebuild",
    )
    mean = shop.json("ingest", "catalog.jsonl", "--fuse", "none", "--rebuild")["vectors"]
    assert (mean["pictures"], mean["fuse"], mean["role_weights"]) == ("mean", "none", {"detail": 0.5})
    assert shop.json("search", "mug")["plan"]["legs"] == ["lexical", "text", "image"]
    assert "pictures mean; fuse none; text" not in shop.here("ingest", "catalog.jsonl").out
    best = shop.json(
        "ingest", "catalog.jsonl", "--pictures", "best", "--role-weight", "detail=0", "--rebuild"
    )
    assert (best["vectors"]["pictures"], best["reused_vectors"]) == ("best", 3 + 4)
    shown = shop.json("search", "--image", "mug-1.png")["hits"][0]
    assert (shown["id"], shown["best_image"]) == ("mug", "mug-0.png"), "a detail is not searched"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pictures", "best", "--fuse", "add"], "`best` does not go with fuse"),
        (["--role-weight", "detail"], "--role-weight 'detail' is no pair"),
        (["--role-weight", "detail=much"], "no pair"),
        (["--role-weight", "detail=-1"], "a number from 0 to 1000"),
        (["--role-weight", "detail=nan"], "a number from 0 to 1000"),
        (["--role-weight", "detail=.5"], "no effect on the best"),
        (["--text-share", ".4"], "text_share has no effect without fuse"),
        (["--fuse", "add", "--text-share", "1"], "not between 0 and 1"),
        (["--similarity", "manhattan"], "manhattan"),
    ],
)
def test_what_makes_no_sense_is_one_line(bare_cli: Cli, shop: Cli, options: list[str], says: str) -> None:
    fresh = replace(shop, options=("--index", f"{shop.options[1]}-none"))
    refused(fresh.here("ingest", "catalog.jsonl", *options), WRONG, says)


def test_settings_say_it_too(shop: Cli) -> None:
    fresh = replace(shop, options=("--index", f"{shop.options[1]}-set"))
    told = fresh.with_variables(
        ES_XMODAL_PICTURES="mean",
        ES_XMODAL_ROLE_WEIGHTS='{"Detail": 0.25}',
        ES_XMODAL_SIMILARITY="l2_norm",
    )
    report = told.json("ingest", "catalog.jsonl")
    assert report["vectors"]["role_weights"] == {"detail": 0.25}
    assert report["vectors"]["similarity"] == "l2_norm"
    assert told.json("search", "mug", "--image", "mug-0.png", "--cutoff", "0.5")["hits"][0]["id"] == "mug"
