"""A video among the pictures of a product: its frames are pictures, and the best one is reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.encoders import registry
from es_xmodal.ingest.rows import Shot
from es_xmodal.ingest.video import _shots
from es_xmodal.media import video as video_module
from tests.support.cli import Cli
from tests.support.embedding import jpeg
from tests.support.encoders import HashEncoder
from tests.support.ingesting import rejects, write_rows
from tests.support.video import BLACK, BLUE, GREEN, RED, video

pytestmark = pytest.mark.integration


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> HashEncoder:
    """Places a picture by its colour, and counts what it encodes."""
    made = HashEncoder()
    monkeypatch.setitem(registry._LOADERS, "hash", lambda argument, options: made)
    return made


@pytest.fixture
def cli(tmp_path: Path, es_url: str, index_prefix: str) -> Cli:
    variables = {"ES_XMODAL_URL": es_url, "ES_XMODAL_ENCODER": "hash"}
    return Cli(home=tmp_path, variables=variables, options=("--index", f"{index_prefix}shop"))


def write_catalog(home: Path, **changes: Any) -> None:
    if not (home / "red.jpg").exists():  # a .webm is never the same bytes twice
        (home / "clip.mp4").write_bytes(video([RED, BLACK, GREEN]))
        (home / "blue.webm").write_bytes(video([BLUE], form="webm", codec="libvpx"))
        (home / "red.jpg").write_bytes(jpeg((200, 20, 20)))
    rows: list[dict[str, Any]] = [
        {"id": "clip", "title": "First", "images": ["clip.mp4"]},
        {"id": "both", "title": "Second", "images": [{"ref": "red.jpg", "role": "main"}, "blue.webm"]},
        {"id": "none", "title": "Third"},
    ]
    write_rows(home, [{**row, **changes} for row in rows])


def ingest(cli: Cli, code: int = 0) -> Any:
    return cli.json("ingest", "catalog.jsonl", code=code)


def pictures(encoder: HashEncoder) -> int:
    return sum(count for kind, count in encoder.calls if kind == "pictures")


def found(cli: Cli, *args: str | Path) -> dict[str, Any]:
    answer = cli.json("search", *args, "--weight", "lexical=0", "--weight", "text=0", "--weight", "image=1")
    return {hit["id"]: hit for hit in answer["hits"]}


def test_the_frame_that_fits_best_is_reported(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    report = ingest(cli)
    assert (report["indexed"], report["rejected"], report["without_image"]) == (3, 0, 1)
    assert report["encoded_images"] == pictures(encoder) == 4  # two frames, a photo, one frame
    green = found(cli, "green")
    assert next(iter(green)) == "clip"
    name, _, time = green["clip"]["best_image"].partition("#t=")
    assert name == "clip.mp4" and 2 <= float(time) < 3
    assert green["clip"]["source"]["images"] == ["clip.mp4"]
    red = found(cli, "red")
    assert float(red["clip"]["best_image"].partition("#t=")[2]) < 1
    assert red["both"]["best_image"] == "red.jpg"
    assert red["both"]["source"]["images"] == [{"ref": "red.jpg", "role": "main"}, "blue.webm"]
    assert found(cli, "blue")["both"]["best_image"].startswith("blue.webm#t=")


def test_a_second_ingest_decodes_and_encodes_nothing(
    cli: Cli, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(cli.home)
    ingest(cli)
    before = found(cli, "green")["clip"]
    encoder.calls.clear()
    monkeypatch.setattr("es_xmodal.ingest.video.video_frames", None)
    assert ingest(cli)["unchanged"] == 3
    write_catalog(cli.home, price=3)
    changed = ingest(cli)
    assert (changed["updated"], changed["encoded_images"]) == (3, 0)
    rebuilt = cli.json("ingest", "catalog.jsonl", "--rebuild")
    assert (rebuilt["indexed"], rebuilt["encoded_images"]) == (3, 0)
    assert pictures(encoder) == 0
    after = found(cli, "green")["clip"]
    assert (after["best_image"], after["score"]) == (before["best_image"], pytest.approx(before["score"]))


def test_another_number_of_frames(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    ingest(cli)
    one = cli.with_variables(ES_XMODAL_VIDEO_FRAMES="1")
    assert ingest(one)["updated"] == 3
    assert ingest(one)["unchanged"] == 3
    assert ingest(cli)["updated"] == 3


def test_a_video_that_cannot_be_read_is_a_reject_and_tried_again(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    clip = (cli.home / "clip.mp4").read_bytes()
    (cli.home / "clip.mp4").write_bytes(clip[: len(clip) // 2])
    assert ingest(cli, code=1)["indexed"] == 3
    (reject,) = rejects(cli.home / "catalog.rejects.jsonl")
    assert (reject["id"], reject["stage"], reject["field"]) == ("clip", "picture", "images[0]")
    assert reject["reason"].startswith("broken: clip.mp4 cannot be decoded")
    assert ingest(cli, code=1)["unchanged"] == 3  # tried again, and no better
    assert len(rejects(cli.home / "catalog.rejects.jsonl")) == 1
    (cli.home / "clip.mp4").write_bytes(clip)
    assert ingest(cli)["updated"] == 1
    assert found(cli, "green")["clip"]["best_image"].startswith("clip.mp4#t=")


def test_without_the_extra_a_video_is_a_reject_that_names_it(
    cli: Cli, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(cli.home)
    monkeypatch.setattr(video_module, "find_spec", lambda name: None)
    report = ingest(cli, code=1)
    assert (report["indexed"], report["encoded_images"]) == (3, 1)
    lines = rejects(cli.home / "catalog.rejects.jsonl")
    assert [line["id"] for line in lines] == ["clip", "both"]
    for line in lines:
        assert line["reason"].startswith("video_extra: ")
        assert "pip install 'es-xmodal[video]'" in line["reason"]
    done = cli.here("search", "--image", "clip.mp4")
    assert done.code == 2 and "pip install 'es-xmodal[video]'" in done.err


def test_a_limit_is_a_setting(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    small = cli.with_variables(ES_XMODAL_VIDEO_MAX_BYTES="1000")
    assert ingest(small, code=1)["indexed"] == 3
    assert {line["reason"].split(":")[0] for line in rejects(cli.home / "catalog.rejects.jsonl")} == {
        "too_many_bytes"
    }


def test_a_video_in_the_mean_counts_as_one_picture(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    with_mean = cli.here("ingest", "catalog.jsonl", "--json", "--pictures", "mean")
    assert with_mean.code == 0, with_mean
    assert set(found(cli, "red")) == {"clip", "both"}
    video_shot = Shot(number=2, ref="a.mp4", content="ab", weight=3.0, role="detail")
    frames = _shots(video_shot, [0.5, 1.5, 2.5, 3.5])
    assert sum(frame.weight for frame in frames) == 3.0
    assert {(frame.number, frame.role, frame.mark) for frame in frames} == {(2, "detail", video_shot.mark)}


def test_a_video_is_a_query(cli: Cli, encoder: HashEncoder) -> None:
    write_catalog(cli.home)
    ingest(cli)
    (cli.home / "query.mp4").write_bytes(video([GREEN, BLACK]))
    by_path = found(cli, "--image", "query.mp4")
    assert next(iter(by_path)) == "clip"
    alone = ["--weight", "visual=0", "--json"]
    piped = cli.here("search", "--image", "-", *alone, stdin=(cli.home / "query.mp4").read_bytes())
    assert json.loads(piped.out)["hits"][0]["id"] == "clip"
    mixed = (cli.home / "clip.mp4").read_bytes()
    encoded = replace(cli, options=()).here("encode", "--image", "-", stdin=mixed)
    assert encoded.code == 0, encoded
    lines = [json.loads(one) for one in encoded.out.splitlines()]
    assert len(lines) == 4 and {line["space"] for line in lines} == {"joint", "visual"}
    assert all("#t=" in line["source"] for line in lines)
