"""What an ingest chooses: the size of a catalogue, what was asked for, what is there."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from es_xmodal.catalog import estimate
from es_xmodal.catalog.estimate import CatalogSize, estimate_size
from es_xmodal.cluster.capabilities import Capabilities
from es_xmodal.errors import CatalogError, SettingsError
from es_xmodal.index.combining import Combining
from es_xmodal.index.target import Target, target_of
from es_xmodal.ingest import vector_index
from es_xmodal.ingest.pipeline import IngestOptions
from es_xmodal.ingest.vector_index import vector_index_for
from tests.support.bodies import OURS, changed
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit

SERVER = Capabilities(version=(9, 5, 3))


def rows(count: int, pictures: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": f"p{at}", "title": f"mug {at}", "images": [f"{at}-{one}.jpg" for one in range(pictures)]}
        for at in range(count)
    ]


def written(folder: Path, name: str, found: list[dict[str, Any]]) -> Path:
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in found)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif name.endswith(".json"):
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    elif name.endswith(".csv"):
        cells = "".join(f"{row['id']},{row['title']},{row['images'][0]}\n" for row in found)
        path.write_text(f"id,title,images\n{cells}", encoding="utf-8")
    elif name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(found), path)
    else:
        path.write_text(lines, encoding="utf-8")
    return path


def test_a_short_catalogue_is_counted(tmp_path: Path) -> None:
    found = [*rows(3, pictures=2), {"id": "p9", "title": "no picture"}, {"title": "a reject"}]
    size = estimate_size(written(tmp_path, "c.jsonl", found), renames={})
    assert size == CatalogSize(products=4, pictures=6, several=True, counted=True)


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.json", "c.csv", "c.parquet"])
def test_a_long_catalogue_is_estimated(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ROWS", 20)
    size = estimate_size(written(tmp_path, name, rows(500)), renames={})
    assert not size.counted
    assert abs(size.products - 500) <= 1
    assert abs(size.pictures - 500) <= 1
    assert not size.several


def test_a_catalogue_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(CatalogError):
        estimate_size(tmp_path / "none.jsonl", renames={})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "probe", lambda client: client)


def chosen(
    catalog: Path, *, server: Capabilities = SERVER, serving: Target | None = None, **options: Any
) -> tuple[str, str]:
    parts: Any = SimpleNamespace(client=server, encoder=HashEncoder())
    asked = IngestOptions(catalog=catalog, index="shop", **options)
    choice = vector_index_for(parts, asked, Combining(), serving)
    return choice.type, choice.reason


@pytest.mark.usefixtures("server")
def test_the_rule_sees_what_the_catalogue_gives(tmp_path: Path) -> None:
    catalog = written(tmp_path, "c.jsonl", rows(50, pictures=3))
    kind, reason = chosen(catalog)
    assert (kind, "150 vectors" in reason, reason.endswith("; 50 products counted")) == ("flat", True, True)
    kind, reason = chosen(catalog, expect=4_000)
    assert kind == "hnsw"
    assert "12,000 vectors a field" in reason
    assert reason.endswith("; 4,000 products expected")
    # Three pictures of 32 and 16 dimensions and a text of 24, and three graphs.
    kind, _ = chosen(catalog, expect=3_000_000)
    assert kind == "int8_hnsw"
    old = replace(SERVER, version=(8, 19, 21))
    kind, reason = chosen(catalog, expect=3_000_000, server=old)
    assert kind == "hnsw"
    assert "pictures may be lost" in reason
    one_each = written(tmp_path, "one.jsonl", rows(50))
    assert chosen(one_each, expect=7_000_000, server=old)[0] == "int8_hnsw"


@pytest.mark.usefixtures("server")
def test_what_was_asked_for_is_taken_or_refused(tmp_path: Path) -> None:
    catalog = written(tmp_path, "c.jsonl", rows(5))
    assert chosen(catalog, vector_index="int8_flat") == ("int8_flat", "asked for")
    old = replace(SERVER, version=(8, 17, 0))
    assert "stay approximate" in chosen(catalog, vector_index="int8_hnsw", server=old)[1]
    for kind, why in (("bbq_hnsw", "needs 64 dimensions"), ("bbq_disk", "needs an Enterprise licence")):
        with pytest.raises(SettingsError, match=f"{kind} {why}.*auto"):
            chosen(catalog, vector_index=kind)
    with pytest.raises(SettingsError, match="'magic' is none"):
        chosen(catalog, vector_index="magic")
    with pytest.raises(SettingsError, match="expect 7 has no effect on vector_index hnsw"):
        chosen(catalog, vector_index="hnsw", expect=7)


@pytest.mark.usefixtures("server")
def test_an_index_that_serves_keeps_its_kind(tmp_path: Path) -> None:
    catalog = written(tmp_path, "c.jsonl", rows(5))
    body = OURS
    for name in ("images/properties/joint", "images/properties/visual", "text_vector"):
        body = changed(body, f"mappings/properties/{name}/index_options", {"type": "int8_hnsw"})
    serving = target_of("shop", "shop-v0001", body)
    kind, reason = chosen(catalog, serving=serving)
    assert (kind, "--rebuild" in reason) == ("int8_hnsw", True)
    assert chosen(catalog, serving=serving, vector_index="hnsw") == ("hnsw", "asked for")
    with pytest.raises(SettingsError, match="expect 9 has no effect on shop-v0001"):
        chosen(catalog, serving=serving, expect=9)
