"""Runs recorded on real servers: their documents are taken by a strict mapping and can be counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import CatalogError, FingerprintMismatchError, SettingsError
from es_xmodal.index.audit import RunRecord, audit_documents, write_audit
from es_xmodal.ingest.audited import run_audited
from es_xmodal.ingest.pipeline import IngestOptions
from es_xmodal.ingest.report import COUNTS, IngestReport
from es_xmodal.settings import load_settings
from tests.support.cli import SAMPLE, Cli, refused
from tests.support.encoders import HashEncoder
from tests.support.ingesting import parts_for, shop_rows, write_rows
from tests.unit.test_audit import RECORD

pytestmark = pytest.mark.integration


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture
def audit(index_prefix: str) -> str:
    return f"{index_prefix}runs"


def runs(client: Elasticsearch, index: str) -> list[dict[str, Any]]:
    client.indices.refresh(index=index)
    answer = client.search(index=index, size=100, sort=["@timestamp", "kind"]).body
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def ingest(url: str, catalog: Path, name: str, audit: str, **options: Any) -> IngestReport:
    encoder = options.pop("encoder", None)
    asked = IngestOptions(catalog=catalog, index=name, rejects=catalog.parent / "rejects.jsonl", **options)
    with parts_for(url, catalog.parent, root=catalog.parent, encoder=encoder) as parts:
        return run_audited(parts, asked, audit_index=audit)


def test_good_runs_an_update_and_a_failed_one(
    es_url: str, client: Elasticsearch, index_prefix: str, audit: str, tmp_path: Path
) -> None:
    name, rows = f"{index_prefix}shop", shop_rows(tmp_path, 8)
    rows[1]["images"] = ["images/none.png"]
    rows[2].pop("images")
    rows[3]["price"] = "cheap"
    report = ingest(es_url, write_rows(tmp_path, rows), name, audit)
    assert report.audit is not None
    assert (report.audit.warning, report.audit.documents) == (None, 3)
    reasons, *_ = [one for one in runs(client, audit) if one["kind"] == "run"]
    assert reasons["outcome"] == "complete"

    ingest(
        es_url,
        write_rows(tmp_path, [{"id": "p0", "price": 3}], name="prices.jsonl"),
        name,
        audit,
        update=True,
    )
    with pytest.raises(FingerprintMismatchError):
        ingest(es_url, write_rows(tmp_path, rows), name, audit, encoder=HashEncoder(fingerprint="hash-2"))

    found = runs(client, audit)
    built, updated, failed = (one for one in found if one["kind"] == "run")
    assert (built["command"], updated["command"], failed["command"]) == ("ingest", "update", "ingest")
    assert built["catalog"] == "catalog.jsonl"
    assert built["index"] == updated["index"] == failed["index"] == f"{name}-v0001"
    assert built["counts"] == {what: report.counts[what] for what in COUNTS}
    assert built["documents"] == 7
    assert built["coverage"] == pytest.approx({"picture": 6 / 7, "vector": 5 / 7, "text_vector": 1.0})
    assert built["encoder"] == {"spec": "hash", "fingerprint": HashEncoder().info.fingerprint}
    assert (failed["outcome"], failed["documents"]) == ("failed", 7)
    assert "built with another encoder" in failed["error"]
    why = {one["reason"]: one for one in found if one["kind"] == "reason"}
    assert {one["run"] for one in why.values()} == {built["run"]}
    assert {one["@timestamp"] for one in why.values()} == {built["@timestamp"]}
    assert why["picture/missing"]["example"] == "p1"
    assert sum(one["count"] for one in why.values()) == sum(report.rejects_by_reason.values())


def test_a_catalogue_that_cannot_be_read_is_recorded(
    es_url: str, client: Elasticsearch, index_prefix: str, audit: str, tmp_path: Path
) -> None:
    catalog = write_rows(tmp_path, [])
    with pytest.raises(CatalogError):
        ingest(es_url, catalog, f"{index_prefix}shop", audit)
    (run,) = runs(client, audit)
    assert (run["outcome"], run["counts"]) == ("failed", {})
    assert run["error"].startswith("catalogue catalog.jsonl is empty"), "without its folder"
    assert "documents" not in run


def test_a_fault_of_the_program_is_recorded_and_a_wrong_call_is_not(
    es_url: str, client: Elasticsearch, index_prefix: str, audit: str, tmp_path: Path
) -> None:
    class Broken(HashEncoder):
        def _text_batch(self, batch: Any) -> Any:
            raise RuntimeError("no such\nthing")

    name, catalog = f"{index_prefix}s", write_rows(tmp_path, shop_rows(tmp_path, 3))
    with pytest.raises(SettingsError):
        ingest(es_url, catalog, name, audit, update=True, rebuild=True)
    assert not client.indices.exists(index=audit)
    with pytest.raises(RuntimeError):
        ingest(es_url, catalog, name, audit, encoder=Broken())
    (run,) = runs(client, audit)
    assert (run["outcome"], run["error"]) == ("failed", "RuntimeError: no such thing")


def test_ctrl_c_is_recorded(
    es_url: str, client: Elasticsearch, index_prefix: str, audit: str, tmp_path: Path
) -> None:
    class Interrupted(HashEncoder):
        def _text_batch(self, batch: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(
            es_url,
            write_rows(tmp_path, shop_rows(tmp_path, 3)),
            f"{index_prefix}s",
            audit,
            encoder=Interrupted(),
        )
    (run,) = runs(client, audit)
    assert (run["outcome"], run["error"]) == ("interrupted", "interrupted")


def test_a_name_that_cannot_be_one_is_refused_before_anything(es_url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot name an index"):
        ingest(es_url, write_rows(tmp_path, shop_rows(tmp_path, 1)), "never-made", "Runs*")


def test_an_alias_and_an_index_of_the_shop(client: Elasticsearch, audit: str) -> None:
    client.indices.create(index=f"{audit}-000001", aliases={audit: {"is_write_index": True}})
    assert write_audit(client, RECORD, index=audit).warning is None
    assert {one["kind"] for one in runs(client, audit)} == {"run", "reason"}
    client.indices.create(index=f"{audit}-taken", mappings={"properties": {"sku": {"type": "keyword"}}})
    assert "holds something else" in str(write_audit(client, RECORD, index=f"{audit}-taken").warning)


def test_an_alias_that_takes_no_writes_is_a_warning(client: Elasticsearch, audit: str) -> None:
    for number in (1, 2):
        client.indices.create(index=f"{audit}-{number}", aliases={audit: {}})
    assert "no write index is defined" in str(write_audit(client, RECORD, index=audit).warning)


def test_many_first_runs_at_once(client: Elasticsearch, audit: str) -> None:
    warnings: list[str | None] = []

    def one(number: int) -> None:
        record = RunRecord(run=str(number), at=RECORD.at, command="ingest", outcome="complete", alias="shop")
        warnings.append(write_audit(client, record, index=audit).warning)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings == [None] * 6
    assert len(runs(client, audit)) == 6


def test_written_twice_is_there_once(client: Elasticsearch, audit: str) -> None:
    for _ in range(2):
        assert write_audit(client, RECORD, index=audit).warning is None
    assert len(runs(client, audit)) == len(audit_documents(RECORD))


def test_a_read_only_index_costs_a_line_and_not_the_ingest(
    es_url: str, client: Elasticsearch, audit: str, bare_cli: Cli, index_prefix: str
) -> None:
    client.indices.create(index=audit, settings={"index.blocks.write": True})
    catalog = bare_cli.home / "two.jsonl"
    rows = (SAMPLE / "catalog.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    catalog.write_text(
        "\n".join(json.dumps({**json.loads(row), "images": []}) for row in rows), encoding="utf-8"
    )
    cli = bare_cli.with_variables(ES_XMODAL_AUDIT="true", ES_XMODAL_AUDIT_INDEX=audit)
    arguments = ("ingest", catalog, "--index", f"{index_prefix}two")
    done = cli.here(*arguments)
    assert done.code == 0, done
    (line,) = done.err.splitlines()
    assert line.startswith(f"audit: this run is not recorded in {audit}: ")
    assert "cluster_block_exception" in line
    assert cli.json(*arguments, "--no-audit")["audit"] is None
    other = cli.json(*arguments, "--audit-index", f"{audit}-other")["audit"]
    assert other == {"index": f"{audit}-other", "documents": 1, "warning": None}


def test_every_command_that_writes_an_index_is_told_where_it_is_recorded(
    es_url: str, client: Elasticsearch, audit: str, bare_cli: Cli, index_prefix: str
) -> None:
    """The variable of the tests records nothing; what stands on the command line counts."""
    shop, name = f"{index_prefix}shop", f"{index_prefix}one"
    client.index(index=shop, id="1", document={"name": "Red mug"}, refresh=True)
    catalog = bare_cli.home / "one.jsonl"
    catalog.write_text(json.dumps({"id": "1", "title": "Red mug"}) + "\n", encoding="utf-8")
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("ingest", catalog, "--index", name),
        ("index", "rebuild", "--index", name),
        ("enrich", shop, "--map", "title=name"),
    )
    for number, command in enumerate(commands, start=1):
        written = bare_cli.json(*command, "--audit-index", audit)["audit"]
        assert (written["index"], written["warning"]) == (audit, None)
        assert len(runs(client, audit)) == number
    recording = bare_cli.with_variables(ES_XMODAL_AUDIT="true", ES_XMODAL_AUDIT_INDEX=audit)
    for command in commands:
        assert recording.json(*command, "--no-audit")["audit"] is None
    assert len(runs(client, audit)) == len(commands)
    for option in (("--no-audit",), ("--audit-index", audit)):
        refused(bare_cli.here("enrich", shop, "--undo", *option), 2, "--undo and", option[0])
