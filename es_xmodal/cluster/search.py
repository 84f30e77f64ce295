"""Searches whose answers are checked: an answer that lacks hits is an error, never just fewer hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors, reason_of, refusal
from es_xmodal.errors import ClusterAnswerError, PartialAnswerError

_GONE = ("search_context_missing_exception", "no_shard_available_action_exception")
MARGIN_S = 2.0
"""How much longer than the server the client waits, so that it hears the server's own `timed_out`."""
_WAITING: Final[WeakKeyDictionary[Elasticsearch, dict[float, Elasticsearch]]] = WeakKeyDictionary()


def msearch(
    client: Elasticsearch,
    index: str | None,
    bodies: Sequence[Mapping[str, Any]],
    *,
    search_type: str | None = "dfs_query_then_fetch",
    timeout_s: float,
) -> list[dict[str, Any]]:
    """Send several searches in one request and check every answer.

    Args:
        client: see `connect`.
        index: index or alias of all of them; None where each body carries a point in time.
        bodies: the searches.
        search_type: `dfs_query_then_fetch` makes BM25 the same on every shard; None: the server's own.
        timeout_s: seconds that one search may take.

    Returns:
        One answer for each body, in order.

    Raises:
        PartialAnswerError: some shards failed, or a search ran out of time.
        ClusterError: anything else that keeps an answer away.
    """
    if not bodies:
        return []
    header = {name: value for name, value in (("index", index), ("search_type", search_type)) if value}
    lines: list[Mapping[str, Any]] = []
    for body in bodies:
        lines += [header, {"timeout": _milliseconds(timeout_s), **body}]
    with cluster_errors(client, _doing(index)):
        answers = _waiting(client, timeout_s).msearch(searches=lines).body["responses"]
    if len(answers) != len(bodies):
        raise ClusterAnswerError(f"{_doing(index)}: {len(bodies)} searches, {len(answers)} answers")
    for answer in answers:
        check_answer(answer, index=index)
    return list(answers)


def search(
    client: Elasticsearch,
    index: str | None,
    body: Mapping[str, Any],
    *,
    params: Mapping[str, str] | None = None,
    timeout_s: float,
) -> dict[str, Any]:
    """Send one search and check its answer.

    Args:
        client: see `connect`.
        index: index or alias; None where the body carries a point in time.
        body: the search.
        params: URL parameters, such as `search_type`.
        timeout_s: seconds that it may take.

    Returns:
        The answer.

    Raises:
        PartialAnswerError: some shards failed, or it ran out of time.
        ClusterError: anything else that keeps the answer away.
    """
    path = f"/{quote(index, safe=',')}/_search" if index else "/_search"
    with cluster_errors(client, _doing(index)):
        # The generic call takes any body; the generated `search` knows only the fields of its own version.
        answer = _waiting(client, timeout_s).perform_request(
            "POST",
            path,
            params=dict(params or {}),
            headers={"accept": "application/json", "content-type": "application/json"},
            body={"timeout": _milliseconds(timeout_s), **body},
        )
    found: dict[str, Any] = answer.body
    check_answer(found, index=index)
    return found


def open_point(client: Elasticsearch, index: str, *, keep_s: int, shard: int | None = None) -> str:
    """Open a point in time: the index as it is now, whatever is written afterwards.

    Args:
        client: see `connect`.
        index: index or alias.
        keep_s: seconds that the server keeps it after the last search on it.
        shard: this shard alone; None: all.

    Returns:
        Its id.

    Raises:
        ClusterError: the server does not open it.
    """
    preference = None if shard is None else f"_shards:{shard}"
    with cluster_errors(client, f"opening a point in time of {index}"):
        answer = client.open_point_in_time(index=index, keep_alive=f"{keep_s}s", preference=preference)
        return str(answer.body["id"])


def close_point(client: Elasticsearch, point: str) -> None:
    """Close a point in time.

    Args:
        client: see `connect`.
        point: its id.

    Raises:
        ClusterError: the server does not close it, or has closed it already.
    """
    with cluster_errors(client, "closing a point in time"):
        client.close_point_in_time(id=point)


def point_is_gone(error: ClusterAnswerError) -> bool:
    """Whether a search on a point in time failed because it was closed, has expired, or lost its index.

    Args:
        error: what the search raised.
    """
    return any(sign in error.message for sign in _GONE)


def refusal_of_query(client: Elasticsearch, index: str, query: Mapping[str, Any]) -> str | None:
    """Ask why a query is not valid Query DSL.

    Args:
        client: see `connect`.
        index: index or alias.
        query: one query clause.

    Returns:
        The reason in one line; None where the server finds nothing wrong with it.

    Raises:
        ClusterError: the server cannot be asked.
    """
    with cluster_errors(client, f"validating a query on {index}"):
        answer = client.indices.validate_query(index=index, query=dict(query), explain=True).body
    if answer.get("valid"):
        return None
    reasons = [answer.get("error"), *(one.get("error") for one in answer.get("explanations", ()))]
    return str(next((reason for reason in reasons if reason), "no reason given"))


def check_answer(answer: Mapping[str, Any], *, index: str | None) -> None:
    """Check that one answer is whole.

    Args:
        answer: answer of one search, also as an item of a multi-search.
        index: where it was sent, for the error.

    Raises:
        ClusterAnswerError: it is an error.
        PartialAnswerError: some shards failed, or it ran out of time.
    """
    if "error" in answer:
        if answer.get("status") in (401, 403, 429, 503):
            raise refusal(None, _doing(index), answer["error"], answer["status"])
        raise ClusterAnswerError(f"{_doing(index)}: {reason_of(answer)}")
    shards = answer.get("_shards", {})
    failed = int(shards.get("failed", 0))
    if failed:
        failures = shards.get("failures") or [{}]
        why = reason_of(failures[0].get("reason", "no reason given"))
        raise PartialAnswerError(f"{_doing(index)}: {failed} of {shards.get('total')} shards failed: {why}")
    if answer.get("timed_out"):
        raise PartialAnswerError(
            f"{_doing(index)}: the search ran out of time, so hits would be missing",
            hint="allow more seconds with ES_XMODAL_TIMEOUT_S",
        )


def _waiting(client: Elasticsearch, timeout_s: float) -> Elasticsearch:
    """The client that waits so long; kept, since `options` makes its forty namespaces anew for each call."""
    found = _WAITING.setdefault(client, {})
    if timeout_s not in found:
        found[timeout_s] = client.options(request_timeout=timeout_s + MARGIN_S)
    return found[timeout_s]


def _doing(index: str | None) -> str:
    return f"searching {index or 'a point in time'}"


def _milliseconds(timeout_s: float) -> str:
    return f"{max(1, round(timeout_s * 1000))}ms"
