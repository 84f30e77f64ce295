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


def test_a_secret_stands_in_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("api_key", "password"):
        (tmp_path / name).write_text(f" {name}-hunter2\n", encoding="utf-8")
        monkeypatch.setenv(f"ES_XMODAL_{name.upper()}_FILE", str(tmp_path / name))
        settings = load_settings(username="me" if name == "password" else None)
        found = getattr(settings, name)
        assert found.get_secret_value() == f"{name}-hunter2"
        assert "hunter2" not in repr(settings)
        monkeypatch.delenv(f"ES_XMODAL_{name.upper()}_FILE")


def test_only_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "window").write_text("50")
    monkeypatch.setenv("ES_XMODAL_WINDOW_FILE", str(tmp_path / "window"))
    assert load_settings().window == 100


@pytest.mark.parametrize(
    ("content", "both", "says"),
    [
        (b"hunter2", True, "exclude each other"),
        (b" \n", False, "is empty"),
        (b"\xff\xfehunter2", False, "not text in UTF-8"),
        (None, False, "No such file"),
    ],
)
def test_a_secret_file_that_is_none(
    content: bytes | None, both: bool, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("ES_XMODAL_API_KEY_FILE", str(tmp_path / "key"))
    if both:
        monkeypatch.setenv("ES_XMODAL_API_KEY", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert "ES_XMODAL_API_KEY_FILE" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "USERNAME", "PASSWORD", "WINDOW", "CA_CERTS"):
        monkeypatch.setenv(f"ES_XMODAL_{name}", "")
    settings = load_settings(api_key="k")
    assert (settings.username, settings.password, settings.window, settings.ca_certs) == (
        None,
        None,
        100,
        None,
    )
