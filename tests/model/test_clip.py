"""Encoders of the CLIP kind: damaged and hostile folders, devices, memory, fingerprints, odd pictures."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.encoders.clip.device import choose_runtime
from es_xmodal.encoders.clip.encoder import ClipEncoder
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.errors import EncoderError, EncoderSpecError, PictureError
from es_xmodal.media.picture import Picture, decode_picture
from tests.support.data import shared_data
from tests.support.tiny_models import FAMILIES, TinyModel, make_tiny

pytestmark = pytest.mark.model

TEXTS = ["red mug", "蓝色 衬衫", "x" * 400, ""]
WEIGHTS = {"clip": "model.safetensors", "open_clip_vit": "open_clip_model.safetensors"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyModel]:
    root = tmp_path_factory.mktemp("tiny")
    return {family: make_tiny(family, root / family) for family in FAMILIES}


@pytest.fixture(params=sorted(WEIGHTS))
def copy(request: pytest.FixtureRequest, models: dict[str, TinyModel], tmp_path: Path) -> TinyModel:
    """A model of either library that a test may break."""
    source = models[request.param]
    folder = tmp_path / "copy"
    shutil.copytree(source.folder, folder)
    return TinyModel(family=source.family, folder=folder, spec=f"local:{folder}")


def loaded(spec: str, options: EncoderOptions | None = None) -> ClipEncoder:
    found = load_encoder(spec, options)
    assert isinstance(found, ClipEncoder)
    return found


def noise(count: int) -> list[Picture]:
    rng = np.random.default_rng(2)
    shapes = [(20 + 7 * n, 30 + 5 * n, 3) for n in range(count)]
    return [
        Picture(image=Image.fromarray(rng.integers(0, 256, shape, np.uint8)), content_hash="", source="noise")
        for shape in shapes
    ]


def vectors(encoder: ClipEncoder, count: int = 5) -> np.ndarray[Any, Any]:
    return encoder.encode_pictures([encoder.prepare(one) for one in noise(count)])["joint"]


def state(model: TinyModel) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(model.folder / WEIGHTS[model.family]))


def save(model: TinyModel, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, model.folder / WEIGHTS[model.family], metadata={"format": "pt"})


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["text_projection", "visual", "token_embedding"])
def test_a_partial_checkpoint_is_never_filled_up_with_chance(copy: TinyModel, lost: str) -> None:
    tensors = state(copy)
    key = next(name for name in sorted(tensors) if lost in name)
    del tensors[key]
    save(copy, tensors)
    with pytest.raises(EncoderError, match=r"does not fit the model: 1 missing") as error:
        load_encoder(copy.spec)
    assert key in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_with_more_than_the_model_is_refused(copy: TinyModel) -> None:
    save(copy, {**state(copy), "visual.third_tower.weight": torch.zeros(2)})
    with pytest.raises(EncoderError, match=r"1 unexpected \(visual.third_tower.weight\)"):
        load_encoder(copy.spec)


def test_a_checkpoint_of_another_size_is_refused(copy: TinyModel) -> None:
    tensors = state(copy)
    key = next(name for name in sorted(tensors) if "text_projection" in name)
    tensors[key] = torch.zeros(tensors[key].shape[0] + 8, tensors[key].shape[1])
    save(copy, tensors)
    with pytest.raises(EncoderError, match=r"text_projection.*is \[|cannot be loaded|other shapes"):
        load_encoder(copy.spec)


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_a_truncated_checkpoint_is_one_line(copy: TinyModel, size: int) -> None:
    path = copy.folder / WEIGHTS[copy.family]
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(EncoderError, match=r"cannot be (read safely|loaded)") as error:
        load_encoder(copy.spec)
    assert "\n" not in str(error.value)


def test_a_folder_without_weights_is_refused(copy: TinyModel) -> None:
    (copy.folder / WEIGHTS[copy.family]).unlink()
    with pytest.raises(EncoderError, match=r"no weights|which weights .* none"):
        load_encoder(copy.spec)


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def _pickled(model: TinyModel, content: Any) -> None:
    (model.folder / WEIGHTS[model.family]).unlink()
    name = "pytorch_model.bin" if model.family == "clip" else "open_clip_pytorch_model.bin"
    torch.save(content, model.folder / name)


def test_a_pickle_with_more_than_tensors_is_refused_and_not_run(copy: TinyModel, tmp_path: Path) -> None:
    _pickled(copy, {**state(copy), "extra": _Runs(tmp_path / "ran")})
    with pytest.raises(EncoderError, match=r"weights_only|cannot be (read safely|loaded)"):
        load_encoder(copy.spec)
    assert not (tmp_path / "ran").exists()
    name = next(copy.folder.glob("*pytorch_model.bin"))
    name.write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    with pytest.raises(EncoderError):
        load_encoder(copy.spec)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_tensors_gives_the_same_vectors(copy: TinyModel) -> None:
    before = loaded(copy.spec)
    _pickled(copy, state(copy))
    after = loaded(copy.spec)
    assert np.array_equal(vectors(before), vectors(after))
    assert after.info.fingerprint != before.info.fingerprint


def test_shards_must_all_be_there(models: dict[str, TinyModel], tmp_path: Path) -> None:
    import transformers

    model = transformers.CLIPModel.from_pretrained(models["clip"].folder)
    shutil.copytree(models["clip"].folder, tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "c", max_shard_size="100KB")
    encoder = loaded(f"local:{tmp_path / 'c'}")
    assert np.array_equal(vectors(encoder), vectors(loaded(models["clip"].spec)))
    next(iter(sorted((tmp_path / "c").glob("model-*.safetensors")))).unlink()
    with pytest.raises(EncoderError, match=r"lacks model-00001"):
        load_encoder(f"local:{tmp_path / 'c'}")


# --- configuration, tokenizer, code of others -------------------------------------------------------------


def test_a_missing_or_foreign_tokenizer_is_refused(models: dict[str, TinyModel], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(models["clip"].folder, folder)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(EncoderError, match="has no tokenizer"):
        load_encoder(f"local:{folder}")
    shutil.copy(models["clip"].folder / "tokenizer.json", tmp_path)
    shutil.copytree(models["chinese_clip"].folder, tmp_path / "z")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models["clip"].folder / name, tmp_path / "z" / name)
    with pytest.raises(EncoderError, match=r"knows \d+ tokens and the model \d+"):
        load_encoder(f"local:{tmp_path / 'z'}")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json"])
def test_a_damaged_file_is_one_line(models: dict[str, TinyModel], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "c"
    shutil.copytree(models["clip"].folder, folder)
    (folder / name).write_text('{"broken": ')
    with pytest.raises(EncoderError) as error:
        load_encoder(f"transformers:{folder}")
    assert "\n" not in str(error.value)


def test_an_unknown_family_names_the_known_ones(models: dict[str, TinyModel], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match=r"'bert', not one of: altclip, chinese_clip, clip"):
        load_encoder(f"transformers:{tmp_path}")


def test_code_beside_a_model_is_not_run(models: dict[str, TinyModel], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(models["clip"].folder, folder)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass E: pass\n")
    for name, keys in (
        ("config.json", {"AutoConfig": "evil.E", "AutoModel": "evil.E"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.E", "evil.E"]}),
        ("processor_config.json", {"AutoImageProcessor": "evil.E", "AutoProcessor": "evil.E"}),
    ):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**content, "auto_map": keys}), encoding="utf-8")
    try:  # the library's own classes read it, or it is refused; either is right
        vectors(loaded(f"transformers:{folder}"))
    except EncoderError as error:
        assert "trust_remote_code" in str(error)
    assert not (tmp_path / "ran").exists()


def test_open_clip_settings_that_could_run_code_are_refused(
    models: dict[str, TinyModel], tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    shutil.copytree(models["open_clip_siglip"].folder, folder)
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"]["trust_remote_code"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EncoderError, match="trust_remote_code, which is not read"):
        load_encoder(f"local:{folder}")
    config["model_cfg"] = [1]
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EncoderError, match="no model_cfg"):
        load_encoder(f"local:{folder}")


def test_more_dimensions_than_a_field_takes_are_refused(models: dict[str, TinyModel], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(models["clip"].folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "projection_dim": 4100}), encoding="utf-8")
    tensors = state(TinyModel(family="clip", folder=folder, spec=""))
    for key in ("text_projection.weight", "visual_projection.weight"):
        tensors[key] = torch.ones(4100, tensors[key].shape[1])
    save(TinyModel(family="clip", folder=folder, spec=""), tensors)
    with pytest.raises(EncoderError, match=r"4100 dimensions.*1 to 4096"):
        load_encoder(f"local:{folder}")


# --- names ------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_name_that_is_nowhere_says_what_to_do(cache: Path) -> None:
    for spec in (
        "transformers:org/none",
        "open_clip:hf-hub:org/none",
        "open_clip:ViT-B-32@laion2b_s34b_b79k",
    ):
        with pytest.raises(
            EncoderError, match=r"not in this machine's cache.*local:DIR.*HF_HUB_OFFLINE"
        ) as error:
            load_encoder(spec)
        assert "\n" not in str(error.value)
    with pytest.raises(EncoderError, match="there is no folder"):
        load_encoder("transformers:./no/such/folder")


@pytest.mark.parametrize(
    ("family", "spec"), [("clip", "transformers:org/tiny"), ("open_clip_vit", "open_clip:hf-hub:org/tiny")]
)
def test_a_name_in_the_cache_is_found_without_the_hub(
    family: str, spec: str, models: dict[str, TinyModel], cache: Path
) -> None:
    home = cache / "models--org--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    shutil.copytree(models[family].folder, home / "snapshots" / ("0" * 40))
    encoder = loaded(spec)
    assert encoder.info.spec == spec
    assert encoder.info.fingerprint == loaded(models[family].spec).info.fingerprint


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("ViT-B-23@openai", r"no architecture 'ViT-B-23'.*ViT-B-32"),
        ("ViT-B-32@none", r"no weights 'none'.*laion2b_s34b_b79k"),
        ("ViT-B-32", r"no model with weights.*ARCH@TAG"),
        ("ViT-B-32@", r"no model with weights"),
        ("ViT-B-32@openai", r"another activation.*open_clip:ViT-B-32-quickgelu@openai"),
        ("ViT-B-32-quickgelu@laion2b_s34b_b79k", r"no weights|another activation"),
    ],
)
def test_open_clip_names_that_cannot_be_meant(argument: str, words: str) -> None:
    with pytest.raises(EncoderSpecError, match=words):
        load_encoder(f"open_clip:{argument}")


def test_an_architecture_with_a_checkpoint_file(models: dict[str, TinyModel], tmp_path: Path) -> None:
    import open_clip

    model = models["open_clip_vit"]
    config = json.loads((model.folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    (tmp_path / "xm-tiny.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(tmp_path / "xm-tiny.json")
    path = model.folder / "open_clip_model.safetensors"
    encoder = loaded(f"open_clip:xm-tiny@{path}")
    reference, transform = open_clip.create_model_from_pretrained("xm-tiny", pretrained=str(path))
    with torch.no_grad():
        theirs = reference.encode_image(
            torch.stack([transform(one.image) for one in noise(5)]), normalize=True
        )
    assert np.abs(vectors(encoder) - theirs.numpy()).max() < 1e-5
    with pytest.raises(EncoderError, match="does not fit"):
        load_encoder(f"open_clip:xm-tiny@{models['open_clip_siglip'].folder / 'open_clip_model.safetensors'}")


# --- fingerprints -----------------------------------------------------------------------------------------


def test_the_fingerprint_follows_the_content_only(models: dict[str, TinyModel], tmp_path: Path) -> None:
    seen = set()
    for family, model in models.items():
        first = loaded(model.spec).info
        folder = tmp_path / family
        shutil.copytree(model.folder, folder)
        half = loaded(f"local:{folder}", EncoderOptions(precision="bf16", batch_size=3))
        assert half.info.fingerprint == first.fingerprint, family
        assert first.fingerprint.startswith(("open_clip-", "transformers-"))
        seen.add(first.fingerprint)
        name = "open_clip_config.json" if family.startswith("open_clip") else "processor_config.json"
        text = (folder / name).read_text(encoding="utf-8")
        changed = text.replace("0.46,", "0.45,").replace("0.4578275", "0.45").replace("0.5,", "0.45,")
        changed = changed.replace("0.5\n", "0.45\n")
        assert changed != text
        (folder / name).write_text(changed, encoding="utf-8")
        assert loaded(f"local:{folder}").info.fingerprint != first.fingerprint, family
    assert len(seen) == len(models)


# --- device, precision, memory, threads -------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:99", "mps", "cuda"])
def test_a_device_that_is_not_there_is_one_line(models: dict[str, TinyModel], device: str) -> None:
    there = (
        torch.cuda.is_available()
        if device == "cuda"
        else device == "mps" and torch.backends.mps.is_available()
    )
    if there:
        assert loaded(models["clip"].spec, EncoderOptions(device=device)).runs_on.startswith(device)
        return
    with pytest.raises(EncoderError, match=f"no device {device}.*device cpu or auto"):
        load_encoder(models["clip"].spec, EncoderOptions(device=device))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_half_precision_on_the_cpu_when_asked_for(models: dict[str, TinyModel], family: str) -> None:
    full = loaded(models[family].spec, EncoderOptions(device="cpu"))
    assert full.runs_on == "cpu fp32"
    for precision in ("bf16", "fp16"):
        half = loaded(models[family].spec, EncoderOptions(device="cpu", precision=precision))
        assert half.runs_on == f"cpu {precision}"
        assert (vectors(half) * vectors(full)).sum(axis=1).min() > 0.995
        texts = half.encode_texts(TEXTS)["joint"], full.encode_texts(TEXTS)["joint"]
        assert (texts[0] * texts[1]).sum(axis=1).min() > 0.995


@pytest.mark.parametrize(
    ("half_safe", "bf16", "asked", "runs"),
    [
        (True, True, EncoderOptions(), "cuda:0 fp16"),
        (False, True, EncoderOptions(), "cuda:0 bf16"),
        (False, False, EncoderOptions(), "cuda:0 fp32"),
        (True, True, EncoderOptions(device="cuda:1", precision="fp32"), "cuda:1 fp32"),
        (True, True, EncoderOptions(device="cpu"), "cpu fp32"),
        (True, False, EncoderOptions(precision="bf16"), "cuda:0 has no bf16"),
        (True, True, EncoderOptions(device="cuda:2"), "no device cuda:2: it has 2"),
    ],
)
def test_what_a_machine_with_two_gpus_would_choose(
    half_safe: bool, bf16: bool, asked: EncoderOptions, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    if " has" in runs:
        with pytest.raises(EncoderError, match=runs):
            choose_runtime(asked, half_safe=half_safe)
        return
    found = choose_runtime(asked, half_safe=half_safe)
    assert found.name == runs
    assert found.batch_size == (16 if runs.startswith("cpu") else 256)


def test_bytes_are_normalised_on_a_device_as_in_numpy(models: dict[str, TinyModel]) -> None:
    for family in ("open_clip_vit", "siglip"):
        encoder = loaded(models[family].spec)
        recipe = encoder.towers.recipe
        assert recipe is not None
        pixels = np.stack([recipe.pixels(one.image) for one in noise(3)])
        found = encoder._on_device(torch.from_numpy(pixels)).numpy()
        assert np.abs(found - recipe.normalised(pixels)).max() < 1e-5


def test_half_precision_that_overflows_is_said(models: dict[str, TinyModel]) -> None:
    encoder = loaded(models["clip"].spec, EncoderOptions(device="cpu", precision="fp16"))
    encoder.towers.text.register_forward_hook(lambda module, given, out: out * torch.inf)
    with pytest.raises(EncoderError, match=r"overflows on cpu fp16.*bf16 or fp32"):
        encoder.encode_texts(["red mug"])


def test_what_was_chosen_is_said(models: dict[str, TinyModel], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="es_xmodal"):
        loaded(models["clip"].spec, EncoderOptions(device="cpu"))
    assert "runs on cpu fp32, up to 16 items at once" in caplog.text


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_threads_and_batch_size_are_obeyed(models: dict[str, TinyModel]) -> None:
    encoder = loaded(models["clip"].spec, EncoderOptions(threads=1, batch_size=2))
    assert torch.get_num_threads() == 1 and encoder.batch_size == 2
    sizes: list[int] = []
    encoder.towers.picture.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    vectors(encoder, 5)
    assert sizes == [2, 2, 1]


class _Small(torch.nn.Module):  # type: ignore[misc]
    """A device with room for a few items."""

    def __init__(self, tower: torch.nn.Module, room: int, error: Exception) -> None:
        super().__init__()
        self.tower, self.room, self.error, self.seen = tower, room, error, list[int]()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(inputs[0]))
        if len(inputs[0]) > self.room:
            raise self.error
        return self.tower(*inputs)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_that_is_remembered(
    models: dict[str, TinyModel], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = loaded(models["clip"].spec)
    expected = vectors(encoder, 21)
    small = _Small(encoder.towers.picture, 3, error)
    object.__setattr__(encoder.towers, "picture", small)
    assert np.abs(vectors(encoder, 21) - expected).max() < 1e-5
    assert small.seen == [16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
    assert "do not fit" in caplog.text
    small.seen.clear()
    vectors(encoder, 4)
    assert small.seen == [2, 2]
    small.room = 0
    with pytest.raises(EncoderError, match="one item does not fit into the memory"):
        vectors(encoder, 1)
    small.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        vectors(encoder, 1)


def test_several_threads_share_one_encoder(models: dict[str, TinyModel]) -> None:
    encoder = loaded(models["chinese_clip"].spec)
    expected = encoder.encode_texts(TEXTS)["joint"]
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(10):
            try:
                if np.abs(encoder.encode_texts(TEXTS)["joint"] - expected).max() > 1e-5:
                    wrong.append("other vectors")
            except Exception as error:  # a thread's error must reach the test
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


# --- odd input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_awkward_pictures_give_unit_vectors_or_a_named_reject(
    models: dict[str, TinyModel], family: str
) -> None:
    encoder = loaded(models[family].spec)
    good, rejected = [], {}
    for path in sorted((shared_data("awkward") / "images").rglob("*")):
        if not path.is_file():
            continue
        try:
            picture = decode_picture(path.read_bytes(), source=path.name, max_side=encoder.info.decode_side)
            good.append(encoder.prepare(picture))
        except PictureError as error:
            rejected[path.name] = error.code
    assert len(good) >= 10 and len(rejected) >= 3 and all(rejected.values())
    rows = encoder.encode_pictures(good)["joint"]
    assert rows.shape == (len(good), encoder.info.space("joint").dim)
    assert np.isfinite(rows).all() and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_odd_texts_and_none_at_all(models: dict[str, TinyModel], family: str) -> None:
    encoder = loaded(models[family].spec)
    texts = [
        "",
        "\ud83d",
        "\x00\x01",
        "很" * 9000,
        "a " * 5_000_000,
        "<|endoftext|>",
        "[MASK] </s>",
        "👩‍👩‍👧",
    ]
    rows = encoder.encode_texts(texts)["joint"]
    assert np.isfinite(rows).all() and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    dim = encoder.info.space("joint").dim
    assert encoder.encode_texts([])["joint"].shape == (0, dim)
    assert encoder.encode_pictures([])["joint"].shape == (0, dim)
    strips = [
        Picture(image=Image.new("RGB", size), content_hash="", source="s") for size in ((1, 4000), (4000, 1))
    ]
    assert encoder.encode_pictures([encoder.prepare(one) for one in strips])["joint"].shape == (2, dim)
