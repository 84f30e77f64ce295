"""Tokenizers of every source as one `tokenizer.json`, checked against the source text by text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_xmodal.encoders.onnx.manifest import TOKENIZER_FILE
from es_xmodal.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    from es_xmodal.encoders.clip.towers import TokenizerSource

_SPLIT = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""How CLIP cuts a text before its byte pairs, marks of start and end aside (open_clip, `SimpleTokenizer`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Numbers of tokens that are not text.

    Args:
        pad: fills up short texts.
        separator: ends a text, or None.
    """

    pad: int
    separator: int | None


def write_tokenizer(source: TokenizerSource, folder: Path) -> Marks:
    """Write the tokenizer of a source, with its truncation and without padding.

    Args:
        source: where it comes from.
        folder: gets `tokenizer.json`.

    Returns:
        Its marks.

    Raises:
        EncoderError: it cannot be written in that form.
        MissingExtraError: the library `tokenizers` is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise MissingExtraError("writing tokenizers", extra="export") from None
    marks = Marks(pad=0, separator=None)
    if source.kind == "simple":
        found = _simple(source)
    else:
        text, marks = _transformers(source)
        found = tokenizers.Tokenizer.from_str(text)
    found.enable_truncation(max_length=source.context)
    found.no_padding()
    (folder / TOKENIZER_FILE).write_text(found.to_str(), encoding="utf-8")
    return marks


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


def _transformers(source: TokenizerSource) -> tuple[str, Marks]:
    """The JSON of a `transformers` tokenizer; one without it is converted by the library itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(source.folder), local_files_only=True)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        from transformers.convert_slow_tokenizer import convert_slow_tokenizer

        try:
            backend = convert_slow_tokenizer(tokenizer)
        except Exception as error:  # the library's own converters raise what they like
            name = type(tokenizer).__name__
            raise EncoderError(
                f"the tokenizer {name} cannot be written as {TOKENIZER_FILE}: {error}"
            ) from error
    marks = Marks(pad=tokenizer.pad_token_id or 0, separator=tokenizer.sep_token_id)
    return backend.to_str(), marks
