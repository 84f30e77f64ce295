"""Pictures from the web, from a host on loopback that misbehaves in every way there is."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from es_xmodal.errors import PictureError
from es_xmodal.media.addresses import checked_addresses, is_public
from es_xmodal.media.hosts import SILENT_TIMES
from es_xmodal.media.picture import PictureLimits, content_hash
from es_xmodal.media.source import Found, PictureSource
from es_xmodal.media.web import Known, WebOptions, WebPictures
from es_xmodal.store.addresses import AddressStore
from es_xmodal.store.environment import Environment
from tests.support import picture_host as answers
from tests.support.picture_host import PictureHost, jpeg, picture_host

pytestmark = pytest.mark.unit

LOCAL = frozenset({"127.0.0.1"})


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with picture_host() as one:
        yield one


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def web(pauses: list[float]) -> Iterator[WebPictures]:
    options = WebOptions(allow_hosts=LOCAL, read_timeout_s=0.5, total_timeout_s=1.0, attempts=3)
    limits = PictureLimits(max_bytes=200_000, video_max_bytes=300_000)
    pictures = WebPictures(options, limits=limits, sleep=pauses.append)
    yield pictures
    pictures.close()


def code_of(web: WebPictures, url: str) -> str:
    with pytest.raises(PictureError) as caught:
        web.read(url)
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_a_picture_comes_as_it_is(web: WebPictures, host: PictureHost) -> None:
    data = jpeg()
    assert web.read(host.serve("/a.jpg", data)) == data
    ((_, headers),) = host.requests
    assert headers["User-Agent"].startswith("es-xmodal/")
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("busy", [429, 500, 502, 503])
def test_a_busy_host_is_asked_again(
    web: WebPictures, host: PictureHost, pauses: list[float], busy: int
) -> None:
    host.answers["/a.jpg"] = answers.in_turn(
        answers.status(busy, Retry_After="7"), answers.status(busy), answers.picture(jpeg())
    )
    assert web.read(f"{host.url}/a.jpg") == jpeg()
    assert pauses[0] == 7
    assert 0 < pauses[1] <= 2
    assert len(host.requests) == 3


def test_retry_after_may_be_a_date(web: WebPictures, host: PictureHost, pauses: list[float]) -> None:
    asked = formatdate(time.time() + 20, usegmt=True)
    host.answers["/a.jpg"] = answers.in_turn(answers.status(503, Retry_After=asked), answers.picture(jpeg()))
    web.read(f"{host.url}/a.jpg")
    assert 15 < pauses[0] <= 20


def test_a_host_that_asks_for_an_hour_is_given_up(
    web: WebPictures, host: PictureHost, pauses: list[float]
) -> None:
    host.answers["/a.jpg"] = answers.status(429, Retry_After="3600")
    assert code_of(web, f"{host.url}/a.jpg") == "busy"
    assert pauses == []
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (404, "missing", 1),
        (410, "missing", 1),
        (403, "refused", 1),
        (418, "http_418", 1),
        (500, "http_500", 3),
    ],
)
def test_a_status_has_a_code(
    web: WebPictures, host: PictureHost, status: int, code: str, requests: int
) -> None:
    host.answers["/a.jpg"] = answers.status(status)
    assert code_of(web, f"{host.url}/a.jpg") == code
    assert len(host.requests) == requests


def test_half_a_picture_is_no_picture(web: WebPictures, host: PictureHost) -> None:
    host.answers["/a.jpg"] = answers.half(jpeg(side=300))
    assert code_of(web, f"{host.url}/a.jpg") == "network"
    assert len(host.requests) == 3


def test_a_host_that_stalls_or_drips_is_left(web: WebPictures, host: PictureHost) -> None:
    host.answers["/stalls"] = answers.stalls(1.5)
    assert code_of(web, f"{host.url}/stalls") == "timeout"
    host.answers["/drips"] = answers.drips(jpeg(), 0.2)
    assert code_of(web, f"{host.url}/drips") == "timeout"


def test_ten_gigabytes_stop_at_the_limit(web: WebPictures, host: PictureHost) -> None:
    host.answers["/endless"] = answers.endless
    assert code_of(web, f"{host.url}/endless") == "too_many_bytes"
    host.answers["/announced"] = lambda handler: handler.reply(200, b"", Content_Length=str(10**10))
    assert code_of(web, f"{host.url}/announced") == "too_many_bytes"


def test_a_video_may_be_larger_than_a_picture(web: WebPictures, host: PictureHost) -> None:
    video = b"\x00\x00\x00\x18ftypmp42" + bytes(250_000)
    assert web.read(host.serve("/a.mp4", video, "video/mp4")) == video
    assert code_of(web, host.serve("/b.mp4", video + bytes(60_000), "video/mp4")) == "too_many_bytes"
    assert code_of(web, host.serve("/c.jpg", b"\xff\xd8\xff" + bytes(250_000))) == "too_many_bytes"


def test_a_bomb_is_known_by_its_header(web: WebPictures, host: PictureHost) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", bytes(150_000))
    host.serve("/bomb.png", b"\x89PNG\r\n\x1a\n" + header + body, "image/png")
    assert code_of(web, f"{host.url}/bomb.png") == "too_many_pixels"


def test_html_and_compressed_answers_are_refused(web: WebPictures, host: PictureHost) -> None:
    assert code_of(web, host.serve("/a.jpg", b"<html>", "text/html; charset=utf-8")) == "not_a_picture"
    assert code_of(web, host.serve("/b.jpg", jpeg(), Content_Encoding="gzip")) == "encoded"
    assert code_of(web, host.serve("/c.jpg", b"")) == "empty"


def test_redirects_are_followed_and_counted(web: WebPictures, host: PictureHost) -> None:
    host.serve("/a.jpg", jpeg())
    for hop in range(6):
        host.answers[f"/{hop}"] = answers.status(302, Location=f"/{hop - 1}" if hop else "/a.jpg")
    assert web.read(f"{host.url}/4") == jpeg()
    assert code_of(web, f"{host.url}/5") == "too_many_redirects"


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:1/x", "http://[::1]:1/x", "http://169.254.169.254/latest"]
)
def test_a_redirect_into_the_own_network_is_refused(web: WebPictures, host: PictureHost, target: str) -> None:
    host.answers["/a.jpg"] = answers.status(302, Location=target)
    assert code_of(web, f"{host.url}/a.jpg") == "address_refused"


def test_a_redirect_to_a_file_is_refused(web: WebPictures, host: PictureHost) -> None:
    host.answers["/a.jpg"] = answers.status(302, Location="file:///etc/passwd")
    assert code_of(web, f"{host.url}/a.jpg") in ("bad_reference", "network")
    assert len(host.requests) <= 3


def test_without_permission_loopback_is_refused(host: PictureHost) -> None:
    pictures = WebPictures(WebOptions(attempts=1))
    assert code_of(pictures, host.serve("/a.jpg", jpeg())) == "address_refused"
    assert host.requests == []
    pictures.close()


def test_the_address_that_was_checked_is_the_one_that_is_dialled(host: PictureHost) -> None:
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    host.serve("/a.jpg", jpeg())
    port = host.server.server_address[1]
    pictures = WebPictures(WebOptions(allow_hosts=frozenset({"pictures.test"})), resolve=resolve)
    assert pictures.read(f"http://pictures.test:{port}/a.jpg") == jpeg()
    assert asked == ["pictures.test"]
    assert host.requests[0][1]["Host"] == f"pictures.test:{port}"
    pictures.close()


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(PictureError) as caught:
        checked_addresses("a.test", 80, resolve=lambda name, port: ["93.184.215.14", address])
    assert caught.value.code == "address_refused"
    assert address not in str(caught.value)


def test_addresses_that_are_public() -> None:
    assert is_public("93.184.215.14")
    assert is_public("2606:4700::1111")
    assert checked_addresses("A.test", 80, allowed={"a.test"}, resolve=lambda name, port: ["10.0.0.1"])


def test_a_host_that_does_not_exist(web: WebPictures) -> None:
    def nowhere(name: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    pictures = WebPictures(WebOptions(attempts=1), resolve=nowhere)
    assert code_of(pictures, "http://nowhere.test/a.jpg") == "no_host"
    pictures.close()


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "https://:80/x", "http://ex\x00.test/"]
)
def test_addresses_that_are_none(web: WebPictures, url: str) -> None:
    assert code_of(web, url) in ("bad_reference", "no_host", "network")


def test_messages_hide_user_password_and_signature(web: WebPictures, host: PictureHost) -> None:
    url = host.url.replace("http://", "http://user:secret@") + "/a.jpg?signature=hidden"
    with pytest.raises(PictureError) as caught:
        web.read(url)
    assert caught.value.code == "missing"
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_many_at_once_and_not_too_many(host: PictureHost) -> None:
    urls = [f"{host.url}/{n}.jpg" for n in range(40)]
    for n in range(40):
        host.answers[f"/{n}.jpg"] = answers.stalls(0.05)
    pictures = WebPictures(WebOptions(allow_hosts=LOCAL, per_host=5))
    found = pictures.fetch_many([*urls, *urls])
    assert len(found) == 40
    assert len(host.requests) == 40
    assert host.most_open == 5
    pictures.close()


def test_a_slow_host_does_not_hold_up_another(host: PictureHost) -> None:
    with picture_host() as slow:
        for n in range(8):
            slow.answers[f"/{n}"] = answers.stalls(1.0)
        pictures = WebPictures(WebOptions(allow_hosts=LOCAL | {"localhost"}, connections=4, per_host=2))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(pictures.fetch_many, [f"{slow.url}/{n}" for n in range(8)])
            url = host.serve("/a.jpg", jpeg()).replace("127.0.0.1", "localhost")
            assert pictures.read(url) == jpeg()
            assert not waiting.done()
            waiting.result()
        pictures.close()


def test_a_dead_host_is_left_alone_and_tried_again_later(host: PictureHost) -> None:
    host.answers["/a.jpg"] = answers.half(jpeg())
    now = [1000.0]
    options = WebOptions(allow_hosts=LOCAL, attempts=1)
    pictures = WebPictures(options, sleep=lambda seconds: None, clock=lambda: now[0])
    for _ in range(SILENT_TIMES):
        assert code_of(pictures, f"{host.url}/a.jpg") == "network"
    assert code_of(pictures, f"{host.url}/a.jpg") == "host_down"
    assert len(host.requests) == SILENT_TIMES
    host.serve("/a.jpg", jpeg())
    now[0] += 60
    assert pictures.read(f"{host.url}/a.jpg") == jpeg()
    pictures.close()


def test_closing_gives_up_what_waits(host: PictureHost) -> None:
    for n in range(6):
        host.answers[f"/{n}"] = answers.stalls(0.3)
    pictures = WebPictures(WebOptions(allow_hosts=LOCAL, per_host=1))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pictures.fetch_many, [f"{host.url}/{n}" for n in range(6)])
        while not host.requests:
            pass
        pictures.close()
        found = waiting.result()
    codes = [one.code for one in found.values() if isinstance(one, PictureError)]
    assert "stopped" in codes
    with pytest.raises(PictureError):
        pictures.read(f"{host.url}/0")


# --- asked again only when it changed -----------------------------------------------------------------


def remembering(store: AddressStore, **options: float) -> WebPictures:
    return WebPictures(WebOptions(allow_hosts=LOCAL, **options), memory=store)  # type: ignore[arg-type]


def unchanged_when_asked(data: bytes, header: str, value: str, asked: str) -> answers.Answer:
    def answer(handler: answers.Handler) -> None:
        if handler.headers.get(asked) == value:
            handler.send_response(304)
            handler.end_headers()
        else:
            handler.reply(200, data, **{header: value})

    return answer


@pytest.mark.parametrize(
    ("header", "value", "asked"),
    [
        ("ETag", '"v1"', "If-None-Match"),
        ("Last_Modified", "Mon, 02 Nov 2026 10:00:00 GMT", "If-Modified-Since"),
    ],
)
def test_an_unchanged_picture_is_not_sent_again(
    host: PictureHost, tmp_path: Path, header: str, value: str, asked: str
) -> None:
    data = jpeg()
    host.answers["/a.jpg"] = unchanged_when_asked(data, header, value, asked)
    url = f"{host.url}/a.jpg"
    for turn in range(3):
        with AddressStore.open(tmp_path) as store:
            pictures = remembering(store)
            (found,) = pictures.fetch_many([url]).values()
            pictures.close()
            assert not isinstance(found, PictureError)
            assert found.content == content_hash(data)
            assert (found.data is None) == (turn > 0)
    with AddressStore.open(tmp_path) as store:
        pictures = remembering(store)
        assert pictures.read(url) == data  # whoever needs the bytes gets them
        pictures.close()


def test_a_changed_picture_is_fetched(host: PictureHost, tmp_path: Path) -> None:
    url = host.serve("/a.jpg", jpeg(), ETag='"1"')
    with AddressStore.open(tmp_path) as store:
        pictures = remembering(store)
        pictures.fetch_many([url])
        host.serve("/a.jpg", jpeg((0, 0, 255)), ETag='"2"')
        (found,) = pictures.fetch_many([url]).values()
        assert not isinstance(found, PictureError)
        assert found.data == jpeg((0, 0, 255))
        pictures.close()


def test_a_host_in_trouble_leaves_the_picture_as_it_was(host: PictureHost, tmp_path: Path) -> None:
    url = host.serve("/a.jpg", jpeg())
    with AddressStore.open(tmp_path) as store:
        pictures = WebPictures(
            WebOptions(allow_hosts=LOCAL, attempts=1), memory=store, sleep=lambda seconds: None
        )
        pictures.fetch_many([url])
        host.answers["/a.jpg"] = answers.status(500)
        (found,) = pictures.fetch_many([url]).values()
        assert not isinstance(found, PictureError)
        assert (found.content, found.data) == (content_hash(jpeg()), None)
        assert found.stale is not None
        assert found.stale.code == "http_500"
        assert code_of(pictures, url) == "http_500"  # its bytes cannot be had
        host.answers["/a.jpg"] = answers.status(404)
        (gone,) = pictures.fetch_many([url]).values()
        assert isinstance(gone, PictureError)
        pictures.close()


def test_a_fresh_picture_is_not_asked_about(host: PictureHost, tmp_path: Path) -> None:
    url = host.serve("/a.jpg", jpeg())
    with AddressStore.open(tmp_path) as store:
        pictures = remembering(store, fresh_s=3600)
        pictures.fetch_many([url])
        (found,) = pictures.fetch_many([url]).values()
        assert not isinstance(found, PictureError)
        assert found.data is None
        pictures.close()
    assert len(host.requests) == 1


def test_a_damaged_entry_counts_as_unknown(tmp_path: Path) -> None:
    known = Known(content="c", etag="e" * 1000, last_modified="", checked=5.0)
    with AddressStore.open(tmp_path) as store:
        assert store.get("http://a.test/\ud800") is None
        store.put("http://a.test/", known)
    with AddressStore.open(tmp_path) as store:
        found = store.get("http://a.test/")
        assert found is not None
        assert (found.content, len(found.etag), found.checked) == ("c", 500, 5.0)
    environment = Environment(tmp_path)
    environment.put_many([(hashlib.sha256(b"http://a.test/").digest(), b"[1, 2")])
    environment.close()
    with AddressStore.open(tmp_path) as store:
        assert store.get("http://a.test/") is None


# --- as a part of the source of all pictures ------------------------------------------------------------


def test_files_and_addresses_are_identified_together(
    web: WebPictures, host: PictureHost, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    url = host.serve("/b.jpg", jpeg((0, 0, 9)))
    source = PictureSource(tmp_path, web=web)
    found = source.identify(["a.jpg", url, f" {url}", "no.jpg", f"{host.url}/no.jpg", "a.jpg"])
    assert found["a.jpg"] == Found(content=content_hash(jpeg()))
    assert found[url] == Found(content=content_hash(jpeg((0, 0, 9))), data=jpeg((0, 0, 9)))
    assert found[f" {url}"] == found[url]
    for name in ("no.jpg", f"{host.url}/no.jpg"):
        error = found[name]
        assert isinstance(error, PictureError)
        assert error.code == "missing"
    assert source.read(url) == jpeg((0, 0, 9))


def test_without_a_fetcher_an_address_is_not_fetched(tmp_path: Path) -> None:
    (found,) = PictureSource(tmp_path).identify(["http://a.test/b.jpg"]).values()
    assert isinstance(found, PictureError)
    assert found.code == "not_fetched"


def test_a_picture_from_the_web_is_not_written_to_disk(
    web: WebPictures, host: PictureHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    web.read(host.serve("/a.jpg", jpeg()))
    assert list(tmp_path.iterdir()) == []
