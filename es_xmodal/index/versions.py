"""The versions of an index: which there are, which one serves, and moving between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ForeignIndexError, IndexBusyError, IndexMissingError, IndexStateError
from es_xmodal.index.aliases import move_aliases
from es_xmodal.index.builder import is_abandoned
from es_xmodal.index.meta import KEY, IndexMeta, parse_meta
from es_xmodal.index.names import base_name, check_name, edits_alias, version_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One physical index of an alias."""

    index: str
    number: int | None
    """None for an index that the alias stands for and that is not named like a version of it."""
    serving: bool
    meta: IndexMeta | None
    """None: not made by this project; it is never written, swapped to or dropped."""

    @property
    def state(self) -> str:
        """`complete`, `building`, `abandoned` or `foreign`."""
        if self.meta is None:
            return "foreign"
        if self.meta.state == "building" and is_abandoned(self.meta):
            return "abandoned"
        return self.meta.state


def list_versions(client: Elasticsearch, name: str) -> list[Version]:
    """Return the versions of an alias, oldest first.

    Args:
        client: see `connect`.
        name: the alias.

    Returns:
        Every index named `NAME-v…` and every index that the alias stands for.

    Raises:
        ForeignIndexError: the name is an index, not an alias.
        ClusterError: the cluster cannot be reached or refuses.
    """
    check_name(name)
    with cluster_errors(client, f"listing the versions of {name}"):
        answer = client.indices.get(
            index=f"{name},{name}-v*",
            ignore_unavailable=True,
            allow_no_indices=True,
            filter_path="*.aliases,*.mappings._meta,*.settings.index.creation_date",
        )
    found = answer.body
    if name in found:
        raise ForeignIndexError(
            f"{name} is an index, not an alias made by es_xmodal", hint="choose another --index"
        )
    versions = [_version(name, index, body) for index, body in found.items()]
    return sorted(
        (one for one in versions if one.number is not None or one.serving),
        key=lambda one: (one.number or 0, one.index),
    )


def list_names(client: Elasticsearch) -> list[str]:
    """Return the names of all indices that this project made.

    Args:
        client: see `connect`.

    Returns:
        Aliases, sorted; also those of which no version serves yet.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, "listing indices"):
        answer = client.indices.get(index="*", filter_path=f"*.mappings._meta.{KEY}.format")
    return sorted({base_name(index) for index in answer.body} - {""})


def serving_version(versions: list[Version]) -> Version | None:
    """Return the one that the alias stands for.

    Args:
        versions: see `list_versions`.

    Returns:
        It, or None where the alias does not exist.

    Raises:
        ForeignIndexError: it was not made by this project.
        IndexStateError: the alias stands for several.
    """
    serving = [one for one in versions if one.serving]
    if len(serving) > 1:
        raise IndexStateError(f"the alias stands for several indices: {', '.join(v.index for v in serving)}")
    if serving and serving[0].meta is None:
        raise ForeignIndexError(
            f"the alias stands for {serving[0].index}, which was not made by es_xmodal",
            hint="choose another --index",
        )
    return serving[0] if serving else None


def swap(
    client: Elasticsearch,
    name: str,
    index: str,
    *,
    writer: str | None = None,
    replaces: str | None = None,
    bound_to: Sequence[Mapping[str, Any]] = (),
) -> str | None:
    """Point the alias at another version, in one step that no search can see half of.

    Args:
        client: see `connect`.
        name: the alias.
        index: physical index of this project, complete.
        writer: alias of the builder that goes away in the same step.
        replaces: the version that is known to serve; None: whichever does.
        bound_to: further alias actions of the same step; where one of them fails, nothing is done.

    Returns:
        The index that served before, if any.

    Raises:
        IndexMissingError: there is no such version.
        IndexStateError: it is not complete, or the alias moved meanwhile.
        ForeignIndexError: one of the two was not made by this project.
        ClusterError: the cluster cannot be reached or refuses.
    """
    versions = list_versions(client, name)
    new = _named(versions, name, index)
    if new.state != "complete":
        raise IndexStateError(f"index {index} is {new.state}, so it cannot serve")
    old = serving_version(versions)
    if replaces is not None and (old is None or old.index != replaces):
        raise IndexStateError(
            f"alias {name} moved from {replaces} to {old.index if old else 'nothing'} meanwhile",
            hint="run the same command again",
        )
    actions: list[Mapping[str, Any]] = [
        *bound_to,
        {"add": {"index": index, "alias": name}},
        {"add": {"index": index, "alias": edits_alias(index), "is_hidden": True}},
    ]
    if old is not None and old.index != index:
        # must_exist makes the whole request fail where somebody else moved the alias meanwhile.
        actions.append({"remove": {"index": old.index, "alias": name, "must_exist": True}})
        writers = edits_alias(old.index)
        actions.append({"remove": {"index": old.index, "alias": writers, "must_exist": False}})
    if writer is not None:
        actions.append({"remove": {"index": index, "alias": writer, "must_exist": False}})
    move_aliases(client, actions, doing=f"pointing alias {name} at {index}")
    return old.index if old is not None else None


def let_write(client: Elasticsearch, name: str, index: str) -> str:
    """Return the alias through which the version that serves is written; it is made where it is missing.

    Args:
        client: see `connect`.
        name: the alias that is searched.
        index: physical name of the version that serves.

    Returns:
        See `edits_alias`.

    Raises:
        IndexStateError: another version serves by now.
        ClusterError: the cluster cannot be reached or refuses.
    """
    alias = edits_alias(index)
    with cluster_errors(client, f"asking for alias {alias}"):
        if client.indices.exists_alias(index=index, name=alias):
            return alias
        client.indices.update_aliases(actions=[{"add": {"index": index, "alias": alias, "is_hidden": True}}])
    serving = serving_version(list_versions(client, name))
    if serving is None or serving.index != index:  # it moved in between, and took no notice of the new alias
        with cluster_errors(client, f"taking alias {alias} away"):
            client.indices.delete_alias(index=index, name=alias)
        raise IndexStateError(f"alias {name} moved away from {index}", hint="run the same command again")
    return alias


def version_before(client: Elasticsearch, name: str) -> tuple[str, str]:
    """Return what a rollback goes from, and what it goes to.

    Args:
        client: see `connect`.
        name: the alias.

    Returns:
        The index that serves, and the complete version before it.

    Raises:
        IndexMissingError: the alias does not exist.
        IndexStateError: there is no earlier version.
        ClusterError: the cluster cannot be reached or refuses.
    """
    versions = list_versions(client, name)
    now = serving_version(versions)
    if now is None:
        raise IndexMissingError(f"there is no index {name}, so there is nothing to roll back")
    earlier = [
        one
        for one in versions
        if one.state == "complete" and one.number is not None and one.number < (now.number or 0)
    ]
    if not earlier:
        raise IndexStateError(f"there is no complete version of {name} before {now.index}")
    return now.index, earlier[-1].index


def newest_other(client: Elasticsearch, name: str) -> str:
    """Return the newest complete version beside the one that serves.

    Args:
        client: see `connect`.
        name: the alias.

    Returns:
        Its physical name.

    Raises:
        IndexStateError: there is none.
        ClusterError: the cluster cannot be reached or refuses.
    """
    versions = list_versions(client, name)
    others = [one for one in versions if one.state == "complete" and not one.serving]
    if not others:
        raise IndexStateError(
            f"there is no complete version of {name} beside the one that serves",
            hint="build one with `es-xmodal index rebuild --no-swap` or `ingest --rebuild --no-swap`",
        )
    return others[-1].index


def notes(versions: Sequence[Version]) -> list[str | None]:
    """Say of each version what a person should know of it beside its state.

    Args:
        versions: of one alias, oldest first.

    Returns:
        One line for each, or None.
    """
    serving = max((one.number or 0 for one in versions if one.serving), default=0)
    return [_note(one, serving) for one in versions]


def _note(one: Version, serving: int) -> str | None:
    if one.meta is not None and one.meta.closed is not None:
        return "writers wait: another version takes its place"
    if one.state != "complete" or one.serving or one.number is None:
        return None
    return "waits for `index swap`" if one.number > serving else "`index rollback` may go here"


def find_version(client: Elasticsearch, name: str, version: str) -> Version:
    """Return one version of an alias.

    Args:
        client: see `connect`.
        name: the alias.
        version: its physical name, or its number, as `2` or `v0002`.

    Returns:
        The version.

    Raises:
        IndexMissingError: there is none; the error names those that there are.
        ForeignIndexError: it was not made by this project.
        ClusterError: the cluster cannot be reached or refuses.
    """
    return _named(list_versions(client, name), name, version)


def drop(client: Elasticsearch, name: str, version: str) -> str:
    """Delete one version that neither serves nor is being built.

    Args:
        client: see `connect`.
        name: the alias.
        version: see `find_version`.

    Returns:
        Name of the index that is gone.

    Raises:
        IndexMissingError: there is no such version.
        ForeignIndexError: it was not made by this project.
        IndexBusyError: it is being built.
        IndexStateError: it serves.
        ClusterError: the cluster cannot be reached or refuses.
    """
    one = find_version(client, name, version)
    if one.serving:
        raise IndexStateError(
            f"index {one.index} serves as {name}, so it is not dropped", hint="swap to another version first"
        )
    if one.meta is not None and one.state == "building":
        raise busy(one.meta)
    delete(client, one.index)
    return one.index


def prune(client: Elasticsearch, name: str, *, keep: int, before: str | None) -> list[str]:
    """Delete the complete versions that are no longer wanted for a rollback.

    Args:
        client: see `connect`.
        name: the alias.
        keep: complete versions to keep, the serving one included; at least 1.
        before: the version that served until now; kept first, since a rollback goes there.

    Returns:
        The indices that were deleted.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    complete = [one for one in list_versions(client, name) if one.state == "complete"]
    complete.sort(key=lambda one: (one.serving, one.index == before, one.number or 0), reverse=True)
    gone = [one.index for one in complete[max(1, keep) :] if not one.serving]
    for index in gone:
        delete(client, index)
    return gone


def delete(client: Elasticsearch, index: str) -> None:
    """Delete an index that the caller has checked.

    Args:
        client: see `connect`.
        index: physical name.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"deleting index {index}"):
        client.indices.delete(index=index, ignore_unavailable=True)


def busy(meta: IndexMeta) -> IndexBusyError:
    """Return the error for an index that another run builds.

    Args:
        meta: of that index.

    Returns:
        The error to raise.
    """
    builder = meta.builder
    return IndexBusyError(
        f"index {meta.index} is being built by process {builder.pid} on {builder.host}",
        hint="wait for it or stop it, then run the same command again",
    )


def _version(name: str, index: str, body: dict[str, Any]) -> Version:
    try:
        meta = parse_meta(index, body.get("mappings") or {})
    except ForeignIndexError:
        meta = None
    serving = name in (body.get("aliases") or {})
    return Version(index=index, number=version_number(name, index), serving=serving, meta=meta)


def _named(versions: list[Version], name: str, index: str) -> Version:
    for one in versions:
        if index in (one.index, str(one.number), f"v{one.number}", f"v{one.number or 0:04d}"):
            if one.meta is None:
                raise ForeignIndexError(f"index {one.index} was not made by es_xmodal, so it is left alone")
            return one
    known = ", ".join(one.index for one in versions) or "none"
    raise IndexMissingError(f"{name} has no version {index}", hint=f"there are: {known}")
