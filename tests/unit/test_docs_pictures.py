"""The pictures of the page in the docs: there, light, and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.unit

DOCS = Path(__file__).resolve().parents[2] / "docs"
STILLS = ("words-and-photo", "why", "phone", "chinese")


def test_pictures_are_light() -> None:
    sizes = {one.stem: one.stat().st_size for one in (DOCS / "pictures").glob("*.webp")}
    assert set(sizes) == {*STILLS, "session"}
    assert max(sizes[name] for name in STILLS) <= 120 * 1024
    assert sum(sizes[name] for name in STILLS) <= 400 * 1024
    assert sizes["session"] <= 400 * 1024


@pytest.mark.parametrize("name", [*STILLS, "session"])
def test_pictures_can_be_seen_and_are_shown(name: str) -> None:
    with Image.open(DOCS / "pictures" / f"{name}.webp") as image:
        image.load()
        assert min(image.size) >= 390
        assert (getattr(image, "n_frames", 1) > 10) == (name == "session")
    assert f"pictures/{name}.webp" in (DOCS / "page.md").read_text(encoding="utf-8")
