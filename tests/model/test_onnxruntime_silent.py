"""ONNX Runtime reports nothing: neither encoder nor reader lets it keep an identifier of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import REPOSITORY

pytestmark = pytest.mark.model

MINI = """
from es_xmodal.encoders.mini import load_mini
load_mini().encode_texts(["mug"])
"""
READER = """
from es_xmodal.media.ocr import _load_engine
_load_engine(1)
"""


@pytest.mark.parametrize("code", [MINI, READER])
def test_nothing_is_written_for_its_maker(code: str, tmp_path: Path) -> None:
    if code is READER:
        pytest.importorskip("rapidocr_onnxruntime", reason="there is none for this Python")
    hidden = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
