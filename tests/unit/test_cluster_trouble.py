"""Refusals of a real server, as it words them (`tests/recorded/refusals.json`), and what is made of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from elastic_transport import ConnectionError, ConnectionTimeout

from es_xmodal.cluster.client import connect
from es_xmodal.cluster.errors import address, cluster_errors, refusal
from es_xmodal.cluster.search import check_answer
from es_xmodal.cluster.transport import LONGEST_PAUSE_S, Patience, patient, pause_s
from es_xmodal.cluster.trouble import clash_of, passes, remedy_of
from es_xmodal.errors import ClusterRefusedError, ClusterUnreachableError, SettingsError
from es_xmodal.settings import load_settings
from tests.support.fake_node import Answer, fake_client

pytestmark = pytest.mark.unit

RECORDED: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "recorded/refusals.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", RECORDED["clashes"], ids=lambda case: case["field"] or "other")
def test_a_clash_names_the_field_and_both_types(case: dict[str, Any]) -> None:
    clash = clash_of(case["error"], orjson.dumps(case["document"]))
    assert (clash.field if clash else None, clash.reason if clash else "") == (case["field"], case["says"])


def test_a_clash_without_the_document_names_what_the_index_has() -> None:
    error = RECORDED["clashes"][0]["error"]
    for body in (b"", b"{}"):
        clash = clash_of(error, body)
        assert clash is not None
        assert clash.reason == "mapping_clash: price is double in the index, and the row has something else"
    assert (
        clash_of({"type": "version_conflict_engine_exception", "reason": "field [a] of type [b]"}, b"{}")
        is None
    )


@pytest.mark.parametrize("case", RECORDED["privileges"], ids=lambda case: case["doing"])
def test_a_missing_privilege_is_named(case: dict[str, Any]) -> None:
    client, _, _ = fake_client(
        lambda asked: Answer(status=403, body={"error": {"root_cause": [case["error"]], **case["error"]}})
    )
    with pytest.raises(ClusterRefusedError) as caught, cluster_errors(client, case["doing"]):
        client.indices.get(index="shop")
    assert caught.value.hint == case["says"]
    assert caught.value.exit_code == 3
    item = refusal(client, case["doing"], case["error"], 403)
    assert (type(item), item.hint) == (ClusterRefusedError, case["says"])
    with pytest.raises(ClusterRefusedError) as caught:  # one of several searches
        check_answer({"error": case["error"], "status": 403}, index="shop")
    assert caught.value.hint == case["says"]


@pytest.mark.parametrize("case", RECORDED["blocks"], ids=lambda case: case["reason"][:60])
def test_a_block_comes_with_its_remedy(case: dict[str, Any]) -> None:
    error = {"type": "cluster_block_exception", "reason": case["reason"]}
    client, _, _ = fake_client(
        lambda asked: Answer(status=case["status"], body={"error": {"root_cause": [error], **error}})
    )
    with pytest.raises(ClusterRefusedError) as caught, cluster_errors(client, "creating index shop-v0001"):
        client.options(max_retries=0).indices.get(index="shop")
    assert case["says"] in caught.value.hint
    assert "run the same command again" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_no_block_has_no_remedy() -> None:
    assert remedy_of("[FORBIDDEN/99/something new];") is None


def test_what_passes_by_itself() -> None:
    assert passes(429, "")
    assert passes(503, "unavailable_shards_exception")
    assert passes(500, "node_closed_exception")
    assert not passes(400, "document_parsing_exception")
    assert not passes(500, "null_pointer_exception")


def test_a_patient_client_waits_for_seconds_not_for_attempts() -> None:
    troubles: list[Any] = [ConnectionError("refused"), ConnectionTimeout("slow"), Answer(status=503)] * 5
    client, asked, pauses = fake_client(lambda one: troubles.pop() if troubles else Answer(body={"ok": True}))
    assert patient(client).indices.get(index="x").body == {"ok": True}
    assert len(asked) == 16
    assert len(pauses) == 15
    client, asked, pauses = fake_client(lambda one: ConnectionError("refused"))
    client.transport.patience_s = 20.0  # type: ignore[attr-defined]
    with pytest.raises(ClusterUnreachableError), cluster_errors(client, "looking"):
        patient(client).indices.get(index="x")
    assert 20 <= sum(pauses) <= 20 + LONGEST_PAUSE_S


def test_a_patient_client_waits_as_long_as_it_is_asked_to() -> None:
    answers = [
        Answer(status=429, headers={"content-type": "application/json", "retry-after": "47"}),
        Answer(),
    ]
    client, _, pauses = fake_client(lambda one: answers.pop(0))
    patient(client).indices.get(index="x")
    assert pauses == [47.0]


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=5), usegmt=True)
    assert 3.0 < pause_s(0, retry_after=soon) <= 5.0
    assert pause_s(0, retry_after="Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert pause_s(0, retry_after="Wed, 21 Oct 2015 07:28:00 -0000") == 0.0


def test_patience_counts_time_and_pauses() -> None:
    patience = Patience(10.0)
    assert 9.0 < patience.left_s <= 10.0
    patience.pause(4.0, lambda seconds: None)
    assert patience.left_s == pytest.approx(6.0)
    patience.pause(7.0, lambda seconds: None)
    assert patience.left_s == 0.0


def test_several_nodes_are_one_cluster() -> None:
    settings = load_settings(url=" http://a:9200/, http://u:secret@b ,", patience_s=7)
    client = connect(settings)
    assert address(client) == "http://a:9200, http://b:9200"
    assert client.transport.patience_s == 7.0  # type: ignore[attr-defined]
    client.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://a,https://b", "write all of them alike"),
        ("http://a,b:9200", "'b:9200' is not an address"),
        ("http://a,http://u:secret@b:port", "is not an address"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        connect(load_settings(url=url))
    assert "secret" not in str(caught.value)


def test_a_node_that_does_not_answer_is_left_alone_for_a_while() -> None:
    client = connect(load_settings(url="http://127.0.0.1:1,http://127.0.0.1:2"))
    hosts: list[int] = []
    for node in client.transport.node_pool.all():

        def perform(*args: Any, port: int = node.port, **rest: Any) -> Any:
            hosts.append(port)
            raise ConnectionError("refused")

        node.perform_request = perform  # type: ignore[method-assign]
    client.transport.sleep = lambda seconds: None  # type: ignore[attr-defined]
    with pytest.raises(ClusterUnreachableError), cluster_errors(client, "looking"):
        client.indices.get(index="x")
    client.close()
    assert len(hosts) == 3
    assert set(hosts) == {1, 2}, "not the same node again and again"
