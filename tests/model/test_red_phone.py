"""The sentence and the photo that the ranking is for: the red Apple phone first, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from es_xmodal.cli.ingest import ingest
from es_xmodal.cli.main import run
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.model

RED, BLACK, GREEN = (190, 20, 35), (25, 25, 28), (60, 150, 70)
QUERY = "我想要一台红色的苹果手机"
ROWS = [
    ("phone-red", "Apple 苹果 iPhone 手机 红色 128GB", "phone", RED),
    ("phone-black", "Apple 苹果 iPhone 手机 黑色 128GB", "phone", BLACK),
    ("other-red", "华为 Mate 手机 红色 256GB", "phone", RED),
    ("case-red", "苹果手机壳 红色 硅胶保护套", "case", RED),
    ("fruit-red", "红富士苹果 新鲜水果 5斤", "fruit", RED),
    ("fruit-green", "青苹果 新鲜水果 5斤", "fruit", GREEN),
    ("bag-red", "红色真皮手提包", "case", RED),
]


def draw(kind: str, colour: tuple[int, int, int], *, shift: int = 0) -> Image.Image:
    picture = Image.new("RGB", (320, 320), (246, 246, 246))
    pen = ImageDraw.Draw(picture)
    if kind == "fruit":
        pen.ellipse((70 + shift, 80, 250 + shift, 260), fill=colour)
        pen.line((160 + shift, 85, 175 + shift, 45), fill=(90, 60, 30), width=8)
        return picture
    pen.rounded_rectangle((95 + shift, 20, 225 + shift, 300), radius=26, fill=colour)
    if kind == "phone":
        pen.rounded_rectangle((107 + shift, 32, 160 + shift, 85), radius=14, fill=(30, 30, 34))
        for x, y in ((120, 45), (144, 68)):
            pen.ellipse((x - 9 + shift, y - 9, x + 9 + shift, y + 9), fill=(80, 85, 95))
    return picture


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("phones")
    index = f"tphone{abs(hash(es_url)) % 10**8}"
    with (folder / "catalog.jsonl").open("w", encoding="utf-8") as file:
        for name, title, kind, colour in ROWS:
            draw(kind, colour).save(folder / f"{name}.jpg")
            file.write(json.dumps({"id": name, "title": title, "images": [f"{name}.jpg"]}) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ES_XMODAL_DATA_DIR", str(folder / "data"))
        assert run(ingest, [str(folder / "catalog.jsonl"), "--index", index, "--url", es_url]) == 0
    with Shop(settings=load_settings(url=es_url), index=index) as found:
        yield found
    delete_everything_named(es_url, index)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "mine.jpg"
    draw("phone", (200, 35, 45), shift=20).rotate(4, fillcolor=(230, 228, 225)).save(path, quality=70)
    return str(path)


@pytest.mark.parametrize("fusion", ["convex", "rrf", "boost"])
def test_the_red_apple_phone_is_first(shop: Shop, photo: str, fusion: str) -> None:
    result = shop.search(QUERY, images=[photo], fusion=fusion)
    first = result.hits[0]
    assert first.id == "phone-red"
    assert first.best_image == "phone-red.jpg"
    assert "<em>" in first.highlight["title"]
    parts = {leg: part.contribution for leg, part in first.ledger.legs.items()}
    assert set(parts) == {"lexical", "text", "image", "visual"}
    assert all(part > 0 for part in parts.values())
    assert first.score == pytest.approx(sum(parts.values()), abs=1e-6)


def test_the_words_alone_find_it_too(shop: Shop) -> None:
    assert shop.search(QUERY).hits[0].id == "phone-red"
