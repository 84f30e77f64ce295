"""Small pictures of products for a page, where the service can read the shop's own folder of pictures."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import PictureLimits, decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import is_video, video_frame
from es_xmodal.server.gate import Gate
from es_xmodal.server.problems import Problem
from es_xmodal.server.routes import caller
from es_xmodal.server.service import Service
from es_xmodal.shop import Shop

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES: Final = (160, 320, 640, 1024)
"""Sides that are made; another one gets the next larger, so that the cache has few of each."""
CACHE_BYTES: Final = 32 * 1024 * 1024
KEPT_S: Final = 300.0
"""How long a small picture is good for: the shop may exchange the file behind it."""
_QUALITY: Final = 82
MAX_TIME_S: Final = 3600.0
"""No video that is longer has frames in an index."""
# Without a time nothing of a video's size is read.
_LIMITS: Final = PictureLimits(video_max_bytes=PictureLimits().max_bytes)
_Key = tuple[str, int, int, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail:
    """A small picture.

    Attributes:
        data: JPEG.
        etag: of the bytes.
        until: when it is made again, by the clock of its cache.
    """

    data: bytes
    etag: str
    until: float


class ProductPictures:
    """Makes and keeps small pictures of products.

    Args:
        shop: tells which pictures a product has.
        root: the folder that references are relative to; nothing outside of it is read.
        most_bytes: kept in memory; what was not asked for the longest goes first.
        clock: seconds; tests replace it.
    """

    def __init__(
        self,
        shop: Shop,
        root: Folder,
        *,
        most_bytes: int = CACHE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shop = shop
        self._pictures = PictureSource(root, _LIMITS)
        self._videos = PictureSource(root)
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, Thumbnail] = OrderedDict()
        self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of all pictures that are kept."""
        return self._bytes

    def known(self, id_: str, number: int, side: int, time_s: float | None = None) -> Thumbnail | None:
        """Return a picture that is kept and still good."""
        key = (id_, number, side, time_s)
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.until < self._clock():
                return None
            self._kept.move_to_end(key)
            return found

    def make(self, id_: str, number: int, side: int, time_s: float | None = None) -> Thumbnail:
        """Read, shrink and keep a picture.

        Args:
            id_: product.
            number: place among its pictures, from 0.
            side: the longer side, one of `SIDES`.
            time_s: seconds from the start, where the picture is a video; None: it is none.

        Raises:
            Problem: 404 where there is no such product or picture, or its file cannot be used.
        """
        product = self._shop.product(id_)
        references = [_reference(one) for one in (product or {}).get("images", [])]
        if number >= len(references):
            raise Problem(404, f"there is no picture {number} of {id_!r}", kind="not-found")
        if references[number].lower().startswith(("http://", "https://")):
            raise Problem(404, "this picture is on the web: use its address", kind="not-found")
        try:
            data = self._small(references[number], side, time_s)
        except PictureError as error:
            # The line names the file, which is no secret: it stands in the product.
            raise Problem(404, error.message, kind="picture", code=error.code) from None
        made = Thumbnail(
            data=data,
            etag=f'"{hashlib.sha256(data).hexdigest()[:20]}"',
            until=self._clock() + KEPT_S,
        )
        self._keep((id_, number, side, time_s), made)
        return made

    def _small(self, reference: str, side: int, time_s: float | None) -> bytes:
        data = (self._pictures if time_s is None else self._videos).read(reference)
        if is_video(data):
            if time_s is None:
                raise PictureError(
                    f"picture {reference!r} is a video: ask for a time in it, t=0", code="is_video"
                )
            return _jpeg(video_frame(data, time_s, source=reference, max_side=side))
        return _jpeg(decode_picture(data, source=reference, limits=_LIMITS, max_side=side).image)

    def _keep(self, key: _Key, made: Thumbnail) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = made
            self._bytes += len(made.data) - (len(before.data) if before else 0)
            while self._bytes > self._most_bytes:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.data)


def picture_routes(service: Service) -> APIRouter:
    """The route of small pictures; a page asks for dozens at once, so they are not counted as calls."""
    router = APIRouter(dependencies=[Depends(caller(service, "search", counted=False))])
    root = service.options.images_root
    pictures = ProductPictures(service.shop, Folder(root)) if root else None
    # A video costs a hundred times what a picture costs, in memory and in time: one after the other, and who
    # waits takes no place from searches.
    videos = Gate(1, service.options.waiting, service.options.answer_s)

    @router.get(
        "/products/{id_:path}/images/{number}",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "Not Modified"}},
        tags=["products"],
    )
    async def picture(
        request: Request,
        id_: Annotated[str, Path(min_length=1, max_length=512, description="id of a product")],
        number: Annotated[int, Path(ge=0, le=10_000, description="place among its pictures, from 0")],
        side: Annotated[int, Query(ge=16, le=SIDES[-1], description="the longer side in pixels")] = 320,
        t: Annotated[
            float | None,
            Query(ge=0, le=MAX_TIME_S, description="where it is a video: seconds from its start"),
        ] = None,
    ) -> Response:
        """A small picture of a product, or a frame of its video, as JPEG; it needs `--images-root`."""
        if pictures is None:
            raise Problem(
                404, "this service has no pictures", kind="not-found", hint="start it with --images-root"
            )
        size = next(one for one in SIDES if one >= side)
        time_s = None if t is None else round(t, 3)
        found = pictures.known(id_, number, size, time_s)
        if found is None and time_s is None:
            found = await service.run(pictures.make, id_, number, size)
        elif found is None:
            async with videos.place():
                found = await service.run(pictures.make, id_, number, size, time_s)
        return _answer(request, found)

    return router


def _answer(request: Request, found: Thumbnail) -> Response:
    headers = {"ETag": found.etag, "Cache-Control": f"private, max-age={KEPT_S:.0f}"}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type="image/jpeg")


def _reference(image: Any) -> str:
    return str(image["ref"] if isinstance(image, dict) else image)


def _jpeg(image: Image) -> bytes:
    """Pixels only: what else was in the file (place, camera, script) does not go out."""
    written = BytesIO()
    image.save(written, "JPEG", quality=_QUALITY, optimize=True)
    return written.getvalue()
