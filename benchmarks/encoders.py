"""Encoders: a ViT-B/32 of random weights, exported in int8, against eager open_clip; and the embedded one.

    python -m benchmarks --only encoders [--export DIR]

The export takes minutes and two gigabytes; with --export it is kept, and used again by the next run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.rows import Row
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.ingest.ahead import ahead
from es_xmodal.ingest.engine import MAX_WORKERS
from es_xmodal.media.picture import decode_picture

ARCH = "ViT-B-32"
BATCH = 16
QUERY = "red running shoes for women"
_CHILD = """
import time
start = time.perf_counter()
import es_xmodal
from es_xmodal.encoders.registry import load_encoder
encoder = load_encoder("mini")
encoder.encode_texts(["red running shoes"])
print(time.perf_counter() - start)
times = []
for number in range(60):
    start = time.perf_counter()
    encoder.encode_texts([f"red running shoes {number}"])
    times.append(time.perf_counter() - start)
print(sorted(times)[30])
import psutil
print(psutil.Process().memory_info().rss)
"""


def encoder_rows(place: Path, export: Path | None, *, rounds: int = 5) -> Iterator[Row]:
    """Measure one row after the other.

    Args:
        place: for files that are not kept.
        export: where the export is kept; None: in `place`.
        rounds: alternating measurements of each pair.
    """
    import open_clip
    import torch

    model = open_clip.create_model(ARCH, pretrained=None).eval()
    folder = _exported(model, place, export or place / "export")
    encoder = load_encoder(str(folder), EncoderOptions(device="cpu"))
    files = _photos(place, 64)
    tokenizer = open_clip.get_tokenizer(ARCH)
    draw = np.random.default_rng(0)
    pixels = list(draw.integers(0, 256, (BATCH, 3, 224, 224), dtype=np.uint8))
    floats = torch.from_numpy(draw.standard_normal((BATCH, 3, 224, 224), dtype=np.float32))
    eager = torch.inference_mode()
    yield _ratio(
        f"pictures, eager open_clip / onnx int8, {ARCH}",
        ">= 3",
        eager(partial(model.encode_image, floats)),
        lambda: encoder.encode_pictures(pixels),
        rounds=rounds,
        count=BATCH,
    )
    yield _ratio(
        f"one text, onnx int8 / eager open_clip, {ARCH}",
        "<= 0.4",
        lambda: encoder.encode_texts([QUERY]),
        eager(partial(_read, model, tokenizer)),
        rounds=6 * rounds,
        count=1,
    )
    del model
    yield _from_files(f"files on disk / decoded pictures, {ARCH} int8", encoder, files, rounds)
    yield _from_files("files on disk / decoded pictures, mini", load_encoder("mini"), files, rounds)
    yield from _mini_rows()


def _read(model: Any, tokenizer: Any) -> object:
    return model.encode_text(tokenizer([QUERY]))


def _exported(model: Any, place: Path, folder: Path) -> Path:
    import torch

    from es_xmodal.encoders.export.write import export_encoder

    if not folder.is_dir():
        checkpoint = place / "random.pt"
        torch.save(model.state_dict(), checkpoint)
        export_encoder(f"open_clip:{ARCH}@{checkpoint}", folder, int8=True)
        checkpoint.unlink()
    return folder


def _photos(place: Path, count: int) -> list[Path]:
    """JPEG files of the size that shops keep, 1000 x 1000, as smooth and as noisy as photos are."""
    folder = place / "photos"
    folder.mkdir()
    draw = np.random.default_rng(5)
    for number in range(count):
        coarse = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((1000, 1000), Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(image + draw.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.jpg", quality=85)
    return sorted(folder.iterdir())


def _ratio(
    name: str,
    bound: str,
    above: Callable[[], object],
    below: Callable[[], object],
    *,
    rounds: int,
    count: int,
) -> Row:
    """Seconds of the first over seconds of the second, in turn; the median of the pairs' ratios."""
    pairs = []
    for turn in range(rounds + 1):
        # In turn which goes first.
        if turn % 2:
            below_s, above_s = _timed(below), _timed(above)
        else:
            above_s, below_s = _timed(above), _timed(below)
        if turn:  # the first pair warms up
            pairs.append((above_s, below_s))
    ratios = [a / b for a, b in pairs]
    ms = [statistics.median(column) / count * 1000 for column in zip(*pairs, strict=True)]
    return Row(
        name=name,
        value=statistics.median(ratios),
        unit="ratio",
        bound=bound,
        detail=f"{ms[0]:.1f} against {ms[1]:.1f} ms each, {rounds} pairs, {min(ratios):.2f}–{max(ratios):.2f}"
        f", load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores",
    )


def _from_files(name: str, encoder: Encoder, files: list[Path], rounds: int) -> Row:
    """Pictures a second in the ingest's threads: from files, against pictures that are decoded already."""

    def decoded(path: Path) -> Any:
        side = encoder.info.decode_side
        return decode_picture(path.read_bytes(), source=path.name, max_side=side, roughly=True)

    ready = [decoded(path) for path in files]

    def encode(prepare: Callable[[Any], Any], items: Sequence[Any]) -> None:
        with ThreadPoolExecutor(min(MAX_WORKERS, (os.cpu_count() or 1) + 1)) as pool:
            batch: list[Any] = []
            for prepared in ahead(pool, prepare, items, depth=2 * encoder.batch_size):
                batch.append(prepared)
                if len(batch) == encoder.batch_size:
                    encoder.encode_pictures(batch)
                    batch = []
            encoder.encode_pictures(batch)

    def from_files() -> None:
        encode(lambda path: encoder.prepare(decoded(path)), files)

    def from_pictures() -> None:
        encode(encoder.prepare, ready)

    return _ratio(name, ">= 0.95", from_pictures, from_files, rounds=rounds, count=len(files))


def _mini_rows() -> Iterator[Row]:
    """The embedded encoder in processes of its own: cold start, one text, memory."""
    runs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
        runs.append([float(line) for line in done.stdout.split()])
    cold, warm, resident = (statistics.median(column) for column in zip(*runs, strict=True))
    load = f"medians of {len(runs)} processes, load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    best = f"best {min(run[0] for run in runs):.2f} s, {load}"
    yield Row(name="mini: import + first vector", value=cold, unit="s", bound="<= 1.5", detail=best)
    best = f"best {min(run[1] for run in runs) * 1000:.1f} ms, {load}"
    yield Row(name="mini: one text", value=warm * 1000, unit="ms", bound="<= 15", detail=best)
    yield Row(
        name="mini: resident, texts only", value=resident / 2**20, unit="MiB", bound="<= 300", detail=load
    )


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
