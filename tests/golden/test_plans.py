"""Whole request bodies.

After a wanted change: `UPDATE_GOLDEN=1 python -m pytest tests/golden`, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.cases import CASES, as_json

pytestmark = pytest.mark.golden

FOLDER = Path(__file__).with_name("plans")


@pytest.mark.parametrize("name", sorted(CASES))
def test_plan(name: str) -> None:
    path = FOLDER / f"{name}.json"
    made = json.dumps(as_json(CASES[name]), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        assert not os.environ.get("CI"), "CI compares; it does not update"
        FOLDER.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(made)


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)
