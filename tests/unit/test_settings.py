"""Settings: the order of their sources, their checks, and that secrets stay hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_xmodal.errors import SettingsError
from es_xmodal.settings import load_settings

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "CONFIG", "WINDOW", "PASSWORD", "USERNAME", "API_KEY", "ENCODER"):
        monkeypatch.delenv(f"ES_XMODAL_{name}", raising=False)


def test_arguments_win_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("es_xmodal.toml").write_text('url = "http://file:1"\nwindow = 50\nencoder = "file"\n')
    monkeypatch.setenv("ES_XMODAL_WINDOW", "60")
    monkeypatch.setenv("ES_XMODAL_ENCODER", "environment")
    settings = load_settings(encoder="argument", url=None)
    assert (settings.url, settings.window, settings.encoder) == ("http://file:1", 60, "argument")


def test_a_named_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text("window = 70\n")
    monkeypatch.setenv("ES_XMODAL_CONFIG", str(named))
    assert load_settings().window == 70
    monkeypatch.setenv("ES_XMODAL_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="not a file"):
        load_settings()


def test_secrets_are_hidden() -> None:
    settings = load_settings(username="me", password="hunter2")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())
    assert settings.password is not None
    assert settings.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "shop:9200"}, "url"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"window": 5}, "window"),
        ({"username": "me"}, "belong together"),
        ({"username": "me", "password": "x", "api_key": "k"}, "exclude each other"),
        ({"vector_index": "magic"}, "vector_index"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_refused_in_one_line(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_XMODAL_URL", "")
    assert load_settings().url is None


def test_a_password_in_a_wrong_address_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(url="htp://me:hunter2@shop:9200")
    assert "hunter2" not in str(caught.value)
    assert "shop:9200" in str(caught.value)


def test_a_refused_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_XMODAL_PASSWORD", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_broken_toml() -> None:
    Path("es_xmodal.toml").write_text("url = ")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()
