"""Models of the CLIP kind: what needs neither torch nor a model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from es_xmodal.encoders.clip.checkpoint import fingerprint, languages_of, licence_of, mismatch, without_place
from es_xmodal.encoders.clip.pixels import LONGEST_RATIO, PixelRecipe, agrees
from es_xmodal.encoders.registry import encoder_kinds, load_encoder
from es_xmodal.errors import EncoderError, EncoderSpecError, MissingExtraError

pytestmark = pytest.mark.unit


def recipe(**over: Any) -> PixelRecipe:
    values: dict[str, Any] = {
        "resize": "shortest", "size": (8, 8), "crop": (8, 8), "resample": 3, "halving": "floor",
        "scale": 1 / 255, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4),
    }  # fmt: skip
    return PixelRecipe(**{**values, **over})


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 8), (1, 400), (400, 1), (7, 3), (60, 31)])
def test_any_shape_becomes_the_towers(resize: Any, size: tuple[int, int]) -> None:
    found = recipe(resize=resize, crop=None if resize == "squash" else (8, 8)).pixels(noise(*size))
    assert found.shape == (3, 8, 8) and found.dtype == np.uint8


def test_the_middle_is_kept_and_a_border_filled() -> None:
    image = Image.new("RGB", (24, 8), (9, 9, 9))
    image.paste((200, 0, 0), (8, 0, 16, 8))
    assert (recipe().pixels(image)[0] == 200).all()
    wide = recipe(resize="longest", fill=7, halving="even").pixels(Image.new("RGB", (16, 8), (9, 9, 9)))
    assert wide[0, :2].tolist() == [[7] * 8] * 2 and (wide[0, 2:6] == 9).all() and (wide[0, 6:] == 7).all()


def test_a_strip_is_not_blown_up_before_its_middle_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, size: tuple[int, int], **how: Any) -> Image.Image:
        seen.append(size)
        return resize(self, size, **how)

    monkeypatch.setattr(Image.Image, "resize", watched)
    image = Image.new("RGB", (50_000, 1), (10, 20, 30))
    assert recipe(size=(224, 224), crop=(224, 224)).pixels(image).shape == (3, 224, 224)
    assert seen == [(224 * LONGEST_RATIO, 224)]


def test_normalising_follows_the_formula_and_survives_json() -> None:
    one = recipe()
    pixels = one.pixels(noise(12, 10))[None]
    expected = (pixels / 255.0 - np.array(one.mean)[:, None, None]) / np.array(one.std)[:, None, None]
    assert np.allclose(one.normalised(pixels), expected, atol=1e-5)
    again = PixelRecipe.from_dict(json.loads(json.dumps(one.as_dict())))
    assert again == one


def test_a_recipe_that_differs_in_a_detail_is_found_out() -> None:
    one = recipe(halving="even")
    assert agrees(one, lambda image: one.normalised(one.pixels(image)[None])[0])
    for other in (
        recipe(halving="even", resample=2),
        recipe(halving="even", std=(0.2, 0.3, 0.41)),
        recipe(halving="floor"),
    ):
        assert not agrees(one, lambda image, other=other: other.normalised(other.pixels(image)[None])[0])  # type: ignore[misc]
    nothing: dict[str, Any] = {}
    assert not agrees(one, lambda image: nothing["pixel_values"])


def test_a_fingerprint_names_content_and_not_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    (first / "model.safetensors").write_bytes(b"weights")
    (first / "tokenizer_config.json").write_text('{"name_or_path": "/a", "do_lower_case": true}')
    shutil.copytree(first, second)
    (second / "tokenizer_config.json").write_text('{"do_lower_case": true, "name_or_path": "/b"}')

    def named(folder: Path, **settings: Any) -> str:
        return fingerprint(
            "kind",
            weights=[folder / "model.safetensors"],
            settings=settings,
            tokenizer=[folder / "tokenizer_config.json"],
        )

    assert named(first, size=1) == named(second, size=1)
    assert named(first, size=1).startswith("kind-") and len(named(first)) == len("kind-") + 16
    assert named(first, size=1) != named(first, size=2)
    (second / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert named(first) != named(second)
    (first / "model.safetensors").write_bytes(b"other weights")
    assert named(first) != named(second)


def test_what_says_where_a_model_lies_does_not_count() -> None:
    given = {"a": 1, "_name_or_path": "/x", "text_config": {"b": [2, {"dtype": "float16", "c": 3}]}}
    assert without_place(given) == {"a": 1, "text_config": {"b": [2, {"c": 3}]}}


@pytest.mark.parametrize(
    ("card", "licence", "languages"),
    [
        (
            "---\nlicense: apache-2.0\nlanguage:\n- en\n- zh\ntags:\n- vision\n---\n# x",
            "Apache-2.0",
            ("en", "zh"),
        ),
        ("---\nlicense: other\nlanguage: multilingual\n---\n", "other", ("mul",)),
        ("---\nlanguage: zh\n---\nlicense: mit", "unknown", ("zh",)),
        ("# no head\nlicense: mit", "unknown", ()),
        (None, "unknown", ()),
    ],
)
def test_the_model_card_names_licence_and_languages(
    tmp_path: Path, card: str | None, licence: str, languages: tuple[str, ...]
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert licence_of(tmp_path) == licence and languages_of(tmp_path) == languages


def test_a_mismatch_names_some_keys() -> None:
    assert mismatch("x", [], []) is None
    error = mismatch("x", ["d", "a", "b", "c"], ["z"])
    assert error is not None and "4 missing (a, b, c, ...); 1 unexpected (z)" in str(error)


@pytest.mark.parametrize("kind", ["open_clip", "transformers", "local"])
def test_the_kinds_are_known_and_need_an_argument(kind: str) -> None:
    assert kind in encoder_kinds()
    with pytest.raises(EncoderError, match=r"names no|no model with weights"):
        load_encoder(f"{kind}:")


@pytest.mark.parametrize(
    ("spec", "missing"),
    [("open_clip:ViT-B-32@openai", "torch"), ("open_clip:ViT-B-32@openai", "open_clip"),
     ("transformers:a/b", "torch"), ("transformers:a/b", "transformers")],
)  # fmt: skip
def test_a_part_that_is_not_installed_names_the_extra(
    spec: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "open_clip", "transformers", "safetensors"):  # nothing is imported in earnest
        monkeypatch.setitem(sys.modules, name, None if name == missing else sys)
    with pytest.raises(MissingExtraError, match=rf"{missing}.*pip install 'es-xmodal\[clip\]'"):
        load_encoder(spec)


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="holds no model"):
        load_encoder(f"local:{tmp_path}")
    with pytest.raises(EncoderError, match="there is no folder"):
        load_encoder(f"local:{tmp_path / 'none'}")
    with pytest.raises(EncoderSpecError, match="written as local:DIR"):
        load_encoder(str(tmp_path))
