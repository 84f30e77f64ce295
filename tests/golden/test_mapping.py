"""The whole body of a new index. Run with UPDATE_GOLDEN=1 to write it anew, then read the diff."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.index.combining import Combining
from es_xmodal.resources import index_template

pytestmark = pytest.mark.golden

FOLDER = Path(__file__).parent / "mappings"

JOINT = Space(name="joint", dim=512, modalities=frozenset({"text", "picture"}))
VISUAL = Space(name="visual", dim=1280, modalities=frozenset({"picture"}))
TEXT = Space(name="text", dim=384, modalities=frozenset({"text"}))


def info(*spaces: Space, text_space: str | None) -> EncoderInfo:
    return EncoderInfo(
        spec="test",
        fingerprint="test-0000000000000000",
        spaces=spaces,
        text_space=text_space,
        languages=("en",),
        licence="Apache-2.0",
        picture_side=224,
    )


CASES: dict[str, tuple[EncoderInfo, IndexOptions]] = {
    "three_spaces": (info(JOINT, VISUAL, TEXT, text_space="text"), IndexOptions()),
    "one_space_flat": (
        info(JOINT, text_space="joint"),
        IndexOptions(vector_index="flat", shards=3, replicas=2),
    ),
    "mean_dot": (
        info(JOINT, VISUAL, TEXT, text_space="text"),
        IndexOptions(combining=Combining(pictures="mean", similarity="dot_product")),
    ),
    "add_l2": (
        info(JOINT, VISUAL, TEXT, text_space="text"),
        IndexOptions(combining=Combining(pictures="mean", fuse="add", similarity="l2_norm")),
    ),
    "concat": (
        info(JOINT, VISUAL, TEXT, text_space="text"),
        IndexOptions(combining=Combining(pictures="mean", fuse="concat")),
    ),
    "concat_one_space": (
        info(JOINT, text_space=None),
        IndexOptions(combining=Combining(pictures="mean", fuse="concat")),
    ),
    "ocr": (info(JOINT, text_space="joint"), IndexOptions(ocr=True)),
    "no_text_int8": (info(JOINT, VISUAL, text_space=None), IndexOptions(vector_index="int8_hnsw", m=32)),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_body(case: str) -> None:
    encoder, options = CASES[case]
    body = build_body(index_template(), encoder=encoder, options=options)
    path = FOLDER / f"{case}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    expected: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert body == expected
