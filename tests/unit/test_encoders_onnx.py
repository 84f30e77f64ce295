"""Exported encoders without a model: descriptions, cleaning, grouping, devices."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.encoders.clip.pixels import PixelRecipe
from es_xmodal.encoders.onnx import session
from es_xmodal.encoders.onnx.encoder import alike, batch_for
from es_xmodal.encoders.onnx.manifest import Checked, Manifest, Text, check_files, read_manifest
from es_xmodal.encoders.onnx.session import OutOfMemoryError, choose_provider, cores, run
from es_xmodal.encoders.onnx.tokens import Reader
from es_xmodal.encoders.registry import MANIFEST, load_encoder
from es_xmodal.errors import EncoderError, EncoderSpecError, MissingExtraError
from es_xmodal.resources import sha256_of

pytestmark = pytest.mark.unit

FILES = ("picture.onnx", "text.onnx", "tokenizer.json")


def described() -> Manifest:
    return Manifest(
        source="open_clip:A@B",
        source_fingerprint="a-1",
        fingerprint="a-1",
        precision="fp32",
        dim=24,
        text_space="joint",
        languages=("en",),
        licence="MIT",
        picture_side=32,
        bytes_per_picture=1000,
        pixels=PixelRecipe(
            resize="shortest", size=(32, 32), crop=(32, 32), resample=3, halving="even", scale=None,
            mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        ),
        text=Text(cleaning="none", length=16, fixed=False, pad=0, inputs=("input_ids",)),
        files=dict.fromkeys(FILES, "0" * 64),
        verified={"pictures": Checked(mean=1.0, worst=1.0, items=1)},
    )  # fmt: skip


def write(folder: Path, **changed: Any) -> Path:
    whole = described().model_dump(mode="json") | changed
    (folder / MANIFEST).write_text(json.dumps(whole), encoding="utf-8")
    return folder


def test_a_description_survives_its_file(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path)) == described()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 99}, "newer version"),
        ({"dim": 5000}, "dim"),
        ({"dim": "many"}, "dim"),
        ({"surplus": 1}, "surplus"),
        ({"pixels": {"resize": "twist"}}, "pixels"),
        ({"files": {"../picture.onnx": "0"}}, "outside the folder"),
        ({"files": {"/etc/passwd": "0"}}, "outside the folder"),
        ({"files": {"picture.onnx": "0", "text.onnx": "0"}}, "lists no tokenizer.json"),
        ({"text": {"cleaning": "none"}}, "text"),
    ],
)
def test_a_wrong_description_is_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(EncoderError, match=said) as caught:
        read_manifest(write(tmp_path, **changed))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_description_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(EncoderError, match="damaged"):
        read_manifest(tmp_path)


def test_files_are_compared_with_their_checksums(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode())
    sums = {name: sha256_of(tmp_path / name) for name in FILES}
    manifest = described().model_copy(update={"files": sums})
    check_files(tmp_path, manifest, "")
    (tmp_path / "text.onnx").write_bytes(b"other")
    check_files(tmp_path, manifest, "picture.onnx")
    with pytest.raises(EncoderError, match=r"text\.onnx is not the file that was exported"):
        check_files(tmp_path, manifest, "text.onnx")
    (tmp_path / "text.onnx").unlink()
    with pytest.raises(EncoderError, match=r"text\.onnx cannot be read"):
        check_files(tmp_path, manifest, "")


@pytest.mark.parametrize("spec", ["onnx", "onnx:", "onnx:no/such/folder"])
def test_a_spec_without_a_folder_is_one_line(spec: str) -> None:
    with pytest.raises(EncoderSpecError, match="folder"):
        load_encoder(spec)


def test_a_missing_tokenizer_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"es-xmodal\[onnx\]"):
        Reader(tmp_path, described().text)
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(MissingExtraError, match=r"ftfy.*es-xmodal\[onnx\]"):
        Reader(tmp_path, described().text.model_copy(update={"cleaning": "lower"}))


def test_a_tokenizer_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"tokenizer\.json cannot be read"):
        Reader(tmp_path, described().text)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EncoderError, match=r"tokenizer\.json is no tokenizer"):
        Reader(tmp_path, described().text)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer of three words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    found = Tokenizer(models.WordLevel({"?": 0, "red": 5, "mug": 6, "shoe": 7}, unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer.json").write_text(found.to_str(), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("cleaning", "cleaned"),
    [
        ("none", "  It’s\u3000a_B &amp;amp; c! "),
        ("whitespace", "It's a_B & c!"),
        ("lower", "it's a_b & c!"),
        ("canonicalize", "its a b c"),
        ("siglip", "it’s ab ampamp c"),
    ],
)
def test_texts_are_cleaned_as_the_sources_do(words: Path, cleaning: Any, cleaned: str) -> None:
    reader = Reader(words, described().text.model_copy(update={"cleaning": cleaning}))
    assert reader.clean("  It’s\u3000a_B &amp;amp; c! ") == cleaned


def test_texts_are_padded_to_the_longest_or_to_the_length(words: Path) -> None:
    how = described().text.model_copy(
        update={"pad": 9, "inputs": ("input_ids", "attention_mask", "token_type_ids"), "zeroed": 7}
    )
    reader = Reader(words, how)
    numbers = reader.numbers(["red mug", "shoe"])
    assert numbers == [[5, 6], [7]]
    found = reader.inputs(numbers)
    assert found["input_ids"].tolist() == [[5, 6], [0, 9]]
    assert found["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert found["token_type_ids"].tolist() == [[0, 0], [0, 0]]
    assert reader.inputs([[]])["input_ids"].shape == (1, 1)
    fixed = Reader(words, how.model_copy(update={"fixed": True, "length": 4}))
    assert fixed.inputs(numbers)["input_ids"].tolist() == [[5, 6, 9, 9], [0, 9, 9, 9]]


def test_texts_of_like_length_go_together() -> None:
    lengths = [3, 70, 4, 66, 9, 12, 3]
    groups = list(alike(lengths))
    assert sorted(at for group in groups for at in group) == list(range(len(lengths)))
    assert groups == [[0, 6, 2], [4, 5], [3, 1]]
    assert list(alike([])) == []


def test_the_batch_fits_a_quarter_of_the_memory() -> None:
    assert batch_for(1_000_000, 40_000_000) == 10
    assert batch_for(1_000_000, 10) == 1
    assert batch_for(1, 1 << 40) == 32


def test_a_containers_quota_bounds_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(session, "_QUOTA", quota)
    there = cores()
    assert there >= 1
    quota.write_text("max 100000\n")
    assert cores() == there
    quota.write_text("100000 100000\n")
    assert cores() == 1
    quota.write_text("20000 100000\n")
    assert cores() == 1


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Providers of a runtime that is not loaded."""
    there = ["CPUExecutionProvider"]
    monkeypatch.setitem(
        sys.modules, "onnxruntime", SimpleNamespace(get_available_providers=lambda: list(there))
    )
    return there


def test_the_device_follows_what_is_asked_and_what_is_there(cuda: list[str]) -> None:
    assert choose_provider("onnx:d", EncoderOptions(), "fp32")[0] == "CPUExecutionProvider"
    cuda.append("CUDAExecutionProvider")
    assert choose_provider("onnx:d", EncoderOptions(), "fp32")[0] == "CUDAExecutionProvider"
    assert choose_provider("onnx:d", EncoderOptions(), "int8")[0] == "CPUExecutionProvider"
    assert choose_provider("onnx:d", EncoderOptions(device="cpu"), "fp32")[0] == "CPUExecutionProvider"
    name, details = choose_provider("onnx:d", EncoderOptions(device="cuda:1"), "fp32")
    assert name == "CUDAExecutionProvider" and details["device_id"] == 1 and details["use_tf32"] == 0


@pytest.mark.parametrize(
    ("options", "precision", "said"),
    [
        (EncoderOptions(device="cuda"), "fp32", "no CUDA.*onnxruntime-gpu"),
        (EncoderOptions(device="cuda"), "int8", "int8.*without --int8"),
        (EncoderOptions(device="mps"), "fp32", "mps"),
        (EncoderOptions(precision="fp16"), "fp32", "cannot run in fp16"),
        (EncoderOptions(precision="fp32"), "int8", "exported in int8"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    cuda: list[str], options: EncoderOptions, precision: Any, said: str
) -> None:
    with pytest.raises(EncoderError, match=said):
        choose_provider("onnx:d", options, precision)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (MemoryError("no"), OutOfMemoryError),
        (RuntimeError("Failed to allocate memory for requested buffer of size 12"), OutOfMemoryError),
        (RuntimeError("std::bad_alloc"), OutOfMemoryError),
        (RuntimeError("shape mismatch"), EncoderError),
    ],
)
def test_a_full_memory_is_told_from_other_failures(raised: Exception, kind: type[Exception]) -> None:
    def fail(*_: object) -> object:
        raise raised

    with pytest.raises(kind):
        run(SimpleNamespace(run=fail), {}, "onnx:d")
