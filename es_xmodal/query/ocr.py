"""The leg `ocr`: what stands on a photo against what stands on the products' pictures, titles and brands.

A misread letter spoils a word, not all pieces of it, so pieces are compared (`text/grams.py`). In the index
each piece of a product counts once and no field length matters, so that BM25 is the IDF-weighted number of
pieces that photo and product share: a brand that many packages carry counts little, the name of a kind much.
"""

from __future__ import annotations

from es_xmodal.query.legs import Clause, LexicalLeg
from es_xmodal.query.view import IndexView, Signals

OCR = "ocr"
GRAMS_FIELD = "tokens.grams"
WORDS_FIELD = "tokens.ocr"
MAX_GRAMS = 512
"""Half of Elasticsearch's smallest limit of clauses in one query."""
_RELEVANT_GRAMS = "50%"
"""`--cutoff`: a product that shares so many pieces with the photo is relevant by what stands on it."""


def ocr_leg(signals: Signals, weight: float, view: IndexView) -> LexicalLeg | None:
    """Build the leg.

    Args:
        signals: the pieces of the words on the query's pictures.
        weight: share of the leg in the fused score.
        view: the index.

    Returns:
        The leg; None where no words were read, or the index holds none.
    """
    if not signals.grams or GRAMS_FIELD not in view.fields:
        return None
    asked: Clause = {"query": " ".join(signals.grams[:MAX_GRAMS])}
    return LexicalLeg(
        name=OCR,
        weight=weight,
        clause={"match": {view.names.at(GRAMS_FIELD): asked}},
        strict={"match": {view.names.at(GRAMS_FIELD): {**asked, "minimum_should_match": _RELEVANT_GRAMS}}},
        calibration=view.calibration.get(OCR),
    )


def why_no_leg(signals: Signals, view: IndexView) -> str:
    """Why an index has no leg `ocr` for a query whose caller gives it a weight."""
    if GRAMS_FIELD not in view.fields:
        return "the words on this index's pictures were not read (ingest --ocr)"
    return "no words were read on a picture of this query"
