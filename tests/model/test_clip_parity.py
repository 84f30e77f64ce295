"""Our vectors against those of the reference libraries, for a tiny model of every family.

`python -m pytest tests/model/test_clip_parity.py -rP` shows the mean and the worst cosine of each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_xmodal.encoders.base import clip_text
from es_xmodal.encoders.clip import modules
from es_xmodal.encoders.clip.encoder import ClipEncoder
from es_xmodal.encoders.clip.pixels import PixelRecipe
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.media.picture import Picture
from tests.support.reference import TEXTS, cosines, pictures, reference
from tests.support.tiny_models import FAMILIES, TinyModel, make_tiny

pytestmark = pytest.mark.model

FOLDED = [clip_text(text) for text in TEXTS]
"""White space is folded before any encoder sees a text."""
Pair = tuple[ClipEncoder, Any]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Our encoder and the reference, from the same files."""
    family: str = request.param
    model = make_tiny(family, tmp_path_factory.mktemp("tiny") / family)
    return loaded(model), reference(family, model.folder)


def loaded(model: TinyModel) -> ClipEncoder:
    found = load_encoder(model.spec)
    assert isinstance(found, ClipEncoder)
    return found


def our_pictures(encoder: ClipEncoder) -> np.ndarray[Any, Any]:
    given = [Picture(image=image, content_hash="", source="drawn") for image in pictures()]
    return encoder.encode_pictures([encoder.prepare(one) for one in given])["joint"]


def compared(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], name: str) -> float:
    assert ours.shape == theirs.shape, name
    found = cosines(ours, theirs)
    print(f"{name}: mean {found.mean():.7f} worst {found.min():.7f}")
    return float(found.min())


def test_texts_are_the_projection_worked_out_by_hand(pair: Pair) -> None:
    encoder, truth = pair
    ours = encoder.encode_texts(TEXTS)["joint"]
    assert compared(ours, truth.texts_by_hand(FOLDED), f"{truth.family} texts") >= 0.9999
    assert compared(ours, truth.library_texts(FOLDED), f"{truth.family} texts, library") >= 0.9999
    assert (
        np.abs(np.triu(ours @ ours.T, 1)).max() > 0.05
    )  # a model whose vectors are all alike proves nothing
    assert (ours @ ours.T).min() < 0.9


def test_pictures_are_the_projection_worked_out_by_hand(pair: Pair) -> None:
    encoder, truth = pair
    ours = our_pictures(encoder)
    assert compared(ours, truth.pictures_by_hand(pictures()), f"{truth.family} pictures") >= 0.9999
    assert compared(ours, truth.library_pictures(pictures()), f"{truth.family} pictures, library") >= 0.9999
    assert (ours @ ours.T).min() < 0.9


def test_pixels_are_the_references_to_the_bit(pair: Pair) -> None:
    encoder, truth = pair
    theirs = truth.pixels(pictures())
    theirs = theirs if isinstance(theirs, dict) else {"pixel_values": theirs}
    recipe = encoder.towers.recipe
    assert (recipe is None) == (truth.family == "siglip2")
    for number, image in enumerate(pictures()):
        found = {name: value.numpy() for name, value in encoder.towers.prepare(image).items()}
        if recipe is not None:
            again = PixelRecipe.from_dict(recipe.as_dict())
            found = {"pixel_values": again.normalised(again.pixels(image)[None])[0]}
        for name, value in found.items():
            assert np.array_equal(value, theirs[name][number].numpy()), (name, image.size)


def test_tokens_are_the_references(pair: Pair) -> None:
    encoder, truth = pair
    ours, theirs = encoder.towers.tokenize(TEXTS), truth.tokens(TEXTS)
    theirs = theirs if isinstance(theirs, dict) else {"input_ids": theirs}
    for name in encoder.towers.text_inputs:
        assert np.array_equal(ours[name].numpy(), theirs[name].numpy()), name
    assert set(theirs) == set(encoder.towers.text_inputs)
    longest = encoder.towers.tokenize([TEXTS[5]])["input_ids"]
    assert longest.shape == (1, encoder.towers.tokenizer.context)


def test_the_batch_does_not_change_a_vector(pair: Pair) -> None:
    encoder, _ = pair
    rows = encoder.encode_texts(TEXTS)["joint"]
    alone = np.concatenate([encoder.encode_texts([text])["joint"] for text in TEXTS])
    assert np.abs(rows - alone).max() < 1e-5
    drawn = [Picture(image=image, content_hash="", source="drawn") for image in pictures()]
    prepared = [encoder.prepare(one) for one in drawn]
    rows = encoder.encode_pictures(prepared)["joint"]
    alone = np.concatenate([encoder.encode_pictures([one])["joint"] for one in prepared])
    assert np.abs(rows - alone).max() < 1e-5


def _another_token(model: Any, inputs: dict[str, Any]) -> Any:
    return model["projection"](model["body"](**inputs).last_hidden_state[:, -1])


def _not_projected(model: Any, inputs: dict[str, Any]) -> Any:
    return model["body"](**inputs).last_hidden_state[:, 0]


@pytest.mark.parametrize("wrong", [_another_token, _not_projected])
def test_another_tensor_for_chinese_clip_texts_is_noticed(
    wrong: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a release of the library once returned: this test of the test must see it."""
    model = make_tiny("chinese_clip", tmp_path)
    monkeypatch.setattr(modules, "first_token", wrong)
    encoder, truth = loaded(model), reference("chinese_clip", tmp_path)
    rows = encoder._text_batch(TEXTS)["joint"]
    theirs = truth.texts_by_hand(TEXTS)
    assert rows.shape != theirs.shape or cosines(rows, theirs).mean() < 0.99
