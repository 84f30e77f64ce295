"""Videos: which frames are taken, and what hostile files cost."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from es_xmodal.catalog.images import from_stored
from es_xmodal.errors import PictureError
from es_xmodal.media import video as video_module
from es_xmodal.media.picture import PictureLimits, decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import VideoLimits, frame_content, frame_ref, is_video, video_frame, video_frames
from tests.support.video import BLACK, BLUE, GREEN, RED, video

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def clip() -> bytes:
    return video([RED, GREEN, BLUE])


def colours(frames: list[Any]) -> str:
    found = [frame.picture.image.getpixel((2, 2)) for frame in frames]
    return "".join("rgb"[max(range(3), key=lambda at: pixel[at])] for pixel in found)


def code_of(data: bytes, **limits: Any) -> str:
    with pytest.raises(PictureError) as caught:
        video_frames(data, source="clip.mp4", limits=VideoLimits(**limits))
    assert str(caught.value).startswith("clip.mp4 ")
    return caught.value.code


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("matroska", "libx264"),
        ("avi", "mjpeg"),
    ],
)
def test_frames_are_evenly_spread_and_each_is_new(form: str, codec: str) -> None:
    data = video([BLACK, RED, GREEN, GREEN, BLACK, BLUE], form=form, codec=codec)
    assert is_video(data)
    frames = video_frames(data, source="a/clip", limits=VideoLimits(frames=12), max_side=32)
    assert colours(frames) == "rgb"
    times = [frame.time_s for frame in frames]
    # In its own second each: 1 to 2 red, 2 to 4 green, 5 to 6 blue.
    assert [int(time) for time in times] == [1, 2, 5]
    assert all(max(frame.picture.image.size) == 32 for frame in frames)
    assert frames[0].picture.source == frame_ref("a/clip", times[0])
    assert len({frame.picture.content_hash for frame in frames}) == 3
    again = video_frames(data, source="b", limits=VideoLimits(frames=12), max_side=32)
    assert [frame.picture.content_hash for frame in again] == [f.picture.content_hash for f in frames]


@pytest.mark.parametrize(("form", "codec"), [("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mjpeg")])
def test_a_frame_is_found_again_by_its_time(form: str, codec: str) -> None:
    data = video([RED, GREEN, BLUE, RED], form=form, codec=codec)
    for frame in video_frames(data, source="clip"):
        again = video_frame(data, frame.time_s, source="clip")
        assert again.tobytes() == frame.picture.image.tobytes()
    small = video_frame(data, 1e9, source="clip", max_side=32)
    assert small.size == (32, 24)
    assert small.getpixel((1, 1))[0] > 150, "beyond the end it is the last one"  # type: ignore[index]
    with pytest.raises(PictureError, match="is 4 s long"):
        video_frame(data, 0, source="clip", limits=VideoLimits(max_duration_s=3))


def test_no_frame_of_bytes_that_are_broken(clip: bytes) -> None:
    with pytest.raises(PictureError, match=r"^clip ") as caught:
        video_frame(clip[:200], 0, source="clip")
    assert caught.value.code in ("broken", "truncated", "no_video")


def test_the_number_of_frames_is_bounded(clip: bytes) -> None:
    assert colours(video_frames(clip, source="a", limits=VideoLimits(frames=1))) == "g"
    assert colours(video_frames(clip, source="a", limits=VideoLimits(frames=64))) == "rgb"
    (still,) = video_frames(video([RED], frames_each=1), source="a")
    assert still.time_s == 0


def test_a_black_video_is_one_frame() -> None:
    assert len(video_frames(video([BLACK]), source="a")) == 1


def test_long_gaps_between_key_frames_cost_a_bounded_number_of_frames(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "_DECODED_A_FRAME", 2)
    frames = video_frames(clip, source="a")
    assert colours(frames) == "r"
    assert frames[0].time_s <= 0.2


def test_a_frame_has_a_reference_of_its_own() -> None:
    assert frame_ref("clip.mp4", 12.5) == "clip.mp4#t=12.5"
    assert frame_ref("clip.mp4", 3.0) == "clip.mp4#t=3"
    assert frame_ref("10.mp4", 10.0) == "10.mp4#t=10"
    assert frame_content("ab", 1.0) != frame_content("ab", 1.001)


def test_a_row_has_the_video_and_not_its_frames() -> None:
    stored = [{"ref": "a.jpg"}, {"ref": "b.mp4#t=0.5"}, {"ref": "b.mp4#t=12"}, {"ref": "c.jpg#top"}]
    assert from_stored(stored) == ["a.jpg", "b.mp4", "c.jpg#top"]


def still(form: str) -> bytes:
    out = BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_pictures_are_no_videos(form: str) -> None:
    data = still(form)
    assert not is_video(data)
    assert decode_picture(data, source="a").image.size == (32, 32)


def test_what_is_no_video() -> None:
    for data in (
        b"",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"ftyp",
        b"#EXTM3U\nfile:///etc/passwd",
        b"ffconcat version 1.0",
    ):
        assert not is_video(data)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_video_that_ends_too_early(clip: bytes, keep: float) -> None:
    """An index at the end is lost with it; one at the start promises frames that are not there."""
    assert code_of(clip[: int(len(clip) * keep)]) == "broken"
    first = _index_first(clip)
    whole = video_frames(first, source="a")
    assert colours(whole) == "rgb"
    assert code_of(first[: int(len(first) * keep)]) in ("truncated", "broken")


def _index_first(data: bytes) -> bytes:
    """Write the same packets again with the index before them: fragments of an mp4."""
    import av

    out = BytesIO()
    with av.open(BytesIO(data)) as source, av.open(out, "w", format="mp4", options=FRAGMENTED) as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    return out.getvalue()


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+delay_moov"}


@pytest.mark.parametrize("form", ["mp4", "webm", "matroska", "avi"])
def test_damaged_bytes_cost_one_error(form: str) -> None:
    codec = {"mp4": "libx264", "webm": "libvpx", "matroska": "libx264", "avi": "mjpeg"}[form]
    data = bytearray(video([RED, BLUE], form=form, codec=codec))
    for seed in range(40):
        hit = bytearray(data)
        for at in range(64 + 13 * seed, len(hit), 97 + seed):
            hit[at] ^= 0xA5
        try:
            frames = video_frames(bytes(hit), source="clip")
        except PictureError as error:
            assert error.code in ("broken", "truncated", "no_video", "unsupported_codec", "too_long") or (
                error.code == "too_many_pixels"
            )
        else:
            assert 1 <= len(frames) <= 8


def test_random_bytes_behind_a_video_s_first_ones() -> None:
    for head in (b"\0\0\0\x20ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI "):
        assert code_of(head + bytes(range(256)) * 40) in ("broken", "no_video")
        assert code_of(head) in ("broken", "no_video")


def test_limits(clip: bytes) -> None:
    assert code_of(clip, max_pixels=64 * 48 - 1) == "too_many_pixels"
    assert code_of(clip, max_duration_s=2.5) == "too_long"
    assert code_of(video([RED], form="avi", codec="ffv1")) == "unsupported_codec"


def test_sound_alone_is_no_video() -> None:
    import av
    import numpy as np

    out = BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream: Any = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert code_of(out.getvalue()) == "no_video"


def test_turned_frames_are_turned_back() -> None:
    class Turned:
        width, height, rotation = 20, 10, -90

        def to_image(self, width: int, height: int) -> Image.Image:
            image = Image.new("RGB", (width, height), "red")
            image.putpixel((0, 0), (0, 0, 255))
            return image

    image = video_module._picture(Turned(), None)
    assert image.size == (10, 20)
    assert image.getpixel((9, 0)) == (0, 0, 255)  # clockwise: the upper left corner is the upper right one


def test_what_is_not_installed_names_the_pip_line(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "find_spec", lambda name: None)
    with pytest.raises(PictureError, match=r"pip install 'es-xmodal\[video\]'") as caught:
        video_frames(clip, source="clip.mp4")
    assert caught.value.code == "video_extra"


def test_a_video_may_be_larger_than_a_picture(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "clip.jpg").write_bytes(clip)  # its content tells, not its name
    (tmp_path / "photo.mp4").write_bytes(still("PNG") + b" " * len(clip))
    source = PictureSource(tmp_path, PictureLimits(max_bytes=100, video_max_bytes=len(clip)))
    assert source.read("clip.jpg") == clip
    with pytest.raises(PictureError, match="more than 100"):
        source.read("photo.mp4")
    less = PictureSource(tmp_path, PictureLimits(max_bytes=100, video_max_bytes=len(clip) - 1))
    with pytest.raises(PictureError, match=f"more than {len(clip) - 1}"):
        less.read("clip.jpg")
    found = source.identify(["clip.jpg"])["clip.jpg"]
    assert not isinstance(found, PictureError) and found.video
