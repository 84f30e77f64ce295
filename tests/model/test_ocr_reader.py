"""The real reader of words: what is drawn is read, always alike, and odd pictures cost nothing but time."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from unittest import mock

import pytest
from PIL import Image

from es_xmodal.errors import PictureError
from es_xmodal.media.ocr import READ_SIDE, RapidReader, load_reader
from es_xmodal.media.picture import Picture, decode_picture
from tests.support.words import draw_words

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        sys.version_info >= (3, 13), reason="the reader of words has no release for this Python"
    ),
]


@pytest.fixture(scope="module")
def reader() -> RapidReader:
    return RapidReader(engines=2, threads=1)


def picture(image: Image.Image) -> Picture:
    return Picture(image=image, content_hash="0", source="test.png")


def texts(reader: RapidReader, image: Image.Image) -> str:
    return " ".join(word.text for word in reader.read(picture(image)))


def test_words_are_read_the_same_each_time_and_in_every_thread(reader: RapidReader) -> None:
    cards = [draw_words(text) for text in ("MANGO JUICE", "OAT MILK 3%", "MANGO JUICE", "OAT MILK 3%")]
    first = [reader.read(picture(card)) for card in cards]
    found = [" ".join(word.text for word in words) for words in first]
    assert "MANGO" in found[0]
    assert "OAT" in found[1]
    assert "3%" in found[1]
    assert all(0.5 <= word.score <= 1 for words in first for word in words)
    assert first[:2] == first[2:]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda card: reader.read(picture(card)), cards)) == first


def test_a_small_picture_is_enlarged_and_a_large_one_reduced(reader: RapidReader) -> None:
    small = draw_words("MANGO").resize((90, 60))
    assert "MANGO" in texts(reader, small)
    large = draw_words("MANGO", size=(3000, 2000), at=200)
    data = BytesIO()
    large.save(data, "JPEG")
    decoded = decode_picture(data.getvalue(), source="large.jpg", max_side=READ_SIDE)
    assert max(decoded.image.size) == READ_SIDE
    assert "MANGO" in " ".join(word.text for word in reader.read(decoded))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 3), (16, 1280), (1280, 17), (40, 40)])
def test_odd_shapes_hold_no_words(reader: RapidReader, size: tuple[int, int]) -> None:
    assert reader.read(picture(Image.new("RGB", size, (200, 30, 30)))) == ()


def test_noise_is_no_error(reader: RapidReader) -> None:
    noise = Image.effect_noise((300, 200), 90).convert("RGB")
    assert isinstance(reader.read(picture(noise)), tuple)


def test_a_failure_inside_the_reader_names_the_picture(reader: RapidReader) -> None:
    with (
        mock.patch("rapidocr_onnxruntime.main.RapidOCR.__call__", side_effect=IndexError("no box")),
        pytest.raises(PictureError, match=r"test.png cannot be read: IndexError: no box") as caught,
    ):
        reader.read(picture(draw_words("MANGO")))
    assert caught.value.code == "not_read"
    assert "MANGO" in texts(reader, draw_words("MANGO")), "the reader itself is whole"


def test_the_fingerprint_is_that_of_models_and_package() -> None:
    one, two = RapidReader(engines=1, threads=1), load_reader(engines=3, threads=2)
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint.startswith("ocr-")


def test_it_prints_nothing_and_leaves_the_loggers_quiet(
    reader: RapidReader, capfd: pytest.CaptureFixture[str]
) -> None:
    reader.read(picture(Image.new("RGB", (64, 64))))
    for name in ("RapidOCR", "OrtInferSession"):
        logging.getLogger(name).info("hello")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_naming_the_reader_loads_no_model() -> None:
    code = (
        "from es_xmodal.media.ocr import load_reader\nload_reader()\n"
        "import sys; print({'cv2', 'onnxruntime', 'rapidocr_onnxruntime', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
