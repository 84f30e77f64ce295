"""A row on its way through the ingest, and the work that is done on it in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from es_xmodal.catalog.document import to_document
from es_xmodal.catalog.product import ImageNote, Product
from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import PictureError
from es_xmodal.index.combining import Combining, text_source
from es_xmodal.ingest.document import row_hash, text_for_vector
from es_xmodal.ingest.kept import KeptBytes
from es_xmodal.ingest.known import mark
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.words import ShotWords, Words
from es_xmodal.media.picture import content_hash, decode_picture
from es_xmodal.media.source import Found, PictureSource
from es_xmodal.media.video import DEFAULT_FRAMES, is_video
from es_xmodal.store.base import Keeps
from es_xmodal.store.vectors import vector_key
from es_xmodal.vectors import Vector

if TYPE_CHECKING:
    from es_xmodal.ingest.stored import StoredVectors
    from es_xmodal.ingest.video import Videos


@dataclass(slots=True, kw_only=True)
class Shot:
    """One picture of a row."""

    number: int
    """Place in the row's list of images, from 0."""
    ref: str
    content: str = ""
    """Content hash; empty where the picture could not be read."""
    failure: tuple[str, str, str] | None = None
    """Stage, code and reason why it is not used."""
    stale: tuple[str, str] | None = None
    """Code and reason why the picture is taken as it was last time."""
    data: bytes | None = None
    """The picture itself, where reading it again would cost more than keeping it."""
    prepared: Any = None
    vectors: dict[str, Vector] = field(default_factory=dict)
    role: str | None = None
    own_weight: float | None = None
    """What the row gives as its weight."""
    weight: float = 1.0
    """Its part in the mean of the product's pictures; 0: it is shown, and not searched."""
    words: Words | None = None
    """What stands on it; None: not read, or not yet."""
    words_failure: tuple[str, str, str] | None = None
    """Stage, code and reason why the words on a picture that is used are not known."""
    video: bool = False
    """It is known to be a video; its frames stand for it once it was looked at."""
    frames: list[Shot] = field(default_factory=list)
    part: int = 0
    """Of a frame: its place among the frames of its video."""
    file: str = ""
    """Of a frame: the content hash of its video."""

    @property
    def mark(self) -> str:
        """What the row's hash sees of it."""
        said = "" if self.role is None and self.own_weight is None else f"|{self.role}|{self.own_weight}"
        content = self.file or self.content
        mark = content if self.failure is None else f"!{self.failure[1]}:{content}"
        return mark + said + ("" if self.words_failure is None else "|!words")

    def fail(self, error: PictureError) -> None:
        """Note why the picture is not used."""
        self.failure = ("picture", error.code, error.message)


@dataclass(slots=True, kw_only=True)
class Row:
    """One product on its way."""

    product: Product
    document: dict[str, Any]
    """The fields that come from the row alone."""
    shots: list[Shot]
    hash: str
    text: str = ""
    """What is embedded for it in words; known once the row is known to have changed."""
    known: int | None = None
    """Mark of the document that the index holds already."""
    text_vector: Vector | None = None
    text_failure: str | None = None
    _compared: str = ""
    """The hash that `unchanged` was last asked of: it is asked often, and the hash changes twice at most."""
    _same: bool = False

    @property
    def unchanged(self) -> bool:
        """Whether the index holds this very document."""
        if self.known is None:
            return False
        if self._compared != self.hash:
            self._compared = self.hash
            self._same = self.known == mark(self.hash, self.document)
        return self._same

    @property
    def undecoded(self) -> list[Shot]:
        """Pictures that still need a vector."""
        return [shot for shot in self.shots if shot.failure is None and not shot.vectors and shot.weight > 0]

    @property
    def words(self) -> list[str]:
        """What stands on its pictures."""
        return [word.text for shot in self.shots for word in shot.words or ()]

    def forget_vectors(self) -> None:
        """Let go of what the document's body holds by now; the row itself waits for its confirmation."""
        self.text_vector = None
        for shot in self.shots:
            shot.vectors = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """Does to rows what can be done in threads."""

    encoder: Encoder
    text_fingerprint: str
    store: Keeps[Vector]
    pictures: PictureSource
    tally: Tally
    known_marks: Callable[[Sequence[str]], dict[str, int]]
    """Ids -> marks of what the index holds of them."""
    words: ShotWords | None = None
    """Reads the words on pictures; None: they are not read."""
    combining: Combining = field(default_factory=Combining)
    videos: Videos | None = None
    """Takes the frames of videos; None: a video is no picture."""
    placeholders: frozenset[str] = frozenset()
    """Content hashes of pictures that show no product; such a picture counts as none."""
    kept: KeptBytes = field(default_factory=KeptBytes)
    stored: StoredVectors | None = None
    """Knows vectors that the store lacks; None: the rows do not come from an index of this encoder."""

    @property
    def text_space(self) -> str | None:
        """The space in which products' texts are embedded; None: they are not."""
        return text_source(self.combining, self.encoder.info.text_space)

    def load(self, products: Sequence[Product]) -> list[Row]:
        """Read and hash pictures, see which rows changed, look up vectors.

        Args:
            products: some rows.

        Returns:
            The same rows; unchanged ones without vectors.

        Raises:
            StoreError: the store cannot be read.
            ClusterError: the index cannot be asked.
        """
        with self.tally.time("load"):
            refs = [ref for product in products for ref in product.images]
            found = self.pictures.identify(refs)
            self.tally.add("fetched_pictures", sum(_came(one) for one in found.values()))
            rows = [self._row(product, found) for product in products]
            known = self.known_marks([row.product.id for row in rows])
            for row in rows:
                row.known = known.get(row.product.id)
            changed = [row for row in rows if not row.unchanged]
            self.look_up(changed)
            if self.stored is not None:
                self.stored.fill(self, changed)
            self.let_go([row for row in rows if self.waits_for_nothing(row)])
            return rows

    def look_up(self, rows: Sequence[Row]) -> None:
        """Take from the stores what rows still lack; what they have stays.

        Args:
            rows: changed ones.

        Raises:
            StoreError: a store cannot be read.
        """
        with self.tally.time("store"):
            self._find_frames(rows)
            self._find_pictures([shot for row in rows for shot in row.undecoded])
            self.find_texts([row for row in rows if row.text_vector is None])
            if self.words:
                self.words.find([shot for row in rows for shot in self._unread(row)])

    def waits_for_nothing(self, row: Row) -> bool:
        """Whether `decode` has nothing to do for a row."""
        return row.unchanged or not self.to_look_at(row)

    def to_look_at(self, row: Row) -> list[Shot]:
        """Return the pictures of a changed row that `decode` has something to do for."""
        ids = {id(shot) for shot in (*row.undecoded, *self._unread(row))}
        return [shot for shot in row.shots if id(shot) in ids]

    def decode(self, row: Row) -> Row:
        """Decode and prepare the pictures that the store does not know, and read the words on them.

        Args:
            row: as `load` returned it.

        Returns:
            The same row.
        """
        undecoded = {id(shot) for shot in row.undecoded}
        unread = {id(shot) for shot in self._unread(row)}
        for shot in row.shots:
            if id(shot) in undecoded | unread:
                try:
                    self._look_at(shot, encode=id(shot) in undecoded, read=id(shot) in unread)
                except PictureError as error:
                    shot.fail(error)
            self._drop(shot)
        row.shots = _with_frames(row.shots)
        return row

    def let_go(self, rows: Sequence[Row]) -> None:
        """Forget the bytes of rows that need them no more."""
        for row in rows:
            for shot in row.shots:
                self._drop(shot)

    def _drop(self, shot: Shot) -> None:
        self.kept.drop(shot.data)
        shot.data = None

    def _look_at(self, shot: Shot, *, encode: bool, read: bool) -> None:
        with self.tally.time("decode"):
            data = shot.data or self.pictures.read(shot.ref)
            if content_hash(data) != shot.content:
                raise PictureError("the file changed while it was read", code="changed")
            if self.videos and is_video(data):
                shot.frames = self.videos.look_at(shot, data)
                return
            if encode:
                side = self.encoder.info.decode_side
                picture = decode_picture(data, source=shot.ref, max_side=side, roughly=True)
                shot.prepared = self.encoder.prepare(picture)
        if self.words and read:
            self.words.read(shot, data)

    def _unread(self, row: Row) -> list[Shot]:
        """Pictures whose words are still to be read; frames of a video are not."""
        if not self.words:
            return []
        used = [shot for shot in row.shots if shot.failure is None and shot.weight > 0 and not shot.file]
        return [shot for shot in used if shot.words is None]

    def rehash(self, row: Row) -> str:
        """Return the row's hash as it is now, failed pictures and text included."""
        # A video and its frames have the same mark: the hash is known before the frames are.
        marks = [shot.mark for shot in row.shots if shot.part == 0 or shot.failure]
        marks += ["!text"] if row.text_failure else []
        marks += [self.words.fingerprint] if self.words else []
        if self.videos and self.videos.frames != DEFAULT_FRAMES:
            marks.append(f"frames:{self.videos.frames}")
        info = self.encoder.info
        return row_hash(row.document, marks, encoder=info.fingerprint, text=self.text_fingerprint)

    def picture_key(self, shot: Shot, space: str) -> bytes:
        """Return the store's key of a picture's vector."""
        return vector_key(
            fingerprint=self.encoder.info.fingerprint, space=space, kind="picture", content=shot.content
        )

    def text_key(self, text: str, space: str) -> bytes:
        """Return the store's key of a text's vector."""
        return vector_key(fingerprint=self.encoder.info.fingerprint, space=space, kind="text", content=text)

    def find(self, shots: Sequence[Shot]) -> list[Shot]:
        """Look up pictures in the store.

        Args:
            shots: readable pictures without vectors.

        Returns:
            Those that were found; they have their vectors now.
        """
        spaces = [space.name for space in self.encoder.info.spaces_of("picture")]
        keys = [self.picture_key(shot, space) for shot in shots for space in spaces]
        found = self.store.get_many(keys) if keys else []
        for at, shot in enumerate(shots):
            vectors = found[at * len(spaces) : (at + 1) * len(spaces)]
            whole = {name: one for name, one in zip(spaces, vectors, strict=True) if one is not None}
            if len(whole) == len(spaces):
                shot.vectors = whole
        return [shot for shot in shots if shot.vectors]

    def _row(self, product: Product, found: Mapping[str, Found | PictureError]) -> Row:
        shots = [self._shot(product, ref, at) for ref, at in _places(product.images).items()]
        for shot in shots:
            one = found[shot.ref]
            if isinstance(one, PictureError):
                shot.fail(one)
            else:
                shot.content, shot.video = one.content, one.video
                shot.data = self.kept.keep(one.data)
                shot.stale = (one.stale.code, one.stale.message) if one.stale else None
        for shot in [shot for shot in shots if shot.content in self.placeholders]:
            self._drop(shot)
            shots.remove(shot)
        row = Row(
            product=product,
            document=to_document(product),
            shots=shots,
            hash="",
        )
        row.hash = self.rehash(row)
        return row

    def _shot(self, product: Product, ref: str, number: int) -> Shot:
        note = product.image_notes.get(ref, ImageNote())
        weight = self.combining.weight(note.role, note.weight)
        return Shot(number=number, ref=ref, role=note.role, own_weight=note.weight, weight=weight)

    def _find_pictures(self, shots: Sequence[Shot]) -> None:
        self.tally.add("reused_vectors", len(self.find(shots)))

    def _find_frames(self, rows: Sequence[Row]) -> None:
        """Put frames in the place of videos that were looked at before, where all have their vectors."""
        videos = self.videos
        for row in rows if videos else ():
            for shot in row.shots:
                if videos and shot.video and shot.weight > 0:
                    frames = videos.known(shot)
                    if frames and len(self.find(frames)) == len(frames):
                        self.tally.add("reused_vectors", len(frames))
                        self._drop(shot)
                        shot.frames = frames
            row.shots = _with_frames(row.shots)

    def find_texts(self, rows: Sequence[Row]) -> None:
        """Look up the vectors of texts in the store.

        Args:
            rows: without vectors of their texts; those that were found have them now.
        """
        space = self.text_space
        if space is None or not rows:
            return
        for row in rows:
            row.text = row.text or text_for_vector(row.product)
        found = self.store.get_many([self.text_key(row.text, space) for row in rows])
        for row, vector in zip(rows, found, strict=True):
            row.text_vector = vector
        self.tally.add("reused_vectors", sum(vector is not None for vector in found))


def _came(found: Found | PictureError) -> bool:
    return isinstance(found, Found) and found.data is not None


def _with_frames(shots: Sequence[Shot]) -> list[Shot]:
    """Frames in the place of their video."""
    return [part for shot in shots for part in shot.frames or [shot]]


def _places(refs: Sequence[str]) -> dict[str, int]:
    """Each reference once, with its first place."""
    places: dict[str, int] = {}
    for at, ref in enumerate(refs):
        places.setdefault(ref, at)
    return places
