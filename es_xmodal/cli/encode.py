"""`es-xmodal encode`: texts and pictures in, vectors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from es_xmodal.cli.common import echo_json, echo_json_line, json_option, read_image
from es_xmodal.errors import PictureError, UsageError
from es_xmodal.search.signals import load_query_pictures
from es_xmodal.settings import load_settings

if TYPE_CHECKING:
    from es_xmodal.encoders.base import Encoder
    from es_xmodal.vectors import Matrix, Vector

_SHOWN_CHARS: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One vector."""

    kind: Literal["text", "picture"]
    source: str
    space: str
    vector: Vector

    def to_json(self, *, with_vector: bool = True) -> dict[str, Any]:
        """JSON values, and the vector as it is."""
        head = {"kind": self.kind, "source": self.source, "space": self.space, "dim": len(self.vector)}
        return {**head, "vector": self.vector} if with_vector else head


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--image", "images", multiple=True, metavar="PATH|URL|-", help="A picture; - is standard input."
)
@click.option("--encoder", metavar="SPEC", help="[default: ES_XMODAL_ENCODER, else mini]")
@click.option("--space", metavar="NAME", help="joint, visual or text.  [default: all that there are]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a .npy (one space) or .npz (a matrix a space) instead of printing numbers.",
)
@json_option
def encode(
    texts: Sequence[str], images: Sequence[str], space: str | None, out: Path | None, **given: Any
) -> int:
    """Print the vectors of texts and pictures, one JSON object a line.

    Exit code 1: some pictures could not be used; the others are there.
    """
    from es_xmodal.app import fetched, make_encoder

    if not texts and not images:
        raise UsageError("there is nothing to encode", hint="give a TEXT, or --image FILE")
    _check_out(out)
    if images.count("-") > 1:
        raise UsageError("standard input is given twice", hint="it holds one picture")
    settings = load_settings(encoder=given["encoder"])
    encoder = make_encoder(settings)
    try:
        _check_space(encoder, texts, images, space, out)
        failed: list[PictureError] = []
        made = list(_texts(encoder, texts, space))
        made += _pictures(encoder, lambda one: fetched(settings, read_image(one)), images, space, failed)
        about = {"encoder": encoder.info.spec, "fingerprint": encoder.info.fingerprint}
    finally:
        encoder.close()
    if failed and not made:
        raise failed[0]
    if out:
        _write(out, made)
    _print(made, about, out=out, as_json=given["as_json"])
    for error in failed:
        click.echo(f"es-xmodal: {error}", err=True)
    return 1 if failed else 0


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix not in (".npy", ".npz"):
        raise UsageError(f"--out {out}: neither .npy nor .npz")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out {out}: there is no such folder")


def _check_space(
    encoder: Encoder, texts: Sequence[str], images: Sequence[str], space: str | None, out: Path | None
) -> None:
    """Refuse what would silently come to nothing."""
    info = encoder.info
    if space is not None:
        taken = info.space(space).modalities
        for given, modality in ((texts, "text"), (images, "picture")):
            if given and modality not in taken:
                raise UsageError(
                    f"space {space} of {info.spec} takes no {modality}s", hint="leave --space away"
                )
    if out and out.suffix == ".npy" and space is None and len(info.spaces) > 1:
        names = ", ".join(one.name for one in info.spaces)
        raise UsageError(f"--out {out} holds one space", hint=f"add --space NAME ({names}), or write a .npz")


def _texts(encoder: Encoder, texts: Sequence[str], space: str | None) -> Iterator[Made]:
    found = encoder.encode_texts(texts) if texts else {}
    yield from _made("text", texts, found, space)


def _pictures(
    encoder: Encoder,
    read: Callable[[str], str | bytes],
    images: Sequence[str],
    space: str | None,
    failed: list[PictureError],
) -> Iterator[Made]:
    """One batch after the other, so that a thousand pictures are never in memory at once."""
    for start in range(0, len(images), encoder.batch_size):
        prepared: list[Any] = []
        sources: list[str] = []
        for source in images[start : start + encoder.batch_size]:
            try:
                pictures = load_query_pictures(read(source), max_side=encoder.info.decode_side)
                prepared += [encoder.prepare(picture) for picture in pictures]
                # A video gives several, each with a name of its own.
                sources += [source] if len(pictures) == 1 else [picture.source for picture in pictures]
            except PictureError as error:
                failed.append(error)
        if prepared:
            yield from _made("picture", sources, encoder.encode_pictures(prepared), space)


def _made(
    kind: Literal["text", "picture"], sources: Sequence[str], found: Mapping[str, Matrix], space: str | None
) -> Iterator[Made]:
    for at, source in enumerate(sources):
        for name, rows in found.items():
            if space in (None, name):
                yield Made(kind=kind, source=_shown(source), space=name, vector=rows[at])


def _shown(source: str) -> str:
    return source if len(source) <= _SHOWN_CHARS else f"{source[: _SHOWN_CHARS - 1]}…"


def _write(out: Path, made: Sequence[Made]) -> None:
    """A matrix a space; in a .npz also what each row was made of."""
    import numpy as np

    spaces = list(dict.fromkeys(one.space for one in made))
    rows: dict[str, Any] = {
        name: np.stack([one.vector for one in made if one.space == name]) for name in spaces
    }
    about: dict[str, Any] = {
        f"{name}_{part}": np.array([getattr(one, part) for one in made if one.space == name])
        for name in spaces
        for part in ("kind", "source")
    }
    try:
        if out.suffix == ".npy":
            np.save(out, next(iter(rows.values())))
        else:
            np.savez(out, **rows, **about)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror or error}") from None


def _print(made: Sequence[Made], about: Mapping[str, Any], *, out: Path | None, as_json: bool) -> None:
    if as_json:
        vectors = [one.to_json(with_vector=out is None) for one in made]
        echo_json({**about, "out": None if out is None else str(out), "vectors": vectors})
    elif out:
        click.echo(f"{len(made)} vectors in {out}")
    else:
        for one in made:
            echo_json_line(one.to_json())
