"""What a cluster can do, asked of nodes with every licence and with every right missing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from es_xmodal.cluster.capabilities import (
    ANALYZERS,
    Capabilities,
    is_retriever_refusal,
    probe,
    remember_refusal,
    survey,
)
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import search
from es_xmodal.errors import ClusterAnswerError, ClusterError, ClusterUnreachableError
from tests.support.fake_node import Answer, Asked, Play, fake_client, script

pytestmark = pytest.mark.unit

PAINLESS = {
    "types_allowed": ["inline", "stored"],
    "language_contexts": [{"language": "painless", "contexts": ["score"]}],
}


def refuse(status: int, reason: str = "no", kind: str = "security_exception") -> Answer:
    cause = {"type": kind, "reason": reason}
    return Answer(status=status, body={"error": {"root_cause": [cause], **cause}, "status": status})


def cluster(
    *,
    versions: tuple[str, ...] = ("9.5.3",),
    licence: Answer | str = "basic",
    scripts: Answer | None = None,
    analyzers: Answer | tuple[str, ...] = ANALYZERS,
    nodes: Answer | None = None,
) -> Play:
    """A whole cluster; each part may be made to answer something else."""

    def play(asked: Asked) -> Answer:
        if asked.target.startswith("/_nodes/_local"):
            return Answer(body={"nodes": {"n0": {"version": versions[0]}}})
        if asked.target.startswith("/_nodes"):
            found = {
                f"n{i}": {"version": one, "roles": ["data_hot"] if i else ["master"]}
                for i, one in enumerate(versions)
            }
            return nodes or Answer(body={"nodes": found})
        if asked.target.startswith("/_license"):
            if isinstance(licence, Answer):
                return licence
            return Answer(body={"license": {"type": licence, "status": "active"}})
        if asked.target.startswith("/_script_language"):
            return scripts or Answer(body=PAINLESS)
        if asked.target.startswith("/_analyze"):
            if isinstance(analyzers, Answer):
                return analyzers
            known = orjson.loads(asked.body)["analyzer"] in analyzers
            return Answer(body={"tokens": []}) if known else refuse(400, "failed to find global analyzer")
        return refuse(404)

    return play


def surveyed(**parts: Any) -> Capabilities:
    return survey(fake_client(cluster(**parts))[0])


def test_everything_is_there() -> None:
    found = surveyed(licence="enterprise", versions=("9.5.3", "9.5.3", "9.5.3"))
    assert found.to_json() == {
        "version": "9.5.3",
        "license": {"type": "enterprise", "status": "active"},
        "nodes": 3,
        "data_nodes": 2,
        "scripts": True,
        "analyzers": sorted(ANALYZERS),
        "base64_vectors": True,
        "rescore_vector": True,
        "retrievers": {"rrf": True, "linear": True},
        "refused": [],
    }


def test_a_cluster_is_asked_once_for_each_client() -> None:
    client, asked, _ = fake_client(cluster(nodes=refuse(403), analyzers=refuse(403), scripts=refuse(403)))
    probe(client)
    assert len(asked) == 2
    first = survey(client)
    count = len(asked)
    assert survey(client.options(request_timeout=3)) == first == probe(client)
    assert len(asked) == count
    other, asked_there, _ = fake_client(cluster(versions=("8.19.21",)))
    assert probe(other).version == (8, 19, 21)
    assert asked_there


def test_an_unreachable_cluster_is_asked_again() -> None:
    from elastic_transport import ConnectionError

    answers = script(ConnectionError("refused"), Answer(body={"nodes": {"a": {"version": "9.5.3"}}}))
    client, _, _ = fake_client(answers, max_retries=0)
    with pytest.raises(ClusterUnreachableError):
        survey(client)
    assert probe(client).version == (9, 5, 3)


@pytest.mark.parametrize(
    ("licence", "version", "rrf", "linear"),
    [
        ("trial", "9.5.3", True, True),
        ("enterprise", "8.18.0", True, True),
        ("enterprise", "8.17.9", True, False),
        ("enterprise", "8.15.0", False, False),
        ("basic", "9.5.3", False, False),
        ("platinum", "9.5.3", False, False),
        (Answer(body={"license": {"type": "trial", "status": "expired"}}), "9.5.3", False, False),
        (refuse(400, "Invalid index name [_license]"), "9.5.3", False, False),
        (refuse(403), "9.5.3", None, None),
        (refuse(403), "8.17.0", None, False),
    ],
)
def test_retrievers_by_licence_and_version(
    licence: Answer | str, version: str, rrf: bool | None, linear: bool | None
) -> None:
    found = probe(fake_client(cluster(licence=licence, versions=(version,)))[0])
    assert (found.allows("rrf"), found.allows("linear")) == (rrf, linear)
    assert found.retrievers is (rrf is True)
    assert found.allows("of_no_such_name") is False


def test_a_refused_retriever_is_remembered_for_its_client_only() -> None:
    client, asked, _ = fake_client(cluster(licence=refuse(403)))
    other, _, _ = fake_client(cluster(licence=refuse(403)))
    assert remember_refusal(client, "rrf").allows("rrf") is False
    assert probe(client).allows("linear") is None
    assert survey(client).refused == {"rrf"}
    assert remember_refusal(client.options(request_timeout=1), "linear").refused == {"rrf", "linear"}
    assert probe(other).allows("rrf") is None
    assert sum("_license" in one.target for one in asked) == 1


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        (refuse(403, "current license is non-compliant for [Reciprocal Rank Fusion (RRF)]"), True),
        (refuse(400, "unknown retriever [linear]", "parsing_exception"), True),
        (refuse(403, "action [indices:data/read/search] is unauthorized for user [x]"), False),
        (refuse(400, "[rank_window_size] must be greater than 0", "parsing_exception"), False),
    ],
)
def test_which_errors_mean_that_a_retriever_is_refused(answer: Answer, is_refusal: bool) -> None:
    client, _, _ = fake_client(script(answer), max_retries=0)
    with pytest.raises(ClusterError) as caught:
        search(client, "shop", {}, timeout_s=1)
    assert is_retriever_refusal(caught.value) is is_refusal


def test_what_may_not_be_asked_is_not_known() -> None:
    found = surveyed(
        licence=refuse(403), scripts=refuse(403), analyzers=refuse(403), nodes=refuse(403)
    ).to_json()
    assert {name for name, value in found.items() if value is None} == {
        "nodes",
        "data_nodes",
        "scripts",
        "analyzers",
    }
    assert found["license"] == {"type": None, "status": None}


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (Answer(body=PAINLESS), True),
        (Answer(body={**PAINLESS, "types_allowed": ["stored"]}), False),
        (Answer(body={**PAINLESS, "language_contexts": []}), False),
        (refuse(410, "not here"), False),
        (refuse(403), None),
    ],
)
def test_scripts(answer: Answer, there: bool | None) -> None:
    assert surveyed(scripts=answer).scripts is there


def test_analyzers_that_are_there() -> None:
    assert surveyed(analyzers=("standard", "whitespace")).analyzers == frozenset({"standard", "whitespace"})


def test_the_survey_changes_nothing_on_the_server() -> None:
    client, asked, _ = fake_client(cluster())
    survey(client)
    assert {one.method for one in asked} <= {"GET", "POST"}
    assert {one.target.split("?")[0] for one in asked if one.method == "POST"} == {"/_analyze"}


def test_the_oldest_node_of_a_mixed_cluster_counts() -> None:
    found = surveyed(versions=("9.5.3", "8.17.2", "9.5.3"))
    assert (found.version, found.nodes) == ((8, 17, 2), 3)
    assert not found.rescore_vector
    with pytest.raises(ClusterAnswerError, match=r"8\.14\.0"):
        surveyed(versions=("9.5.3", "8.14.0"))


def test_wrong_credentials_are_an_error_not_a_missing_ability() -> None:
    client, _, _ = fake_client(cluster(scripts=refuse(401)))
    with pytest.raises(ClusterError, match="credentials"), cluster_errors(client, "x"):
        survey(client)
