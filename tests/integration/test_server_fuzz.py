"""Files that pretend to be pictures, thrown at a real service: 4xx each, and it stays as large as it was."""

from __future__ import annotations

import base64
import collections
from collections.abc import Iterator

import httpx
import pytest

from tests.support.cli import SAMPLE, Cli
from tests.support.fuzzing import Fuzzed, fuzzed
from tests.support.served import Served, serving

pytestmark = pytest.mark.integration

ROUNDS, WARM = 16, 4
GROWTH_BYTES = 64 << 20
"""What allocators may keep for themselves; one bomb that was unpacked would be more."""


@pytest.fixture(scope="module")
def service(sample_cli: Cli) -> Iterator[Served]:
    with serving(sample_cli) as served:
        yield served


def throw(client: httpx.Client, one: Fuzzed, *, as_form: bool) -> httpx.Response:
    if as_form:
        return client.post("/search", files={"image": ("photo.jpg", one.data, one.label)})
    uri = f"data:{one.label};base64,{base64.b64encode(one.data).decode()}"
    return client.post("/search", json={"images": [uri], "size": 1})


def test_no_file_hurts_the_service(service: Served) -> None:
    answers: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    warm = 0
    with httpx.Client(base_url=service.url, timeout=120) as client:
        for number, one in enumerate(fuzzed(seed=7, rounds=ROUNDS)):
            answer = throw(client, one, as_form=number % 3 > 0)
            assert answer.status_code < 500, (one.family, number, answer.text)
            if one.hopeless:
                assert answer.status_code >= 400, (one.family, number)
            if answer.status_code != 200:
                found = answer.json()
                assert answer.headers["content-type"] == "application/problem+json"
                assert found["type"] == "urn:es-xmodal:problem:picture", found
                assert "\n" not in found["detail"]
                assert "<script" not in answer.text
            answers[one.family][answer.status_code] += 1
            if number == WARM * len(answers):
                warm = service.resident_bytes
        growth = service.resident_bytes - warm
        photo = (SAMPLE / "photos" / "yellow-chair.jpg").read_bytes()
        after = client.post("/search", files={"image": ("photo.jpg", photo)})
    assert sum(sum(one.values()) for one in answers.values()) == ROUNDS * len(answers)
    assert len(answers) >= 17
    assert set(answers["honest bomb"]) == {413}
    assert set(answers["mislabelled"]) == set(answers["with a tail"]) == {200}  # the bytes decide
    assert set(answers["bits"]) == {200, 422}
    assert after.json()["hits"][0]["id"] == "chair-yellow"
    assert growth < GROWTH_BYTES, growth
    assert "unexpected" not in service.said()
