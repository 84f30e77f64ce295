"""An index of many products, filled by a bare bulk loop: random vectors, words frequent and rare."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shop import FreeEncoder, parts_for
from es_xmodal._version import __version__
from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.index.body import IndexOptions, build_body, layout_of, with_meta
from es_xmodal.index.meta import Builder, EncoderMeta, IndexMeta, LegCalibration
from es_xmodal.ingest.document import as_base64, as_floats, dump_json
from es_xmodal.ingest.pipeline import Parts
from es_xmodal.search.engine import Searcher
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import unit_rows

INDEX = "bench-large"
DIM = 512
_WORDS = 20_000
_TITLE, _DESCRIPTION = 6, 20
_CHUNK = 250


class OneSpaceEncoder(FreeEncoder):
    """Words and pictures in one space of 512 dimensions, as CLIP has it."""

    def __init__(self) -> None:
        super().__init__()
        joint = Space(name="joint", dim=DIM, modalities=frozenset({"text", "picture"}))
        self.info = EncoderInfo(
            spec="free",
            fingerprint=f"free-one-{DIM}",
            spaces=(joint,),
            text_space="joint",
            languages=("en",),
            licence="Apache-2.0",
            picture_side=64,
        )


@dataclass(frozen=True, kw_only=True)
class Large:
    """The index, a searcher on it, and queries in words of its products."""

    parts: Parts
    searcher: Searcher
    titles: tuple[str, ...]


@contextmanager
def large_index(url: str, folder: Path, *, products: int, queries: int, vector_index: str) -> Iterator[Large]:
    """Make the index, and delete it afterwards.

    Args:
        url: Elasticsearch.
        folder: for the parts.
        products: so many, a text vector and one picture vector each.
        queries: so many, three words of a title each.
        vector_index: kind of the vector index.

    Yields:
        What to search with.
    """
    with parts_for(url, folder, store="vectors-large") as parts:
        encoder = OneSpaceEncoder()
        body = build_body(
            parts.template, encoder=encoder.info, options=IndexOptions(vector_index=vector_index)
        )
        parts.client.indices.delete(index=INDEX, ignore_unavailable=True)
        parts.client.indices.create(index=INDEX, **with_meta(body, _meta(parts, encoder.info, body)))
        try:
            titles = _fill(parts, products)
            draw = random.Random(7)
            asked = tuple(" ".join(draw.sample(title.split(), 3)) for title in draw.sample(titles, queries))
            searcher = Searcher(
                parts.client, INDEX, encoder_for=lambda spec: encoder, analyzer_for=lambda: parts.analyzer
            )
            yield Large(parts=parts, searcher=searcher, titles=asked)
        finally:
            parts.client.indices.delete(index=INDEX, ignore_unavailable=True)


def _meta(parts: Parts, info: EncoderInfo, body: dict[str, Any]) -> IndexMeta:
    # The cosine of two random unit vectors has mean 0 and standard deviation 1 / sqrt(dimensions).
    random_pairs = LegCalibration(floor=0.5, spread=0.5 / DIM**0.5)
    return IndexMeta(
        index=INDEX,
        version=__version__,
        state="complete",
        encoder=EncoderMeta.of(info),
        text_fingerprint=parts.analyzer.fingerprint,
        layout=layout_of(body),
        created="2026-01-01T00:00:00+00:00",
        lease=0.0,
        builder=Builder(host="bench", pid=0, run_id="bench", started=0.0, machine="bench"),
        calibration={"text": random_pairs, "image": random_pairs},
    )


def _fill(parts: Parts, products: int) -> list[str]:
    write = as_base64 if parts.base64_vectors else as_floats
    draw = np.random.default_rng(1)
    words = _vocabulary()
    terms = parts.analyzer.index_text(words)
    often = 1.0 / np.arange(1, _WORDS + 1)
    often /= often.sum()
    titles = []
    patient = parts.client.options(request_timeout=300)
    for start in range(0, products, _CHUNK):
        count = min(_CHUNK, products - start)
        chosen = draw.choice(_WORDS, size=(count, _TITLE + _DESCRIPTION), p=often)
        vectors = unit_rows(draw.standard_normal((2 * count, DIM), dtype=np.float32))
        lines: list[Any] = []
        for at in range(count):
            title, description = chosen[at, :_TITLE], chosen[at, _TITLE:]
            titles.append(" ".join(words[one] for one in title))
            document = {
                "id": f"p{start + at:07d}",
                "title": titles[-1],
                "description": " ".join(words[one] for one in description),
                "price": float(start + at),
                "tokens": {
                    "title": SEPARATOR.join(terms[one] for one in title),
                    "description": SEPARATOR.join(terms[one] for one in description),
                },
                "images": [{"ref": "images/0.jpg", "joint": write(vectors[2 * at])}],
                "text_vector": write(vectors[2 * at + 1]),
            }
            lines += [{"index": {"_id": document["id"]}}, dump_json(document)]
        answer = patient.bulk(index=INDEX, operations=lines, filter_path="errors")
        assert not answer.body["errors"]
    patient.indices.refresh(index=INDEX)
    return titles


def _vocabulary() -> list[str]:
    """Words of two to four syllables, none twice."""
    draw = random.Random(3)
    syllables = [a + b for a in "bcdfgklmnprstvz" for b in "aeiou"]
    found: dict[str, None] = {}
    while len(found) < _WORDS:
        found["".join(draw.choices(syllables, k=draw.randint(2, 4)))] = None
    return list(found)
