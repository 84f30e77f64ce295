"""`http:URL`: what a service says is used, and what it does wrong is one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.http import client as client_module
from es_xmodal.encoders.http.address import parse_address
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.errors import EncoderError, EncoderServiceError, EncoderSpecError, XModalError
from es_xmodal.media.picture import decode_picture
from tests.support.embedding import Fault, Service, embedding_service, jpeg
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit
SECRET = "sk-this-must-not-be-shown"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited between its tries."""
    found: list[float] = []
    monkeypatch.setattr("es_xmodal.encoders.http.client.time.sleep", found.append)
    return found


@pytest.fixture
def service(waits: list[float]) -> Iterator[Service]:
    with embedding_service(Service()) as one:
        yield one


Load = Callable[..., Encoder]


@pytest.fixture
def load(service: Service) -> Iterator[Load]:
    """Loads what uses the service; closed afterwards."""
    with ExitStack() as stack:

        def make(**options: Any) -> Encoder:
            encoder = load_encoder(f"http:{service.url}", EncoderOptions(**options))
            stack.callback(encoder.close)
            return encoder

        yield make


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_are_those_of_the_encoder_behind_the_service(
    service: Service, load: Load, as_base64: bool
) -> None:
    service.as_base64 = as_base64
    local, remote = HashEncoder(), load()
    assert remote.info.fingerprint == local.info.fingerprint
    assert remote.info.spaces == local.info.spaces
    assert (remote.info.text_space, remote.info.languages) == ("text", ("en", "zh"))
    texts = ["red mug", "红色 杯子"]
    for name, rows in local.encode_texts(texts).items():
        assert np.allclose(remote.encode_texts(texts)[name], rows, atol=1e-6)
    picture = decode_picture(jpeg((200, 30, 30)), source="a")
    found = remote.encode_pictures([remote.prepare(picture)])
    # The pixels arrive as they were: PNG.
    sent = service.asked[-1][2]["pictures"][0]
    again = local.encode_pictures([service._prepared(sent)])
    assert all(np.allclose(found[name], rows, atol=1e-6) for name, rows in again.items())


def test_batches_are_bounded_and_an_empty_one_asks_nothing(service: Service, load: Load) -> None:
    encoder = load(batch_size=4)
    asked = len(service.asked)
    assert encoder.encode_texts([])["joint"].shape == (0, 32)
    assert len(service.asked) == asked
    encoder.encode_texts([f"mug {number}" for number in range(10)])
    assert [len(body["texts"]) for _, path, body, _ in service.asked if path == "/texts"] == [4, 4, 2]


def test_the_key_is_sent_and_never_shown(service: Service, load: Load) -> None:
    options = EncoderOptions(api_key=SecretStr(SECRET))
    assert SECRET not in repr(options)
    encoder = load(api_key=SecretStr(SECRET))
    assert {key for *_, key in service.asked} == {f"Bearer {SECRET}"}
    assert SECRET not in repr(encoder.info)
    service.spoil["/"] = Fault(401, {"error": "no"})
    with pytest.raises(EncoderServiceError, match=r"401 Unauthorized.*ES_XMODAL_ENCODER_API_KEY") as caught:
        load(api_key=SecretStr(SECRET))
    assert SECRET not in str(caught.value)
    with pytest.raises(EncoderError, match="characters that no key has"):
        load(api_key=SecretStr("line\nbreak"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again_with_growing_pauses(
    service: Service, load: Load, waits: list[float], status: int
) -> None:
    service.spoil["/texts"] = Fault(status, b"later", times=3)
    encoder = load()
    assert encoder.encode_texts(["a"])["joint"].shape == (1, 32)
    assert service.paths.count("/texts") == 4
    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2]


def test_a_service_that_stays_busy_is_given_up(service: Service, load: Load) -> None:
    service.spoil["/texts"] = Fault(503, b"later")
    encoder = load()
    with pytest.raises(EncoderServiceError, match="503 Service Unavailable, 4 times"):
        encoder.encode_texts(["a"])
    assert service.paths.count("/texts") == client_module.TRIES


def test_the_pause_that_a_service_asks_for_is_kept(service: Service, load: Load, waits: list[float]) -> None:
    service.spoil["/texts"] = Fault(429, b"", {"Retry-After": "7"}, times=1)
    encoder = load()
    encoder.encode_texts(["a"])
    assert waits == [7.0]
    service.spoil["/texts"] = Fault(429, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, times=1)
    encoder.encode_texts(["a"])
    assert waits == [7.0, 0.0]
    service.spoil["/texts"] = Fault(429, b"", {"Retry-After": "3600"})
    with pytest.raises(EncoderServiceError, match="wants 3600 s of rest"):
        encoder.encode_texts(["a"])
    assert waits == [7.0, 0.0]


def test_a_service_that_does_not_answer(service: Service, load: Load) -> None:
    service.spoil["/"] = Fault(hang=threading.Event())
    with pytest.raises(EncoderServiceError, match=r"no answer within 0\.2 s.*ENCODER_TIMEOUT_S"):
        load(timeout_s=0.2)
    with pytest.raises(EncoderServiceError, match=r"127\.0\.0\.1:9: cannot be reached"):
        load_encoder("http:http://127.0.0.1:9")


HTML = b"<!doctype html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(200, HTML, {"Content-Type": "text/html"}), EncoderServiceError, "no JSON, but 'text/html'"),
        (Fault(404, HTML), EncoderServiceError, "404 Not Found: '<!doctype"),
        (Fault(302, b"", {"Location": "http://10.0.0.1/"}), EncoderServiceError, "redirects to 'http://10"),
        (Fault(200, b" " * 3_000_000), EncoderServiceError, "more than 1048576 bytes"),
        (Fault(200, b"[" * 100_000), EncoderServiceError, "no JSON"),
        (Fault(200, [1]), EncoderError, "does not say that it speaks"),
        (Fault(200, {"protocol": "es_xmodal.encoder/2"}), EncoderError, "#model=NAME"),
        (Fault(599, b""), EncoderServiceError, "answered 599: nothing"),
    ],
)
def test_an_info_that_is_none(
    service: Service, load: Load, fault: Fault, kind: type[XModalError], words: str
) -> None:
    service.spoil["/"] = fault
    with pytest.raises(kind) as caught:
        load()
    assert words in str(caught.value)
    assert service.url in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": ""}, "fingerprint"),
        ({"fingerprint": "two words here"}, "fingerprint"),
        ({"spaces": []}, "spaces"),
        ({"spaces": [{"name": "joint", "dim": 5000, "modalities": ["text", "picture"]}]}, "4096"),
        ({"spaces": [{"name": "joint", "dim": 8, "modalities": ["text"]}]}, "no space 'joint' for texts and"),
        ({"spaces": [{"name": "odd", "dim": 8, "modalities": ["text"]}]}, "spaces.0.name"),
        ({"text_space": "visual"}, "text_space 'visual' is no space for texts"),
        ({"picture_side": 1_000_000}, "picture_side"),
    ],
)
def test_an_info_that_makes_no_sense(
    service: Service, load: Load, change: dict[str, Any], words: str
) -> None:
    service.mend = lambda path, answer: {**answer, **change}
    with pytest.raises(EncoderError) as caught:
        load()
    assert words in str(caught.value)


def spoiled(vectors: Any) -> Any:
    return lambda path, answer: answer if path == "/" else {**answer, "vectors": vectors}


GOOD = [[1.0] * 32] * 2


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ({"joint": GOOD[:1], "text": [[1.0] * 24] * 2}, "shape [1, 32]"),
        ({"joint": [[1.0] * 31] * 2, "text": [[1.0] * 24] * 2}, "shape [2, 31]"),
        ({"joint": [[1.0] * 31, [1.0]], "text": []}, "not rows of numbers"),
        ({"joint": [[None] * 32] * 2, "text": [[1.0] * 24] * 2}, "NaN"),
        ({"joint": [[float("nan")] * 32] * 2, "text": [[1.0] * 24] * 2}, "NaN"),
        ({"joint": [[0.0] * 32] * 2, "text": [[1.0] * 24] * 2}, "zero vector"),
        ({"joint": GOOD}, "no vectors for its space text"),
        ({"joint": 7}, "not rows of numbers"),
        ({"joint": "AAAA"}, "no rows of 32 numbers"),
        ({"joint": "?"}, "base64"),
        ([], "no `vectors`"),
    ],
)
def test_an_answer_that_holds_no_such_vectors(service: Service, load: Load, vectors: Any, words: str) -> None:
    service.mend = spoiled(vectors)
    encoder = load()
    with pytest.raises(EncoderError) as caught:
        encoder.encode_texts(["a", "b"])
    assert words in str(caught.value)


def test_an_answer_is_read_no_further_than_it_can_be_long(service: Service, load: Load) -> None:
    service.mend = lambda path, answer: {**answer, "padding": "x" * 2_000_000} if path != "/" else answer
    encoder = load()
    with pytest.raises(EncoderServiceError, match="its answer has more than"):
        encoder.encode_texts(["a"])


def test_a_refused_input_is_about_that_input(service: Service, load: Load) -> None:
    service.spoil["/pictures"] = Fault(422, {"detail": "too wide"})
    encoder = load()
    picture = decode_picture(jpeg((1, 2, 3)), source="a")
    with pytest.raises(EncoderError, match=r"422 Unprocessable.*too wide"):
        encoder.encode_pictures([encoder.prepare(picture)])


def test_a_model_that_changes_under_the_hand_stops_everything(service: Service, load: Load) -> None:
    encoder = load()
    encoder.encode_texts(["a"])
    service.encoder = HashEncoder(fingerprint="hash-0000000000000002")
    with pytest.raises(EncoderServiceError, match=r"another model now: 'hash-0000000000000002'"):
        encoder.encode_texts(["a"])


def test_a_service_may_ask_for_jpeg(service: Service, load: Load) -> None:
    service.mend = lambda path, answer: {**answer, "picture_format": "jpeg"} if path == "/" else answer
    encoder = load()
    assert encoder.info.fingerprint == "hash-0000000000000001+jpeg95"
    picture = decode_picture(jpeg((1, 2, 3)), source="a")
    assert encoder.prepare(picture).startswith("/9j/")


@pytest.mark.parametrize(
    ("argument", "url", "model"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", ""),
        ("//127.0.0.1:8080", "http://127.0.0.1:8080", ""),
        ("https://api.example.com/v1#model=jina-clip-v2", "https://api.example.com/v1", "jina-clip-v2"),
        ("http://[::1]:80/e#model=a/b&dimensions=512&side=448", "http://[::1]:80/e", "a/b"),
    ],
)
def test_addresses(argument: str, url: str, model: str) -> None:
    address = parse_address(argument)
    assert (address.url, address.model) == (url, model)
    assert parse_address(address.spec.removeprefix("http:")) == address
    assert address.loopback == ("example" not in url)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "no address"),
        ("ftp://host", "no address"),
        ("localhost:8080", "no address"),
        ("http://", "no address"),
        ("http://host:99999", "Port"),
        ("http://a b", "no address"),
        (f"http://shop:{SECRET}@host", "ES_XMODAL_ENCODER_API_KEY"),
        (f"ftp://shop:{SECRET}@host", "no address"),
        (f"http://host?key={SECRET}", "ES_XMODAL_ENCODER_API_KEY"),
        ("http://host#modle=a", "'modle'"),
        ("http://host#model=", "'model'"),
        ("http://host#a", "'a'"),
        ("http://host#side=224", "belongs to a model"),
        ("http://host#model=a&side=9999", "1 to 2048"),
        ("http://host#model=a&dimensions=5000", "1 to 4096"),
    ],
)
def test_addresses_that_are_none(argument: str, words: str) -> None:
    with pytest.raises(EncoderSpecError) as caught:
        load_encoder(f"http:{argument}")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_device_and_precision_are_the_service_s_own(service: Service, load: Load) -> None:
    for wrong in ({"device": "cuda"}, {"precision": "fp16"}, {"threads": 2}):
        with pytest.raises(EncoderError, match="the service's own"):
            load(**wrong)
    assert service.asked == []
