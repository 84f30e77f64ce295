"""Where the rows go: a new version of the index, or the one that serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import close_point
from es_xmodal.errors import CatalogError, IndexMissingError, IndexStateError
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.closing import Closure, reopen_abandoned
from es_xmodal.index.combining import Combining
from es_xmodal.index.following import Follows, Marks
from es_xmodal.index.idsets import KEEP_S, Ids, scan_ids
from es_xmodal.index.lifecycle import (
    Blueprint,
    Finished,
    begin,
    check_layout,
    count_documents,
    set_replicas,
)
from es_xmodal.index.marks import pin
from es_xmodal.index.quantisation import Choice
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import Version, list_versions, serving_version
from es_xmodal.ingest.bringing import Bringer
from es_xmodal.ingest.brought import Brought
from es_xmodal.ingest.calibrate import Sampled, calibrate
from es_xmodal.ingest.calibrate_words import calibrate_words
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.door import Door
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.follow import Follower, mirrored
from es_xmodal.ingest.known_documents import KnownDocuments
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.vector_index import vector_index_for

if TYPE_CHECKING:
    from es_xmodal.ingest.options import IngestOptions, Parts


class Destination(ABC):
    """Where the rows go."""

    rebuilds: bool
    vector_index: Choice
    """Kind of the vector index, and why."""
    index: str | None = None
    """Physical name of the index that serves and is written; None where a new one is built."""
    alias: str
    """Documents are written through it."""
    combining: Combining
    """How this index combines pictures and texts."""
    taken_over: str | None = None
    """Physical name of a half-built index that is gone on with; None: there was none."""
    followed: str | None = None
    """Physical name of the version that served when the new one was begun; None: there was none."""
    held_back: str | None = None
    """Why a new version that is complete does not serve."""
    brought: Brought | None = None
    """What was written to that one meanwhile, and was brought over."""
    door: Door | None = None
    """Lets a writer follow the alias when the version that serves is swapped."""
    holds: KnownDocuments | None = None
    """What the index that is written has already; None: it is new."""

    def known_marks(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the marks of the documents that are there already, see `es_xmodal.ingest.known`."""
        return self.holds.of(ids) if self.holds else {}

    @abstractmethod
    def finish(
        self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder, rejects: RejectFile
    ) -> Finished:
        """Make what was written searchable."""

    def heartbeat(self) -> None:  # noqa: B027 - only a build has anybody to tell
        """Say that the writer lives."""

    def end(self) -> None:
        """Let go of everything; called last, whatever happened."""
        if self.holds:
            self.holds.close()


def open_destination(parts: Parts, options: IngestOptions) -> Destination:
    """Choose between a new version and the one that serves.

    Args:
        parts: see `run_ingest`.
        options: see `run_ingest`.

    Returns:
        The destination; call its `end` in any case.

    Raises:
        IndexStateError: the index is foreign, busy, or of another encoder, tokeniser or layout.
        ClusterError: the cluster cannot be reached or refuses.
    """
    serving = serving_version(list_versions(parts.client, options.index))
    there = serving.meta.combining if serving and serving.meta else None
    combining = options.combining.over(there)
    target = None if options.rebuild or serving is None else load_target(parts.client, options.index)
    if options.from_index and serving is None:
        load_target(parts.client, options.index)  # says that there is none, and names the nearest
    if options.update and target is None:
        raise IndexMissingError(
            f"there is no index {options.index} that partial rows could change",
            hint="ingest the whole catalogue first",
        )
    choice = vector_index_for(parts, options, combining, target)
    blueprint = Blueprint(
        name=options.index,
        template=parts.template,
        encoder=parts.encoder.info,
        text_fingerprint=parts.analyzer.fingerprint,
        ocr=parts.ocr.meta if parts.ocr else None,
        options=replace(options.index_options(choice.type), combining=combining),
        version_field=options.version_field,
    )
    if target is None:
        return NewVersion(parts, options, blueprint, choice, _followed(options, serving))
    target.meta.check_encoder(parts.encoder.info.fingerprint)
    target.meta.check_text(parts.analyzer.fingerprint)
    target.meta.check_ocr(blueprint.ocr)
    target.meta.check_combining(combining)
    check_layout(target.meta, blueprint)
    if options.shards not in (None, target.shards):
        raise IndexStateError(
            f"index {target.index} has {target.shards} shards, and the number cannot be changed in place",
            hint="run ingest with --rebuild to make a new index beside it",
        )
    reopen_abandoned(parts.client, [one for one in (serving,) if one])
    return Serving(parts, options, target, choice)


def _followed(options: IngestOptions, serving: Version | None) -> str | None:
    """The version whose edits a new one has to catch up with."""
    if serving is None or serving.meta is None:
        return None
    if serving.meta.shop is None:
        return serving.index
    if options.from_index:
        raise IndexStateError(
            f"{serving.index} was made by the shop, and its documents are no rows of a catalogue",
            hint="run enrich again with the other encoder, or ingest a catalogue",
        )
    return None


def _pinned(parts: Parts, index: str, *, exactly: bool) -> tuple[Marks, str]:
    """Where the serving version stands before the first row is read, and what it holds at that moment.

    A catalogue may name a product that is deleted right then, so nothing may be deleted between the two; rows
    of the index itself are read later anyway.
    """
    client = parts.client
    marks, point, exact = pin(client, index, keep_s=KEEP_S)
    if exact or not exactly:
        return marks, point
    close_point(client, point)
    builder = new_builder()
    try:
        with Closure(client, index, builder):  # for this one moment nobody deletes anything
            marks, point, _ = pin(client, index, keep_s=KEEP_S)
    finally:
        forget(builder.run_id)
    return marks, point


class NewVersion(Destination):
    """A version that is built from nothing and serves when it is complete."""

    rebuilds = True

    def __init__(
        self, parts: Parts, options: IngestOptions, blueprint: Blueprint, choice: Choice, serving: str | None
    ) -> None:
        self._parts, self._options, self._client = parts, options, parts.client
        self.vector_index = choice
        self.combining = blueprint.options.combining
        self._combiner = Combiner(self.combining, parts.encoder.info)
        self._known: Ids | None = None
        self.followed = serving
        if serving is None:
            self._build = begin(parts.client, blueprint)
        else:
            marks, point = _pinned(parts, serving, exactly=not options.from_index)
            self._build = begin(parts.client, blueprint, marks)
            try:
                self._known = scan_ids(parts.client, serving, point=point)
            except BaseException:  # also Ctrl-C: nobody else knows of the build yet
                self._build.end()
                raise
        self.alias = self._build.writer
        self.taken_over = self._build.index if self._build.taken_over else None
        # What a dead run left was confirmed, and is not sent again.
        self.holds = _documents(parts, self.taken_over) if self.taken_over else None

    def heartbeat(self) -> None:
        """Keep the lease of the build."""
        self._build.heartbeat()

    def finish(
        self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder, rejects: RejectFile
    ) -> Finished:
        """Calibrate, check the count, bring over what was written to the serving version meanwhile, swap.

        Without one good row the build is given up: an empty index must not replace one that serves.

        Raises:
            CatalogError: the catalogue holds no rows at all, so there is nothing to look at either.
        """
        if not tally["read"]:
            raise CatalogError(f"there are no rows, so {self._options.index} is left as it was")
        written = tally["indexed"] + tally["updated"] + tally["unchanged"]
        if not written:
            return self._build.discard()
        calibration = calibrate(sample, combiner=self._combiner, encode_titles=embedder.titles)
        # Several rows may have had one id where versions settle them.
        versioned = self._options.version_field is not None
        documents = count_documents(self._client, self.alias) if versioned else written
        words = calibrate_words(sample, documents=documents) if self._build.reads_words else None
        calibration |= {"ocr": words} if words else {}
        self._build.check(documents)
        done = partial(
            self._build.complete, counts={"without_image": tally["without_image"]}, calibration=calibration
        )
        follower = self._follower(rejects)
        self.held_back = self._loss(tally)
        if self.held_back or not self._options.swap:
            if follower is not None:
                follower.catch_up(until=0)
                self.brought = follower.brought
            done(follows=follower.follows if follower else None)
            return self._build.wait_for_swap()
        if follower is None:
            done(follows=None)
            return self._build.prune(keep=self._options.keep, replaced=self._build.serve())
        return self._take_the_place(follower, done)

    def _loss(self, tally: Tally) -> str | None:
        """A wrong folder of pictures must not cost an index its pictures: it is not asked for in vain."""
        lost = tally["failed_pictures"]
        used = sum(tally[name] for name in ("encoded_images", "reused_vectors", "index_vectors"))
        if not self._options.from_index or lost <= used:
            return None
        return (
            f"{lost} pictures cannot be read, so that {self._build.index} would show less than what serves;"
            " is --images-root right?"
        )

    def _take_the_place(self, follower: Follower, done: Callable[..., None]) -> Finished:
        def swap(follows: Follows, closure: Closure) -> None:
            done(follows=follows)
            closure.remember(mirrored(self._client, self._build.index, follows))
            self._build.serve(replaces=follower.serving, bound_to=closure.swap_actions)

        follower.catch_up()
        follower.take_the_place(self._build.builder, swap)
        self.brought = follower.brought
        return self._build.prune(keep=self._options.keep, replaced=follower.serving)

    def _follower(self, rejects: RejectFile) -> Follower | None:
        follows = self._build.follows
        if follows is None:
            return None
        bringer = Bringer(
            self._parts,
            self._options,
            alias=self.alias,
            combining=self.combining,
            rejects=rejects,
            heartbeat=self.heartbeat,
        )
        return Follower(self._client, self._build.index, follows, bringer, known=self._known)

    def end(self) -> None:
        """Let go of the build, too."""
        super().end()
        self._build.end()


class Serving(Destination):
    """The version that serves; only rows that changed are written."""

    rebuilds = False

    def __init__(self, parts: Parts, options: IngestOptions, target: Target, choice: Choice) -> None:
        self.vector_index = choice
        self._client = client = parts.client
        self.index: str = target.index
        self.door = Door(client, target)
        self.alias = self.door.alias
        self.combining = target.meta.combining
        if options.replicas is not None:
            set_replicas(client, target.index, options.replicas)
        self.holds = _documents(parts, target.index)

    def finish(
        self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder, rejects: RejectFile
    ) -> Finished:
        """Refresh."""
        with cluster_errors(self._client, f"refreshing {self.index}"):
            self._client.indices.refresh(index=self.index)
        return Finished(index=self.index, replaced=None, dropped=())


def _documents(parts: Parts, index: str) -> KnownDocuments:
    documents = count_documents(parts.client, index)  # refreshes: every document written so far is seen
    return KnownDocuments(parts.client, index, documents)
