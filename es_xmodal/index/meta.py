"""What an index says about itself: `_meta.es_xmodal` of its mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from es_xmodal.errors import FingerprintMismatchError, ForeignIndexError, IndexStateError

FORMAT = 1
KEY = "es_xmodal"

State = Literal["building", "complete"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceMeta:
    """One vector space of the encoder that built the index."""

    dim: int
    similarity: str = "cosine"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderMeta:
    """The encoder that built the index."""

    spec: str
    fingerprint: str
    text_space: str | None
    spaces: Mapping[str, SpaceMeta]


@dataclass(frozen=True, kw_only=True, slots=True)
class LegCalibration:
    """How unrelated things score in one vector leg, in Elasticsearch's `_score` for cosine, (1 + cos) / 2."""

    floor: float
    """Mean over random pairs of unrelated things."""
    spread: float
    """Standard deviation over the same pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """The process that builds, or built, the index."""

    host: str
    pid: int
    run_id: str
    started: float
    """When the process started, seconds since the epoch: tells a reused process id apart."""
    machine: str
    """Boot and process-id namespace: process ids are comparable only where this is equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexMeta:
    """Everything that an index of this project says about itself."""

    index: str
    """Physical name; not stored."""
    version: str
    """Version of es_xmodal that made it."""
    state: State
    encoder: EncoderMeta
    text_fingerprint: str
    layout: str
    """Digest of settings and mappings: equal where the same package and options would build the same."""
    created: str
    lease: float
    """When the builder last said that it lives, seconds since the epoch."""
    builder: Builder
    calibration: Mapping[str, LegCalibration] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def check_encoder(self, fingerprint: str) -> None:
        """Refuse an encoder whose vectors do not belong in this index.

        Args:
            fingerprint: of the encoder in use.

        Raises:
            FingerprintMismatchError: the index was built with another one.
        """
        self._check("encoder", self.encoder.fingerprint, fingerprint)

    def check_text(self, fingerprint: str) -> None:
        """Refuse a tokeniser whose terms do not belong in this index.

        Args:
            fingerprint: of the analyzer in use.

        Raises:
            FingerprintMismatchError: the index was built with another one.
        """
        self._check("tokeniser", self.text_fingerprint, fingerprint)

    def _check(self, part: str, stored: str, current: str) -> None:
        if stored != current:
            raise FingerprintMismatchError(index=self.index, part=part, stored=stored, current=current)

    def to_json(self) -> dict[str, Any]:
        """Return the value of `_meta.es_xmodal`.

        Returns:
            JSON values only.
        """
        return {
            "format": FORMAT,
            "version": self.version,
            "state": self.state,
            "encoder": {
                "spec": self.encoder.spec,
                "fingerprint": self.encoder.fingerprint,
                "text_space": self.encoder.text_space,
                "spaces": {
                    name: {"dim": space.dim, "similarity": space.similarity}
                    for name, space in self.encoder.spaces.items()
                },
            },
            "text": {"fingerprint": self.text_fingerprint},
            "layout": self.layout,
            "calibration": {
                leg: {"floor": one.floor, "spread": one.spread} for leg, one in self.calibration.items()
            },
            "created": self.created,
            "lease": self.lease,
            "builder": {
                "host": self.builder.host,
                "pid": self.builder.pid,
                "run_id": self.builder.run_id,
                "started": self.builder.started,
                "machine": self.builder.machine,
            },
            "counts": dict(self.counts),
        }


def parse_meta(index: str, mappings: Mapping[str, Any]) -> IndexMeta:
    """Read `_meta.es_xmodal` of a mapping.

    Args:
        index: physical name.
        mappings: the `mappings` of the index as Elasticsearch answers them.

    Returns:
        What the index says about itself.

    Raises:
        ForeignIndexError: it says nothing, so it was not made by this project.
        IndexStateError: it was made by a later version of this project.
    """
    found = (mappings.get("_meta") or {}).get(KEY)
    if not isinstance(found, Mapping):
        raise ForeignIndexError(
            f"index {index} was not made by es_xmodal, so it is left alone", hint="choose another --index"
        )
    if found.get("format") != FORMAT:
        raise IndexStateError(
            f"index {index} has format {found.get('format')!r}, this es_xmodal knows format {FORMAT}",
            hint="upgrade es_xmodal, or rebuild the index with the version in use",
        )
    try:
        return _parse(index, found)
    except (KeyError, TypeError, ValueError) as error:
        raise IndexStateError(
            f"index {index} carries a damaged _meta.{KEY}: {error!r}", hint="rebuild it with ingest --rebuild"
        ) from error


def _parse(index: str, found: Mapping[str, Any]) -> IndexMeta:
    encoder, builder = found["encoder"], found["builder"]
    return IndexMeta(
        index=index,
        version=str(found["version"]),
        state="complete" if found["state"] == "complete" else "building",
        encoder=EncoderMeta(
            spec=str(encoder["spec"]),
            fingerprint=str(encoder["fingerprint"]),
            text_space=encoder["text_space"],
            spaces={
                name: SpaceMeta(dim=int(space["dim"]), similarity=str(space["similarity"]))
                for name, space in encoder["spaces"].items()
            },
        ),
        text_fingerprint=str(found["text"]["fingerprint"]),
        layout=str(found["layout"]),
        created=str(found["created"]),
        lease=float(found["lease"]),
        builder=Builder(
            host=str(builder["host"]),
            pid=int(builder["pid"]),
            run_id=str(builder["run_id"]),
            started=float(builder["started"]),
            machine=str(builder["machine"]),
        ),
        calibration={
            leg: LegCalibration(floor=float(one["floor"]), spread=float(one["spread"]))
            for leg, one in found.get("calibration", {}).items()
        },
        counts={name: int(count) for name, count in found.get("counts", {}).items()},
    )
