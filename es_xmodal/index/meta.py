"""What an index says about itself: `_meta.es_xmodal` of its mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.errors import FingerprintMismatchError, ForeignIndexError, IndexStateError, SettingsError
from es_xmodal.index.combining import Combining, parse_combining
from es_xmodal.index.following import Follows
from es_xmodal.index.shop import ShopMeta, parse_shop
from es_xmodal.query.fields import OUR_OWN, Fields

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

    @classmethod
    def of(cls, info: EncoderInfo) -> EncoderMeta:
        """Return what an index keeps of its encoder."""
        return cls(
            spec=info.spec,
            fingerprint=info.fingerprint,
            text_space=info.text_space,
            spaces={one.name: SpaceMeta(dim=one.dim, similarity=one.similarity) for one in info.spaces},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OcrMeta:
    """How the words on the pictures of an index were read."""

    reader: str
    """Fingerprint of the reader."""
    grams: int
    """How they were cut into pieces, `text.grams.FORMAT`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LegCalibration:
    """How unrelated things score in one vector leg, as (1 + cos) / 2, whatever the field's similarity is."""

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

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "host": self.host,
            "pid": self.pid,
            "run_id": self.run_id,
            "started": self.started,
            "machine": self.machine,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Builder:
        """Read what `to_json` wrote."""
        return cls(
            host=str(found["host"]),
            pid=int(found["pid"]),
            run_id=str(found["run_id"]),
            started=float(found["started"]),
            machine=str(found["machine"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Who holds the writers of an index back, for the moment in which another version takes its place."""

    builder: Builder
    lease: float
    """When that process last said that it lives, seconds since the epoch."""
    lifts: bool
    """Whether the write block is this process's own; one that somebody else set stays."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {"builder": self.builder.to_json(), "lease": self.lease, "lifts": self.lifts}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Closed:
        """Read what `to_json` wrote."""
        return cls(
            builder=Builder.from_json(found["builder"]),
            lease=float(found["lease"]),
            lifts=bool(found["lifts"]),
        )


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
    ocr: OcrMeta | None = None
    """None: the words on pictures were not read."""
    combining: Combining = field(default_factory=Combining)
    follows: Follows | None = None
    """Up to where it holds what was written to the version that served; None: that is not known."""
    closed: Closed | None = None
    """Who holds its writers back; None: nobody does."""
    shop: ShopMeta | None = None
    """Of an index that a shop made and `enrich` added to; None: this project made the index."""
    version_field: str | None = None
    """Field of the rows that said, while it was built, which of several rows of one id is the newest."""

    @property
    def names(self) -> Fields:
        """What the index calls its fields."""
        return self.shop.fields if self.shop else OUR_OWN

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

    def check_combining(self, combining: Combining) -> None:
        """Refuse to combine pictures and texts otherwise than in the rest of this index.

        Args:
            combining: that of the ingest.

        Raises:
            IndexStateError: the index was built with another one.
        """
        if combining != self.combining:
            raise IndexStateError(
                f"index {self.index} has {self.combining}; this ingest asks for {combining}",
                hint="leave the options out to do as the index does, or make a new one with --rebuild",
            )

    def check_ocr(self, ocr: OcrMeta | None) -> None:
        """Refuse to read pictures otherwise than those that are in this index were read.

        Args:
            ocr: how an ingest reads them; None: not at all.

        Raises:
            IndexStateError: only one of the two reads words.
            FingerprintMismatchError: both do, and with another reader.
        """
        if (ocr is None) != (self.ocr is None):
            has = "has" if self.ocr else "was built without"
            flag = "with --ocr" if self.ocr else "without --ocr"
            raise IndexStateError(
                f"index {self.index} {has} the words on its pictures",
                hint=f"run ingest {flag}, or with --rebuild to make a new index beside it",
            )
        if ocr and self.ocr:
            stored, current = (f"{one.reader}/{one.grams}" for one in (self.ocr, ocr))
            self._check("reader of words", stored, current)

    def check_grams(self, current: int) -> None:
        """Refuse to compare the words on a photo by other pieces than the index holds.

        The reader may be another one than that of the index: a word is a word, whoever reads it.

        Args:
            current: `text.grams.FORMAT`.

        Raises:
            FingerprintMismatchError: the index holds other pieces.
        """
        if self.ocr:
            self._check("way of cutting words", f"grams-{self.ocr.grams}", f"grams-{current}")

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
            **({"ocr": {"reader": self.ocr.reader, "grams": self.ocr.grams}} if self.ocr else {}),
            "layout": self.layout,
            "calibration": {
                leg: {"floor": one.floor, "spread": one.spread} for leg, one in self.calibration.items()
            },
            "created": self.created,
            "lease": self.lease,
            "builder": self.builder.to_json(),
            "counts": dict(self.counts),
            "combining": self.combining.to_json(),
            **({"follows": self.follows.to_json()} if self.follows else {}),
            **({"closed": self.closed.to_json()} if self.closed else {}),
            **({"shop": self.shop.to_json()} if self.shop else {}),
            **({"version_field": self.version_field} if self.version_field else {}),
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
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise IndexStateError(
            f"index {index} carries a damaged _meta.{KEY}: {error!r}", hint="rebuild it with ingest --rebuild"
        ) from error


def _parse(index: str, found: Mapping[str, Any]) -> IndexMeta:
    encoder, ocr = found["encoder"], found.get("ocr")
    follows, closed = found.get("follows"), found.get("closed")
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
        ocr=OcrMeta(reader=str(ocr["reader"]), grams=int(ocr["grams"])) if ocr else None,
        layout=str(found["layout"]),
        created=str(found["created"]),
        lease=float(found["lease"]),
        builder=Builder.from_json(found["builder"]),
        calibration={
            leg: LegCalibration(floor=float(one["floor"]), spread=float(one["spread"]))
            for leg, one in found.get("calibration", {}).items()
        },
        counts={name: int(count) for name, count in found.get("counts", {}).items()},
        combining=parse_combining(found.get("combining", {})),
        follows=Follows.from_json(follows) if follows else None,
        closed=Closed.from_json(closed) if closed else None,
        shop=parse_shop(found["shop"]) if "shop" in found else None,
        version_field=found.get("version_field"),
    )
