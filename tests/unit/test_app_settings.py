"""Every setting of encoders and pictures reaches the part that it is for."""

from __future__ import annotations

import pytest

from es_xmodal.app import make_encoder, picture_limits, web_options
from es_xmodal.encoders import registry
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit


def test_settings_of_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, EncoderOptions]] = []

    def loader(argument: str, options: EncoderOptions) -> Encoder:
        seen.append((argument, options))
        return HashEncoder()

    monkeypatch.setitem(registry._LOADERS, "own", loader)
    settings = load_settings(
        encoder="own:a:b",
        device="cuda:1",
        precision="bf16",
        encoder_batch=7,
        encoder_threads=3,
        encoder_api_key="very-secret",
        encoder_timeout_s=12.5,
    )
    make_encoder(settings)
    ((argument, options),) = seen
    assert argument == "a:b"
    assert (options.device, options.precision, options.batch_size, options.threads) == (
        "cuda:1",
        "bf16",
        7,
        3,
    )
    assert options.timeout_s == 12.5
    assert options.api_key is not None
    assert options.api_key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(settings) + repr(options)


def test_settings_of_pictures() -> None:
    settings = load_settings(
        picture_hosts=" A.example, 127.0.0.1 ,",
        picture_connections=6,
        picture_connections_per_host=9,
        picture_timeout_s=4,
        picture_fresh_s=60,
        video_max_bytes=1234,
    )
    options = web_options(settings)
    assert options.allow_hosts == {"a.example", "127.0.0.1"}
    assert (options.connections, options.per_host) == (6, 6), "no more for one host than for all"
    assert (options.read_timeout_s, options.total_timeout_s, options.fresh_s) == (4, 4, 60)
    assert picture_limits(settings).video_max_bytes == 1234
