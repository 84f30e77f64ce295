"""`http:URL#model=NAME`: a service of OpenAI's kind that takes pictures too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from es_xmodal.encoders.base import Encoder
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.errors import EncoderError, EncoderServiceError
from es_xmodal.media.picture import decode_picture
from tests.support.embedding import Fault, Service, embedding_service, jpeg
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit


@pytest.fixture
def service() -> Iterator[Service]:
    with embedding_service(Service()) as one:
        yield one


Load = Callable[..., Encoder]


@pytest.fixture
def load(service: Service) -> Iterator[Load]:
    """Loads what uses the service; closed afterwards."""
    with ExitStack() as stack:

        def make(options: str = "", *, path: str = "", model: str = "clip") -> Encoder:
            encoder = load_encoder(f"http:{service.url}{path}#model={model}{options}")
            stack.callback(encoder.close)
            return encoder

        yield make


@pytest.mark.parametrize("path", ["", "/v1", "/v1/embeddings", "/other/embeddings"])
def test_vectors_come_back_in_the_order_of_the_inputs(service: Service, load: Load, path: str) -> None:
    local, remote = HashEncoder(), load(path=path)
    texts = ["red mug", "blue sofa", "绿色 杯子"]
    assert np.allclose(remote.encode_texts(texts)["joint"], local.encode_texts(texts)["joint"], atol=1e-6)
    assert set(service.paths) == {path if path.endswith("/embeddings") else "/v1/embeddings"}
    picture = decode_picture(jpeg((200, 30, 30)), source="a")
    rows = remote.encode_pictures([remote.prepare(picture)] * 2)
    assert rows["joint"].shape == (2, 32)
    assert remote.info.text_space == "joint" and [s.name for s in remote.info.spaces] == ["joint"]


class Noisy(HashEncoder):
    """The same model on another machine: the last digits differ."""

    def __init__(self, noise: float, seed: int) -> None:
        super().__init__()
        self._noise, self._random = noise, np.random.default_rng(seed)

    def _add(self, found: Any) -> Any:
        return {
            name: rows + self._noise * self._random.standard_normal(rows.shape)
            for name, rows in found.items()
        }

    def _text_batch(self, batch: Any) -> Any:
        return self._add(super()._text_batch(batch))

    def _picture_batch(self, batch: Any) -> Any:
        return self._add(super()._picture_batch(batch))


class Other(HashEncoder):
    """Another model behind the same name."""

    def _text_batch(self, batch: Any) -> Any:
        return super()._text_batch([f"other {text}" for text in batch])


def test_the_fingerprint_holds_still_and_notices_another_model(service: Service, load: Load) -> None:
    first = load().info.fingerprint
    assert first == load().info.fingerprint
    for seed in range(3):
        service.encoder = Noisy(1e-4, seed)
        assert load().info.fingerprint == first
    service.encoder = Other()
    assert load().info.fingerprint != first
    service.encoder = HashEncoder()
    assert load("&dimensions=16").info.fingerprint != first
    assert load(model="clip2").info.fingerprint != first
    assert load("&fingerprint=clip-2026-11").info.fingerprint == "clip-2026-11"


def test_dimensions_are_asked_for(service: Service, load: Load) -> None:
    encoder = load("&dimensions=16&side=448")
    assert encoder.info.spaces[0].dim == 16
    assert encoder.info.picture_side == 448
    assert {body["dimensions"] for _, _, body, _ in service.asked} == {16}


def test_a_model_that_changes_under_the_hand_stops_everything(service: Service, load: Load) -> None:
    encoder = load()
    service.mend = lambda path, answer: {**answer, "model": "clip-3"}
    with pytest.raises(EncoderServiceError, match="answers as model 'clip-3' now"):
        encoder.encode_texts(["a"])


def longer(path: str, answer: Any) -> Any:
    rows = [{**one, "embedding": one["embedding"] + [1.0]} for one in answer["data"]]
    return {**answer, "data": rows}


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (longer, "shape [2, 33]"),
        (lambda path, answer: {**answer, "data": answer["data"][:1]}, "1 vectors for 2 inputs"),
        (
            lambda path, answer: {**answer, "data": answer["data"][:1] * 2},
            "2 vectors for 2 inputs, or not one",
        ),
        (lambda path, answer: {**answer, "data": "none"}, "no list `data`"),
        (lambda path, answer: {**answer, "data": [{"index": at} for at in (0, 1)]}, "not rows of numbers"),
        (lambda path, answer: [], "no list `data`"),
    ],
)
def test_an_answer_that_holds_no_such_vectors(service: Service, load: Load, mend: Any, words: str) -> None:
    encoder = load()
    service.mend = mend
    with pytest.raises(EncoderError) as caught:
        encoder.encode_texts(["a", "b"])
    assert words in str(caught.value)


def test_dimensions_above_what_elasticsearch_takes(service: Service, load: Load) -> None:
    service.mend = lambda path, answer: {
        **answer,
        "data": [{**one, "embedding": [1.0] * 4097} for one in answer["data"]],
    }
    with pytest.raises(EncoderError, match="4097 dimensions"):
        load()


def test_a_service_that_knows_no_pictures(service: Service, load: Load) -> None:
    service.spoil["/v1/embeddings"] = Fault(400, {"error": {"message": "input must be a string"}})
    with pytest.raises(EncoderError, match=r"400 Bad Request.*input must be a string"):
        load()
