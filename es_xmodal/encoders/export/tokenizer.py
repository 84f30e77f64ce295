"""Tokenizers of every source as one `tokenizer.json`, checked against the source text by text."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_xmodal.encoders.onnx.manifest import TOKENIZER_FILE, Cleaning
from es_xmodal.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    from es_xmodal.encoders.clip.towers import TokenizerSource

_SPLIT = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""How CLIP cuts a text before its byte pairs, marks of start and end aside (open_clip, `SimpleTokenizer`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Habits:
    """What a library does to texts and token numbers around its tokenizer.

    Args:
        pad: fills up short texts.
        separator: ends a text, or None.
        cleaning: what the library does to a text before its tokenizer, as `Text.cleaning` names it.
    """

    pad: int
    separator: int | None = None
    cleaning: Cleaning


def write_tokenizer(source: TokenizerSource, folder: Path) -> Habits:
    """Write the tokenizer of a source, with its truncation and without padding.

    Args:
        source: where it comes from.
        folder: gets `tokenizer.json`.

    Returns:
        What the library does besides.

    Raises:
        EncoderError: it cannot be written in that form.
        MissingExtraError: the library `tokenizers` is not installed.
    """
    if find_spec("tokenizers") is None:
        raise MissingExtraError("writing tokenizers", extra="export")
    habits = Habits(pad=0, cleaning=source.settings.get("clean") or "lower")
    if source.kind == "simple":
        found = _simple(source)
    else:
        found, habits = _transformers(source)
    found.enable_truncation(max_length=source.context)
    found.no_padding()
    (folder / TOKENIZER_FILE).write_text(found.to_str(), encoding="utf-8")
    return habits


def _simple(source: TokenizerSource) -> Any:
    """CLIP's byte pairs; cleaning and lower case stay outside, since they are not the tokenizer's there."""
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    own = SimpleTokenizer(context_length=source.context)
    ranked = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    found = Tokenizer(models.BPE(vocab=own.encoder, merges=ranked, end_of_word_suffix="</w>", fuse_unk=False))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"(?i:{_SPLIT})"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = "<start_of_text>", "<end_of_text>"
    found.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, own.encoder[start]), (end, own.encoder[end])],
    )
    return found


def _transformers(source: TokenizerSource) -> tuple[Any, Habits]:
    """A tokenizer of `transformers`; only SigLIP's is not of the `tokenizers` library there."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(source.folder), local_files_only=True)
    wrapped = "tokenizer_mode" in source.settings  # open_clip has a hand in it
    cleaning: Cleaning = source.settings.get("clean") or ("whitespace" if wrapped else "none")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        found = Tokenizer.from_str(backend.to_str())
    elif type(tokenizer).__name__ == "SiglipTokenizer" and not wrapped:
        found, cleaning = _sentencepiece(tokenizer), "siglip"
    else:
        name = type(tokenizer).__name__
        raise EncoderError(
            f"the tokenizer {name} cannot be written as {TOKENIZER_FILE}",
            hint="use this encoder with torch",
        )
    pad = tokenizer.pad_token_id or 0
    return found, Habits(pad=pad, separator=tokenizer.sep_token_id, cleaning=cleaning)


def _sentencepiece(tokenizer: Any) -> Any:
    """A unigram model of SentencePiece, with its own normalisation, and an end mark."""
    from sentencepiece import sentencepiece_model_pb2 as messages
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    proto = messages.ModelProto()  # type: ignore[attr-defined]  # made while it is imported
    proto.ParseFromString(tokenizer.sp_model.serialized_model_proto())
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
        raise EncoderError(f"only SentencePiece models of the unigram kind become {TOKENIZER_FILE}")
    found = Tokenizer(
        models.Unigram(
            [(piece.piece, piece.score) for piece in proto.pieces],
            unk_id=proto.trainer_spec.unk_id,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    )
    table = proto.normalizer_spec.precompiled_charsmap
    steps = [normalizers.Precompiled(table)] if table else []
    found.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    found.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    end = tokenizer.eos_token
    found.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    return found
