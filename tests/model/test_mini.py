"""The embedded encoder with its real weights, on drawn pictures and a few words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.mini import load, load_mini
from es_xmodal.encoders.mini.files import DATA, MANIFEST, check_files
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.errors import EncoderError, PictureError
from es_xmodal.media.picture import Picture, decode_picture
from tests.support.data import shared_data

pytestmark = pytest.mark.model

RED, BLUE = (200, 30, 30), (30, 60, 190)


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return load_encoder("mini")


def mug(colour: tuple[int, int, int], size: tuple[int, int] = (300, 240)) -> Picture:
    """A mug from the side: a body, an ear, a rim."""
    image = Image.new("RGB", size, (245, 245, 245))
    draw = ImageDraw.Draw(image)
    w, h = size
    draw.ellipse([w * 0.55, h * 0.35, w * 0.85, h * 0.7], outline=colour, width=max(1, w // 20))
    draw.rounded_rectangle([w * 0.2, h * 0.2, w * 0.65, h * 0.85], radius=w // 20, fill=colour)
    draw.ellipse([w * 0.2, h * 0.15, w * 0.65, h * 0.26], fill=tuple(c // 2 for c in colour))
    return Picture(image=image, content_hash="", source="drawn")


def drawings(count: int) -> list[Picture]:
    """Different sizes and colours, a single pixel and a thin strip among them."""
    rng = np.random.default_rng(5)
    found = [
        mug(tuple(rng.integers(0, 256, 3).tolist()), (80 + 17 * i, 60 + 11 * i)) for i in range(count - 2)
    ]
    for size in ((1, 1), (900, 3)):
        found.append(Picture(image=Image.new("RGB", size, RED), content_hash="", source="drawn"))
    return found


TEXTS = [
    "red mug",
    "男士蓝色衬衫",
    "",
    "a " * 3000,
    "X-1200/b 1.5L 电水壶",
    "\u0416\u0416\u0416 \ud83d",
    "👟",
    "\u3000\t\n",
]


def test_every_vector_is_finite_and_unit_and_fits_its_space(mini: Encoder) -> None:
    pictures = mini.encode_pictures([mini.prepare(p) for p in drawings(5)])
    texts = mini.encode_texts(TEXTS)
    assert set(pictures) == {"joint", "visual"} and set(texts) == {"joint", "text"}
    for found, count in ((pictures, 5), (texts, len(TEXTS))):
        for name, rows in found.items():
            assert rows.shape == (count, mini.info.space(name).dim) and rows.dtype == np.float32
            assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_ten_megabytes_of_text_are_cut(mini: Encoder) -> None:
    long = mini.encode_texts(["red mug " * 1_300_000])
    assert all(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5) for rows in long.values())
    assert np.array_equal(long["text"], mini.encode_texts(["red mug " * 1_000])["text"])


def test_awkward_pictures_become_vectors_or_a_named_reject(mini: Encoder) -> None:
    seen, refused = [], {}
    for path in sorted(shared_data("awkward").joinpath("images").iterdir()):
        try:
            picture = decode_picture(path.read_bytes(), source=path.name, max_side=mini.info.decode_side)
            seen.append(mini.prepare(picture))
        except PictureError as error:
            refused[path.name] = error.code
    assert refused == {
        "huge_12000x12000.png": "too_many_pixels",
        "text.jpg": "not_a_picture",
        "truncated.jpg": "truncated",
        "zero.jpg": "empty",
    }
    for name, rows in mini.encode_pictures(seen).items():
        assert len(rows) == len(seen) > 15 and np.isfinite(rows).all(), name
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_what_an_adapted_head_learns_from(mini: Encoder) -> None:
    prepared = [mini.prepare(p) for p in drawings(4)]
    vectors, features = mini.picture_features(prepared)
    assert features.shape == (4, 1280 + 192 + 112 + 32) and np.isfinite(features).all()
    assert set(vectors) == {"joint", "visual"}
    pooled, middle, colours = features[:, :1280], features[:, 1280:-32], features[:, -32:]
    assert (pooled >= 0).all() and (pooled <= 6).all() and (middle < 0).any()
    assert np.allclose((colours**2).sum(axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(mini: Encoder) -> None:
    assert mini.encode_texts([])["joint"].shape == (0, mini.info.space("joint").dim)
    assert mini.encode_pictures([])["visual"].shape == (0, mini.info.space("visual").dim)


def test_a_second_encoder_gives_the_same_bits(mini: Encoder) -> None:
    again = load_mini()
    assert again.info == mini.info
    for name, rows in mini.encode_texts(TEXTS).items():
        assert np.array_equal(rows, again.encode_texts(TEXTS)[name])
    prepared = [mini.prepare(p) for p in drawings(3)]
    for name, rows in mini.encode_pictures(prepared).items():
        assert np.array_equal(rows, again.encode_pictures(prepared)[name])


def test_the_batch_does_not_change_a_vector(mini: Encoder) -> None:
    texts = [
        f"{colour} {thing}"
        for colour in ("red", "蓝色", "plain dark")
        for thing in ("mug", "T恤", "sofa bed", "x" * 90, "鞋")
    ]
    texts.append("one more")
    prepared = [mini.prepare(p) for p in drawings(16)]
    for name, rows in mini.encode_texts(texts).items():
        alone = np.concatenate([mini.encode_texts([text])[name] for text in texts])
        assert np.abs(rows - alone).max() < 1e-5
    for name, rows in mini.encode_pictures(prepared).items():
        alone = np.concatenate([mini.encode_pictures([one])[name] for one in prepared])
        assert np.abs(rows - alone).max() < 1e-5


@pytest.mark.parametrize(("text", "near", "far"), [("red mug", RED, BLUE), ("蓝色马克杯", BLUE, RED)])
def test_the_colour_in_the_words_finds_the_drawing(
    mini: Encoder, text: str, near: tuple[int, int, int], far: tuple[int, int, int]
) -> None:
    words = mini.encode_texts([text])["joint"][0]
    pictures = mini.encode_pictures([mini.prepare(mug(near)), mini.prepare(mug(far))])["joint"]
    assert pictures[0] @ words > pictures[1] @ words + 0.02


def test_both_languages_mean_the_same_thing(mini: Encoder) -> None:
    english = ["running shoes", "notebook computer", "umbrella", "strawberry", "guitar", "sofa"]
    chinese = ["跑步鞋", "笔记本电脑", "雨伞", "草莓", "吉他", "沙发"]
    for space in ("text", "joint"):
        likeness = mini.encode_texts(english)[space] @ mini.encode_texts(chinese)[space].T
        assert likeness.argmax(axis=1).tolist() == list(range(len(english)))


@pytest.mark.parametrize(("size", "margin"), [((300, 240), 0.1), ((150, 120), 0.02)])
def test_the_same_drawing_smaller_is_nearer_than_another(
    mini: Encoder, size: tuple[int, int], margin: float
) -> None:
    shown = [mug(RED, (600, 480)), mug(RED, size), mug(BLUE, (600, 480))]
    a, b, c = mini.encode_pictures([mini.prepare(p) for p in shown])["visual"]
    assert a @ b > 0.8 and a @ b > a @ c + margin


def test_a_small_article_on_a_wide_table_is_still_itself(mini: Encoder) -> None:
    wall = Image.new("RGB", (900, 700), (245, 245, 245))
    wall.paste(mug(RED, (300, 240)).image, (560, 60))
    table = Picture(image=wall, content_hash="", source="drawn")
    shown = [table, mug(RED, (300, 240)), mug(BLUE, (300, 240))]
    a, b, c = mini.encode_pictures([mini.prepare(p) for p in shown])["visual"]
    assert a @ b > a @ c + 0.02


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped files, linked so that a test may replace them."""
    for path in DATA.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_the_fingerprint_follows_the_files(copied: Path, mini: Encoder) -> None:
    assert check_files(copied) == mini.info.fingerprint
    content = (copied / "normal.json").read_bytes() + b"\n"
    replace(copied / "normal.json", content)
    manifest = (copied / MANIFEST).read_text()
    from es_xmodal.resources import sha256_of

    old = sha256_of(DATA / "normal.json")
    replace(copied / MANIFEST, manifest.replace(old, sha256_of(copied / "normal.json")).encode())
    changed = check_files(copied)
    assert changed.startswith("mini-") and changed != mini.info.fingerprint


@pytest.mark.parametrize("name", [path.name for path in sorted(DATA.iterdir())])
@pytest.mark.parametrize("harm", ["missing", "cut", "one bit"])
def test_a_damaged_file_is_one_line(copied: Path, name: str, harm: str) -> None:
    content = (copied / name).read_bytes()
    path = copied / name
    actions: dict[str, Callable[[], None]] = {
        "missing": path.unlink,
        "cut": lambda: replace(path, content[: len(content) // 2]),
        "one bit": lambda: replace(path, content[:40] + bytes([content[40] ^ 1]) + content[41:]),
    }
    actions[harm]()
    with pytest.raises(EncoderError, match=name if name != MANIFEST else "mini: ") as caught:
        load_mini(copied)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    with pytest.raises(EncoderError, match="cannot read"):
        load_mini(tmp_path)


def test_mini_obeys_threads_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    threads: list[int] = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: onnxruntime.SessionOptions, **more: object) -> object:
        threads.append(options.intra_op_num_threads)
        return real(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    encoder = load("", EncoderOptions(threads=1, batch_size=5))
    assert set(threads) == {1}
    assert encoder.batch_size == 5
