"""What comes with the package, in a wheel (`es_xmodal/_data/`) or in a checkout; checksums; ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from es_xmodal.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parent


def data_path(*parts: str) -> Path:
    """Return where a data file or folder lies.

    Args:
        parts: below the data's root, such as `"mappings", "product.json"` or `"ingest"`.

    Returns:
        An existing path.

    Raises:
        SettingsError: the installation lacks it.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise SettingsError(
        f"{'/'.join(parts)} is missing from this installation of es_xmodal",
        hint="install the package again",
    )


def index_template(name: str = "product") -> dict[str, Any]:
    """Return an index body of `mappings/`, with its vector and `_meta` slots empty.

    Args:
        name: file name without `.json`.

    Returns:
        A new copy of settings and mappings.

    Raises:
        SettingsError: the installation lacks it.
    """
    body: dict[str, Any] = json.loads(_text(name))
    return body


@cache
def _text(name: str) -> str:
    return data_path("mappings", f"{name}.json").read_text(encoding="utf-8")


def silence_onnxruntime() -> None:
    """Keep ONNX Runtime from reporting its use to its maker, as newer versions do; call it before its import.

    They also keep an identifier below the home folder. Whoever sets the variable has the last word.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()  # hashlib.file_digest came with Python 3.11
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
