"""Learn from a shop's own pairs: gather, hold out, train, measure, train on all, write."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from es_xmodal.adapt.features import Features, OnProgress
from es_xmodal.adapt.fit import FitOptions, fit_gate, fit_heads, fit_picture_gate
from es_xmodal.adapt.gather import Counts, Gathered, gather
from es_xmodal.adapt.measure import Comparison, compare
from es_xmodal.adapt.pairs import Photos, read_clicks, read_photos
from es_xmodal.adapt.split import split_pairs
from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.encoders.adapted.encoder import AdaptedEncoder
from es_xmodal.encoders.adapted.folder import HEADS, read_manifest, write_adapted
from es_xmodal.encoders.adapted.heads import Heads
from es_xmodal.encoders.base import JOINT, VISUAL, Encoder
from es_xmodal.encoders.registry import MANIFEST
from es_xmodal.errors import EncoderError
from es_xmodal.store.vectors import VectorStore, vector_key
from es_xmodal.vectors import unit_rows

_log = logging.getLogger(__name__)

MIN_PRODUCTS = 20
"""Below this, heads learn the products by heart, and no held-out part says anything."""
REPORT, CHART = "report.json", "report.svg"


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptOptions:
    """What is to be learned from, and where to.

    Args:
        catalog: the catalogue.
        out: folder of the adapted encoder; made, or replaced where an earlier run has written it.
        images_root: folder that the pictures' paths start from; None: the catalogue's.
        photos: file of photos of products.
        clicks: file of queries that led to products.
        renames: as for ingest.
        seed: of split, captions and starts.
        fit: sizes and shares.
    """

    catalog: Path
    out: Path
    images_root: Path | None = None
    photos: Path | None = None
    clicks: Path | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    fit: FitOptions = field(default_factory=FitOptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptReport:
    """What was learned.

    Args:
        adapted: whether an adapted encoder was written.
        reason: why not; empty where it was.
        base: SPEC of the base.
        base_fingerprint: its fingerprint.
        fingerprint: of the adapted encoder; empty where there is none.
        out: its folder.
        counts: what was there.
        comparisons: before and after, on what was held out.
        seconds: stage -> seconds.
    """

    adapted: bool
    reason: str
    base: str
    base_fingerprint: str
    fingerprint: str
    out: str
    counts: Counts
    comparisons: tuple[Comparison, ...]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """As it stands in `report.json`."""
        return {
            **{name: getattr(self, name) for name in ("adapted", "reason", "base", "base_fingerprint")},
            "fingerprint": self.fingerprint,
            "out": self.out,
            "counts": asdict(self.counts),
            "measures": [one.to_json() for one in self.comparisons],
            "seconds_by_stage": dict(self.seconds),
        }


DrawChart = Callable[[AdaptReport, Path], None]


def run_adapt(
    encoder: Encoder,
    store: VectorStore,
    options: AdaptOptions,
    *,
    draw: DrawChart,
    on_progress: OnProgress = lambda what, done, of: None,
) -> AdaptReport:
    """Learn from a shop's own pairs, and write an encoder if that is a gain.

    Args:
        encoder: the base.
        store: keeps what the base says, and afterwards the adapted vectors of the catalogue's pictures.
        options: what to do.
        draw: draws the report's comparisons into a file.
        on_progress: called now and then.

    Returns:
        The report; with `adapted` False nothing was written.

    Raises:
        CatalogError: a file cannot be read, or no product has a usable picture.
        EncoderError: the base cannot be adapted, or the folder is not ours to replace.
        StoreError: the vector store cannot be used.
    """
    check_out(options.out)
    if isinstance(encoder, AdaptedEncoder):
        raise EncoderError(
            f"encoder {encoder.info.spec} is an adapted one already", hint=f"adapt {encoder.base.info.spec}"
        )
    return _Run(encoder, store, options, draw, on_progress).run()


def check_out(out: Path) -> None:
    """Refuse a folder that holds something else than an adapted encoder.

    Raises:
        EncoderError: it does, or it cannot be made.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        try:
            read_manifest(out)
        except EncoderError:
            raise EncoderError(
                f"--out {out} exists and is not an adapted encoder", hint="name a new folder, or remove it"
            ) from None
    elif not out.resolve().parent.is_dir():
        raise EncoderError(f"--out {out}: there is no folder {out.resolve().parent}", hint="make it first")


class _Run:
    def __init__(
        self,
        encoder: Encoder,
        store: VectorStore,
        options: AdaptOptions,
        draw: DrawChart,
        on_progress: OnProgress,
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._options = options
        self._draw = draw
        self._on_progress = on_progress
        self._seconds: dict[str, float] = {}

    def run(self) -> AdaptReport:
        with self._time("encode"):
            gathered = self._gather()
        counts = gathered.counts
        if len(gathered.products) < MIN_PRODUCTS:
            few = f"{len(gathered.products)} products with a picture are too few to learn from"
            return self._report(counts, reason=f"{few}; at least {MIN_PRODUCTS} are needed")
        split = split_pairs(gathered, seed=self._options.seed)
        with self._time("train_on_a_part"):
            part = self._fit(gathered, split.training, "training on a part")
        with self._time("measure"):
            trial = AdaptedEncoder(self._encoder, part, spec="", fingerprint="")
            comparisons = tuple(compare(gathered, split, trial))
        reason = _no_gain(comparisons)
        if reason:
            return self._report(counts, reason=reason, comparisons=comparisons)
        with self._time("train_on_all"):
            heads = self._fit(gathered, np.arange(len(gathered.owners)), "training on all")
        return self._write(gathered, heads, comparisons)

    def _gather(self) -> Gathered:
        options = self._options
        photos = read_photos(options.photos) if options.photos else Photos()
        clicks = read_clicks(options.clicks) if options.clicks else ()
        root = options.images_root or options.catalog.parent
        roots = [root, *([options.photos.parent] if options.photos else [])]
        self._features = Features(self._encoder, self._store, roots, self._on_progress)
        read = read_catalog(options.catalog, renames=options.renames)
        rows = (row for row in read if not isinstance(row, Deletion))
        gathered = gather(rows, photos.photos, clicks, self._features, seed=options.seed)
        gathered.counts.photos_of_other_split = photos.other_split
        return gathered

    def _fit(self, gathered: Gathered, pictures: np.ndarray, what: str) -> Heads:
        options = self._options
        space = self._encoder.info.text_space or JOINT
        seen_in = VISUAL if VISUAL in gathered.pictures.vectors else JOINT
        products = np.unique(gathered.owners[pictures])
        return fit_heads(
            gathered.examples(pictures),
            (
                fit_gate(gathered, products, self._features, space=space, seed=options.seed),
                fit_picture_gate(gathered, pictures, space=seen_in, seed=options.seed),
            ),
            options.fit,
            seed=options.seed,
            photos=bool(gathered.is_photo[pictures].any()),
            on_step=lambda done, of: self._on_progress(what, done, of),
        )

    def _write(self, gathered: Gathered, heads: Heads, comparisons: tuple[Comparison, ...]) -> AdaptReport:
        """Write beside the folder, then put it into its place: a run that is stopped leaves nothing half."""
        out = self._options.out.resolve()
        try:
            place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
            try:
                place.chmod(0o755)
                manifest = write_adapted(place, heads, self._encoder)
                adapted = AdaptedEncoder(
                    self._encoder, heads, spec=str(out), fingerprint=manifest.fingerprint
                )
                with self._time("keep_vectors"):
                    self._keep(gathered, adapted)
                report = self._report(
                    gathered.counts, comparisons=comparisons, fingerprint=manifest.fingerprint
                )
                text = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
                (place / REPORT).write_text(text, encoding="utf-8")
                self._draw(report, place / CHART)
                _replace(out, place)
            except BaseException:  # also Ctrl-C: leave no half-written folder behind
                shutil.rmtree(place, ignore_errors=True)
                raise
        except OSError as error:
            raise EncoderError(f"--out {out} cannot be written: {error.strerror or error}") from None
        return report

    def _keep(self, gathered: Gathered, adapted: AdaptedEncoder) -> None:
        """Store the adapted vectors of all pictures, so that an ingest does not ask the base again."""
        fingerprint = adapted.info.fingerprint
        for start in range(0, len(gathered.contents), 1024):
            rows = np.arange(start, min(start + 1024, len(gathered.contents)))
            said = gathered.pictures.take(rows)
            placed = adapted.place_pictures(said.vectors, said.features)
            self._store.put_many(
                {
                    vector_key(
                        fingerprint=fingerprint,
                        space=name,
                        kind="picture",
                        content=gathered.contents[row],
                    ): vector
                    for name, vectors in placed.items()
                    for row, vector in zip(rows.tolist(), unit_rows(vectors), strict=True)
                }
            )

    def _report(
        self,
        counts: Counts,
        *,
        reason: str = "",
        comparisons: tuple[Comparison, ...] = (),
        fingerprint: str = "",
    ) -> AdaptReport:
        return AdaptReport(
            adapted=not reason,
            reason=reason,
            base=self._encoder.info.spec,
            base_fingerprint=self._encoder.info.fingerprint,
            fingerprint=fingerprint,
            out=str(self._options.out),
            counts=counts,
            comparisons=comparisons,
            seconds=dict(self._seconds),
        )

    @contextmanager
    def _time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] = round(time.perf_counter() - start, 2)


def _no_gain(comparisons: tuple[Comparison, ...]) -> str:
    """Why the heads are not worth it; empty where they are."""
    if not comparisons:
        return "nothing could be held out to measure a gain on"
    worse = [one for one in comparisons if one.worse]
    if worse:
        return f"{worse[0].name}: worse than the base on what was held out"
    if not any(one.better for one in comparisons):
        return "no gain on what was held out that is more than chance"
    return ""


def _replace(out: Path, place: Path) -> None:
    """Put the finished folder where the old one was."""
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        out.replace(old)
        try:
            place.replace(out)
        except OSError:
            old.replace(out)
            raise
        # What someone has laid beside our files is theirs.
        for path in old.iterdir():
            if path.name in (MANIFEST, HEADS, REPORT, CHART):
                path.unlink()
            else:
                shutil.move(str(path), str(out / path.name))
        old.rmdir()
    else:
        place.replace(out)
