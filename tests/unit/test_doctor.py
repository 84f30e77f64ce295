"""The doctor as a whole, against a played cluster: missing rights, several indices, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cli.main import root, run
from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.errors import ClusterUnreachableError, EncoderSpecError, IndexMissingError, SettingsError
from es_xmodal.index.doctor import Asked as Compared
from es_xmodal.index.doctor import diagnose_cluster, diagnose_index
from tests.support.bodies import FOREIGN, OURS, changed
from tests.support.encoders import HashEncoder
from tests.support.fake_node import Answer, Asked, fake_client

pytestmark = pytest.mark.unit

LICENCE = {"license": {"type": "enterprise", "status": "active"}}
SCRIPTS = {"types_allowed": ["inline"], "language_contexts": [{"language": "painless"}]}
DISK = {
    "defaults": {
        "cluster": {"routing": {"allocation": {"disk": {"watermark": {"low": "85%", "high": "90%"}}}}}
    }
}
FS = {"n0": {"name": "one", "fs": {"total": {"total_in_bytes": 100, "available_in_bytes": 50}}}}
Bodies = dict[str, dict[str, Any]]
Refused = tuple[str, ...]


def shop(
    bodies: Bodies, *, count: int = 5, failed: int = 0, refused: Refused = (), fs: dict[str, Any] = FS
) -> Callable[[Asked], Answer]:
    """A cluster of two nodes with these indices; it refuses targets that start so."""
    nodes = {f"n{i}": {"version": "9.5.3", "roles": ["data"]} for i in range(2)}
    answers: list[tuple[str, Any]] = [
        (r"/_nodes/_local", {"nodes": {"n0": nodes["n0"]}}),
        (r"/_nodes/stats/fs", {"nodes": fs}),
        (r"/_nodes", {"nodes": nodes}),
        (r"/_license", LICENCE),
        (r"/_script_language", SCRIPTS),
        (r"/_analyze", {"tokens": []}),
        (r"/_cluster/settings", DISK),
        (r"/_cluster/health", {"status": "green", "unassigned_shards": 0}),
        (r"/[^/]+/_stats", {"_all": {"primaries": {"docs": {"count": 5}, "segments": {"count": 1}}}}),
        (r"/[^/]+/_count", {"count": count, "_shards": {"total": 1, "failed": failed}}),
        (r"/shop-v0001", {"shop-v0001": bodies.get("shop-v0001")}),
        (r"/shop", bodies),
    ]

    def play(asked: Asked) -> Answer:
        if asked.target.startswith(refused or ("no such",)):
            cause = {"type": "security_exception", "reason": "unauthorized"}
            return Answer(status=403, body={"error": {"root_cause": [cause], **cause}, "status": 403})
        body = next((body for pattern, body in answers if re.match(pattern, asked.target)), None)
        return Answer(status=404 if body is None else 200, body=body or {})

    return play


def client_for(*bodies: tuple[str, dict[str, Any]], **parts: Any) -> Elasticsearch:
    client, _, _ = fake_client(shop(dict(bodies), **parts), max_retries=0)
    return client


def compared(encoder_for: Callable[[str], EncoderInfo] | None = None, **changes: Any) -> Compared:
    values: dict[str, Any] = {"text": "text-0000000000000001", "window": 100, **changes}
    return Compared(encoder_for=encoder_for or (lambda spec: HashEncoder().info), **values)


def codes(client: Elasticsearch, asked: Compared | None = None) -> list[str]:
    found = diagnose_index(client, "shop", asked or compared())
    return [one.code for one in found if one.severity != "ok"]


def test_a_healthy_shop() -> None:
    client = client_for(("shop-v0001", OURS))
    assert not codes(client)
    assert not [one for one in diagnose_cluster(client) if one.severity != "ok"]


def test_nothing_is_changed() -> None:
    client, asked, _ = fake_client(shop({"shop-v0001": OURS}))
    diagnose_cluster(client)
    diagnose_index(client, "shop", compared())
    writes = [one for one in asked if one.method not in ("GET", "HEAD")]
    assert {one.target.split("?")[0].rpartition("/")[2] for one in writes} <= {"_analyze", "_count"}


def test_an_alias_of_several_indices_is_looked_at_index_by_index() -> None:
    second = changed(OURS, "settings/index/refresh_interval", "-1")
    client = client_for(("shop-v0001", OURS), ("shop-v0002", changed(second, "mappings/_meta", {})))
    found = diagnose_index(client, "shop", compared())
    bad = [(one.code, one.about) for one in found if one.severity in ("warning", "error")]
    assert bad == [("alias-several", "shop"), ("refresh-off", "shop-v0002")]


def test_fingerprints_and_coverage() -> None:
    client = client_for(("shop-v0001", OURS), count=0)
    other = compared(lambda spec: HashEncoder(fingerprint="hash-2").info, text="text-2")
    assert codes(client, other) == ["encoder-mismatch", "tokeniser-mismatch", "empty"]


def test_an_encoder_that_is_not_here() -> None:
    def gone(spec: str) -> EncoderInfo:
        raise EncoderSpecError(f"no encoder is called {spec}")

    assert codes(client_for(("shop-v0001", OURS)), compared(gone)) == ["encoder-missing"]


def test_a_damaged_or_later_format_is_said_and_the_rest_still_looked_at() -> None:
    body = changed(
        changed(OURS, "mappings/_meta/es_xmodal/format", 99), "settings/index/max_result_window", "5"
    )
    assert codes(client_for(("shop-v0001", body))) == ["unreadable", "result-window"]


def test_a_foreign_index_gets_hints() -> None:
    assert codes(client_for(("shop", FOREIGN))) == ["foreign", "fields"]


def test_what_may_not_be_asked_is_a_note() -> None:
    refused = ("/_nodes/stats", "/_cluster", "/_script_language", "/shop-v0001/_stats")
    client = client_for(("shop-v0001", OURS), refused=refused)
    assert codes(client) == ["not-asked", "not-asked"]
    about = [one.about for one in diagnose_cluster(client) if one.code == "not-asked"]
    assert about == ["scripts", "disk"]


def test_a_red_index_is_told_apart_from_a_small_one() -> None:
    assert codes(client_for(("shop-v0001", OURS), failed=1)) == ["not-counted"]


def test_no_such_index() -> None:
    with pytest.raises(IndexMissingError):
        diagnose_index(client_for(), "shop", compared())
    with pytest.raises(SettingsError):
        diagnose_index(client_for(), "Shop,*", compared())


def test_no_cluster() -> None:
    from elastic_transport import ConnectionError

    client, _, _ = fake_client(lambda asked: ConnectionError("refused"), max_retries=0)
    with pytest.raises(ClusterUnreachableError):
        diagnose_cluster(client)


@pytest.mark.parametrize(
    ("body", "free", "code", "verdict"),
    [
        (OURS, 50, 0, "ok"),
        (changed(OURS, "settings/index/number_of_shards", "2"), 50, 0, "note"),
        (changed(OURS, "settings/index/refresh_interval", "-1"), 50, 1, "warning"),
        (OURS, 12, 1, "warning"),
        (OURS, 5, 1, "error"),
    ],
)
def test_the_command_says_the_worst(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    body: Any,
    free: int,
    code: int,
    verdict: str,
) -> None:
    fs = {"n0": {"name": "one", "fs": {"total": {"total_in_bytes": 100, "available_in_bytes": free}}}}
    mine = changed(body, "mappings/_meta/es_xmodal/text/fingerprint", _own_text_fingerprint())
    play = shop({"shop-v0001": mine}, fs=fs)
    monkeypatch.setattr("es_xmodal.cluster.client.connect", lambda settings: fake_client(play)[0])
    monkeypatch.setattr("es_xmodal.app.load_encoder", lambda spec, options: HashEncoder())
    args = ["doctor", "--index", "shop", "--url", "http://shop.example:9200"]
    assert run(root, [*args, "--json"]) == code
    printed = orjson.loads(capfd.readouterr().out)
    assert (printed["worst"], printed["index"]) == (verdict, "shop")
    assert printed["capabilities"]["license"] == {"type": "enterprise", "status": "active"}
    assert {"code", "severity", "about", "detail", "costs", "fix"} == set(printed["findings"][0])
    assert run(root, args) == code
    told = capfd.readouterr().out
    bad = [one for one in [*printed["cluster"], *printed["findings"]] if one["severity"] != "ok"]
    assert all(one["code"] in told and "→" in told for one in bad)
    assert bool(bad) == (verdict != "ok")


def _own_text_fingerprint() -> str:
    from es_xmodal.app import make_analyzer
    from es_xmodal.settings import load_settings

    return make_analyzer(load_settings()).fingerprint
