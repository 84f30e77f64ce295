"""Another version takes the place of the one that serves, with everything that was written to that one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ClusterError, IndexStateError, XModalError
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.closing import Closure, remember, reopen_abandoned
from es_xmodal.index.following import Follows
from es_xmodal.index.marks import operations_since, take_marks
from es_xmodal.index.names import catch_up_alias
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import find_version, list_versions, serving_version, swap
from es_xmodal.ingest.bringing import Bringer
from es_xmodal.ingest.brought import Brought
from es_xmodal.ingest.follow import Follower, mirrored
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.rejects import RejectFile

PartsFor = Callable[[Target], AbstractContextManager[Parts]]
"""The version that catches up -> what it was built with; opened only where something has to catch up."""

_ANYWAY: Final = "say --leave-edits to swap all the same"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a swap did."""

    before: str | None
    """Physical name of what served."""
    now: str
    brought: Brought | None = None
    """What was brought over; None: there was nothing."""
    left: int | None = 0
    """Operations on the version that served which the other one lacks; None: nobody knows how many."""
    rejects_file: str | None = None
    rejects_by_reason: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "before": self.before,
            "now": self.now,
            "brought": self.brought.to_json() if self.brought else None,
            "left": self.left,
            "rejects_file": self.rejects_file,
            "rejects_by_reason": dict(self.rejects_by_reason or {}),
        }


def move_alias(
    client: Elasticsearch,
    name: str,
    index: str,
    *,
    parts_for: PartsFor,
    rejects: Path | None = None,
    leave_edits: bool = False,
) -> Moved:
    """Let another version serve; what was written to the one that serves since it was built is brought over.

    Args:
        client: see `connect`.
        name: the alias.
        index: physical name or number of the version.
        parts_for: gives the parts that the version was built with.
        rejects: file of what does not make it; None: `NAME.rejects.jsonl` in the working directory.
        leave_edits: swap at once, and leave behind what was written since.

    Returns:
        What was done.

    Raises:
        IndexMissingError: there is no such version.
        IndexStateError: it is not complete; or it cannot be brought up to date.
        IndexBusyError: another process is swapping.
        ClusterError: the cluster cannot be reached or refuses; what served still serves.
    """
    reopen_abandoned(client, list_versions(client, name))
    serving = serving_version(list_versions(client, name))
    chosen = find_version(client, name, index)
    if serving is None or serving.index == chosen.index or chosen.state != "complete":
        return Moved(before=swap(client, name, chosen.index), now=chosen.index)
    target = load_target(client, chosen.index)
    move = _Move(client, name, serving.index, target)
    if leave_edits:
        return move.leaving()
    follows = move.known()
    if move.at_once(follows):
        return Moved(before=serving.index, now=chosen.index)
    return move.catching_up(follows, parts_for, rejects or Path(f"{name}.rejects.jsonl"))


class _Move:
    """One swap from a version that serves to another one."""

    def __init__(self, client: Elasticsearch, name: str, before: str, target: Target) -> None:
        self._client = client
        self._name = name
        self._before = before
        self._target = target

    def known(self) -> Follows:
        """Up to where the version holds what was written to the one that serves."""
        follows = self._target.meta.follows
        if follows is None or follows.marks.index != self._before:
            of = f"{follows.marks.index}, and not to {self._before}" if follows else self._before
            raise IndexStateError(
                f"{self._target.index} does not say up to where it holds what was written to {of}",
                hint=f"build it anew with `es-xmodal index rebuild`, or {_ANYWAY}",
            )
        return follows

    def leaving(self) -> Moved:
        """Swap, whatever was written since."""
        follows = self._target.meta.follows
        left = None
        if follows is not None and follows.marks.index == self._before:
            with suppress(ClusterError):  # that it cannot be counted must not keep anybody from going back
                left = operations_since(self._client, follows.marks)
        marks = take_marks(self._client, self._target.index, "max_seq_no")
        remember(self._client, self._before, Follows(marks=marks, begun=marks))
        swap(self._client, self._name, self._target.index, replaces=self._before)
        return Moved(before=self._before, now=self._target.index, left=left)

    def at_once(self, follows: Follows) -> bool:
        """Swap where nothing at all was written since; no encoder is needed for that."""
        if operations_since(self._client, follows.marks):
            return False
        builder = new_builder()
        try:
            with Closure(self._client, self._before, builder) as closure:
                if operations_since(self._client, follows.marks):
                    return False
                self._swap(follows, closure)
        finally:
            forget(builder.run_id)
        return True

    def catching_up(self, follows: Follows, parts_for: PartsFor, rejects_path: Path) -> Moved:
        """Bring over what was written since, then swap."""
        with self._parts(follows, parts_for) as parts, RejectFile(rejects_path) as rejects:
            builder = new_builder()
            alias = catch_up_alias(self._target.index, builder.run_id)
            options = IngestOptions(
                catalog=Path(self._name),
                index=self._name,
                version_field=self._target.meta.version_field,
            )
            bringer = Bringer(
                parts, options, alias=alias, combining=self._target.meta.combining, rejects=rejects
            )
            follower = Follower(self._client, self._target.index, follows, bringer)
            try:
                with self._written_through(alias):
                    follower.catch_up()
                    follower.take_the_place(builder, self._swap)
            finally:
                forget(builder.run_id)
        reasons = dict(rejects.reasons)
        return Moved(
            before=self._before,
            now=self._target.index,
            brought=follower.brought,
            rejects_file=str(rejects_path) if reasons else None,
            rejects_by_reason=reasons,
        )

    @contextmanager
    def _parts(self, follows: Follows, parts_for: PartsFor) -> Iterator[Parts]:
        """The parts of the version; where they cannot be had, the error says what is at stake."""
        meta = self._target.meta
        with ExitStack() as stack:
            try:
                parts = stack.enter_context(parts_for(self._target))
                meta.check_encoder(parts.encoder.info.fingerprint)
                meta.check_text(parts.analyzer.fingerprint)
                meta.check_ocr(parts.ocr.meta if parts.ocr else None)
            except XModalError as error:
                count = operations_since(self._client, follows.marks)
                raise IndexStateError(
                    f"{count} operations on {self._before} (documents written or deleted) are not in"
                    f" {meta.index} yet, and cannot be brought over: {error.message}",
                    hint=f"{error.hint}; or {_ANYWAY}" if error.hint else _ANYWAY,
                ) from error
            yield parts

    @contextmanager
    def _written_through(self, alias: str) -> Iterator[None]:
        index = self._target.index
        add = {"add": {"index": index, "alias": alias, "is_hidden": True}}
        with cluster_errors(self._client, f"making alias {alias}"):
            self._client.indices.update_aliases(actions=[add])
        try:
            yield
        finally:
            with suppress(ClusterError), cluster_errors(self._client, f"taking alias {alias} away"):
                self._client.options(ignore_status=404).indices.delete_alias(index=index, name=alias)

    def _swap(self, follows: Follows, closure: Closure) -> None:
        closure.remember(mirrored(self._client, self._target.index, follows))
        swap(
            self._client,
            self._name,
            self._target.index,
            replaces=self._before,
            bound_to=closure.swap_actions,
        )
