"""What every way of writing documents is made of: the same rows give the same documents everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from es_xmodal.index.combining import Combining
from es_xmodal.ingest.assemble import Assembler
from es_xmodal.ingest.calibrate import Reservoir
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.document import as_base64, as_floats
from es_xmodal.ingest.options import Parts
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Loader
from es_xmodal.ingest.stored import StoredVectors
from es_xmodal.ingest.video import Videos
from es_xmodal.ingest.words import ShotWords


def make_loader(
    parts: Parts,
    tally: Tally,
    *,
    combining: Combining,
    placeholders: frozenset[str],
    known_marks: Callable[[Sequence[str]], dict[str, int]] = lambda ids: {},
    stored: StoredVectors | None = None,
) -> Loader:
    """Return what reads pictures, sees which rows changed, and looks vectors up.

    Args:
        parts: what the run works with.
        tally: counters and stop watches.
        combining: how the index combines pictures and texts.
        placeholders: content hashes of pictures that show no product.
        known_marks: ids -> marks of what the index holds of them; without it, nothing.
        stored: vectors of the index that the rows come from.
    """
    encoder = parts.encoder
    side = encoder.info.decode_side
    return Loader(
        encoder=encoder,
        text_fingerprint=parts.analyzer.fingerprint,
        store=parts.store,
        pictures=parts.pictures,
        tally=tally,
        known_marks=known_marks,
        words=ShotWords(parts.ocr, tally) if parts.ocr else None,
        combining=combining,
        videos=Videos(parts.store, parts.videos, max_side=side, prepare=encoder.prepare),
        placeholders=placeholders,
        stored=stored,
    )


def make_assembler(
    parts: Parts, tally: Tally, *, combining: Combining, sample: Reservoir | None = None
) -> Assembler:
    """Return what makes documents of rows.

    Args:
        parts: what the run works with.
        tally: stop watches.
        combining: how the index combines pictures and texts.
        sample: takes what calibration needs; None: nothing is calibrated.
    """
    return Assembler(
        combiner=Combiner(combining, parts.encoder.info),
        analyzer=parts.analyzer,
        sample=Reservoir(0) if sample is None else sample,
        tally=tally,
        write_vector=as_base64 if parts.base64_vectors else as_floats,
        reads_words=parts.ocr is not None,
    )
