"""The whole export: two graphs, a tokenizer, a description, in a folder that appears when all is verified."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from es_xmodal._version import __version__
from es_xmodal.encoders.base import EncoderInfo, EncoderOptions
from es_xmodal.encoders.export.graph import bytes_per_picture, picture_graph, text_graph, write_graph
from es_xmodal.encoders.export.int8 import spared_products, write_int8
from es_xmodal.encoders.export.samples import sample_pictures, sample_texts
from es_xmodal.encoders.export.tokenizer import Habits, write_tokenizer
from es_xmodal.encoders.export.verify import FLOORS, Reference, check_tokens
from es_xmodal.encoders.onnx.manifest import (
    PICTURE_FILE,
    TEXT_FILE,
    Checked,
    Manifest,
    Precision,
    Text,
    TextInput,
)
from es_xmodal.encoders.onnx.tokens import Reader
from es_xmodal.encoders.registry import MANIFEST, load_encoder
from es_xmodal.errors import EncoderError
from es_xmodal.resources import sha256_of

if TYPE_CHECKING:
    from es_xmodal.encoders.clip.pixels import PixelRecipe
    from es_xmodal.encoders.clip.towers import Towers

_log = logging.getLogger(__name__)

_PICTURES = 9
_TEXT_STEP = 3
"""Tokens are compared for every sample, vectors for every third: a large tower takes its time."""
_KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

OnStep = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written.

    Args:
        folder: where.
        manifest: the description that lies there.
        bytes: size of all files.
    """

    folder: Path
    manifest: Manifest
    bytes: int


def export_encoder(
    spec: str, out: Path, *, int8: bool = False, on_step: OnStep = lambda step: None
) -> ExportReport:
    """Write an encoder as ONNX, verified against itself.

    Args:
        spec: an encoder that torch runs.
        out: a folder that is not there yet, or is empty.
        int8: quantise the matrix products.
        on_step: called with a word about what is done next.

    Returns:
        What was written.

    Raises:
        EncoderError: the encoder cannot be exported, `out` is taken, or the export is too far from its
            source; nothing is left behind.
        MissingExtraError: a part that exporting needs is not installed.
    """
    _check_target(out)
    on_step(f"loading {spec}")
    info, towers, recipe = _source(spec)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        manifest = _Export(info, towers, recipe, work, on_step).run(int8=int8)
        if out.is_dir():
            out.rmdir()
        work.chmod(0o777 & ~_umask())
        work.rename(out)
    except OSError as error:
        raise EncoderError(f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ExportReport(
        folder=out, manifest=manifest, bytes=sum(path.stat().st_size for path in out.iterdir())
    )


def _check_target(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EncoderError(f"{out} is there already", hint="remove it, or name another folder with --out")


def _source(spec: str) -> tuple[EncoderInfo, Towers, PixelRecipe]:
    """Load an encoder that consists of torch's towers.

    Raises:
        EncoderError: it runs in ONNX Runtime already, or is made of something else.
    """
    encoder = load_encoder(spec, EncoderOptions(device="cpu", precision="fp32"))
    towers: Towers | None = getattr(encoder, "towers", None)
    if towers is None:
        encoder.close()
        kind = encoder.info.spec.partition(":")[0]
        if kind in ("mini", "onnx"):
            raise EncoderError(
                f"encoder {spec} is ONNX already: there is nothing to export", hint=f"use it as {spec}"
            )
        raise EncoderError(
            f"encoder {spec} has no towers of torch that could be exported",
            hint="open_clip:, transformers: and local: encoders have",
        )
    if towers.recipe is None or towers.picture_inputs != ("pixel_values",):
        raise EncoderError(
            f"encoder {spec} prepares pictures in a way that cannot be exported ({towers.family})",
            hint="use it with torch, or a model of that family with one picture size",
        )
    strange = [name for name in towers.text_inputs if name not in _KNOWN_INPUTS]
    if strange or towers.text_inputs[0] != "input_ids":
        raise EncoderError(f"encoder {spec} reads texts in a way that cannot be exported: {strange}")
    if any(towers.tokenizer.settings.get(name) for name in ("tokenizer_mode", "reduction_mask")):
        raise EncoderError(f"encoder {spec} marks the end of a text in a way that cannot be exported")
    return encoder.info, towers, towers.recipe


class _Export:
    """One export into a folder that nobody else sees yet."""

    def __init__(
        self, info: EncoderInfo, towers: Towers, recipe: PixelRecipe, folder: Path, on_step: OnStep
    ) -> None:
        self._info, self._towers, self._recipe = info, towers, recipe
        self._folder, self._on_step = folder, on_step

    def run(self, *, int8: bool) -> Manifest:
        """Write, verify, describe.

        Raises:
            EncoderError: a step fails, or a cosine is below its floor.
        """
        self._on_step("tokenizer")
        texts = sample_texts()
        how = self._text(write_tokenizer(self._towers.tokenizer, self._folder))
        check_tokens(self._towers, self._folder, how, texts)
        self._on_step("reference vectors")
        reference = Reference(self._towers, sample_pictures(_PICTURES), texts[::_TEXT_STEP])
        self._on_step("picture tower")
        draft = self._draft(how, self._write_pictures())
        self._on_step("text tower")
        draft, checked = self._write_texts(draft, reference)
        self._on_step("verifying")
        verified = {"pictures": reference.compare_pictures(self._folder, draft), "texts": checked}
        for what, one in verified.items():
            _hold(one, what, "fp32")
        if int8:
            self._on_step("quantising")
            draft, verified = self._quantise(draft, reference)
        manifest = draft.model_copy(update={"files": self._sums(), "verified": verified})
        path = self._folder / MANIFEST
        path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        return manifest

    def _text(self, habits: Habits) -> Text:
        source = self._towers.tokenizer
        return Text(
            cleaning=habits.cleaning,
            length=source.context,
            fixed=False,
            pad=habits.pad,
            zeroed=habits.separator if source.settings.get("strip_sep_token") else None,
            inputs=cast("tuple[TextInput, ...]", self._towers.text_inputs),
        )

    def _draft(self, how: Text, memory: int) -> Manifest:
        info = self._info
        names = ("torch", "onnx", "onnxruntime", "transformers", "open_clip_torch")
        return Manifest(
            source=info.spec,
            source_fingerprint=info.fingerprint,
            fingerprint=info.fingerprint,
            precision="fp32",
            dim=self._towers.dim,
            text_space=info.text_space,
            languages=info.languages,
            licence=info.licence,
            picture_side=info.picture_side,
            bytes_per_picture=memory,
            pixels=self._recipe,
            text=how,
            files={},
            verified={},
            made_with={"es_xmodal": __version__} | {name: version(name) for name in names},
        )

    def _write_pictures(self) -> int:
        import torch

        height, width = self._recipe.shape
        seed = torch.Generator().manual_seed(1)
        example = torch.randint(0, 256, (2, 3, height, width), generator=seed, dtype=torch.uint8)
        module = picture_graph(self._towers.picture, self._recipe)
        write_graph(module, (example,), ("pixels",), self._folder / PICTURE_FILE)
        return bytes_per_picture(module, example)

    def _write_texts(self, draft: Manifest, reference: Reference) -> tuple[Manifest, Checked]:
        """Write the tower for as few tokens as there are; where that changes vectors, for all of them."""
        try:
            return self._write_text(draft, reference, fixed=False)
        except EncoderError as error:
            _log.info("%s: every text is padded, since %s", self._info.spec, error)
            return self._write_text(draft, reference, fixed=True)

    def _write_text(self, draft: Manifest, reference: Reference, *, fixed: bool) -> tuple[Manifest, Checked]:
        import torch

        towers = self._towers
        text = draft.text.model_copy(update={"fixed": fixed})
        reader = Reader(self._folder, text)
        example = reader.inputs(reader.numbers(["red running shoes", "a photo of a mug"]))
        module = towers.text if fixed else text_graph(towers.text, towers.tokenizer.context)
        write_graph(
            module,
            [torch.from_numpy(example[name]) for name in towers.text_inputs],
            towers.text_inputs,
            self._folder / TEXT_FILE,
            free=("n",) if fixed else ("n", "tokens"),
        )
        draft = draft.model_copy(update={"text": text})
        checked = reference.compare_texts(self._folder, draft)
        _hold(checked, "texts", "fp32")
        return draft, checked

    def _quantise(self, draft: Manifest, reference: Reference) -> tuple[Manifest, dict[str, Checked]]:
        draft = draft.model_copy(update={"precision": "int8"})
        verified = {
            "pictures": self._quantise_tower(
                PICTURE_FILE, "pictures", lambda: reference.compare_pictures(self._folder, draft)
            ),
            "texts": self._quantise_tower(
                TEXT_FILE, "texts", lambda: reference.compare_texts(self._folder, draft)
            ),
        }
        whole = json.dumps([draft.source_fingerprint, self._sums()], sort_keys=True).encode()
        own = f"{draft.source_fingerprint}-int8-{hashlib.sha256(whole).hexdigest()[:16]}"
        return draft.model_copy(update={"fingerprint": own}), verified

    def _quantise_tower(self, name: str, what: str, compare: Callable[[], Checked]) -> Checked:
        """Quantise all products; where that loses too much, spare those that are known to lose most."""
        aside = self._folder / "fp32"
        aside.mkdir()
        for path in [path for path in self._folder.iterdir() if path.name.startswith(name)]:
            path.rename(aside / path.name)  # by the same name, which the graph knows its weights by
        checked: Checked | None = None
        for spared in spared_products(aside / name):
            write_int8(aside / name, self._folder / name, spared=spared)
            checked = compare()
            if checked.worst >= FLOORS["int8"]:
                break
        shutil.rmtree(aside)
        assert checked is not None
        _hold(checked, what, "int8")
        return checked

    def _sums(self) -> dict[str, str]:
        return {path.name: sha256_of(path) for path in sorted(self._folder.iterdir())}


def _hold(checked: Checked, what: str, precision: Precision) -> None:
    """Refuse an export whose vectors are too far from the source's."""
    floor = FLOORS[precision]
    if not checked.worst >= floor:
        raise EncoderError(
            f"the {precision} export is too far from its source: cosine of {what} {checked.mean:.5f} on"
            f" average, {checked.worst:.5f} at worst, and {floor} is asked of the worst",
            hint="export without --int8" if precision == "int8" else "use the source with torch",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
