"""`encoders` and `encode`, and what wrong calls of them come to."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from es_xmodal.encoders import listing, registry
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.errors import MissingExtraError
from tests.support.cli import WRONG, Cli, refused
from tests.support.embedding import Fault, Service, embedding_service, jpeg
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit
LONG = "mug " * 2_500_000


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with an encoder without a model called `hash`."""
    monkeypatch.setitem(registry._LOADERS, "hash", lambda argument, options: HashEncoder())
    return Cli(home=tmp_path, variables={"ES_XMODAL_ENCODER": "hash"})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg((200, 20, 20)))
    return path


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_texts_and_pictures_are_json_lines(cli: Cli, photo: Path) -> None:
    done = cli.here(
        "encode", "red mug", "蓝色沙发", "--image", photo, "--image", "-", stdin=photo.read_bytes()
    )
    assert (done.code, done.err) == (0, "")
    made = lines(done.out)
    assert all(list(one) == ["kind", "source", "space", "dim", "vector"] for one in made)
    assert [(one["kind"], one["source"], one["space"], one["dim"]) for one in made] == [
        ("text", "red mug", "joint", 32),
        ("text", "red mug", "text", 24),
        ("text", "蓝色沙发", "joint", 32),
        ("text", "蓝色沙发", "text", 24),
        ("picture", str(photo), "joint", 32),
        ("picture", str(photo), "visual", 16),
        ("picture", "-", "joint", 32),
        ("picture", "-", "visual", 16),
    ]
    for one in made:
        assert len(one["vector"]) == one["dim"]
        assert np.linalg.norm(one["vector"]) == pytest.approx(1, abs=1e-5)
    expected = HashEncoder().encode_texts(["red mug"])["text"][0]
    assert np.allclose(made[1]["vector"], expected, atol=1e-6)
    assert made[4]["vector"] == made[6]["vector"]


def test_one_object_one_space(cli: Cli, photo: Path) -> None:
    answer = cli.json("encode", "mug", "--image", photo, "--space", "joint", "--encoder", "hash")
    assert list(answer) == ["encoder", "fingerprint", "out", "vectors"]
    assert (answer["encoder"], answer["fingerprint"]) == ("hash", "hash-0000000000000001")
    assert [one["space"] for one in answer["vectors"]] == ["joint", "joint"]


def test_files(cli: Cli, photo: Path) -> None:
    done = cli.here("encode", "mug", "cup", "--image", photo, "--image", photo, "--out", "all.npz")
    assert (done.code, done.out) == (0, "8 vectors in all.npz\n")
    with np.load(cli.home / "all.npz") as file:
        shapes = {name: file[name].shape for name in file.files}
        assert (shapes["joint"], shapes["visual"]) == ((4, 32), (2, 16))
        assert list(file["joint_kind"]) == ["text", "text", "picture", "picture"]
        assert list(file["text_source"]) == ["mug", "cup"]
    one = cli.json("encode", "mug", "cup", "--space", "text", "--out", "one.npy")
    assert [list(vector) for vector in one["vectors"]] == [["kind", "source", "space", "dim"]] * 2
    rows = np.load(cli.home / "one.npy")
    assert rows.dtype == np.float32
    assert np.array_equal(rows, HashEncoder().encode_texts(["mug", "cup"])["text"])


def test_a_picture_that_cannot_be_used_costs_one_line(cli: Cli, photo: Path) -> None:
    (cli.home / "bad.jpg").write_bytes(b"not a picture")
    done = cli.here("encode", "--image", "bad.jpg", "--image", photo, "--image", "none.jpg")
    assert done.code == 1
    assert [one["source"] for one in lines(done.out)] == [str(photo)] * 2
    first, second = done.err.splitlines()
    assert "bad.jpg is not a picture" in first
    assert "none.jpg' does not exist" in second
    refused(cli.here("encode", "--image", "bad.jpg"), WRONG, "not a picture")


def test_a_picture_on_the_web(cli: Cli, photo: Path) -> None:
    service = Service(spoil={"/photo.jpg": Fault(200, photo.read_bytes(), {"Content-Type": "image/jpeg"})})
    with embedding_service(service):
        address = f"{service.url}/photo.jpg"
        refused(cli.here("encode", "--image", address), WRONG, "127.0.0.1")  # no public address
        allowed = cli.with_variables(ES_XMODAL_PICTURE_HOSTS="127.0.0.1")
        answer = allowed.json("encode", "--image", address, "--space", "joint")
    (there,) = answer["vectors"]
    (here,) = cli.json("encode", "--image", photo, "--space", "joint")["vectors"]
    assert (there["source"], there["vector"]) == (address, here["vector"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "nothing to encode"),
        (["--space", "joint"], "nothing to encode"),
        (["mug", "--space", "visual"], "takes no texts"),
        (["mug", "--space", "visuel"], "no space 'visuel'"),
        (["mug", "--out", "a.txt"], "neither .npy nor .npz"),
        (["mug", "--out", "none/a.npz"], "no such folder"),
        (["mug", "--out", "a.npy"], "holds one space"),
        (["--image", "-", "--image", "-"], "given twice"),
        (["--image", "-"], "standard input is empty"),
        (["mug", "--encoder", "hsah"], "did you mean 'hash'?"),
        (["mug", "--encoder", "folder/that/moved"], "kinds: "),
    ],
)
def test_wrong_calls(cli: Cli, args: list[str], says: str) -> None:
    refused(cli.here("encode", *args), WRONG, says)


def test_ten_megabytes_of_text(cli: Cli) -> None:
    answer = cli.json("encode", LONG, "--space", "text")
    (one,) = answer["vectors"]
    assert len(one["source"]) == 200
    assert np.allclose(one["vector"], HashEncoder().encode_texts([LONG])["text"][0], atol=1e-6)
    refused(cli.here("search", LONG, "--url", "http://127.0.0.1:9"), WRONG, "characters")


def test_the_list(cli: Cli) -> None:
    answer = cli.json("encoders")
    kinds = {one["kind"]: one for one in answer["encoders"]}
    assert set(registry.built_in_kinds()) == set(kinds) - set(registry.foreign_kinds())
    mini = kinds["mini"]
    assert (mini["default"], mini["installed"], mini["missing"]) == (True, True, [])
    assert set(mini["spaces"]) == {"joint", "visual", "text"}
    table = cli.here("encoders")
    assert table.code == 0
    assert all(one["spec"][:12] in table.out for one in answer["encoders"])


def test_every_kind_of_our_own_is_described() -> None:
    assert set(registry.built_in_kinds()) <= listing.described()


def test_what_is_not_installed_names_the_pip_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILT_IN, "open_clip", "es_xmodal.encoders.none:load")
    monkeypatch.setattr(listing, "find_spec", lambda name: None if name == "open_clip" else object())
    kinds = {one["kind"]: one for one in cli.json("encoders")["encoders"]}
    assert kinds["open_clip"]["installed"] is False
    assert kinds["open_clip"]["missing"] == ["open_clip"]
    assert kinds["open_clip"]["install"] == "pip install 'es-xmodal[clip]'"
    assert "open_clip needs open_clip: pip install 'es-xmodal[clip]'" in cli.here("encoders").out

    def load(argument: str, options: EncoderOptions) -> Encoder:
        raise MissingExtraError("open_clip models", extra="clip")

    monkeypatch.setitem(registry._LOADERS, "open_clip", load)
    for command in ("encoders", "encode"):
        args = ["open_clip:a@b"] if command == "encoders" else ["mug", "--encoder", "open_clip:a@b"]
        refused(cli.here(command, *args), WRONG, "pip install 'es-xmodal[clip]'")


def test_another_package_s_kind_is_listed_without_loading_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint(name="acme", value="acme_that_is_not_there:load", group=registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    kinds = {one["kind"]: one for one in cli.json("encoders")["encoders"]}
    assert kinds["acme"]["package"] == "acme_that_is_not_there"
    refused(cli.here("encoders", "acme"), WRONG, "cannot be loaded", "acme_that_is_not_there")


def test_one_encoder_in_full(cli: Cli) -> None:
    about = cli.json("encoders", "hash")
    assert about["fingerprint"] == "hash-0000000000000001"
    assert about["spaces"][1] == {
        "name": "visual",
        "dim": 16,
        "similarity": "cosine",
        "modalities": ["picture"],
    }
    assert (about["picture_side"], about["runs_on"], about["batch_size"]) == (32, "cpu fp32", 16)
    shown = cli.here("encoders", "hash").out
    assert "hash-0000000000000001" in shown and "16 numbers, cosine, pictures" in shown
    refused(cli.here("encoders", "hash", "more"), WRONG, "unexpected extra argument")


def test_a_service_is_used_from_the_command_line(cli: Cli, photo: Path) -> None:
    secret = "sk-never-shown"
    with embedding_service(Service()) as service:
        there = cli.with_variables(ES_XMODAL_ENCODER_API_KEY=secret)
        about = there.json("encoders", f"http:{service.url}")
        assert (about["fingerprint"], about["runs_on"]) == ("hash-0000000000000001", service.url)
        remote = there.json("encode", "mug", "--image", photo, "--encoder", f"http:{service.url}")
        assert {key for *_, key in service.asked} == {f"Bearer {secret}"}
        assert secret not in json.dumps([about, remote])
    local = cli.json("encode", "mug", "--image", photo)
    for one, other in zip(remote["vectors"], local["vectors"], strict=True):
        if one["kind"] == "text":  # the double knows a picture by the bytes that it was sent
            assert np.allclose(one["vector"], other["vector"], atol=1e-6)
    gone = f"http:{service.url}"
    refused(cli.here("encode", "mug", "--encoder", gone), 3, "cannot be reached")


class Wide(HashEncoder):
    """An encoder of another package with more dimensions than a vector field takes."""

    def __init__(self) -> None:
        super().__init__()
        from es_xmodal.encoders.base import Space

        Space(name="joint", dim=8192, modalities=frozenset({"text", "picture"}))


def test_more_dimensions_than_elasticsearch_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._LOADERS, "wide", lambda argument, options: Wide())
    for args in (["encoders", "wide"], ["encode", "mug", "--encoder", "wide"]):
        refused(cli.here(*args), WRONG, "8192 dimensions", "4096")


def test_a_picture_of_no_size_and_one_of_an_animation(cli: Cli) -> None:
    refused(cli.here("encode", "--image", "-", stdin=b"GIF89a"), WRONG, "the given bytes")
    out = BytesIO()
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert cli.here("encode", "--image", "-", stdin=out.getvalue()).code == 0


def test_the_list_loads_nothing_heavy() -> None:
    code = (
        "import sys; from es_xmodal.cli.main import run, root; run(root, ['encoders', '--json']);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["encoders"]
    heavy = {"torch", "transformers", "open_clip", "onnxruntime", "elasticsearch", "jieba", "httpx"}
    assert not set(done.stderr.split()) & heavy
