"""A made-up shop of any size, and an encoder that costs nothing, so that the rest is what is measured."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.app import make_analyzer
from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder, EncoderInfo, Modality, Space
from es_xmodal.ingest.pipeline import Parts
from es_xmodal.media.picture import Picture
from es_xmodal.media.source import PictureSource
from es_xmodal.resources import index_template
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore

PICTURES = 100
_BOTH: frozenset[Modality] = frozenset({"text", "picture"})
_TEXT = """
red blue green black white grey steel wooden leather cotton wool small large light travel kitchen
garden office mug cup bowl plate lamp chair table sofa shelf bag shirt dress coat shoe boot hat
scarf watch camera phone laptop mouse keyboard cable 红色 蓝色 黑色 白色 纯棉 真皮 不锈钢 陶瓷 便携
加厚 马克杯 台灯 沙发 书架 背包 衬衫 连衣裙 外套 运动鞋 围巾 手表 相机 手机壳 笔记本 鼠标 键盘
数据线 保温杯 四件套 羊毛被
"""
_WORDS = _TEXT.split()


class FreeEncoder(Encoder):
    """Vectors drawn from a hash of the content, in spaces as large as those of a real encoder."""

    def __init__(self, dim: int = 512, *, text_dim: int = 384) -> None:
        self.batch_size = 64
        self.info = EncoderInfo(
            spec="free",
            fingerprint=f"free-{dim}-{text_dim}",
            spaces=(
                Space(name="joint", dim=dim, modalities=_BOTH),
                Space(name="visual", dim=dim, modalities=frozenset({"picture"})),
                Space(name="text", dim=text_dim, modalities=frozenset({"text"})),
            ),
            text_space="text",
            languages=("en", "zh"),
            licence="Apache-2.0",
            picture_side=64,
        )

    def prepare(self, picture: Picture) -> Any:
        return picture.content_hash

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return self._draw(batch, "picture")

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return self._draw(batch, "text")

    def _draw(self, batch: Sequence[str], modality: Modality) -> Mapping[str, NDArray[np.floating]]:
        spaces = self.info.spaces_of(modality)
        rows: dict[str, list[NDArray[np.floating]]] = {space.name: [] for space in spaces}
        for item in batch:
            seed = int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest(), "big")
            draw = np.random.default_rng(seed)
            for space in spaces:
                rows[space.name].append(draw.standard_normal(space.dim, dtype=np.float32))
        return {name: np.stack(found) for name, found in rows.items()}


def write_catalog(folder: Path, rows: int) -> Path:
    """Write a catalogue of so many rows, and its pictures; the same every time."""
    draw = random.Random(rows)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        path = images / f"{number}.jpg"
        if not path.exists():
            colour = tuple(draw.randrange(256) for _ in range(3))
            Image.new("RGB", (120, 120), colour).save(path, quality=80)
    catalog = folder / f"catalog-{rows}.jsonl"
    with catalog.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {
                "id": f"p{number:07d}",
                "title": " ".join(draw.choices(_WORDS, k=6)) + f" {number}",
                "title_zh": "".join(draw.choices(_WORDS[-30:], k=4)),
                "description": " ".join(draw.choices(_WORDS, k=40)),
                "brand": f"brand{draw.randrange(200)}",
                "category": ["Home", draw.choice(_WORDS[:20])],
                "price": round(draw.uniform(1, 900), 2),
                "attributes": {"colour": draw.choice(_WORDS[:6])},
                "images": [f"images/{draw.randrange(PICTURES)}.jpg"],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return catalog


@contextmanager
def parts_for(
    url: str, folder: Path, *, store: str = "vectors", encoder: Encoder | None = None
) -> Iterator[Parts]:
    """What an ingest works with, with the free encoder or another, and a store below the folder."""
    settings = load_settings(url=url)
    with ExitStack() as stack:
        client = connect(settings)
        stack.callback(client.close)
        kept = VectorStore.open(folder / store)
        stack.callback(kept.close)
        yield Parts(
            client=client,
            encoder=encoder or FreeEncoder(),
            analyzer=make_analyzer(settings),
            store=kept,
            pictures=PictureSource(folder),
            template=index_template(),
            base64_vectors=probe(client).base64_vectors,
        )
