"""The bytes of a picture that a catalogue refers to: files below one folder, and data: URIs."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import DEFAULT_LIMITS, PictureLimits, printable

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://|(data|file|https?|ftp|blob|javascript):", re.I)
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


class PictureSource:
    """Reads pictures below one folder and never a byte outside it.

    Args:
        root: the folder that references are relative to.
        limits: `max_bytes` is checked before anything is read.
    """

    def __init__(self, root: Path, limits: PictureLimits = DEFAULT_LIMITS) -> None:
        self.root = root
        self.limits = limits

    def read(self, ref: str) -> bytes:
        """Return the bytes that a reference means.

        Args:
            ref: a path relative to the root, or a `data:` URI.

        Returns:
            The bytes, at least one, at most `limits.max_bytes`; whether they are a picture is judged by
            `decode_picture`.

        Raises:
            PictureError: with code `bad_reference` (empty, NUL, broken data: URI), `not_fetched` (http,
                https), `scheme_refused` (file: and the like), `outside_root` (absolute, `..`, a link that
                leaves the root), `missing`, `not_a_file`, `unreadable`, `empty` or `too_many_bytes`.
        """
        if not ref.strip() or "\0" in ref:
            raise _error(ref, "is not the name of a picture", "bad_reference")
        scheme = _SCHEME.match(ref.lstrip())
        kind = (scheme[1] or scheme[2]).lower() if scheme else ""
        data = self._read_uri(ref.strip(), kind) if kind else self._read_file(ref)
        if not data:
            raise _error(ref, "is empty", "empty")
        return data

    def _read_uri(self, ref: str, scheme: str) -> bytes:
        if scheme == "data":
            return self._read_data_uri(ref)
        if scheme in ("http", "https"):
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

    def _read_file(self, ref: str) -> bytes:
        failure: PictureError | None = None
        for spelling in _spellings(ref):
            try:
                return self._read_spelling(ref, spelling)
            except PictureError as error:
                if error.code != "missing":
                    raise
                failure = failure or error
        raise failure or _error(ref, "does not exist", "missing")

    def _read_spelling(self, ref: str, spelling: str) -> bytes:
        parts = spelling.replace("\\", "/").split("/")
        if _DRIVE.match(spelling) or parts[0] in ("", "~") or ".." in parts:
            raise _error(ref, "leads out of the picture folder", "outside_root")
        try:
            root = self.root.resolve(strict=True)
            path = (root / spelling).resolve(strict=True)
            if not path.is_relative_to(root):
                raise _error(ref, "leads out of the picture folder", "outside_root")
            return self._read_regular(ref, path)
        except OSError as error:
            raise _os_error(ref, error) from error
        except (ValueError, RuntimeError) as error:  # a lone surrogate in the name; a loop of links
            raise _error(ref, f"cannot be opened: {error}", "bad_reference") from error

    def _read_regular(self, ref: str, path: Path) -> bytes:
        handle = os.open(path, _OPEN_FLAGS)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _error(ref, "is not a plain file", "not_a_file")
            if status.st_size > self.limits.max_bytes:
                raise self._too_large(ref, status.st_size)
            data = file.read(self.limits.max_bytes + 1)
        if len(data) > self.limits.max_bytes:
            raise self._too_large(ref, len(data))
        return data

    def _too_large(self, ref: str, size: int) -> PictureError:
        return _error(ref, f"has {size} bytes, more than {self.limits.max_bytes}", "too_many_bytes")


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
