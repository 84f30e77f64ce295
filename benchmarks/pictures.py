"""Whether everything else hides behind the encoder, and behind a slow picture server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rows import INDEX, Row, _drop, _timed
from benchmarks.shop import FreeEncoder, parts_for
from benchmarks.slow_host import slow_host
from es_xmodal.encoders.base import Encoder
from es_xmodal.ingest.ahead import batched
from es_xmodal.ingest.pipeline import IngestOptions, Parts, run_ingest
from es_xmodal.media.picture import decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.media.web import WebOptions, WebPictures

_SIDE = 480
_DELAY_S = 0.1


class DeviceEncoder(FreeEncoder):
    """As an accelerator shows itself to this process: it takes its time and none of the processor's."""

    def __init__(self, pictures_per_s: float) -> None:
        super().__init__(64, text_dim=64)
        self._picture_s = 1 / pictures_per_s

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        time.sleep(self._picture_s * len(batch))
        return super()._picture_batch(batch)


def picture_rows(url: str, folder: Path, *, pictures: int, fetched: int) -> list[Row]:
    """Ingests of pictures that nothing knows yet.

    Args:
        url: of the server.
        folder: for catalogues, pictures and vectors.
        pictures: that are encoded.
        fetched: that come from the slow host.
    """
    from es_xmodal.encoders.mini import load_mini

    _draw(folder / "many", max(pictures, fetched))
    return [
        _behind_the_encoder(url, folder, pictures, lambda: DeviceEncoder(150.0), "a device of 150 a second"),
        _behind_the_encoder(
            url, folder, min(max(pictures // 4, 64), 500), load_mini, "mini, on the processor"
        ),
        _from_a_slow_host(url, folder, fetched),
    ]


def _behind_the_encoder(url: str, folder: Path, pictures: int, make: Callable[[], Encoder], name: str) -> Row:
    encoder = make()
    catalog = _catalog(folder, pictures, "many")
    ratios, rates = [], []
    for turn in range(3):
        # Prepared before: what is compared with is the encoder and nothing else.
        prepared = [_prepared(encoder, folder / f"many/{number}.jpg") for number in range(pictures)]
        alone_s = _timed(partial(_encode, encoder, prepared))
        del prepared
        with parts_for(url, folder, store=f"vectors-{name[:4]}-{turn}", encoder=encoder) as parts:
            ours_s = _timed(partial(_ingest, parts, catalog, folder, pictures))
            _drop(parts)
        ratios.append(alone_s / ours_s)
        rates.append((pictures / ours_s, pictures / alone_s))
    middle = sorted(zip(ratios, rates, strict=True))[1]
    return Row(
        name=f"ingest with pictures / encoder alone, {name}",
        value=middle[0],
        unit="pictures/s ratio",
        bound=">= 0.95",
        detail=f"{middle[1][0]:.0f} against {middle[1][1]:.0f} pictures/s, {pictures} pictures of"
        f" {_SIDE} pixels, 3 pairs, {min(ratios):.2f}–{max(ratios):.2f}",
    )


def _from_a_slow_host(url: str, folder: Path, pictures: int) -> Row:
    options = WebOptions(allow_hosts=frozenset({"127.0.0.1"}))
    with slow_host(folder / "many", delay_s=_DELAY_S) as address:
        catalog = _catalog(folder, pictures, address)
        with closing(WebPictures(options)) as web:
            refs = [f"{address}/{number}.jpg" for number in range(pictures)]
            fetch_s = _timed(lambda: [web.fetch_many(some) for some in batched(iter(refs), 512)])
        with (
            closing(WebPictures(options)) as web,
            parts_for(url, folder, store="vectors-web", encoder=FreeEncoder(64, text_dim=64)) as parts,
        ):
            from_web = replace(parts, pictures=PictureSource(folder, web=web))
            ours_s = _timed(partial(_ingest, from_web, catalog, folder, pictures))
            _drop(parts)
    ideal_s = pictures * _DELAY_S / min(options.per_host, options.connections)
    return Row(
        name=f"ideal for {options.per_host} connections / ingest from a slow host",
        value=ideal_s / ours_s,
        unit="ratio",
        bound=">= 0.9",
        detail=f"{ours_s:.1f} s against {ideal_s:.1f} s, {pictures} pictures, {_DELAY_S * 1000:.0f} ms each;"
        f" fetching alone {fetch_s:.1f} s",
    )


def _draw(folder: Path, count: int) -> None:
    """Pictures of noise, so that decoding costs what photos cost; no two are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number}.jpg"
        if not path.exists():
            noise = np.random.default_rng(number).integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), np.uint8)
            Image.fromarray(noise).resize((_SIDE, _SIDE)).save(path, quality=85)


def _catalog(folder: Path, rows: int, place: str) -> Path:
    path = folder / "pictures.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"id": str(number), "title": f"mug {number}", "images": [f"{place}/{number}.jpg"]}
            file.write(json.dumps(row) + "\n")
    return path


def _prepared(encoder: Encoder, path: Path) -> Any:
    side = encoder.info.decode_side
    return encoder.prepare(decode_picture(path.read_bytes(), source=str(path), max_side=side, roughly=True))


def _encode(encoder: Encoder, prepared: Sequence[Any]) -> None:
    for some in batched(iter(prepared), encoder.batch_size):
        encoder.encode_pictures(some)
    # An ingest has each row's text embedded, too.
    for texts in batched((f"mug {number}" for number in range(len(prepared))), encoder.batch_size):
        encoder.encode_texts(texts)


def _ingest(parts: Parts, catalog: Path, folder: Path, pictures: int) -> None:
    options = IngestOptions(
        catalog=catalog, index=INDEX, rebuild=True, keep=1, rejects=folder / "rejects.jsonl"
    )
    counts = run_ingest(parts, options).counts
    assert counts["encoded_images"] == counts["indexed"] == pictures, counts
