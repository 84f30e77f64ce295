"""A shop for tests of the page: some colours, enough for a second page, and texts that try to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.shops import COLOURS
from tests.support.video import BLACK, BLUE, RED, video

HOSTILE = '<img src=x onerror="window.__ran.push(1)"><script>window.__ran.push(2)</script>'
HOSTILE_REF = 'images/"><img src=x onerror=window.__ran.push(4)>.png'
HOSTILE_NAME = '<b onmouseover="window.__ran.push(9)">a=b|c!</b>'
HOSTILE_VALUE = '<i onclick="__ran.push(10)">'
FILM = "images/film.mp4"
BRANDS = ("Korvane", "Qu | Co", "Tallow")
MUGS = 30
SIZES = ("Small", "Large")


def page_rows() -> list[dict[str, Any]]:
    colours = list(COLOURS)
    rows: list[dict[str, Any]] = [
        {
            "id": f"mug/{number:02d}" if number == 1 else f"mug-{number:02d}",
            "title": f"{colours[number % 3].capitalize()} ceramic mug {number}",
            "title_zh": f"陶瓷马克杯 {number}",
            "description": "A mug for tea and for coffee, fired twice.",
            "brand": BRANDS[number % 3],
            "category": ["Kitchen", "Mugs" if number % 2 else "Cups"],
            "price": 5 + number,
            "currency": "EUR",
            "attributes": {
                "main_colour": colours[number % 3].capitalize(),
                "size": SIZES[number % 2],
                **({HOSTILE_NAME: [HOSTILE_VALUE, "plain"]} if number < 6 else {}),
            },
            "url": f"https://shop.example/p/{number}",
            "images": [f"images/{colours[number % 3]}-{number}.png", f"images/other-{number}.png"],
        }
        for number in range(MUGS)
    ]
    rows.append(
        {
            "id": "bad'\"><b>",
            "title": f"Hostile {HOSTILE} teapot",
            "title_zh": f"坏 {HOSTILE} 茶壶",
            "description": f"</em><em onmouseover=alert(1)>teapot</em> {HOSTILE}",
            "brand": HOSTILE,
            "category": [HOSTILE],
            "price": 1,
            "currency": "<b>",
            "url": "javascript:window.__ran.push(3)",
            "images": [HOSTILE_REF],
        }
    )
    rows.append(
        {
            "id": "filmed",
            "title": "Spinning teapot, filmed",
            "title_zh": "旋转茶壶 视频",
            "brand": "Tallow",
            "category": ["Kitchen"],
            "price": 20,
            "currency": "USD",
            "images": [FILM],
        }
    )
    return rows


def write_page_shop(folder: Path) -> None:
    """Write the catalogue and its pictures."""
    (folder / "images").mkdir()
    with (folder / "catalog.jsonl").open("w", encoding="utf-8") as file:
        for number, row in enumerate(page_rows()):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            for place, ref in enumerate(row["images"]):
                if ref == FILM:
                    (folder / ref).write_bytes(video([BLACK, RED, BLUE], size=(320, 240), rate=5))
                    continue
                shade = COLOURS[list(COLOURS)[(number + place) % 3]]
                picture = Image.new("RGB", (400, 300), shade)
                picture.putpixel((0, 0), (number, place, 7))  # no two files are the same
                picture.save(folder / ref)
