"""From a row with its vectors to the document that is indexed, and to what calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.ingest.calibrate import Reservoir, Sampled
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.document import WriteVector, token_fields, word_fields
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Row, Shot
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import Vector


class Assembler:
    """Makes documents of rows.

    Args:
        combiner: how pictures and texts become vector fields.
        analyzer: the tokeniser of the index.
        sample: takes what unrelated pairs are made of.
        tally: stop watches.
        write_vector: how the server reads vectors.
        reads_words: whether the words on pictures are indexed.
    """

    def __init__(
        self,
        *,
        combiner: Combiner,
        analyzer: Analyzer,
        sample: Reservoir,
        tally: Tally,
        write_vector: WriteVector,
        reads_words: bool,
    ) -> None:
        self._combiner = combiner
        self._analyzer = analyzer
        self._sample = sample
        self._tally = tally
        self._write_vector = write_vector
        self._reads_words = reads_words

    def document(self, row: Row) -> dict[str, Any]:
        """Return what is indexed of a row.

        Args:
            row: with its vectors.

        Returns:
            The fields of `mappings/product.json`; vectors as the server reads them.
        """
        tokens = self._tokens(row)
        vectors = self._combiner.document(row.text_vector, row.shots)
        self._sample.add(partial(_sampled, row, vectors, self._combiner, tokens.get("grams", "")))
        document: dict[str, Any] = {**row.document, "tokens": tokens, "row_hash": row.hash}
        if row.shots:
            document["images"] = [self._image(shot) for shot in row.shots]
        for leg, vector in vectors.items():
            document[self._combiner.fields[leg].path] = self._write_vector(vector)
        return document

    def sampled(self, row: Row) -> Sampled:
        """Return what calibration looks at, of a row that is not sent.

        Args:
            row: with its vectors.
        """
        vectors = self._combiner.document(row.text_vector, row.shots)
        return _sampled(row, vectors, self._combiner, self._tokens(row).get("grams", ""))

    def _tokens(self, row: Row) -> dict[str, Any]:
        with self._tally.time("tokenise"):
            tokens: dict[str, Any] = token_fields(row.product, self._analyzer)
            if self._reads_words:
                tokens |= word_fields(row.product, row.words, self._analyzer)
            return tokens

    def _image(self, shot: Shot) -> dict[str, Any]:
        spaces = self._combiner.image_spaces
        found = {name: shot.vectors[name] for name in spaces if name in shot.vectors}
        said = {"role": shot.role, "weight": shot.own_weight}
        known = {name: value for name, value in said.items() if value is not None}
        return {
            "ref": shot.ref,
            **known,
            **{name: self._write_vector(vector) for name, vector in found.items()},
        }


def _sampled(row: Row, vectors: Mapping[str, Vector], combiner: Combiner, pieces: str) -> Sampled:
    """What unrelated pairs are made of: what the index holds, or one picture where it holds them all."""
    shown = (
        next((shot.vectors for shot in row.shots if shot.vectors), {})
        if combiner.image_spaces
        else combiner.means(row.shots)
    )
    # Copies: a row of a batch's matrix would keep the whole matrix alive as long as the sample lives.
    pictures = {name: vector.copy() for name, vector in shown.items()}
    product = row.product
    return Sampled(
        group=product.group_id or product.id,
        title=product.title,
        text=None if row.text_vector is None else row.text_vector.copy(),
        joint=pictures.get(JOINT),
        visual=pictures.get(VISUAL, pictures.get(JOINT)),
        fused=vectors.get("fused"),
        said=frozenset(pieces.split(SEPARATOR)) - {""},
        shown=frozenset(grams(row.words)),
    )
