"""What every encoder is: spaces, a description, and one base class that does batching and checks.

A new encoder subclasses `Encoder`, sets `info`, and writes three methods for one batch each
(`prepare`, `_picture_batch`, `_text_batch`). Everything that must hold for all encoders is done
once here: batches of bounded size, text of bounded length, the right spaces, the right shapes,
finite unit rows.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from es_xmodal.errors import EncoderError
from es_xmodal.vectors import MAX_DIM, Matrix, unit_rows

if TYPE_CHECKING:
    from pydantic import SecretStr

    from es_xmodal.media.picture import Picture

Modality: TypeAlias = Literal["text", "picture"]

JOINT = "joint"
"""The space in which texts and pictures meet; every encoder has it."""
VISUAL = "visual"
"""A space for pictures alone (photo to photo); an encoder may lack it."""
TEXT = "text"
"""A space for texts alone (words to title); an encoder may lack it."""

FEATURES = "features"
"""Not a space: what an encoder's batch may return beside its vectors, for heads that are trained on it."""

SIMILARITIES = frozenset({"cosine", "dot_product", "l2_norm", "max_inner_product"})
"""The similarities of Elasticsearch's `dense_vector`."""

MAX_TEXT_CHARS = 8192
"""Longer texts are cut: no text tower reads further than some hundred tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderOptions:
    """How an encoder is to run; what its vectors mean does not depend on it.

    Args:
        device: `auto` (the fastest that is there), `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto` (fp16 on CUDA, else fp32), `fp32`, `fp16`, `bf16`.
        batch_size: items that the model gets at once; None: as many as suit model and memory.
        threads: processor cores that the model may use; None: all of them.
        api_key: of an embedding service; never shown.
        timeout_s: seconds to wait for one answer of an embedding service.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    api_key: SecretStr | None = None
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "fp32", "fp16", "bf16"):
            raise EncoderError(f"precision {self.precision!r} is none", hint="auto, fp32, fp16 or bf16")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise EncoderError(f"device {self.device!r} is none", hint="auto, cpu, cuda, cuda:N or mps")
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EncoderError(f"{name} {value} is below 1")

    def cpu_only(self, spec: str) -> None:
        """Refuse what an encoder that has one device and one precision cannot do.

        Raises:
            EncoderError: a GPU or half precision is asked for.
        """
        if self.device not in ("auto", "cpu") or self.precision not in ("auto", "fp32"):
            raise EncoderError(
                f"encoder {spec} runs on the CPU in fp32 only, not on {self.device} in {self.precision}",
                hint="leave device and precision at auto",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """A vector space.

    Args:
        name: `joint`, `visual` or `text`.
        dim: length of its vectors, at most 4096.
        similarity: as in Elasticsearch's `dense_vector`.
        modalities: what can be placed in it.

    Raises:
        EncoderError: the dimension or the similarity is one that Elasticsearch refuses.
    """

    name: str
    dim: int
    similarity: str = "cosine"
    modalities: frozenset[Modality]

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= MAX_DIM:
            raise EncoderError(
                f"space {self.name} has {self.dim} dimensions",
                hint=f"Elasticsearch takes 1 to {MAX_DIM}; use a smaller model or a projection",
            )
        if self.similarity not in SIMILARITIES:
            raise EncoderError(
                f"space {self.name} has the similarity {self.similarity!r}",
                hint=f"one of {', '.join(sorted(SIMILARITIES))}",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderInfo:
    """What an encoder says about itself.

    Args:
        spec: the string that loads it again.
        fingerprint: changes whenever its vectors may change.
        spaces: the spaces it fills.
        text_space: the space in which a text is compared with a title, or None.
        languages: BCP 47 codes of the languages that its text side reads.
        licence: SPDX expression of the weights.
        picture_side: pixels of the square that the picture tower sees.
    """

    spec: str
    fingerprint: str
    spaces: tuple[Space, ...]
    text_space: str | None
    languages: tuple[str, ...]
    licence: str
    picture_side: int

    @property
    def decode_side(self) -> int:
        """Pixels a side down to which a picture may be decoded: four times what the tower sees."""
        return 4 * self.picture_side

    def space(self, name: str) -> Space:
        """Return the space of that name.

        Raises:
            EncoderError: the encoder has no such space.
        """
        for space in self.spaces:
            if space.name == name:
                return space
        names = ", ".join(space.name for space in self.spaces)
        raise EncoderError(f"encoder {self.spec} has no space {name!r}", hint=f"it has: {names}")

    def spaces_of(self, modality: Modality) -> tuple[Space, ...]:
        """Return the spaces in which that modality can be placed, in the order of `spaces`."""
        return tuple(space for space in self.spaces if modality in space.modalities)


class Encoder(ABC):
    """Texts and pictures to vectors. Safe to use from several threads.

    Attributes:
        info: what it is.
        batch_size: how many items one call of the model gets.
    """

    info: EncoderInfo
    batch_size: int = 16

    @property
    def runs_on(self) -> str:
        """Device and precision, in words."""
        return "cpu fp32"

    @abstractmethod
    def prepare(self, picture: Picture) -> Any:
        """Turn one picture into what the model reads: CPU work only, called from decode threads."""

    @abstractmethod
    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        """Encode 1 to `batch_size` prepared pictures: space name -> [n, dim]."""

    @abstractmethod
    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        """Encode 1 to `batch_size` texts: space name -> [n, dim]."""

    def encode_pictures(self, prepared: Sequence[Any]) -> dict[str, Matrix]:
        """Encode pictures.

        Args:
            prepared: what `prepare` returned, any number, also none.

        Returns:
            For every space that takes pictures: float32, shape [n, dim], unit rows.

        Raises:
            EncoderError: the model returned something that is no such matrix.
        """
        return self._run("picture", prepared, self._picture_batch)

    def encode_texts(self, texts: Sequence[str]) -> dict[str, Matrix]:
        """Encode texts; each is cut to `MAX_TEXT_CHARS` characters.

        Args:
            texts: any number, also none.

        Returns:
            For every space that takes texts: float32, shape [n, dim], unit rows.

        Raises:
            EncoderError: the model returned something that is no such matrix.
        """
        return self._run("text", [clip_text(text) for text in texts], self._text_batch)

    def picture_features(self, prepared: Sequence[Any]) -> tuple[dict[str, Matrix], Matrix]:
        """Encode pictures, and say of each what a head can be trained on.

        Args:
            prepared: what `prepare` returned, any number, also none.

        Returns:
            As `encode_pictures`; and float32, shape [n, any], the same width in every call: what the encoder
            returns as `FEATURES`, else its vectors side by side.

        Raises:
            EncoderError: the model returned something that is no such matrix.
        """
        return self._with_features("picture", prepared, self._picture_batch)

    def text_features(self, texts: Sequence[str]) -> tuple[dict[str, Matrix], Matrix]:
        """Encode texts, and say of each what a head can be trained on; see `picture_features`."""
        return self._with_features("text", [clip_text(text) for text in texts], self._text_batch)

    def close(self) -> None:  # noqa: B027 - most encoders hold nothing that must be released
        """Release what the encoder holds; it is not used afterwards."""

    def _run(
        self,
        modality: Modality,
        items: Sequence[Any],
        encode: Callable[[Sequence[Any]], Mapping[str, NDArray[np.floating]]],
    ) -> dict[str, Matrix]:
        spaces = self.info.spaces_of(modality)
        parts: dict[str, list[Matrix]] = {s.name: [np.empty((0, s.dim), np.float32)] for s in spaces}
        start = 0
        while start < len(items):
            batch = items[start : start + self.batch_size]
            start += len(batch)
            found = encode(batch)
            for space in spaces:
                parts[space.name].append(self._checked(space, found, len(batch)))
        return {name: np.concatenate(rows) for name, rows in parts.items()}

    def _with_features(
        self,
        modality: Modality,
        items: Sequence[Any],
        encode: Callable[[Sequence[Any]], Mapping[str, NDArray[np.floating]]],
    ) -> tuple[dict[str, Matrix], Matrix]:
        rows: list[Matrix] = []

        def keeping(batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
            found = encode(batch)
            if FEATURES in found:
                rows.append(np.asarray(found[FEATURES], np.float32))
            return found

        vectors = self._run(modality, items, keeping)
        # Rounded and unit, so that vectors from the store give the same features as fresh ones.
        features = rows or [np.concatenate([vectors[s.name] for s in self.info.spaces_of(modality)], axis=1)]
        whole = np.concatenate(features)
        if whole.ndim != 2 or len(whole) != len(items) or not np.isfinite(whole).all():
            raise EncoderError(f"encoder {self.info.spec} returned features of shape {list(whole.shape)}")
        return vectors, whole

    def _checked(self, space: Space, found: Mapping[str, NDArray[np.floating]], count: int) -> Matrix:
        if space.name not in found:
            raise EncoderError(f"encoder {self.info.spec} returned no vectors for its space {space.name}")
        rows = found[space.name]
        if rows.shape != (count, space.dim):
            raise EncoderError(
                f"encoder {self.info.spec} returned shape {list(rows.shape)} for its space {space.name},"
                f" not [{count}, {space.dim}]"
            )
        return unit_rows(rows)


def clip_text(text: str) -> str:
    """Return the text with white space folded, lone surrogates replaced, and at most `MAX_TEXT_CHARS`."""
    # Looking at 16 times the limit finds the words behind long runs of spaces without reading 10 MB.
    head = " ".join(text[: 16 * MAX_TEXT_CHARS].split())[:MAX_TEXT_CHARS]
    return head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
