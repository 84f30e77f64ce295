"""Exports of tiny models of every family, compared with their source, and broken on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from es_xmodal.cli.main import root, run
from es_xmodal.encoders.base import JOINT, Encoder, EncoderOptions
from es_xmodal.encoders.export import graph, verify
from es_xmodal.encoders.export.write import export_encoder
from es_xmodal.encoders.onnx.encoder import OnnxEncoder
from es_xmodal.encoders.onnx.manifest import read_manifest
from es_xmodal.encoders.registry import MANIFEST, load_encoder
from es_xmodal.errors import EncoderError
from es_xmodal.media.picture import Picture
from es_xmodal.resources import sha256_of
from tests.support.tiny_models import FAMILIES, TinyModel, make_tiny

pytestmark = [
    pytest.mark.model,
    # Said by the libraries while tiny models are made; what the package itself runs is quiet.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

EXPORTED = sorted(set(FAMILIES) - {"siglip2"})
QUANTISED = ("open_clip_vit", "chinese_clip", "siglip")
TEXTS = [
    "blue steel bottle for men", "", "我想要一台红色的手机", "Red MUG, with coffee!", "кружка 👟 & more",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
]  # fmt: skip


def pictures() -> list[Picture]:
    draw = np.random.default_rng(3)
    shapes = [(60, 80), (33, 200), (1, 1), (300, 150), (32, 32)]
    found = [Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    return [Picture(image=image, content_hash="", source="drawn") for image in found]


def vectors(encoder: Encoder) -> tuple[Any, Any]:
    prepared = [encoder.prepare(picture) for picture in pictures()]
    return encoder.encode_pictures(prepared)[JOINT], encoder.encode_texts(TEXTS)[JOINT]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TinyModel]:
    made: dict[str, TinyModel] = {}

    def make(family: str) -> TinyModel:
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family) / "source")
        return made[family]

    return make


@pytest.fixture(scope="module")
def exported(tiny: Callable[[str], TinyModel]) -> Callable[[str, bool], Path]:
    made: dict[tuple[str, bool], Path] = {}

    def export(family: str, int8: bool) -> Path:
        if (family, int8) not in made:
            model = tiny(family)
            out = model.folder.parent / ("int8" if int8 else "fp32")
            made[family, int8] = export_encoder(model.spec, out, int8=int8).folder
        return made[family, int8]

    return export


@pytest.mark.parametrize("family", EXPORTED)
def test_an_export_gives_the_vectors_of_its_source(
    tiny: Callable[[str], TinyModel], exported: Callable[[str, bool], Path], family: str
) -> None:
    source = load_encoder(tiny(family).spec, EncoderOptions(device="cpu", precision="fp32"))
    folder = exported(family, False)
    export = load_encoder(str(folder))
    assert load_encoder(f"onnx:{folder}").info.fingerprint == source.info.fingerprint
    assert export.info.fingerprint == source.info.fingerprint
    for field in ("spaces", "text_space", "languages", "licence", "picture_side"):
        assert getattr(export.info, field) == getattr(source.info, field)
    for picture in pictures():
        assert np.array_equal(export.prepare(picture), source.prepare(picture))
    for ours, theirs in zip(vectors(export), vectors(source), strict=True):
        assert (ours * theirs).sum(axis=1).min() >= verify.FLOORS["fp32"]


@pytest.mark.parametrize("family", QUANTISED)
def test_int8_is_near_and_has_a_fingerprint_of_its_own(
    tiny: Callable[[str], TinyModel], exported: Callable[[str, bool], Path], family: str
) -> None:
    source = load_encoder(tiny(family).spec, EncoderOptions(device="cpu", precision="fp32"))
    folder = exported(family, True)
    export = load_encoder(str(folder))
    assert export.info.fingerprint.startswith(f"{source.info.fingerprint}-int8-")
    assert export.runs_on == "cpu int8"
    for ours, theirs in zip(vectors(export), vectors(source), strict=True):
        cosines = (ours * theirs).sum(axis=1)
        assert cosines.min() >= verify.FLOORS["int8"]
        assert cosines.min() < 1 - 1e-6  # it is quantised indeed
    verified = read_manifest(folder).verified
    assert 0.995 <= verified["pictures"].worst <= verified["pictures"].mean <= 1.000001
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MANIFEST, "picture.onnx", "text.onnx", "tokenizer.json"]
    )


def test_the_batch_does_not_change_a_vector(exported: Callable[[str, bool], Path]) -> None:
    export = load_encoder(str(exported("open_clip_vit", False)))
    together = export.encode_texts(TEXTS)[JOINT]
    export.batch_size = 1
    assert np.abs(export.encode_texts(TEXTS)[JOINT] - together).max() < 1e-5


def test_nothing_in_nothing_out(exported: Callable[[str, bool], Path]) -> None:
    export = load_encoder(str(exported("open_clip_vit", False)))
    assert export.encode_texts([])[JOINT].shape == export.encode_pictures([])[JOINT].shape == (0, 24)


def test_it_runs_without_torch_and_transformers(exported: Callable[[str, bool], Path]) -> None:
    program = """
import sys
for name in ("torch", "transformers", "open_clip", "torchvision", "timm", "onnx", "sentencepiece"):
    sys.modules[name] = None
from PIL import Image
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.media.picture import Picture
encoder = load_encoder(sys.argv[1])
picture = Picture(image=Image.new("RGB", (50, 40), (200, 30, 30)), content_hash="", source="x")
pictures, texts = encoder.encode_pictures([encoder.prepare(picture)]), encoder.encode_texts(["mug"])
print(pictures["joint"].shape, texts["joint"].shape)
"""
    folder = exported("siglip", False)
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(1,", "40)", "(1,", "40)"]


@pytest.mark.parametrize(
    ("spec", "said"), [("mini", "ONNX already"), ("", "ONNX already"), ("siglip2", "cannot be exported")]
)
def test_what_cannot_be_exported_is_one_line(
    tiny: Callable[[str], TinyModel],
    exported: Callable[[str, bool], Path],
    tmp_path: Path,
    spec: str,
    said: str,
) -> None:
    spec = tiny(spec).spec if spec in FAMILIES else spec or f"onnx:{exported('open_clip_vit', False)}"
    with pytest.raises(EncoderError, match=said) as caught:
        export_encoder(spec, tmp_path / "out")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_folder_that_is_taken_is_left_alone(tiny: Callable[[str], TinyModel], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(EncoderError, match="there already"):
        export_encoder(tiny("open_clip_vit").spec, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_export_that_is_too_far_from_its_source_is_none(
    tiny: Callable[[str], TinyModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setitem(verify.FLOORS, precision, 1.1)
    with pytest.raises(EncoderError, match=rf"{precision} export is too far.*1\.1 is asked"):
        export_encoder(tiny("chinese_clip").spec, tmp_path / "out", int8=precision == "int8")
    assert not list(tmp_path.iterdir())


def test_a_model_above_the_limit_of_one_file_has_its_weights_beside_it(
    tiny: Callable[[str], TinyModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "_ONE_FILE_BYTES", 1000)
    model = tiny("chinese_clip")
    folder = export_encoder(model.spec, tmp_path / "out").folder
    assert {"picture.onnx.data", "text.onnx.data"} <= set(read_manifest(folder).files)
    export, source = load_encoder(str(folder)), load_encoder(model.spec, EncoderOptions(device="cpu"))
    for ours, theirs in zip(vectors(export), vectors(source), strict=True):
        assert (ours * theirs).sum(axis=1).min() >= verify.FLOORS["fp32"]


@pytest.fixture
def copied(exported: Callable[[str, bool], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported("chinese_clip", False), tmp_path / "copy"))


def use(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    encoder.prepare(pictures()[0])


@pytest.mark.parametrize("name", ["picture.onnx", "text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("harm", ["missing", "cut", "one bit"])
def test_a_damaged_file_is_one_line(copied: Path, name: str, harm: str) -> None:
    path = copied / name
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(
            content[:99] if harm == "cut" else content[:40] + bytes([content[40] ^ 1]) + content[41:]
        )
    with pytest.raises(EncoderError, match=name) as caught:
        use(copied)
    assert "\n" not in str(caught.value)


def change(folder: Path, **changed: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")


def test_a_model_that_the_runtime_cannot_load_is_one_line(copied: Path) -> None:
    (copied / "picture.onnx").write_bytes(b"no model")
    files = read_manifest(copied).files | {"picture.onnx": sha256_of(copied / "picture.onnx")}
    change(copied, files=files)
    with pytest.raises(EncoderError, match=r"cannot load picture\.onnx") as caught:
        use(copied)
    assert "\n" not in str(caught.value)


def test_vectors_of_another_length_are_one_line(copied: Path) -> None:
    change(copied, dim=25)
    with pytest.raises(EncoderError, match=r"text\.onnx gives vectors of shape"):
        use(copied)


def test_where_memory_is_short_the_batch_is_halved(
    exported: Callable[[str, bool], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(str(exported("chinese_clip", False)))
    assert isinstance(encoder, OnnxEncoder)
    prepared = [encoder.prepare(picture) for picture in pictures()]
    wanted = encoder.encode_pictures(prepared)[JOINT]
    own, seen = encoder._pictures, []

    def narrow(names: None, inputs: dict[str, Any]) -> Any:
        seen.append(len(inputs["pixels"]))
        if seen[-1] > 2:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1")
        return own.run(names, inputs)

    monkeypatch.setattr(encoder, "_pictures", SimpleNamespace(run=narrow))
    assert np.abs(encoder.encode_pictures(prepared)[JOINT] - wanted).max() < 1e-5
    assert seen == [5, 2, 3, 1, 2] and encoder.batch_size <= 2
    seen.clear()
    encoder.encode_pictures(prepared)
    assert max(seen) <= 2


def test_one_item_that_does_not_fit_is_one_line(
    exported: Callable[[str, bool], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(str(exported("chinese_clip", False)))
    prepared = [encoder.prepare(picture) for picture in pictures()]

    def full(names: None, inputs: dict[str, Any]) -> Any:
        raise MemoryError

    monkeypatch.setattr(encoder, "_pictures", SimpleNamespace(run=full))
    with pytest.raises(EncoderError, match="memory does not suffice for one item"):
        encoder.encode_pictures(prepared)


def test_the_command(
    tiny: Callable[[str], TinyModel], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tiny("chinese_clip").spec
    assert run(root, ["export", spec, "--out", str(tmp_path / "a"), "--int8", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["precision"] == "int8" and told["source"] == spec and told["bytes"] > 1000
    assert told["encoder"] == f"onnx:{tmp_path / 'a'}" and told["verified"]["texts"]["worst"] >= 0.995
    assert run(root, ["export", spec, "--out", str(tmp_path / "a")]) == 2
    assert run(root, ["export", "mini", "--out", str(tmp_path / "b")]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert "there already" in lines[0] and "ONNX already" in lines[-1]
