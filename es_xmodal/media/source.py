"""The bytes of a picture that a catalogue refers to: files below one folder, data: URIs, and the web."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import DEFAULT_LIMITS, PictureLimits, content_hash, printable
from es_xmodal.media.video import HEAD_BYTES, is_video

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://|(data|file|https?|ftp|blob|javascript):", re.I)
_WEB: Final = ("http", "https")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_DATA_URI: Final = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.I)
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
# O_NONBLOCK: opening a pipe must not wait for a writer. O_NOFOLLOW: the path is resolved already.
_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class Web(Protocol):
    """Fetches pictures; `es_xmodal.media.web.WebPictures` is one."""

    def fetch_many(self, urls: Sequence[str]) -> Mapping[str, Fetched | PictureError]:
        """Fetch pictures at once; of one that did not change the bytes may be missing."""

    def read(self, url: str) -> bytes:
        """Fetch one picture, its bytes in any case."""


class Fetched(Protocol):
    """One picture from the web."""

    @property
    def content(self) -> str:
        """Hash of its bytes."""

    @property
    def data(self) -> bytes | None:
        """Its bytes; None where they are what they were."""

    @property
    def stale(self) -> PictureError | None:
        """Why it is taken as it was last time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a reference means at this moment.

    Args:
        content: hash of the picture's bytes.
        data: the bytes, where reading them again would cost more than keeping them.
        stale: why the picture is taken as it was last time; None where it was looked at now.
        video: the bytes were seen, and are a video's.
    """

    content: str
    data: bytes | None = None
    stale: PictureError | None = None
    video: bool = False


class PictureSource:
    """Reads pictures below one folder, and never a byte outside it, and from the web where that is given.

    Args:
        root: the folder that references are relative to.
        limits: `max_bytes` is checked before anything is read.
        web: fetches what has an http or https address; None: such a reference is an error.
    """

    def __init__(self, root: Path, limits: PictureLimits = DEFAULT_LIMITS, *, web: Web | None = None) -> None:
        self.root = root
        self.limits = limits
        self._web = web

    def identify(self, refs: Sequence[str]) -> dict[str, Found | PictureError]:
        """Find out what several references mean; those on the web are fetched at once.

        Args:
            refs: as in `read`.

        Returns:
            For each reference its content, or why it cannot be had.
        """
        urls = [ref.strip() for ref in refs if self._web and on_the_web(ref)]
        fetched = self._web.fetch_many(urls) if self._web and urls else {}
        found: dict[str, Found | PictureError] = {}
        folder = _Folder(self.root)
        for ref in refs:
            if ref in found:
                continue
            one = fetched.get(ref.strip())
            if one is None:
                found[ref] = self._identify_file(ref, folder)
            elif isinstance(one, PictureError):
                found[ref] = one
            else:
                found[ref] = Found(
                    content=one.content,
                    data=one.data,
                    stale=one.stale,
                    video=one.data is not None and is_video(one.data),
                )
        return found

    def _identify_file(self, ref: str, folder: _Folder) -> Found | PictureError:
        try:
            data = self._read(ref, folder)
            return Found(content=content_hash(data), video=is_video(data))
        except PictureError as error:
            return error

    def read(self, ref: str) -> bytes:
        """Return the bytes that a reference means.

        Args:
            ref: a path relative to the root, a `data:` URI, or an address on the web.

        Returns:
            The bytes, at least one, at most `limits.max_bytes` (of a file that is a video,
            `limits.video_max_bytes`); whether they are a picture is judged by `decode_picture`.

        Raises:
            PictureError: with code `bad_reference` (empty, NUL, broken data: URI), `not_fetched` (on the web,
                and nothing fetches from there), `scheme_refused` (file: and the like), `outside_root`
                (absolute, `..`, a link that leaves the root), `missing`, `not_a_file`, `unreadable`,
                `empty`, `too_many_bytes`, or a code of `es_xmodal.media.web`.
        """
        return self._read(ref, _Folder(self.root))

    def _read(self, ref: str, folder: _Folder) -> bytes:
        if not ref.strip() or "\0" in ref:
            raise _error(ref, "is not the name of a picture", "bad_reference")
        kind = _kind(ref)
        data = self._read_uri(ref.strip(), kind) if kind else self._read_file(ref, folder)
        if not data:
            raise _error(ref, "is empty", "empty")
        return data

    def _read_uri(self, ref: str, scheme: str) -> bytes:
        if scheme == "data":
            return self._read_data_uri(ref)
        if scheme in _WEB and self._web:
            return self._web.read(ref)
        if scheme in _WEB:
            raise _error(ref, "is on the web, and pictures are not fetched from there", "not_fetched")
        raise _error(ref, f"is a {scheme}: address, which is never opened", "scheme_refused")

    def _read_data_uri(self, ref: str) -> bytes:
        head = _DATA_URI.match(ref)
        if not head:
            raise _error(ref, "is a broken data: address", "bad_reference")
        payload = ref[head.end() :]
        encoded = head[2].lower().endswith(";base64")
        # An upper bound first: base64 has 4 characters for 3 bytes, and %XX is 3 for 1 inside both.
        if len(payload) > 4 * self.limits.max_bytes:
            raise self._too_large(ref, len(payload) // 4)
        try:
            data = unquote_to_bytes(payload)
            if encoded:
                data = base64.b64decode(b"".join(data.split()), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise _error(ref, f"is a broken data: address: {error}", "bad_reference") from error
        if len(data) > self.limits.max_bytes:
            raise self._too_large(ref, len(data))
        return data

    def _read_file(self, ref: str, folder: _Folder) -> bytes:
        failure: PictureError | None = None
        for spelling in _spellings(ref):
            try:
                return self._read_spelling(ref, spelling, folder)
            except PictureError as error:
                if error.code != "missing":
                    raise
                failure = failure or error
        raise failure or _error(ref, "does not exist", "missing")

    def _read_spelling(self, ref: str, spelling: str, folder: _Folder) -> bytes:
        parts = spelling.replace("\\", "/").split("/")
        if _DRIVE.match(spelling) or parts[0] in ("", "~") or ".." in parts:
            raise _error(ref, "leads out of the picture folder", "outside_root")
        try:
            path = folder.find(spelling)
            if path is None:
                raise _error(ref, "leads out of the picture folder", "outside_root")
            return self._read_regular(ref, path)
        except OSError as error:
            raise _os_error(ref, error) from error
        except (ValueError, RuntimeError) as error:  # a lone surrogate in the name; a loop of links
            raise _error(ref, f"cannot be opened: {error}", "bad_reference") from error

    def _read_regular(self, ref: str, path: str) -> bytes:
        """With few calls of the system: threads that read pictures wait for each other at each of them."""
        handle = os.open(path, _OPEN_FLAGS)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _error(ref, "is not a plain file", "not_a_file")
            small = status.st_size <= self.limits.max_bytes
            data = os.read(handle, status.st_size + 1 if small else HEAD_BYTES)
            most = self.limits.video_max_bytes if is_video(data[:HEAD_BYTES]) else self.limits.max_bytes
            if status.st_size > most:
                raise self._too_large(ref, status.st_size, most)
            while len(data) <= most and (more := os.read(handle, most + 1 - len(data))):
                data += more
        finally:
            os.close(handle)
        if len(data) > most:
            raise self._too_large(ref, len(data), most)
        return data

    def _too_large(self, ref: str, size: int, most: int | None = None) -> PictureError:
        return _error(ref, f"has {size} bytes, more than {most or self.limits.max_bytes}", "too_many_bytes")


class _Folder:
    """The picture folder, looked up once for several pictures."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._resolved: Path | None = None

    def find(self, spelling: str) -> str | None:
        """Return where a file really lies; None: outside the folder.

        Raises:
            OSError: there is no such file, or no such folder.
            ValueError: the name cannot be one.
            RuntimeError: links go round in a circle.
        """
        if self._resolved is None:
            self._resolved = self._root.resolve(strict=True)
        root = self._resolved
        if _has_link(str(root), spelling):
            path = (root / spelling).resolve(strict=True)
            return str(path) if path.is_relative_to(root) else None
        return f"{root}{os.sep}{spelling}"


def _has_link(root: str, spelling: str) -> bool:
    """Whether a part below the folder may be a link, so that it must be followed to know where it leads."""
    if os.name == "nt":  # junctions are no links to lstat
        return True
    at = root
    for part in spelling.split("/"):
        at = f"{at}/{part}"
        if stat.S_ISLNK(os.lstat(at).st_mode):
            return True
    return False


def on_the_web(ref: str) -> bool:
    """Whether a reference is an http or https address."""
    return _kind(ref) in _WEB


def _kind(ref: str) -> str:
    """The scheme of a reference in lower case; empty for a path."""
    scheme = _SCHEME.match(ref.lstrip())
    return (scheme[1] or scheme[2]).lower() if scheme else ""


def _spellings(ref: str) -> list[str]:
    """The name as written, composed and decomposed (macOS writes é as two), and with / for backslashes."""
    forms = [ref, unicodedata.normalize("NFC", ref), unicodedata.normalize("NFD", ref)]
    return list(dict.fromkeys([*forms, *(form.replace("\\", "/") for form in forms)]))


def _os_error(ref: str, error: OSError) -> PictureError:
    if error.errno in _MISSING:
        return _error(ref, "does not exist", "missing")
    if error.errno in (errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP):
        return _error(ref, "is not a plain file", "not_a_file")
    return _error(ref, f"cannot be read: {error.strerror or error}", "unreadable")


def _error(ref: str, what: str, code: str) -> PictureError:
    return PictureError(f"picture {printable(ref)!r} {what}", code=code)
