from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from elastic_transport import ConnectionError, ConnectionTimeout, TlsError
from elasticsearch import Elasticsearch
from pydantic import SecretStr

from es_xmodal.cluster.capabilities import Capabilities, probe
from es_xmodal.cluster.client import connect, without_credentials
from es_xmodal.cluster.errors import cluster_errors, reason_of
from es_xmodal.cluster.search import MARGIN_S, msearch, search
from es_xmodal.cluster.transport import LONGEST_PAUSE_S, pause_s
from es_xmodal.errors import (
    ClusterAnswerError,
    ClusterError,
    ClusterRefusedError,
    ClusterUnreachableError,
    PartialAnswerError,
    SettingsError,
)
from tests.support.fake_node import Answer, Asked, Play, fake_client, script

pytestmark = pytest.mark.unit


@dataclass
class Connection:
    url: str | None = "http://127.0.0.1:9200"
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: Path | None = None
    verify_certs: bool = True
    timeout_s: float = 30.0
    patience_s: float = 300.0


def error(status: int, kind: str, reason: str, **more: Any) -> Answer:
    cause = {"type": kind, "reason": reason, **more}
    return Answer(status=status, body={"error": {"root_cause": [cause], **cause}, "status": status})


def ask(play: Play, **options: Any) -> ClusterError:
    """Send one request that fails and return the error of this package."""
    client, _, _ = fake_client(play, max_retries=0)
    with pytest.raises(ClusterError) as caught, cluster_errors(client, "looking"):
        client.options(**options).indices.get(index="x")
    assert "\n" not in str(caught.value)
    return caught.value


def headers_of(client: Elasticsearch) -> dict[str, str]:
    return dict(client._headers)


def node_of(client: Elasticsearch) -> str:
    return str(next(iter(client.transport.node_pool.all())).base_url)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://shop:9201", "http://shop:9201"),
        ("http://shop", "http://shop:9200"),
        ("https://shop", "https://shop:443"),
        ("https://shop/es/", "https://shop:443/es"),
        ("http://u:secret@shop:9200", "http://shop:9200"),
    ],
)
def test_address(url: str, base: str) -> None:
    assert node_of(connect(Connection(url=url))) == base


@pytest.mark.parametrize("url", [None, "", "shop:9200", "http://", "http://u:secret@shop:port", "ftp://shop"])
def test_address_that_is_none(url: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(Connection(url=url))
    assert "secret" not in str(caught.value)


def test_credentials_reach_the_client() -> None:
    with_key = connect(Connection(api_key=SecretStr("abc")))
    assert headers_of(with_key)["authorization"] == "ApiKey abc"
    with_name = connect(Connection(username="u", password=SecretStr("p")))
    assert headers_of(with_name)["authorization"].startswith("Basic ")


def test_missing_certificate_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ca_certs"):
        connect(Connection(url="https://shop", ca_certs=tmp_path / "none.pem"))


def test_without_credentials() -> None:
    assert without_credentials("https://u:p@ss@h:1/x@y") == "https://h:1/x@y"
    assert without_credentials("http://h:1") == "http://h:1"


def test_busy_server_is_asked_again_after_growing_pauses() -> None:
    busy = error(429, "es_rejected_execution_exception", "full")
    client, asked, pauses = fake_client(script(busy, busy, Answer(body={"ok": True})), max_retries=5)
    assert client.options().perform_request("GET", "/_x", headers={"accept": "application/json"}).body == {
        "ok": True
    }
    assert len(asked) == 3
    assert len(pauses) == 2
    assert 0.1 <= pauses[0] <= 0.2 <= pauses[1] <= 0.4


def test_retry_after_is_obeyed() -> None:
    busy = Answer(status=429, headers={"content-type": "application/json", "retry-after": "3"})
    client, _, pauses = fake_client(script(busy, Answer(body={})))
    client.perform_request("GET", "/_x", headers={"accept": "application/json"})
    assert pauses == [3.0]


def test_pauses_are_bounded() -> None:
    assert max(pause_s(attempt) for attempt in range(2000)) <= LONGEST_PAUSE_S
    assert pause_s(0, retry_after="86400") == LONGEST_PAUSE_S
    assert pause_s(0, retry_after="soon") <= 0.2


def test_refused_connection_is_tried_again_and_a_broken_certificate_is_not() -> None:
    client, asked, _ = fake_client(script(ConnectionError("refused")), max_retries=3)
    with pytest.raises(ClusterUnreachableError), cluster_errors(client, "x"):
        client.perform_request("GET", "/", headers={"accept": "application/json"})
    assert len(asked) == 4
    client, asked, _ = fake_client(script(TlsError("certificate verify failed")), max_retries=3)
    with pytest.raises(ClusterUnreachableError), cluster_errors(client, "x"):
        client.perform_request("GET", "/", headers={"accept": "application/json"})
    assert len(asked) == 1


def test_timeouts_are_tried_again_only_on_request() -> None:
    client, asked, _ = fake_client(script(ConnectionTimeout("slow")), max_retries=2)
    with pytest.raises(ClusterUnreachableError, match="in time"), cluster_errors(client, "x"):
        client.perform_request("GET", "/", headers={"accept": "application/json"})
    assert len(asked) == 1
    with pytest.raises(ClusterUnreachableError), cluster_errors(client, "x"):
        client.options(retry_on_timeout=True).perform_request(
            "GET", "/", headers={"accept": "application/json"}
        )
    assert len(asked) == 1 + 3


def test_401_and_403_are_worded_differently() -> None:
    no_login = ask(script(error(401, "security_exception", "missing authentication credentials")))
    assert isinstance(no_login, ClusterRefusedError)
    assert "does not accept these credentials" in str(no_login)
    reason = (
        "action [indices:admin/create] is unauthorized for user [u] with effective roles [r] on indices"
        " [products-v0001], this action is granted by the index privileges [create_index,manage,all]"
    )
    no_right = ask(script(error(403, "security_exception", reason)))
    assert isinstance(no_right, ClusterRefusedError)
    assert no_right.hint == (
        "the missing index privilege on products-v0001 is one of: create_index, manage, all"
    )


def test_licence_and_read_only_refusals_keep_their_reason() -> None:
    licence = ask(script(error(403, "security_exception", "current license is non-compliant for [rrf]")))
    assert isinstance(licence, ClusterRefusedError)
    assert "non-compliant" in str(licence)
    block = ask(script(error(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/write]")))
    assert isinstance(block, ClusterRefusedError)
    assert "FORBIDDEN/8" in str(block)


def test_other_answers_name_type_and_reason() -> None:
    bad = ask(script(error(400, "illegal_argument_exception", "no\nsuch\x1b[31m thing")))
    assert isinstance(bad, ClusterAnswerError)
    assert "400: illegal_argument_exception: no such [31m thing" in str(bad)
    assert "\x1b" not in str(bad)
    assert bad.__cause__ is not None


def test_what_is_no_elasticsearch() -> None:
    page = Answer(body=b"<html>", headers={"content-type": "text/html"})
    assert "not an Elasticsearch" in str(ask(script(page)))
    other = Answer(body={"ok": True}, headers={"content-type": "application/json"})
    assert "not an Elasticsearch" in str(ask(script(other)))
    garbage = Answer(body=b"{", headers={"content-type": "application/json"})
    assert "not an Elasticsearch" in str(ask(script(garbage)))


def test_deepest_cause_is_named() -> None:
    nested = {
        "type": "document_parsing_exception",
        "reason": "failed to parse",
        "caused_by": {"type": "a", "reason": "b", "caused_by": {"type": "c", "reason": "the real one"}},
    }
    assert reason_of({"error": nested}) == "document_parsing_exception: failed to parse <- the real one"
    assert reason_of("plain") == "plain"
    assert len(reason_of({"type": "t", "reason": "x" * 5000})) <= 400


def whole(**more: Any) -> dict[str, Any]:
    return {"timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": []}, **more}


def test_search_sends_timeout_and_type() -> None:
    client, asked, _ = fake_client(script(Answer(body=whole())))
    search(client, "products", {"size": 1}, params={"search_type": "dfs_query_then_fetch"}, timeout_s=1.5)
    assert asked[0].target == "/products/_search?search_type=dfs_query_then_fetch"
    assert orjson.loads(asked[0].body) == {"timeout": "1500ms", "size": 1}


def test_each_client_waits_as_long_as_each_search_says_and_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    options = Elasticsearch.options

    def counted(self: Elasticsearch, **given: Any) -> Elasticsearch:
        made.append(given["request_timeout"])
        return options(self, **given)

    monkeypatch.setattr(Elasticsearch, "options", counted)
    both = [fake_client(script(Answer(body=whole()))) for _ in range(2)]
    for client, asked, _ in both:
        for timeout_s in (1.5, 4.0, 1.5):
            search(client, "products", {}, timeout_s=timeout_s)
        assert [one.timeout_s for one in asked] == [1.5 + MARGIN_S, 4 + MARGIN_S, 1.5 + MARGIN_S]
    assert made == [1.5 + MARGIN_S, 4 + MARGIN_S] * 2  # what was made once is kept, for its client alone


def test_msearch_sends_every_body_in_order() -> None:
    client, asked, _ = fake_client(script(Answer(body={"responses": [whole(took=1), whole(took=2)]})))
    answers = msearch(client, "products", [{"size": 1}, {"size": 2}], timeout_s=2)
    assert [answer["took"] for answer in answers] == [1, 2]
    header = {"index": "products", "search_type": "dfs_query_then_fetch"}
    assert asked[0].lines() == [
        header,
        {"timeout": "2000ms", "size": 1},
        header,
        {"timeout": "2000ms", "size": 2},
    ]
    assert msearch(client, "products", [], timeout_s=1) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": {"type": "x", "reason": "y"}, "status": 400}, ClusterAnswerError),
        (whole(timed_out=True), PartialAnswerError),
        (
            whole(_shards={"total": 2, "failed": 1, "failures": [{"reason": {"type": "a", "reason": "b"}}]}),
            PartialAnswerError,
        ),
        (whole(_shards={"total": 2, "failed": 1}), PartialAnswerError),
    ],
)
def test_incomplete_answers_are_errors(answer: dict[str, Any], kind: type[Exception]) -> None:
    client, _, _ = fake_client(script(Answer(body={"responses": [whole(), answer]})))
    with pytest.raises(kind):
        msearch(client, "products", [{}, {}], timeout_s=1)
    client, _, _ = fake_client(script(Answer(body=answer)))
    with pytest.raises(kind):
        search(client, "products", {}, timeout_s=1)


def test_lost_answers_are_an_error() -> None:
    client, _, _ = fake_client(script(Answer(body={"responses": [whole()]})))
    with pytest.raises(ClusterAnswerError, match="2 searches, 1 answers"):
        msearch(client, "products", [{}, {}], timeout_s=1)


def cluster(version: str, licence: Answer, nodes: Answer | None = None) -> Play:
    def play(asked: Asked) -> Answer:
        if asked.target.startswith("/_nodes"):
            return nodes or Answer(body={"nodes": {"a": {"version": version}}})
        if asked.target.startswith("/_license"):
            return licence
        return Answer(body={"version": {"number": version}})

    return play


def test_capabilities() -> None:
    trial = Answer(body={"license": {"type": "trial", "status": "active"}})
    client, _, _ = fake_client(cluster("9.5.3-SNAPSHOT", trial))
    assert probe(client) == Capabilities(version=(9, 5, 3), license="trial", license_status="active")
    assert probe(client).base64_vectors
    assert probe(client).retrievers
    none = error(400, "invalid_index_name_exception", "Invalid index name [_license]")
    client, _, _ = fake_client(cluster("8.19.21", none))
    assert probe(client) == Capabilities(version=(8, 19, 21), license_status="absent")
    assert not probe(client).base64_vectors
    assert not probe(client).retrievers


def test_version_without_the_nodes_api() -> None:
    gone = error(410, "api_not_available_exception", "not here")
    client, _, _ = fake_client(cluster("8.17.0", Answer(status=404), nodes=gone))
    assert probe(client).version == (8, 17, 0)


def test_expired_licence_counts_as_none() -> None:
    expired = Answer(body={"license": {"type": "enterprise", "status": "expired"}})
    client, _, _ = fake_client(cluster("9.0.0", expired))
    assert not probe(client).retrievers


def test_too_old_a_server() -> None:
    client, _, _ = fake_client(cluster("8.14.3", Answer(status=404)))
    with pytest.raises(ClusterAnswerError, match=r"8\.14\.3; 8\.15\.0"):
        probe(client)
