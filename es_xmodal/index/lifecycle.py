"""Building a new version of an index beside the one that serves."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from elasticsearch import ApiError, BadRequestError, Elasticsearch

from es_xmodal._version import __version__
from es_xmodal.cluster.errors import cluster_errors, reason_of
from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.errors import ClusterAnswerError, IndexBusyError, IndexStateError
from es_xmodal.index.body import IndexOptions, build_body, layout_of, with_meta
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.closing import reopen_abandoned
from es_xmodal.index.following import Follows, Marks
from es_xmodal.index.marks import only_writes_since
from es_xmodal.index.meta import KEY, Builder, EncoderMeta, IndexMeta, LegCalibration, OcrMeta
from es_xmodal.index.names import physical_name, writer_alias
from es_xmodal.index.takeover import half_built, take_over
from es_xmodal.index.target import find_indices, target_of
from es_xmodal.index.versions import Version, busy, delete, list_versions, prune, serving_version, swap

_log = logging.getLogger(__name__)

HEARTBEAT_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """What a new version is to be made of."""

    name: str
    """The alias."""
    template: Mapping[str, Any]
    """`mappings/product.json`."""
    encoder: EncoderInfo
    text_fingerprint: str
    options: IndexOptions
    ocr: OcrMeta | None = None
    """How words on pictures are read; None: they are not."""
    version_field: str | None = None
    """Field of the rows that says which of several rows of one id is the newest."""

    @property
    def body(self) -> dict[str, Any]:
        """Settings and mappings, without `_meta`."""
        options = replace(self.options, ocr=self.ocr is not None)
        return build_body(self.template, encoder=self.encoder, options=options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What a finished ingest left behind."""

    index: str | None
    """Physical name; None where nothing could be written, so that what was there is left as it was."""
    replaced: str | None
    dropped: tuple[str, ...]
    serves: bool = True
    """False: it is complete, and waits for `index swap`."""


class Build:
    """A version that is being built: write to `writer`, call `heartbeat` now and then, then `finish`."""

    def __init__(
        self, client: Elasticsearch, name: str, meta: IndexMeta, *, taken_over: bool = False
    ) -> None:
        self._client = client
        self._meta = meta
        self._told_s = time.monotonic()
        self.name = name
        self.index = meta.index
        self.writer = writer_alias(name, meta.builder.run_id)
        self.reads_words = meta.ocr is not None
        self.taken_over = taken_over
        """Whether the version holds documents of a run that died."""

    def heartbeat(self) -> None:
        """Say that the builder lives, unless that was said a short time ago.

        Raises:
            IndexBusyError: another run has taken the index away.
            ClusterError: the cluster cannot be reached or refuses.
        """
        if time.monotonic() - self._told_s >= HEARTBEAT_S:
            self._write_meta(replace(self._meta, lease=time.time()))

    @property
    def builder(self) -> Builder:
        """This run."""
        return self._meta.builder

    @property
    def follows(self) -> Follows | None:
        """Up to where the new version holds what was written to the one that serves; None: none serves."""
        return self._meta.follows

    def check(self, documents: int) -> None:
        """Check the new version before it takes part in anything.

        Args:
            documents: how many the cluster has confirmed.

        Raises:
            ClusterAnswerError: the index does not hold as many.
            ClusterError: the cluster cannot be reached or refuses.
        """
        with cluster_errors(self._client, f"finishing index {self.index}"):
            self._client.indices.put_settings(index=self.index, settings={"index.refresh_interval": None})
        self._check_count(documents)

    def complete(
        self,
        *,
        counts: Mapping[str, int],
        calibration: Mapping[str, LegCalibration],
        follows: Follows | None,
    ) -> None:
        """Mark the new version complete.

        Args:
            counts: kept in `_meta`, beside the number of documents.
            calibration: kept in `_meta`.
            follows: up to where it holds what was written to the one that serves.

        Raises:
            IndexBusyError: another run has taken the index away.
            ClusterError: the cluster cannot be reached or refuses.
        """
        done = replace(
            self._meta,
            state="complete",
            lease=time.time(),
            counts={"documents": count_documents(self._client, self.index), **counts},
            calibration=dict(calibration),
            follows=follows,
        )
        self._write_meta(done)

    def serve(self, *, replaces: str | None = None, bound_to: Sequence[Mapping[str, Any]] = ()) -> str | None:
        """Let the alias point at the new version.

        Args:
            replaces: see `swap`.
            bound_to: see `swap`.

        Returns:
            The version that served until now.

        Raises:
            IndexStateError: the alias moved meanwhile.
            ClusterError: the cluster cannot be reached or refuses.
        """
        return swap(
            self._client, self.name, self.index, writer=self.writer, replaces=replaces, bound_to=bound_to
        )

    def prune(self, *, keep: int, replaced: str | None) -> Finished:
        """Drop old versions, once the new one serves.

        Args:
            keep: complete versions to keep, the new one included.
            replaced: what served before.

        Returns:
            What was done.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        dropped = prune(self._client, self.name, keep=keep, before=replaced)
        return Finished(index=self.index, replaced=replaced, dropped=tuple(dropped))

    def wait_for_swap(self) -> Finished:
        """Leave the new version complete beside the one that serves.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        # With the builder's alias it would look like one whose builder died on the last step.
        with cluster_errors(self._client, f"finishing index {self.index}"):
            self._client.indices.delete_alias(index=self.index, name=self.writer)
        return Finished(index=self.index, replaced=None, dropped=(), serves=False)

    def discard(self) -> Finished:
        """Delete the new version, since nothing is in it that could serve.

        Raises:
            IndexBusyError: another run has taken the index away.
            ClusterError: the cluster cannot be reached or refuses.
        """
        self._check_owner()
        with cluster_errors(self._client, f"deleting index {self.index}"):
            self._client.indices.delete(index=self.index)
        return Finished(index=None, replaced=None, dropped=())

    def end(self) -> None:
        """Note that this run is over; a version that is not complete then counts as abandoned."""
        forget(self._meta.builder.run_id)

    def _check_count(self, documents: int) -> None:
        found = count_documents(self._client, self.index)
        if found != documents:
            raise ClusterAnswerError(
                f"index {self.index} holds {found} documents, {documents} were confirmed",
                hint="the old index still serves; run the same command again",
            )

    def _check_owner(self) -> None:
        found = find_indices(self._client, self.index).get(self.index)
        owner = target_of(self.name, self.index, found).meta.builder.run_id if found else None
        if owner != self._meta.builder.run_id:
            raise IndexBusyError(
                f"index {self.index} was taken away by another ingest",
                hint="run one ingest of an index at a time; run this one again when the other is done",
            )

    def _write_meta(self, meta: IndexMeta) -> None:
        self._check_owner()
        with cluster_errors(self._client, f"writing _meta of index {self.index}"):
            self._client.indices.put_mapping(index=self.index, meta={KEY: meta.to_json()})
        self._meta = meta
        self._told_s = time.monotonic()


def begin(client: Elasticsearch, blueprint: Blueprint, marks: Marks | None = None) -> Build:
    """Create the next version of an index, in state `building`, or go on with a half-built one.

    Versions that a dead process left half built are deleted first, but for one that would be built the same
    today (see `es_xmodal.index.takeover`).

    Args:
        client: see `connect`.
        blueprint: what it is to be made of.
        marks: where the version that serves stands before the first row is read; what is written to it later
            is brought over.

    Returns:
        The build; call its `end` in any case.

    Raises:
        ForeignIndexError: name or alias belongs to somebody else.
        IndexBusyError: another process is building a version.
        ClusterError: the cluster cannot be reached or refuses.
    """
    versions = list_versions(client, blueprint.name)
    serving_version(versions)
    reopen_abandoned(client, versions)
    found = half_built(client, versions, blueprint)
    if found is not None and not _still_follows(client, found, marks):
        found = None
    _clear(client, versions, but=found.index if found else None)
    number = max((one.number or 0 for one in versions), default=0) + 1
    builder = new_builder()
    try:
        if found is not None:
            return _taken_over(client, blueprint, found, builder)
        meta = _new_meta(blueprint, physical_name(blueprint.name, number), builder)
        meta = replace(meta, follows=Follows(marks=marks, begun=marks) if marks else None)
        build = Build(client, blueprint.name, meta)
        _create(client, build, with_meta(blueprint.body, meta))
    except BaseException:  # also Ctrl-C: this run builds nothing any more
        forget(builder.run_id)
        raise
    return build


def count_documents(client: Elasticsearch, index: str) -> int:
    """Return how many documents (not nested ones) an index holds, all of them refreshed.

    Args:
        client: see `connect`.
        index: index or alias.

    Returns:
        The count.

    Raises:
        ClusterAnswerError: a shard did not answer.
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"counting the documents of {index}"):
        client.indices.refresh(index=index)
        answer = client.count(index=index).body
    if answer["_shards"]["failed"]:
        raise ClusterAnswerError(f"counting the documents of {index}: {reason_of(answer['_shards'])}")
    return int(answer["count"])


def set_replicas(client: Elasticsearch, index: str, replicas: int) -> None:
    """Give an index another number of replicas.

    Args:
        client: see `connect`.
        index: physical name.
        replicas: copies of each shard beside the first.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"setting the replicas of {index}"):
        client.indices.put_settings(
            index=index,
            settings={"index.auto_expand_replicas": False, "index.number_of_replicas": replicas},
        )


def check_layout(meta: IndexMeta, blueprint: Blueprint) -> None:
    """Refuse to write into an index that was laid out differently.

    Args:
        meta: of the index that serves.
        blueprint: what it would be made of today.

    Raises:
        IndexStateError: its mapping or its kind of vector index differ.
    """
    if meta.layout != layout_of(blueprint.body):
        raise IndexStateError(
            f"index {meta.index} has another mapping or kind of vector index than this es_xmodal would make",
            hint="run ingest with --rebuild to make a new index beside it",
        )


def _taken_over(client: Elasticsearch, blueprint: Blueprint, found: IndexMeta, builder: Builder) -> Build:
    _log.info("going on with %s, which a dead process left half built", found.index)
    if found.follows is not None:  # what the dead run brought over may be covered by the rows of this one
        found = replace(found, follows=Follows(marks=found.follows.begun, begun=found.follows.begun))
    meta = take_over(client, blueprint.name, found, builder)
    if blueprint.options.replicas is not None:
        set_replicas(client, meta.index, blueprint.options.replicas)
    count_documents(client, meta.index)  # refreshes: every document that was confirmed is seen from now on
    return Build(client, blueprint.name, meta, taken_over=True)


def _still_follows(client: Elasticsearch, found: IndexMeta, marks: Marks | None) -> bool:
    """Whether everything that happened to the serving version since a build was begun can still be told.

    A product that was deleted since may stand in the half-built index, and there is no trace of it any more.
    """
    if found.follows is None or marks is None:
        return found.follows is None and marks is None
    begun = found.follows.begun
    return (begun.index, begun.uuid) == (marks.index, marks.uuid) and only_writes_since(client, begun)


def _clear(client: Elasticsearch, versions: list[Version], *, but: str | None) -> None:
    for one in versions:
        if one.state == "building" and one.meta is not None:
            raise busy(one.meta)
    for one in versions:
        if one.state == "abandoned" and not one.serving and one.index != but:
            _log.info("deleting %s, which a dead process left half built", one.index)
            delete(client, one.index)


def _create(client: Elasticsearch, build: Build, body: Mapping[str, Any]) -> None:
    try:
        with cluster_errors(client, f"creating index {build.index}"):
            answer = client.indices.create(
                index=build.index,
                settings=body["settings"],
                mappings=body["mappings"],
                aliases={build.writer: {"is_hidden": True}},
            )
    except ClusterAnswerError as error:
        if "resource_already_exists_exception" in str(error) and isinstance(error.__cause__, BadRequestError):
            _ours_after_all(client, build, error.__cause__)
            return
        raise
    if not answer.body.get("shards_acknowledged", True):
        raise ClusterAnswerError(
            f"creating index {build.index}: its shards did not start", hint="check the cluster's health"
        )


def _ours_after_all(client: Elasticsearch, build: Build, cause: ApiError) -> None:
    """A create request whose answer was lost is sent again, and then meets the index that it made."""
    found = find_indices(client, build.index)
    if build.index not in found or build.writer not in found[build.index].get("aliases", {}):
        raise IndexBusyError(
            f"index {build.index} was just made by another ingest",
            hint="wait for it, then run the same command again",
        ) from cause


def _new_meta(blueprint: Blueprint, index: str, builder: Builder) -> IndexMeta:
    info = blueprint.encoder
    return IndexMeta(
        index=index,
        version=__version__,
        state="building",
        encoder=EncoderMeta.of(info),
        text_fingerprint=blueprint.text_fingerprint,
        ocr=blueprint.ocr,
        layout=layout_of(blueprint.body),
        combining=blueprint.options.combining,
        version_field=blueprint.version_field,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        lease=time.time(),
        builder=builder,
    )
