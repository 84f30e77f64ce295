"""What an ingest works with, and what it is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.encoders.base import Encoder
from es_xmodal.index.body import IndexOptions
from es_xmodal.index.combining import CombiningWish
from es_xmodal.index.quantisation import AUTO
from es_xmodal.ingest.remote.package import Again
from es_xmodal.ingest.remote.ray_cluster import RayOptions
from es_xmodal.ingest.sender import SenderOptions
from es_xmodal.ingest.words import OcrParts
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import DEFAULT_VIDEO_LIMITS, VideoLimits
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What an ingest works with."""

    client: Elasticsearch
    encoder: Encoder
    analyzer: Analyzer
    store: VectorStore
    pictures: PictureSource
    template: Mapping[str, Any]
    """`mappings/product.json`."""
    videos: VideoLimits = DEFAULT_VIDEO_LIMITS
    """What a video among the pictures may cost, and how many of its frames are taken."""
    base64_vectors: bool = False
    """Whether the server reads vectors as base64."""
    ocr: OcrParts | None = None
    """Reads the words on pictures; None: they are not read."""
    again: Again | None = None
    """How other machines make the encoder and the reader; None: they cannot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestOptions:
    """What an ingest is to do."""

    catalog: Path
    index: str
    renames: Mapping[str, str] = field(default_factory=dict)
    rejects: Path | None = None
    """None: `<catalogue>.rejects.jsonl` in the working directory."""
    rebuild: bool = False
    vector_index: str = AUTO
    """A kind of vector index, or `auto`: the rule of `es_xmodal.index.quantisation`."""
    expect: int | None = None
    """Products that the index is to hold in the end, for `auto`; None: those of the catalogue."""
    combining: CombiningWish = field(default_factory=CombiningWish)
    shards: int | None = None
    """None: 1 for a new index, what it has for one that is there."""
    replicas: int | None = None
    keep: int = 2
    """Complete versions that are kept after a swap, the new one included."""
    placeholders: frozenset[str] = frozenset()
    """SHA-256 of pictures that show no product, such as "no image"; they count as no picture."""
    update: bool = False
    """Rows are partial: an id, and the fields that change."""
    delete_missing: bool = False
    """Products that no row names are deleted."""
    delete_limit: float | None = None
    """Percent of the index that `delete_missing` may delete; None: half of it."""
    version_field: str | None = None
    """Field that says which of several rows of one product is the newest."""
    retry: bool = False
    """The catalogue is a file of rejects; what still does not make it takes its place."""
    from_index: bool = False
    """The rows are those of the version that serves; `catalog` is no more than the rejects file's name."""
    swap: bool = True
    """A new version serves when it is complete; False: it waits for `index swap`."""
    sender: SenderOptions = field(default_factory=SenderOptions)
    ray: RayOptions | None = None
    """Machines that decode and embed; None: this process does."""

    @property
    def rejects_path(self) -> Path:
        """Where rejects go."""
        if self.rejects is not None:
            return self.rejects
        if self.retry:
            return self.catalog
        name = self.catalog.name.removesuffix(".gz")
        return Path(f"{Path(name).stem}.rejects.jsonl")

    def index_options(self, vector_index: str) -> IndexOptions:
        """How a new index is laid out.

        Args:
            vector_index: the kind that was chosen.
        """
        return IndexOptions(vector_index=vector_index, shards=self.shards or 1, replicas=self.replicas)
