"""The shipped files: found, checked against their manifest, summed up in one fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from es_xmodal.errors import EncoderError
from es_xmodal.resources import sha256_of, silence_onnxruntime

DATA = Path(__file__).parent / "data"
MANIFEST = "manifest.json"

PREPROCESSING = 4
"""Raised whenever the code, not the files, changes a vector."""

_MAX_THREADS = 8
_HINT = "install es-xmodal again"


def check_files(folder: Path) -> str:
    """Compare every file with the manifest and return the fingerprint of all of them.

    Args:
        folder: where `manifest.json` and the files that it lists lie.

    Returns:
        `mini-` and 16 hex digits, from the content of the files and the version of the preprocessing.

    Raises:
        EncoderError: the manifest or a file is missing, unreadable or not what the manifest says.
    """
    try:
        listed: Mapping[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        found = {name: sha256_of(folder / name) for name in sorted(listed)}
    except OSError as error:
        raise EncoderError(
            f"encoder mini: cannot read {error.filename}: {error.strerror}", hint=_HINT
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"encoder mini: {folder / MANIFEST} is damaged", hint=_HINT) from error
    for name, digest in found.items():
        if digest != listed[name]:
            raise EncoderError(f"encoder mini: {folder / name} is damaged", hint=_HINT)
    whole = json.dumps([PREPROCESSING, sorted(found.items())]).encode()
    return f"mini-{hashlib.sha256(whole).hexdigest()[:16]}"


def open_session(path: Path, threads: int | None = None) -> Any:
    """Open an ONNX model on the CPU, with no more threads than this process may use.

    Args:
        path: the model.
        threads: that it may use; None: one a core, at most 8.

    Raises:
        EncoderError: the runtime cannot load it.
    """
    silence_onnxruntime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(_cores(), _MAX_THREADS)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Shapes vary from call to call: kept arenas would only grow.
    options.enable_cpu_mem_arena = False
    # Waiting threads that spin would take the cores from the threads that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exception classes share no public base
        raise EncoderError(f"encoder mini: the ONNX runtime cannot load {path.name}: {error}") from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
