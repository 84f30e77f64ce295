"""The base class of all encoders, and the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from es_xmodal.encoders import registry
from es_xmodal.encoders.base import (
    MAX_TEXT_CHARS,
    Encoder,
    EncoderInfo,
    EncoderOptions,
    Space,
    clip_text,
)
from es_xmodal.encoders.registry import encoder_kinds, load_encoder
from es_xmodal.errors import EncoderError, EncoderSpecError
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit


class Fixed(Encoder):
    """Returns what it was built with, and remembers the batches it saw."""

    def __init__(
        self, rows: Mapping[str, NDArray[np.floating]] | None = None, *, batch_size: int = 4
    ) -> None:
        self.rows, self.batch_size, self.seen = rows, batch_size, list[Sequence[Any]]()
        both = frozenset({"text", "picture"})
        self.info = EncoderInfo(
            spec="fixed",
            fingerprint="fixed-1",
            spaces=(
                Space(name="joint", dim=3, modalities=both),  # type: ignore[arg-type]
                Space(name="visual", dim=2, modalities=frozenset({"picture"})),
            ),
            text_space="joint",
            languages=("en",),
            licence="Apache-2.0",
            picture_side=8,
        )

    def prepare(self, picture: object) -> Any:
        return picture

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        self.seen.append(batch)
        n = len(batch)
        return self.rows or {"joint": np.full((n, 3), 2.0), "visual": np.full((n, 2), 3.0)}

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        self.seen.append(batch)
        return self.rows or {"joint": np.array([[len(t), 1.0, 0.0] for t in batch])}


def test_batches_are_bounded_and_order_is_kept() -> None:
    encoder = Fixed(batch_size=4)
    texts = ["x" * n for n in range(1, 11)]
    rows = encoder.encode_texts(texts)["joint"]
    assert [len(batch) for batch in encoder.seen] == [4, 4, 2]
    assert rows.shape == (10, 3) and rows.dtype == np.float32
    assert np.allclose(rows[:, 0] / rows[:, 1], range(1, 11))
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_each_modality_gets_its_spaces_only() -> None:
    encoder = Fixed()
    assert set(encoder.encode_texts(["a"])) == {"joint"}
    assert set(encoder.encode_pictures(["a"])) == {"joint", "visual"}


def test_empty_batch_has_the_right_shapes_and_calls_no_model() -> None:
    encoder = Fixed()
    assert encoder.encode_texts([])["joint"].shape == (0, 3)
    assert {k: v.shape for k, v in encoder.encode_pictures([]).items()} == {"joint": (0, 3), "visual": (0, 2)}
    assert encoder.seen == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"joint": np.ones((1, 4))}, r"shape \[1, 4\] .*not \[1, 3\]"),
        ({"joint": np.ones((2, 3))}, r"shape \[2, 3\]"),
        ({"joint": np.ones(3)}, r"shape \[3\]"),
        ({"joint": np.array([[1.0, np.nan, 0.0]])}, "NaN"),
        ({"joint": np.array([[np.inf, 1.0, 0.0]])}, "infinity"),
        ({"joint": np.zeros((1, 3))}, "zero vector"),
        ({"text": np.ones((1, 3))}, "no vectors for its space joint"),
    ],
)
def test_bad_vectors_are_refused(rows: dict[str, NDArray[np.floating]], words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        Fixed(rows).encode_texts(["a"])


def test_a_text_of_ten_megabytes_is_cut_and_the_words_survive() -> None:
    encoder = Fixed()
    encoder.encode_texts([" " * 100_000 + "red mug " + "x" * 10_000_000])
    (text,) = encoder.seen[0]
    assert text.startswith("red mug x") and len(text) == MAX_TEXT_CHARS


def test_lone_surrogates_do_not_reach_the_tokenizer() -> None:
    assert clip_text("red\ud83d mug") == "red\ufffd mug"
    assert clip_text("a\ud83d\ude00b") == "a\U0001f600b"
    clip_text("\ud83d").encode()


@pytest.mark.parametrize("dim", [0, 4097])
def test_a_space_that_elasticsearch_refuses_is_refused_here(dim: int) -> None:
    with pytest.raises(EncoderError, match=str(dim)):
        Space(name="joint", dim=dim, modalities=frozenset({"text"}))
    with pytest.raises(EncoderError, match="euclid"):
        Space(name="joint", dim=8, similarity="euclid", modalities=frozenset({"text"}))


def test_info_finds_spaces() -> None:
    info = Fixed().info
    assert info.space("visual").dim == 2
    with pytest.raises(EncoderError, match=r"no space 'text'.*joint, visual"):
        info.space("text")


@pytest.mark.parametrize("spec", ["minni", "Mini", "mimi"])
def test_an_unknown_spec_names_the_nearest(spec: str) -> None:
    with pytest.raises(EncoderSpecError, match=r"did you mean 'mini'\?"):
        load_encoder(spec)


def test_an_unknown_spec_without_a_neighbour_lists_what_there_is() -> None:
    with pytest.raises(EncoderSpecError, match=r"kinds: .*mini"):
        load_encoder("")
    assert "mini" in encoder_kinds()


def test_mini_takes_no_argument_and_one_device() -> None:
    with pytest.raises(EncoderSpecError, match="takes no argument"):
        load_encoder("mini:large")
    with pytest.raises(EncoderError, match="CPU in fp32 only"):
        load_encoder("mini", EncoderOptions(device="cuda"))


def test_a_folder_says_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def loader(argument: str, options: EncoderOptions) -> Fixed:
        seen.append(argument)
        return Fixed()

    monkeypatch.setitem(registry._LOADERS, "fixed", loader)
    with pytest.raises(EncoderSpecError, match="holds no encoder"):
        load_encoder(str(tmp_path))
    (tmp_path / registry.MANIFEST).write_text("[1]")
    with pytest.raises(EncoderError, match="damaged"):
        load_encoder(str(tmp_path))
    (tmp_path / registry.MANIFEST).write_text('{"kind": "fixed"}')
    assert isinstance(load_encoder(str(tmp_path)), Fixed)
    assert seen == [str(tmp_path)]


@pytest.mark.parametrize(
    "wrong", [{"device": "tpu"}, {"precision": "fp8"}, {"batch_size": 0}, {"threads": -1}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EncoderError):
        EncoderOptions(**wrong)


def test_the_double_is_deterministic_and_shares_words() -> None:
    one, two = HashEncoder(), HashEncoder()
    a = one.encode_texts(["red mug", "blue mug", "红色 杯子"])["text"]
    b = two.encode_texts(["red mug", "blue mug", "红色 杯子"])["text"]
    assert np.array_equal(a, b)
    assert a[0] @ a[1] > a[0] @ a[2]
