from __future__ import annotations

import base64
import os
import threading
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import PictureLimits
from es_xmodal.media.source import PictureSource

pytestmark = pytest.mark.unit

SECRET = b"outside"


@pytest.fixture
def source(tmp_path: Path) -> PictureSource:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c.jpg").write_bytes(b"inside")
    (root / "empty.jpg").write_bytes(b"")
    (root / "large.jpg").write_bytes(b"x" * 1001)
    (root / "note: 5.jpg").write_bytes(b"colon")
    (tmp_path / "secret.jpg").write_bytes(SECRET)
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "secret.jpg").write_bytes(SECRET)
    return PictureSource(root, PictureLimits(max_bytes=1000))


def code_of(source: PictureSource, ref: str) -> str:
    with pytest.raises(PictureError) as caught:
        source.read(ref)
    assert str(caught.value).isprintable()
    return caught.value.code


@pytest.mark.parametrize("ref", ["a/b/c.jpg", "./a/b/c.jpg", "a//b/./c.jpg", r"a\b\c.jpg", r".\a\b\c.jpg"])
def test_files_below_the_root(source: PictureSource, ref: str) -> None:
    assert source.read(ref) == b"inside"


def test_a_colon_alone_is_no_scheme(source: PictureSource) -> None:
    assert source.read("note: 5.jpg") == b"colon"


def test_the_root_may_be_relative(
    source: PictureSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert PictureSource(Path("root")).read("a/b/c.jpg") == b"inside"
    assert code_of(PictureSource(Path("root")), "../secret.jpg") == "outside_root"


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("", "bad_reference"),
        ("  ", "bad_reference"),
        ("a\0.jpg", "bad_reference"),
        ("\ud800.jpg", "bad_reference"),
        ("http://127.0.0.1:9/x.jpg", "not_fetched"),
        (" HTTPS://example.org/x.jpg", "not_fetched"),
        ("http:x.jpg", "not_fetched"),
        ("file:///etc/passwd", "scheme_refused"),
        ("FILE:etc/passwd", "scheme_refused"),
        ("ftp://example.org/x.jpg", "scheme_refused"),
        ("s3://bucket/x.jpg", "scheme_refused"),
        ("javascript:alert(1)", "scheme_refused"),
        ("/etc/hostname", "outside_root"),
        ("//example.org/x.jpg", "outside_root"),
        ("../secret.jpg", "outside_root"),
        ("../root2/secret.jpg", "outside_root"),
        ("../root/a/b/c.jpg", "outside_root"),
        ("a/../../secret.jpg", "outside_root"),
        ("a/../a/b/c.jpg", "outside_root"),
        (r"..\secret.jpg", "outside_root"),
        (r"a\..\..\secret.jpg", "outside_root"),
        (r"\\server\share\x.jpg", "outside_root"),
        (r"C:\x.jpg", "outside_root"),
        ("c:/x.jpg", "outside_root"),
        ("~/x.jpg", "outside_root"),
        ("missing.jpg", "missing"),
        ("a/b/c.jpg/d.jpg", "missing"),
        ("x" * 5000 + ".jpg", "missing"),
        ("a/b", "not_a_file"),
        (".", "not_a_file"),
        ("empty.jpg", "empty"),
        ("large.jpg", "too_many_bytes"),
    ],
)
def test_refused(source: PictureSource, ref: str, code: str) -> None:
    assert code_of(source, ref) == code


def test_links_may_not_leave_the_root(source: PictureSource, tmp_path: Path) -> None:
    root = source.root
    (root / "in.jpg").symlink_to(root / "a" / "b" / "c.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder").symlink_to(tmp_path)
    (root / "twice.jpg").symlink_to("folder/secret.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "nowhere.jpg").symlink_to("not-there.jpg")
    assert source.read("in.jpg") == b"inside"
    assert code_of(source, "out.jpg") == "outside_root"
    assert code_of(source, "folder/secret.jpg") == "outside_root"
    assert code_of(source, "twice.jpg") == "outside_root"
    assert code_of(source, "loop.jpg") in ("unreadable", "bad_reference")
    assert code_of(source, "nowhere.jpg") == "missing"


def test_the_root_itself_may_be_a_link(source: PictureSource, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source.root)
    linked = PictureSource(tmp_path / "link")
    assert linked.read("a/b/c.jpg") == b"inside"
    assert code_of(linked, "../secret.jpg") == "outside_root"


def test_a_root_that_is_missing(tmp_path: Path) -> None:
    assert code_of(PictureSource(tmp_path / "none"), "a.jpg") == "missing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_does_not_hang(source: PictureSource) -> None:
    os.mkfifo(source.root / "pipe.jpg")
    codes: list[str] = []
    thread = threading.Thread(target=lambda: codes.append(code_of(source, "pipe.jpg")), daemon=True)
    thread.start()
    thread.join(30)
    assert codes == ["not_a_file"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev")
def test_a_device_is_not_read() -> None:
    assert code_of(PictureSource(Path("/dev")), "zero") == "not_a_file"


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_accents_composed_and_decomposed(source: PictureSource, stored: str, asked: str) -> None:
    name = "红色雨伞_é.jpg"
    (source.root / unicodedata.normalize(stored, name)).write_bytes(b"umbrella")  # type: ignore[arg-type]
    assert source.read(unicodedata.normalize(asked, name)) == b"umbrella"  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=200))
def test_data_addresses(data: bytes) -> None:
    source = PictureSource(Path())
    plain = base64.b64encode(data).decode()
    assert source.read(f"data:image/png;base64,{plain}") == data
    assert source.read(f"DATA:image/png;charset=x;BASE64,{quote(plain, safe='')}") == data
    assert source.read(f"data:,{quote(data, safe='')}") == data
    assert source.read(f" data:image/png;base64,{plain[:4]}\n {plain[4:]}") == data


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("data:image/png;base64", "bad_reference"),
        ("data:", "bad_reference"),
        ("data:image/png;base64,####", "bad_reference"),
        ("data:image/png;base64,AAA", "bad_reference"),
        ("data:image/png;base64,\ud800", "bad_reference"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64," + "A" * 1400, "too_many_bytes"),
        ("data:image/png;base64," + "A" * 100_000, "too_many_bytes"),
        ("data:," + "A" * 1001, "too_many_bytes"),
    ],
)
def test_broken_data_addresses(source: PictureSource, ref: str, code: str) -> None:
    assert code_of(source, ref) == code


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["..", ".", "a", "b", "c.jpg", "", "secret.jpg", "/", "\\", "~", "data:"])
        ).map("/".join),
    )
)
def test_no_name_ever_reads_outside(tmp_path_factory: pytest.TempPathFactory, ref: str) -> None:
    base = tmp_path_factory.getbasetemp() / "fuzz"
    (base / "root" / "a").mkdir(parents=True, exist_ok=True)
    (base / "root" / "a" / "c.jpg").write_bytes(b"inside")
    (base / "secret.jpg").write_bytes(SECRET)
    try:
        assert PictureSource(base / "root").read(ref) != SECRET
    except PictureError as error:
        assert error.code
