"""What an ingest leaves behind for Kibana, as documents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from elastic_transport import ConnectionError as NoConnection

from es_xmodal.cli.ingest import ingest
from es_xmodal.index.audit import AUDIT_INDEX, MAX_ERROR, RunRecord, audit_documents, write_audit
from es_xmodal.index.audit import audit_properties as properties_for
from es_xmodal.index.coverage import coverage_of
from es_xmodal.ingest.report import COUNTS, STAGES
from es_xmodal.query.fields import Fields
from es_xmodal.resources import index_template
from es_xmodal.settings import load_settings
from tests.support.fake_node import Answer, Asked, fake_client, script

pytestmark = pytest.mark.unit

RECORD = RunRecord(
    run="4f2a",
    at=datetime(2026, 3, 1, 14, 30, 5, 250_400, tzinfo=timezone(timedelta(hours=2))),
    command="ingest",
    outcome="complete",
    alias="products",
    index="products-v0003",
    catalog="autumn.jsonl",
    encoder_spec="mini",
    encoder_fingerprint="mini-01",
    counts={"read": 40, "indexed": 38, "rejected": 2},
    seconds=8.0,
    seconds_by_stage={"read": 0.5, "write": 1.25},
    reasons={"row/negative": 1, "picture/missing": 3},
    examples={"picture/missing": "p7"},
    documents=38,
    coverage={"picture": 0.95, "vector": 0.9, "text_vector": 1.0},
)


def test_a_run_and_its_reasons() -> None:
    documents = audit_documents(RECORD)
    assert list(documents) == ["4f2a-run", "4f2a-1", "4f2a-2"]
    run = documents["4f2a-run"]
    assert run["@timestamp"] == "2026-03-01T12:30:05.250Z"
    assert (run["kind"], run["outcome"], run["rows_per_second"]) == ("run", "complete", 5.0)
    assert run["encoder"] == {"spec": "mini", "fingerprint": "mini-01"}
    assert "error" not in run
    picture, row = documents["4f2a-1"], documents["4f2a-2"]
    assert {one["@timestamp"] for one in documents.values()} == {run["@timestamp"]}
    assert (picture["stage"], picture["code"], picture["reason"], picture["count"], picture["example"]) == (
        "picture",
        "missing",
        "picture/missing",
        3,
        "p7",
    )
    assert "example" not in row
    assert audit_documents(RECORD) == documents, "the same record, the same documents"


def test_a_run_that_failed_at_once() -> None:
    record = RunRecord(
        run="1", at=RECORD.at, command="update", outcome="failed", alias="shop", error="x" * 5000
    )
    (run,) = audit_documents(record).values()
    assert (run["outcome"], run["rows_per_second"], len(run["error"])) == ("failed", 0.0, MAX_ERROR)
    assert {"index", "catalog", "documents"}.isdisjoint(run)
    assert run["encoder"] == run["counts"] == run["coverage"] == {}


def test_every_counter_and_stage_has_its_field_before_the_first_run() -> None:
    """Kibana's panels name them, so they must be in mappings/ingests.json itself."""
    properties = index_template("ingests")["mappings"]["properties"]
    assert set(properties["counts"]["properties"]) >= set(COUNTS)
    assert set(properties["seconds_by_stage"]["properties"]) >= set(STAGES)


def test_a_counter_that_the_file_does_not_know_gets_a_field() -> None:
    record = replace(RECORD, counts={"read": 1, "walked": 2}, seconds_by_stage={"walk": 0.1})
    properties = properties_for(audit_documents(record))
    assert properties["counts"]["properties"]["walked"] == {"type": "long"}
    assert properties["seconds_by_stage"]["properties"]["walk"] == {"type": "float"}
    assert "walked" not in index_template("ingests")["mappings"]["properties"]["counts"]["properties"]


def ours(**more: Any) -> dict[str, Any]:
    body = index_template("ingests")
    return {AUDIT_INDEX: {"mappings": {**body["mappings"], **more}}}


def bulk_answer(*errors: dict[str, Any]) -> Answer:
    items = [{"create": {"status": 201}}] + [
        {"create": {"error": one, "status": one["status"]}} for one in errors
    ]
    return Answer(body={"errors": bool(errors), "items": items})


def play(get: Any, bulk: Answer | None = None, **others: Answer) -> Any:
    def answer(asked: Asked) -> Answer:
        if asked.target.partition("?")[0].endswith("/_bulk"):
            return bulk or bulk_answer()
        if asked.method == "GET":
            return Answer(body=get)
        return others.get(asked.method.lower(), Answer(body={"acknowledged": True}))

    return answer


def test_nothing_is_put_where_every_field_is_there() -> None:
    client, asked, _ = fake_client(play(ours()))
    done = write_audit(client, RECORD)
    assert (done.documents, done.warning) == (3, None)
    (_, bulk) = asked
    lines = bulk.lines()
    assert lines[0] == {"create": {"_id": "4f2a-run"}}, "the one write that a data stream takes"


def test_fields_of_a_later_version_are_added_and_nothing_else() -> None:
    older = index_template("ingests")["mappings"]
    older["properties"].pop("rows_per_second")
    older["properties"]["counts"]["properties"].pop("read")
    older["_meta"]["theirs"] = 1
    client, asked, _ = fake_client(play({AUDIT_INDEX: {"mappings": older}}))
    assert write_audit(client, RECORD).warning is None
    put = json.loads(next(one.body for one in asked if "_mapping" in one.target))
    assert put["properties"] == {
        "rows_per_second": {"type": "float"},
        "counts": {"properties": {"read": {"type": "long"}}},
    }
    assert put["_meta"]["theirs"] == 1


def test_two_indices_of_an_alias_that_lack_different_fields() -> None:
    one, two = (index_template("ingests")["mappings"] for _ in range(2))
    one["properties"]["counts"]["properties"].pop("read")
    two["properties"]["counts"]["properties"].pop("indexed")
    client, asked, _ = fake_client(play({"runs-1": {"mappings": one}, "runs-2": {"mappings": two}}))
    assert write_audit(client, RECORD).warning is None
    put = json.loads(next(one.body for one in asked if "_mapping" in one.target))
    added = {"indexed": {"type": "long"}, "read": {"type": "long"}}
    assert put["properties"] == {"counts": {"properties": added}}


def test_an_index_that_holds_something_else_is_left_alone() -> None:
    client, asked, _ = fake_client(
        play({AUDIT_INDEX: {"mappings": {"properties": {"sku": {"type": "keyword"}}}}})
    )
    done = write_audit(client, RECORD)
    assert done.documents == 0
    assert "holds something else" in str(done.warning)
    assert "--audit-index" in str(done.warning)
    assert [one.method for one in asked] == ["GET"]


def test_an_empty_data_stream_of_the_shop_is_used() -> None:
    backing = {".ds-es-xmodal-ingests-1": {"mappings": {"properties": {"@timestamp": {"type": "date"}}}}}
    client, asked, _ = fake_client(play(backing))
    assert write_audit(client, RECORD).warning is None
    put = json.loads(next(one.body for one in asked if "_mapping" in one.target))
    assert "@timestamp" not in put["properties"]
    assert put["properties"]["outcome"]["type"] == "keyword"


def test_a_field_of_another_type_is_named_with_both_types() -> None:
    properties = index_template("ingests")["mappings"]["properties"]
    properties["counts"]["properties"]["read"] = {"type": "keyword"}
    client, _, _ = fake_client(play(ours(properties=properties)))
    assert "counts: field read is keyword, not long" in str(write_audit(client, RECORD).warning)


def test_a_race_of_two_first_runs() -> None:
    taken = {"error": {"type": "resource_already_exists_exception", "reason": "index exists"}, "status": 400}
    found: list[Any] = [{}, ours()]

    def answer(asked: Asked) -> Answer:
        if asked.target.partition("?")[0].endswith("/_bulk"):
            return bulk_answer()
        if asked.method == "GET":
            return Answer(body=found.pop(0))
        return Answer(status=400, body=taken)

    client, _, _ = fake_client(answer)
    assert write_audit(client, RECORD).warning is None
    assert not found


def test_a_template_that_makes_data_streams() -> None:
    reason = "matches with template [x] that creates data streams only, use create data stream api instead"
    refused = {"error": {"type": "illegal_argument_exception", "reason": reason}, "status": 400}
    found: list[Any] = [{}, {".ds-1": {"mappings": {"properties": {"@timestamp": {"type": "date"}}}}}]
    seen: list[str] = []

    def answer(asked: Asked) -> Answer:
        seen.append(f"{asked.method} {asked.target.partition('?')[0]}")
        if asked.target.partition("?")[0].endswith("/_bulk"):
            return bulk_answer()
        if asked.method == "GET":
            return Answer(body=found.pop(0))
        stream = "_data_stream" in asked.target or "_mapping" in asked.target
        return Answer(body={"acknowledged": True}) if stream else Answer(status=400, body=refused)

    client, _, _ = fake_client(answer)
    assert write_audit(client, RECORD).warning is None
    assert f"PUT /_data_stream/{AUDIT_INDEX}" in seen


def test_what_was_written_before_a_retry_is_no_failure() -> None:
    conflict = {"type": "version_conflict_engine_exception", "reason": "exists", "status": 409}
    client, _, _ = fake_client(play(ours(), bulk_answer(conflict)))
    assert write_audit(client, RECORD).warning is None


@pytest.mark.parametrize(
    ("get", "says"),
    [
        (Answer(status=403, body={"error": {"type": "security_exception", "reason": "no"}}), "403"),
        (NoConnection("gone"), "no answer"),
    ],
)
def test_a_cluster_that_refuses_costs_a_warning(get: Any, says: str) -> None:
    client, _, _ = fake_client(script(get))
    done = write_audit(client, RECORD)
    assert done.documents == 0
    assert says in str(done.warning)
    assert str(done.warning).startswith("this run is not recorded in es-xmodal-ingests: ")
    assert "ES_XMODAL_AUDIT=false" in str(done.warning)


def test_a_document_that_is_refused_is_a_warning() -> None:
    strict = {"type": "strict_dynamic_mapping_exception", "reason": "[x] is not allowed", "status": 400}
    client, _, _ = fake_client(play(ours(), bulk_answer(strict)))
    done = write_audit(client, RECORD)
    assert "strict_dynamic_mapping_exception: [x] is not allowed" in str(done.warning)


def test_coverage_asks_for_what_the_index_has() -> None:
    answer = {
        "took": 1,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "hits": {"total": {"value": 4, "relation": "eq"}, "hits": []},
        "aggregations": {
            "picture": {"doc_count": 3},
            "vector": {"doc_count": 2},
            "text_vector": {"doc_count": 4},
        },
    }
    fields = {
        "images": "nested",
        "images.joint": "dense_vector",
        "fused_vector": "dense_vector",
        "text_vector": "dense_vector",
        "title": "text",
    }
    target = SimpleNamespace(index="shop", fields=fields, meta=SimpleNamespace(names=Fields(prefix="x.")))
    client, asked, _ = fake_client(script(Answer(body=answer)))
    counted = coverage_of(client, target)  # type: ignore[arg-type]
    assert counted == (4, {"picture": 0.75, "vector": 0.5, "text_vector": 1.0})
    filters = {name: one["filter"] for name, one in json.loads(asked[0].body)["aggs"].items()}
    exists = {"exists": {"field": "x.images.joint"}}
    nested = {"nested": {"path": "x.images", "query": exists}}
    assert filters["picture"] == {"nested": {"path": "x.images", "query": {"match_all": {}}}}
    assert filters["vector"] == {"bool": {"should": [nested, {"exists": {"field": "x.fused_vector"}}]}}
    assert filters["text_vector"] == {"exists": {"field": "x.text_vector"}}


def test_settings_and_options_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().audit_index == AUDIT_INDEX
    monkeypatch.setenv("ES_XMODAL_AUDIT_INDEX", "runs")
    monkeypatch.setenv("ES_XMODAL_AUDIT", "false")
    settings = load_settings()
    assert (settings.audit, settings.audit_index) == (False, "runs")
    said = CliRunner().invoke(ingest, ["--help"]).output
    assert "--no-audit" in said
    assert "--audit-index" in said
