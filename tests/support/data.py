"""The development data that lies beside a checkout and is no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared_data(name: str) -> Path:
    """A folder or file of the development data; skips where it is absent, and fails in CI."""
    path = _ROOT / name
    if not path.exists():
        message = f"the development data is not here: {path}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
