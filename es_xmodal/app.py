"""The composition root: which concrete parts are joined. Nothing else joins them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.errors import EncoderError, EncoderServiceError, SettingsError
from es_xmodal.media.ocr import WordReader, load_reader
from es_xmodal.media.picture import PictureLimits
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import VideoLimits
from es_xmodal.query.profile import Profile
from es_xmodal.query.profile_file import parse_profile
from es_xmodal.resources import index_template
from es_xmodal.settings import Settings
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.options import TextOptions

if TYPE_CHECKING:
    from es_xmodal.index.target import Target
    from es_xmodal.ingest.pipeline import Parts
    from es_xmodal.ingest.remote.package import Again
    from es_xmodal.ingest.words import OcrParts
    from es_xmodal.media.web import WebOptions, WebPictures


def make_analyzer(settings: Settings) -> Analyzer:
    """Make the tokeniser that the settings ask for."""
    return Analyzer(TextOptions(user_dictionary=settings.user_dictionary))


def make_encoder(settings: Settings, spec: str | None = None) -> Encoder:
    """Load an encoder on the device and in the precision that the settings ask for.

    Args:
        settings: device, precision, batch size and threads.
        spec: which one; None: the settings' own.

    Raises:
        EncoderError: it cannot be loaded.
        MissingExtraError: it needs a part that is not installed.
    """
    return load_encoder(settings.encoder if spec is None else spec, encoder_options(settings))


def encoder_options(settings: Settings) -> EncoderOptions:
    """How encoders are to run."""
    return EncoderOptions(
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.encoder_batch,
        threads=settings.encoder_threads,
        api_key=settings.encoder_api_key,
        timeout_s=settings.encoder_timeout_s,
    )


def encoder_of_index(settings: Settings, spec: str) -> Encoder:
    """Load the encoder that an index was built with.

    Args:
        settings: as for `make_encoder`.
        spec: as the index keeps it; a folder in it is one of the machine that built the index.

    Raises:
        EncoderError: it cannot be loaded here.
        EncoderServiceError: it is a service that cannot be reached.
        MissingExtraError: it needs a part that is not installed.
    """
    try:
        return make_encoder(settings, spec)
    except (EncoderError, EncoderServiceError) as error:
        raise _not_here(spec, error) from error


def _not_here(spec: str, error: EncoderError | EncoderServiceError) -> EncoderError | EncoderServiceError:
    return type(error)(
        f"the encoder of the index, {spec}, cannot be loaded here: {error.message}",
        hint="where it has another name on this machine, give that with --encoder SPEC",
    )


def load_profile(path: Path) -> Profile:
    """Read a profile from a file.

    Args:
        path: TOML, as `es-xmodal profile show` prints it.

    Returns:
        The profile.

    Raises:
        SettingsError: it cannot be read, or a key in it is wrong; the error names file and key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"profile {path}: cannot be read: {reason}") from None
    return parse_profile(text, where=str(path))


@contextmanager
def ingest_parts(settings: Settings, images_root: Path) -> Iterator[Parts]:
    """Join what an ingest works with, and close it afterwards.

    Args:
        settings: cluster, encoder, folder of the vector store.
        images_root: folder that the pictures' paths start from.

    Yields:
        The parts for `es_xmodal.ingest.pipeline.run_ingest`.

    Raises:
        SettingsError: a setting cannot be used, or no address is known.
        EncoderError: the encoder cannot be loaded.
        StoreError: the vector store cannot be opened.
        ClusterError: the cluster cannot be reached or refuses.
    """
    from es_xmodal.ingest.pipeline import Parts

    with ExitStack() as stack:
        client = connect(settings)
        stack.callback(client.close)
        capabilities = probe(client)
        encoder = make_encoder(settings)
        stack.callback(encoder.close)
        store = stack.enter_context(VectorStore.open(settings.data_dir / "vectors"))
        yield Parts(
            client=client,
            encoder=encoder,
            analyzer=make_analyzer(settings),
            store=store,
            pictures=PictureSource(images_root, picture_limits(settings), web=_web(settings, stack)),
            videos=VideoLimits(frames=settings.video_frames),
            template=index_template(),
            base64_vectors=capabilities.base64_vectors,
            ocr=_ocr_parts(settings, stack) if settings.ocr else None,
            again=_again(settings),
        )


def _again(settings: Settings) -> Again:
    """How a worker on another machine makes what has no part in the index."""
    from es_xmodal.ingest.remote.package import Again, load_again
    from es_xmodal.ingest.remote.ray_cluster import CORES_A_WORKER

    return Again(
        encoder=partial(load_again, settings.encoder, encoder_options(settings)),
        reader=partial(load_reader, engines=CORES_A_WORKER) if settings.ocr else None,
    )


def with_dictionary_of(settings: Settings, fingerprint: str, dictionaries: Iterable[Path] = ()) -> Settings:
    """Find the dictionary that an index was built with: an index knows its hash, not its words.

    Args:
        settings: its dictionary is tried first, then none.
        fingerprint: of the tokeniser of the index.
        dictionaries: further dictionaries to try.

    Returns:
        The settings with that dictionary; as they are where none of them is the one.
    """
    for path in (settings.user_dictionary, None, *dictionaries):
        found = settings.model_copy(update={"user_dictionary": path})
        if make_analyzer(found).fingerprint == fingerprint:
            return found
    return settings


@contextmanager
def parts_of_version(
    settings: Settings, target: Target, images_root: Path, *, encoder: str | None = None
) -> Iterator[Parts]:
    """Join what a version of an index was built with, so that rows can be added to it.

    Args:
        settings: as for `ingest_parts`, but for the encoder and whether words on pictures are read.
        target: the version.
        images_root: folder that the pictures' paths start from.
        encoder: SPEC of its encoder on this machine, where that is another one.

    Yields:
        The parts.

    Raises:
        XModalError: see `ingest_parts`.
    """
    meta = target.meta
    given = {"encoder": encoder or meta.encoder.spec, "ocr": meta.ocr is not None}
    settings = with_dictionary_of(settings, meta.text_fingerprint).model_copy(update=given)
    with ExitStack() as stack:
        try:
            parts = stack.enter_context(ingest_parts(settings, images_root))
        except EncoderError as error:
            raise _not_here(meta.encoder.spec, error) from error
        yield parts


def picture_limits(settings: Settings) -> PictureLimits:
    """What a picture, or a video among them, may cost."""
    return PictureLimits(video_max_bytes=settings.video_max_bytes)


def _web(settings: Settings, stack: ExitStack) -> WebPictures:
    """Fetches pictures, and remembers in the data folder what it asked for."""
    from es_xmodal.media.web import WebPictures
    from es_xmodal.store.addresses import AddressStore

    memory = stack.enter_context(AddressStore.open(settings.data_dir / "addresses"))
    web = WebPictures(web_options(settings), limits=picture_limits(settings), memory=memory)
    stack.callback(web.close)
    return web


def web_options(settings: Settings) -> WebOptions:
    """How pictures are fetched from the web."""
    from es_xmodal.media.web import WebOptions

    hosts = (host.strip().lower() for host in settings.picture_hosts.split(","))
    return WebOptions(
        connections=settings.picture_connections,
        per_host=min(settings.picture_connections_per_host, settings.picture_connections),
        read_timeout_s=min(10.0, settings.picture_timeout_s),
        total_timeout_s=settings.picture_timeout_s,
        allow_hosts=frozenset(filter(None, hosts)),
        fresh_s=settings.picture_fresh_s,
    )


def fetched(settings: Settings, source: str | bytes) -> str | bytes:
    """Return the bytes of a picture that is on the web; any other source as it is.

    Raises:
        PictureError: it cannot be fetched.
    """
    if isinstance(source, bytes) or not source.startswith(("http://", "https://")):
        return source
    from es_xmodal.media.web import WebPictures

    with closing(WebPictures(web_options(settings))) as web:
        return web.read(source)


def _ocr_parts(settings: Settings, stack: ExitStack) -> OcrParts:
    """Each thread that loads rows reads with one core: they share the machine with the encoder."""
    from es_xmodal.ingest.engine import MAX_WORKERS
    from es_xmodal.ingest.words import OcrParts
    from es_xmodal.store.texts import TextStore

    reader = load_reader(engines=min(MAX_WORKERS, settings.encoder_threads or os.cpu_count() or 1))
    return OcrParts(reader=reader, store=stack.enter_context(TextStore.open(settings.data_dir / "texts")))


def make_reader(settings: Settings) -> WordReader:
    """Make the reader of the words on a query's picture: one picture, as fast as the machine can.

    Raises:
        MissingExtraError: it is not installed.
    """
    return load_reader(threads=settings.encoder_threads or min(4, os.cpu_count() or 1))
