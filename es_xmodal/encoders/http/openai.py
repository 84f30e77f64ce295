"""A service of OpenAI's kind (`POST /v1/embeddings`) that takes texts and pictures, as Jina's does.

Such a service does not say what it is. Its fingerprint is therefore made of the model's name, the length of
its vectors, and where the vectors of some fixed texts and one drawn picture have their largest number. These
places stay where they are when the last digits of a vector differ between two machines or two batches, and
move when another model answers to the same name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT, Encoder, EncoderInfo, Space
from es_xmodal.encoders.http.payload import answer_limit, picture_text, read_rows
from es_xmodal.errors import EncoderError
from es_xmodal.vectors import MAX_DIM, unit_rows

if TYPE_CHECKING:
    from es_xmodal.encoders.http.client import Client
    from es_xmodal.media.picture import Picture

_PROBES: Final = ("a red leather shoe", "蓝色陶瓷马克杯", "garden chair, folding, oak")
_PICTURE_FORMAT: Final = "jpeg"
_VERSION: Final = 1
"""Raised whenever this file, not the service, changes a vector."""


class OpenAiEncoder(Encoder):
    """Sends texts and pictures to `/v1/embeddings`.

    Args:
        client: of the service; closed with the encoder.

    Raises:
        EncoderError: its answers to the probes cannot be used.
        EncoderServiceError: it cannot be reached, or refuses.
    """

    batch_size = 16

    def __init__(self, client: Client) -> None:
        self._client = client
        self._path = _path(client.address.url)
        self._answers_as: str | None = None
        probes = self._embed([{"text": text} for text in _PROBES], MAX_DIM)
        seen = self._embed([{"image": picture_text(_drawn(), _PICTURE_FORMAT)}], probes.shape[1])
        if seen.shape[1] != probes.shape[1]:
            raise EncoderError(
                f"embedding service {client.address.url}: texts have {probes.shape[1]} numbers, pictures"
                f" {seen.shape[1]}: no common space"
            )
        address = client.address
        self.info = EncoderInfo(
            spec=address.spec,
            fingerprint=address.fingerprint or _fingerprint(address.model, [*probes, *seen]),
            spaces=(Space(name=JOINT, dim=probes.shape[1], modalities=frozenset({"text", "picture"})),),
            text_space=JOINT,
            languages=(),
            licence="unknown",
            picture_side=address.side,
        )

    @property
    def runs_on(self) -> str:
        """The service."""
        return self._client.address.url

    def prepare(self, picture: Picture) -> str:
        """Return the picture as it is sent."""
        return picture_text(picture.image, _PICTURE_FORMAT)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return {JOINT: self._embed([{"image": one} for one in batch], self.info.spaces[0].dim)}

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return {JOINT: self._embed([{"text": one} for one in batch], self.info.spaces[0].dim)}

    def _embed(self, inputs: Sequence[Mapping[str, str]], dim: int) -> NDArray[np.floating]:
        address = self._client.address
        body: dict[str, Any] = {"model": address.model, "input": list(inputs)}
        if address.dimensions:
            body["dimensions"] = address.dimensions
        answer = self._client.post(self._path, body, max_bytes=answer_limit(len(inputs), dim))
        where = f"embedding service {address.url}, model {address.model}"
        rows = read_rows(_in_order(answer, len(inputs), where), dim, what=where)
        self._check_model(answer)
        return rows

    def _check_model(self, answer: Mapping[str, Any]) -> None:
        """A service that changes its model under a running ingest says so here, if it says so at all."""
        name = str(answer.get("model", ""))
        if self._answers_as is None:
            self._answers_as = name
        elif name != self._answers_as:
            raise self._client.error(
                f"it answers as model {name[:60]!r} now, and did as {self._answers_as[:60]!r}",
                "one model for one index",
            )


def _path(url: str) -> str:
    if url.endswith("/embeddings"):
        return ""
    return "/embeddings" if url.endswith("/v1") else "/v1/embeddings"


def _in_order(answer: Any, count: int, where: str) -> list[Any]:
    """The vectors in the order of the inputs, which `index` says, not the place in the list."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise EncoderError(f"{where}: no list `data` in its answer")
    places = [one.get("index", at) for at, one in enumerate(data)]
    if sorted(map(str, places)) != sorted(map(str, range(count))):
        raise EncoderError(f"{where}: {len(data)} vectors for {count} inputs, or not one for each")
    vectors: list[Any] = [None] * count
    for place, one in zip(places, data, strict=True):
        vectors[int(place)] = one.get("embedding")
    return vectors


def _fingerprint(model: str, probes: Sequence[NDArray[np.floating]]) -> str:
    units = unit_rows(np.stack(probes))
    peaks = [int(np.argmax(np.abs(row))) for row in units]
    signs = [bool(row[peak] > 0) for row, peak in zip(units, peaks, strict=True)]
    parts = json.dumps([_VERSION, model, units.shape[1], peaks, signs])
    return f"http-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def _drawn() -> Any:
    """A picture that is the same everywhere: a red disc on a slope from blue to green."""
    from PIL import Image

    y, x = np.mgrid[0:224, 0:224]
    red = ((x - 90) ** 2 + (y - 120) ** 2 < 3600) * 220
    pixels = np.stack([red, y, 223 - y], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
