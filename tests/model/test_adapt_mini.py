"""Adapting the embedded encoder: drawings, and words that only this shop uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from es_xmodal.adapt.contrast import ContrastOptions
from es_xmodal.adapt.fit import FitOptions
from es_xmodal.adapt.run import AdaptOptions, AdaptReport, run_adapt
from es_xmodal.cli.adapt_chart import draw_comparisons
from es_xmodal.encoders.base import Encoder
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.media.picture import decode_picture
from es_xmodal.store.vectors import VectorStore

pytestmark = pytest.mark.model

WORDS = {"vermilo": (200, 30, 30), "bluemo": (30, 60, 190)}
SHAPES = {"rondo": "ellipse", "kvadrato": "rectangle"}


def draw(path: Path, shape: str, colour: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = Image.new("RGB", (96, 96), (246, 246, 246))
    left, top, size = (int(number) for number in rng.integers((8, 8, 46), (24, 24, 62)))
    getattr(ImageDraw.Draw(image), shape)([left, top, left + size, top + size], fill=colour)
    image.save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AdaptReport]:
    """The folder of an encoder that learned from 40 drawings."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        word, shape = list(WORDS)[number % 2], list(SHAPES)[number // 2 % 2]
        draw(folder / f"{number}.png", SHAPES[shape], WORDS[word], rng)
        rows.append({"id": str(number), "title": f"{word} {shape}", "images": [f"{number}.png"]})
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = load_encoder("mini")
    options = AdaptOptions(
        catalog=folder / "catalog.jsonl",
        out=folder / "out",
        fit=FitOptions(contrast=ContrastOptions(dim=16, hidden=16, steps=40)),
    )
    with VectorStore.open(folder / "vectors") as store:
        report = run_adapt(base, store, options, draw=draw_comparisons)
    base.close()
    return folder / "out", report


@pytest.fixture(scope="module")
def adapted(made: tuple[Path, AdaptReport]) -> Encoder:
    return load_encoder(str(made[0]))


def test_the_shop_s_own_words_are_learned(made: tuple[Path, AdaptReport], adapted: Encoder) -> None:
    (titles,) = made[1].comparisons
    assert made[1].adapted and titles.better
    folder, rng = made[0].parent, np.random.default_rng(9)
    asked, prepared = [], []
    for word, colour in WORDS.items():
        for shape, drawn in SHAPES.items():
            path = folder / f"new-{word}-{shape}.png"
            draw(path, drawn, colour, rng)
            prepared.append(adapted.prepare(decode_picture(path.read_bytes(), source=path.name)))
            asked.append(f"{word} {shape}")
    scores = adapted.encode_texts(asked)["joint"] @ adapted.encode_pictures(prepared)["joint"].T
    assert (scores.argmax(axis=1) == np.arange(4)).sum() >= 3


def test_spaces_and_vectors_are_those_of_an_encoder(adapted: Encoder) -> None:
    base = load_encoder("mini")
    found = adapted.encode_texts(["vermilo rondo", "sofa", "", "男士衬衫"])
    assert found["joint"].shape == (4, adapted.info.space("joint").dim)
    assert adapted.info.space("joint").dim > base.info.space("joint").dim
    assert adapted.info.space("visual") == base.info.space("visual")
    assert np.isfinite(found["joint"]).all()
    assert np.allclose(np.linalg.norm(found["joint"], axis=1), 1, atol=1e-5)
    assert np.array_equal(found["text"], base.encode_texts(["vermilo rondo", "sofa", "", "男士衬衫"])["text"])
    assert adapted.info.fingerprint.startswith("adapted-")
