"""Several alias actions in one step that may be sent twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.transport import sent_twice
from es_xmodal.errors import ClusterAnswerError
from es_xmodal.index.target import find_indices


def move_aliases(client: Elasticsearch, actions: Sequence[Mapping[str, Any]], *, doing: str) -> None:
    """Carry out alias actions, all or none.

    Where the answer is lost the request goes out again, and then does not find what it has removed itself:
    that the aliases stand as they were to stand is the answer then.

    Args:
        client: see `connect`.
        actions: `add` and `remove`, with one index and one alias each.
        doing: what this is for, such as `pointing alias products at products-v0002`.

    Raises:
        ClusterAnswerError: one of them cannot be carried out, so that none was.
        ClusterError: the cluster cannot be reached or refuses.
    """
    try:
        with cluster_errors(client, doing):
            client.indices.update_aliases(actions=actions)
    except ClusterAnswerError:
        if not sent_twice() or not _done(client, actions):
            raise


def _done(client: Elasticsearch, actions: Sequence[Mapping[str, Any]]) -> bool:
    wanted = {
        (one["index"], one["alias"]): kind == "add" for action in actions for kind, one in action.items()
    }
    indices = find_indices(client, ",".join({index for index, _ in wanted}))
    return all(
        (alias in indices.get(index, {}).get("aliases", {})) == there
        for (index, alias), there in wanted.items()
    )
