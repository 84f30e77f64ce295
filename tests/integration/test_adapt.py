"""Adapt, ingest with the folder, search: the index remembers the adapted encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from es_xmodal.cli.main import root, run
from es_xmodal.encoders import registry
from tests.unit.test_adapt_run import WORDS, Base, shop

pytestmark = pytest.mark.integration


def test_an_index_of_an_adapted_encoder_finds_what_was_learned(
    es_url: str,
    index_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(registry, "_LOADERS", {"hash": lambda argument, options: Base()})
    monkeypatch.setenv("ES_XMODAL_DATA_DIR", str(tmp_path / "data"))
    catalog, out = shop(tmp_path, 60), tmp_path / "mine"
    assert run(root, ["adapt", str(catalog), "--encoder", "hash", "--out", str(out)]) == 0
    where = ["--index", f"{index_prefix}shop", "--url", es_url]
    capsys.readouterr()
    assert run(root, ["ingest", str(catalog), "--encoder", str(out), *where, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["indexed"] == 60 and report["encoded_images"] == 0  # adapt left the vectors in the store
    for number, word in enumerate(WORDS):
        # No product has this title, and no keyword leg is asked: the pictures alone answer.
        asked = [f"{word} tuko 999", "--weight", "lexical=0", "--weight", "text=0", "--size", "5", "--json"]
        assert run(root, ["search", *asked, *where]) == 0
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert len(hits) == 5 and all(int(hit["id"][1:]) % 3 == number for hit in hits)
    # Another encoder's vectors do not meet these: the index says whose they are.
    assert run(root, ["ingest", str(catalog), "--encoder", "hash", *where]) == 2
    assert "built with another encoder" in capsys.readouterr().err
