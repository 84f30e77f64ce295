"""The folder of an adapted encoder: which base, which heads, and whether they still belong together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from es_xmodal.encoders.adapted import KIND
from es_xmodal.encoders.adapted.encoder import AdaptedEncoder
from es_xmodal.encoders.adapted.heads import Heads
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.registry import MANIFEST, load_encoder
from es_xmodal.errors import EncoderError

HEADS = "heads.npz"
_HINT = "run `es-xmodal adapt` again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What `es_xmodal_encoder.json` says.

    Args:
        kind: `adapted`.
        base: SPEC of the encoder below.
        base_fingerprint: that the heads were trained on.
        heads_sha256: of `heads.npz`.
    """

    kind: str
    base: str
    base_fingerprint: str
    heads_sha256: str

    @property
    def fingerprint(self) -> str:
        """Changes with the base and with the heads."""
        whole = json.dumps([self.base_fingerprint, self.heads_sha256]).encode()
        return f"adapted-{hashlib.sha256(whole).hexdigest()[:16]}"


def load_adapted(argument: str, options: EncoderOptions) -> Encoder:
    """Load the base and put the heads on top.

    Args:
        argument: the folder.
        options: for the base.

    Raises:
        EncoderError: a file is missing or damaged, or the base is another one now.
    """
    folder = Path(argument)
    manifest = read_manifest(folder)
    heads = Heads.from_bytes(_checked_bytes(folder / HEADS, manifest), where=folder / HEADS)
    base = load_encoder(manifest.base, options)
    if base.info.fingerprint != manifest.base_fingerprint:
        base.close()
        raise EncoderError(
            f"encoder {folder}: its heads were trained on {manifest.base} with the fingerprint"
            f" {manifest.base_fingerprint}, and {manifest.base} is now {base.info.fingerprint}",
            hint=_HINT,
        )
    return AdaptedEncoder(base, heads, spec=str(folder), fingerprint=manifest.fingerprint)


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says about itself.

    Raises:
        EncoderError: there is no such folder, or it says nothing that can be understood.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**found)
    except OSError as error:
        raise EncoderError(
            f"encoder {folder}: cannot read {path.name}: {error.strerror}", hint=_HINT
        ) from None
    except (ValueError, TypeError) as error:
        raise EncoderError(f"encoder {folder}: {path.name} is damaged: {error}", hint=_HINT) from None
    if manifest.kind != KIND or not all(isinstance(value, str) for value in asdict(manifest).values()):
        raise EncoderError(f"encoder {folder}: {path.name} is not that of an adapted encoder", hint=_HINT)
    return manifest


def write_adapted(folder: Path, heads: Heads, base: Encoder) -> Manifest:
    """Write heads and manifest into a folder that exists.

    Args:
        folder: where to.
        heads: as trained.
        base: what they were trained on.

    Returns:
        The manifest.

    Raises:
        OSError: the folder cannot be written.
    """
    content = heads.to_bytes()
    manifest = Manifest(
        kind=KIND,
        base=base.info.spec,
        base_fingerprint=base.info.fingerprint,
        heads_sha256=hashlib.sha256(content).hexdigest(),
    )
    (folder / HEADS).write_bytes(content)
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def _checked_bytes(path: Path, manifest: Manifest) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EncoderError(
            f"encoder {path.parent}: cannot read {path.name}: {error.strerror}", hint=_HINT
        ) from None
    if hashlib.sha256(content).hexdigest() != manifest.heads_sha256:
        raise EncoderError(f"encoder {path.parent}: {path.name} is damaged", hint=_HINT)
    return content


def _unreadable(path: Path, error: OSError) -> EncoderError:
    return EncoderError(f"encoder {path.parent}: cannot read {path.name}: {error.strerror}", hint=_HINT)
