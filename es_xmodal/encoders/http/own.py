"""A service that speaks our own protocol; `docs/encoders.md` describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_xmodal.encoders.base import JOINT, Encoder, EncoderInfo, Space
from es_xmodal.encoders.http.payload import PictureFormat, answer_limit, picture_text, read_rows
from es_xmodal.errors import EncoderError
from es_xmodal.vectors import MAX_DIM

if TYPE_CHECKING:
    from es_xmodal.encoders.http.client import Client
    from es_xmodal.media.picture import Picture

PROTOCOL: Final = "es_xmodal.encoder/1"
_MAX_INFO_BYTES: Final = 1 << 20


class _SpaceInfo(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: Literal["joint", "visual", "text"]
    dim: int = Field(ge=1, le=MAX_DIM)
    similarity: str = "cosine"
    modalities: list[Literal["text", "picture"]] = Field(min_length=1)


class _Info(BaseModel):
    """What a service says of itself; unknown fields are for later versions."""

    model_config = ConfigDict(extra="ignore")

    protocol: Literal["es_xmodal.encoder/1"]
    fingerprint: str = Field(pattern=r"^[!-~]{8,200}$")
    spaces: list[_SpaceInfo] = Field(min_length=1, max_length=3)
    text_space: str | None = None
    languages: list[str] = Field(default_factory=list, max_length=200)
    licence: str = Field(default="unknown", max_length=200)
    picture_side: int = Field(default=224, ge=16, le=2048)
    picture_format: PictureFormat = "png"


class ServiceEncoder(Encoder):
    """Sends texts and pictures, reads vectors.

    Args:
        client: of the service; closed with the encoder.

    Raises:
        EncoderError: what the service says of itself makes no sense.
        EncoderServiceError: it cannot be reached, or refuses.
    """

    batch_size = 16

    def __init__(self, client: Client) -> None:
        self._client = client
        found = _read_info(client)
        self._service = found.fingerprint
        self._format = found.picture_format
        # Pictures that were squeezed on the way give slightly other vectors.
        squeezed = "" if found.picture_format == "png" else "+jpeg95"
        self.info = EncoderInfo(
            spec=client.address.spec,
            fingerprint=found.fingerprint + squeezed,
            spaces=tuple(
                Space(name=s.name, dim=s.dim, similarity=s.similarity, modalities=frozenset(s.modalities))
                for s in found.spaces
            ),
            text_space=found.text_space,
            languages=tuple(found.languages),
            licence=found.licence,
            picture_side=found.picture_side,
        )

    @property
    def runs_on(self) -> str:
        """The service."""
        return self._client.address.url

    def prepare(self, picture: Picture) -> str:
        """Return the picture as it is sent."""
        return picture_text(picture.image, self._format)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return self._ask("/pictures", {"pictures": list(batch)}, len(batch))

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return self._ask("/texts", {"texts": list(batch)}, len(batch))

    def _ask(self, path: str, body: Mapping[str, Any], rows: int) -> dict[str, NDArray[np.floating]]:
        dims = {space.name: space.dim for space in self.info.spaces}
        answer = self._client.post(path, body, max_bytes=answer_limit(rows, sum(dims.values())))
        vectors = answer.get("vectors") if isinstance(answer, dict) else None
        if not isinstance(vectors, dict):
            raise EncoderError(
                f"embedding service {self._client.address.url}{path}: no `vectors` in its answer"
            )
        now = answer.get("fingerprint")
        if now != self._service:
            raise self._client.error(
                f"it is another model now: {str(now)[:60]!r}, and was {self._service!r}",
                "one model for one index; start again when the service is settled",
            )
        return {
            name: read_rows(vectors[name], dim, what=f"embedding service {self._client.address.url}: {name}")
            for name, dim in dims.items()
            if name in vectors
        }


def _read_info(client: Client) -> _Info:
    answer = client.get(max_bytes=_MAX_INFO_BYTES)
    where = f"embedding service {client.address.url}"
    if not isinstance(answer, dict) or answer.get("protocol") != PROTOCOL:
        raise EncoderError(
            f"{where}: does not say that it speaks {PROTOCOL}",
            hint="a service of OpenAI's kind is written as http:URL#model=NAME",
        )
    try:
        info = _Info.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise EncoderError(f"{where}: {name}: {first['msg']}") from None
    _check_spaces(info, where)
    return info


def _check_spaces(info: _Info, where: str) -> None:
    """What the rest relies on: one joint space for both, and a text space for texts."""
    spaces: dict[str, set[str]] = {space.name: set(space.modalities) for space in info.spaces}
    if len(spaces) != len(info.spaces):
        raise EncoderError(f"{where}: a space comes twice")
    if spaces.get(JOINT) != {"text", "picture"}:
        raise EncoderError(f"{where}: no space {JOINT!r} for texts and pictures")
    if info.text_space is not None and "text" not in spaces.get(info.text_space, set()):
        raise EncoderError(f"{where}: text_space {info.text_space!r} is no space for texts")
