"""The files of the page and small pictures of products, by HTTP."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from es_xmodal.encoders import registry
from es_xmodal.errors import SettingsError
from es_xmodal.media.video import video_frame
from es_xmodal.server import pages, pictures
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions, parse_keys
from es_xmodal.server.pictures import ProductPictures
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.shops import ROWS, ingest_shop, write_shop
from tests.support.video import BLUE, GREEN, RED, video

pytestmark = pytest.mark.integration

KEY = "search-key-0123456789"
WEB = "https://pictures.example/web.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("shop")
    write_shop(found)
    return found


@pytest.fixture(scope="module")
def shop(es_url: str, folder: Path) -> Iterator[Shop]:
    prefix = f"t{os.urandom(5).hex()}-"
    ingest_shop(es_url, folder / "catalog.jsonl", f"{prefix}page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._LOADERS, "hash", lambda argument, options: HashEncoder())
        with Shop(settings=load_settings(url=es_url), index=f"{prefix}page") as one:
            yield one
    delete_everything_named(es_url, prefix)


@pytest.fixture
def client(shop: Shop, folder: Path) -> TestClient:
    # Not entered as a context: the end of the application would close the shop that others go on with.
    return TestClient(create_app(shop, ServerOptions(images_root=str(folder))))


def test_the_page_and_everything_it_loads(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
    assert " style=" not in page.text
    assert "<script>" not in page.text
    for name, file in pages.page_files().items():
        answer = client.get(f"/page/{name}")
        assert answer.content == file.body
        assert answer.headers["content-type"] == file.media_type
        assert answer.headers["cache-control"] == "private, no-cache"
        again = client.get(f"/page/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    plain = client.get("/page/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for path in ("/page/none.js", "/page/..%2fpages.py", "/page/__init__.py"):
        assert client.get(path).status_code == 404


def test_what_the_page_is_told(client: TestClient, shop: Shop) -> None:
    told = client.get("/page/config.json").json()
    assert told["index"] == shop.index
    assert told["pictures"] is True
    assert (told["max_body_bytes"], told["max_pictures"], told["page_size"]) == (25 * 1024 * 1024, 4, 24)
    small = TestClient(create_app(shop, ServerOptions(max_hits=5))).get("/page/config.json").json()
    assert (small["pictures"], small["page_size"]) == (False, 5)


def test_a_small_picture(client: TestClient, folder: Path) -> None:
    Image.new("RGB", (900, 600), (200, 20, 30)).save(folder / "images" / "mug-blue-1.png")
    answer = client.get("/products/mug-blue/images/1", params={"side": 200})
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (320, 213)  # the next side that is made
    assert client.get("/products/mug-blue/images/1?side=1000").content != answer.content
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.get("/products/mug-blue/images/1?side=200", headers=etag).status_code == 304


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/products/mug-red/images/7", 404),
        ("/products/towel/images/0", 404),
        ("/products/none/images/0", 404),
        ("/products/mug-red/images/x", 422),
        ("/products/mug-red/images/0?side=5000", 422),
    ],
)
def test_pictures_that_are_not_there(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "ref", ["../secret.png", "/etc/passwd", "images/text.png", WEB, "file:///etc/passwd"]
)
def test_references_that_are_never_opened(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    (folder.parent / "secret.png").write_bytes((folder / "images" / "mug-red-0.png").read_bytes())
    (folder / "images" / "text.png").write_text("<script>alert(1)</script>")
    monkeypatch.setattr(
        Shop, "product", lambda self, id_: {**ROWS[0], "images": [{"ref": ref, "role": "main"}]}
    )
    answer = client.get("/products/odd-one/images/0")
    assert answer.status_code == 404
    assert "script" not in answer.text


def colour(answer: Any) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
    pixel: Any = Image.open(io.BytesIO(answer.content)).getpixel((3, 3))
    return "rgb"[max(range(3), key=lambda at: pixel[at])]


def test_a_frame_of_a_video(client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name says nothing of what is in a file.
    (folder / "images" / "clip.jpg").write_bytes(video([RED, GREEN, BLUE], size=(640, 480)))
    (folder / "images" / "broken.mp4").write_bytes(video([RED])[:300])
    product = {**ROWS[0], "images": ["images/clip.jpg", "images/mug-red-0.png", "images/broken.mp4"]}
    monkeypatch.setattr(Shop, "product", lambda self, id_: product)
    path = "/products/filmed/images/"
    assert [colour(client.get(f"{path}0?t={time}")) for time in (0.2, 1.5, 2.9, 3000)] == list("rgbb")
    assert Image.open(io.BytesIO(client.get(f"{path}0?t=0&side=100").content)).size == (160, 120)
    without = client.get(f"{path}0")
    assert (without.status_code, without.json()["code"]) == (404, "is_video")
    assert colour(client.get(f"{path}1?t=1")) == "r", "a picture is the same at any time"
    assert client.get(f"{path}2?t=0").status_code == 404
    for wrong in ("nan", "-1", "1e9", "x"):
        assert client.get(f"{path}0?t={wrong}").status_code == 422


def test_frames_are_kept_by_their_time(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "images" / "kept.mp4").write_bytes(video([RED, GREEN]))
    monkeypatch.setattr(Shop, "product", lambda self, id_: {**ROWS[0], "images": ["images/kept.mp4"]})
    times = (0.2, 1.7, 0.2, 0.2001)
    made: list[float] = []

    def counted(data: bytes, time_s: float, **options: Any) -> Any:
        made.append(time_s)
        return video_frame(data, time_s, **options)

    monkeypatch.setattr("es_xmodal.server.pictures.video_frame", counted)
    assert [colour(client.get(f"/products/kept/images/0?t={time}")) for time in times] == list("rgrr")
    assert made == [0.2, 1.7]


def test_without_a_folder_there_are_none(shop: Shop, tmp_path: Path) -> None:
    answer = TestClient(create_app(shop, ServerOptions())).get("/products/mug-red/images/0")
    assert (answer.status_code, answer.json()["hint"]) == (404, "start it with --images-root")
    with pytest.raises(SettingsError, match="images_root"):
        ServerOptions(images_root=str(tmp_path / "none"))


def test_small_pictures_are_kept_for_a_while_and_not_without_bound(shop: Shop, folder: Path) -> None:
    now = 0.0
    one = len(ProductPictures(shop, folder).make("mug-red", 0, pictures.SIDES[0]).data)
    room = 7 * one // 2  # all are as small as the file, so three have room
    kept = ProductPictures(shop, folder, most_bytes=room, clock=lambda: now)
    made = [kept.make("mug-red", 0, side) for side in pictures.SIDES]
    assert kept.known("mug-red", 0, pictures.SIDES[-1]) == made[-1]
    assert kept.known("mug-red", 0, pictures.SIDES[0]) is None  # gone, for the others
    assert kept.kept_bytes == 3 * one
    kept.make("mug-red", 0, pictures.SIDES[-1])  # again: not counted twice
    assert kept.kept_bytes == 3 * one
    now = pictures.KEPT_S + 1
    assert kept.known("mug-red", 0, pictures.SIDES[-1]) is None


def test_page_and_pictures_need_a_key_and_are_not_counted(shop: Shop, folder: Path) -> None:
    options = ServerOptions(
        images_root=str(folder), keys=parse_keys(f"search:{KEY}"), rate_per_s=0.001, burst=1
    )
    client = TestClient(create_app(shop, options))
    paths = ("/", "/page/app.js", "/page/config.json", "/products/mug-red/images/0")
    for path in paths:
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer, Basic")
    # Browsers look at the first way only.
    asked: Any = client.get("/", headers={"accept": "text/html,*/*"})
    assert asked.headers["www-authenticate"].startswith("Basic realm")
    for path in paths * 3:
        assert client.get(path, headers={"x-api-key": KEY}).status_code == 200
    assert client.get("/products/mug-red", headers={"x-api-key": KEY}).status_code == 200
    assert client.get("/products/mug-red", headers={"x-api-key": KEY}).status_code == 429
