"""Vectors worked out by the reference libraries alone, for comparison. Nothing of es_xmodal runs here.

Pooled states are taken out of the models and multiplied by the projection's weights as they lie in the file:
what a library's own `get_text_features` returns is compared as well, and is not trusted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Rows = np.ndarray[Any, Any]

TEXTS = [
    "red mug", "A PHOTO of a Blue Shirt, for men!", "我想要一台红色的苹果手机", "马克杯 蓝色 500ml", "",
    "running shoes " * 40, "X-1200/b 1.5L",
    "  spaces   and\ttabs ", "咖啡" * 60, "👟 emoji", "a", "été naïve",
]  # fmt: skip


def pictures() -> list[Image.Image]:
    """Drawings and noise of odd shapes: one pixel, strips, the tower's own size."""
    rng = np.random.default_rng(3)
    found = []
    for size in ((80, 60), (61, 97), (32, 32), (33, 32), (200, 31), (1, 1), (3, 90), (160, 161)):
        image = Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist()))
        pen = ImageDraw.Draw(image)
        for _ in range(4):
            x, y = (int(rng.integers(0, side)) for side in size)
            pen.ellipse(
                (x, y, x + size[0] // 2, y + size[1] // 2), fill=tuple(rng.integers(0, 256, 3).tolist())
            )
        found.append(image)
    found.append(Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)))
    return found


def unit(rows: Any) -> Rows:
    """Divide by the length."""
    given = np.asarray(rows, np.float64)
    return np.asarray(given / np.linalg.norm(given, axis=1, keepdims=True))


def cosines(ours: Rows, theirs: Rows) -> Rows:
    """Cosine row by row."""
    return np.asarray((unit(ours) * unit(theirs)).sum(axis=1))


# --- transformers -----------------------------------------------------------------------------------------

_CLASSES = {
    "clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model", "siglip2_fixed": "SiglipModel",
    "chinese_clip": "ChineseCLIPModel", "altclip": "AltCLIPModel",
    "dual_encoder": "VisionTextDualEncoderModel",
}  # fmt: skip


class TransformersReference:
    """A model of transformers, its processor used as its documentation says."""

    def __init__(self, family: str, folder: Path, backend: str = "pil") -> None:
        import transformers
        from safetensors.torch import load_file

        self.family = family
        self.model = getattr(transformers, _CLASSES[family]).from_pretrained(folder).eval()
        self.pictures = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
        self.tokenizer = transformers.AutoProcessor.from_pretrained(folder).tokenizer
        self.weights = load_file(folder / "model.safetensors")

    def tokens(self, texts: Sequence[str]) -> dict[str, Any]:
        limits = {"clip": 16, "siglip": 16, "siglip2": 64, "siglip2_fixed": 64}
        padding = "max_length" if self.family.startswith("siglip") else True
        found = self.tokenizer(
            list(texts), padding=padding, truncation=True,
            max_length=limits.get(self.family, 24), return_tensors="pt",
        )  # fmt: skip
        return dict(found)

    def pixels(self, images: Sequence[Image.Image]) -> dict[str, Any]:
        return dict(self.pictures(images=list(images), return_tensors="pt"))

    def texts_by_hand(self, texts: Sequence[str]) -> Rows:
        import torch

        with torch.no_grad():
            out = self.model.text_model(**self.tokens(texts))
        if self.family == "siglip" or self.family.startswith("siglip2"):
            last = out.last_hidden_state[:, -1].numpy()  # its sticky end of text; the head is a linear map
            return self._linear(last, "text_model.head")
        if self.family in ("chinese_clip", "altclip"):
            return self._linear(out.last_hidden_state[:, 0].numpy(), "text_projection")
        if self.family == "clip":
            ids = self.tokens(texts)["input_ids"]
            ends = (ids == self.tokenizer.eos_token_id).int().argmax(dim=1)
            state = out.last_hidden_state[torch.arange(len(ids)), ends].numpy()
            return self._linear(state, "text_projection")
        first = out.last_hidden_state[:, 0].numpy()  # RoBERTa's pooler: a dense layer and tanh
        return self._linear(np.tanh(self._linear(first, "text_model.pooler.dense")), "text_projection")

    def pictures_by_hand(self, images: Sequence[Image.Image]) -> Rows:
        import torch

        with torch.no_grad():
            if self.family == "siglip2":
                given = self.pixels(images)
                out = self.model.vision_model(*given.values())
            else:
                out = self.model.vision_model(self.pixels(images)["pixel_values"])
        if self.family.startswith("siglip"):
            return np.asarray(out.pooler_output.numpy())  # attention pooling: no projection behind it
        if self.family == "dual_encoder":
            first = out.last_hidden_state[:, 0].numpy()
            return self._linear(
                np.tanh(self._linear(first, "vision_model.pooler.dense")), "visual_projection"
            )
        layer = {name: self.weights[f"vision_model.post_layernorm.{name}"] for name in ("weight", "bias")}
        first = torch.nn.functional.layer_norm(
            out.last_hidden_state[:, 0], layer["weight"].shape, layer["weight"], layer["bias"], 1e-5
        )
        return self._linear(first.numpy(), "visual_projection")

    def library_texts(self, texts: Sequence[str]) -> Rows:
        import torch

        with torch.no_grad():
            return _rows(self.model.get_text_features(**self.tokens(texts)))

    def library_pictures(self, images: Sequence[Image.Image]) -> Rows:
        import torch

        with torch.no_grad():
            return _rows(self.model.get_image_features(**self.pixels(images)))

    def _linear(self, rows: Rows, name: str) -> Rows:
        weight, bias = self.weights[f"{name}.weight"].numpy(), self.weights.get(f"{name}.bias")
        return np.asarray(rows @ weight.T + (0 if bias is None else bias.numpy()))


def _rows(found: Any) -> Rows:
    """Older releases return the tensor, newer ones an object around it."""
    return np.asarray(getattr(found, "pooler_output", found).numpy())


# --- open_clip --------------------------------------------------------------------------------------------


class OpenClipReference:
    """A model of open_clip from its own folder format."""

    def __init__(self, family: str, folder: Path) -> None:
        import open_clip

        self.family = family
        with _inside(folder):  # the text model's configuration lies inside, under a relative name
            name = f"local-dir:{folder}"
            self.model, self.transform = open_clip.create_model_from_pretrained(name)
            self.tokenizer = open_clip.get_tokenizer(name)
        self.model.eval()

    def tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer(list(texts))

    def pixels(self, images: Sequence[Image.Image]) -> Any:
        import torch

        return torch.stack([self.transform(image) for image in images])

    def texts_by_hand(self, texts: Sequence[str]) -> Rows:
        ids = self.tokens(texts)
        if self.family == "open_clip_hf_text":
            mask = (ids != 1).numpy()[..., None]
            with _seen(self.model.text.transformer) as seen:
                self.library_texts(texts)
            hidden = seen[0].last_hidden_state.numpy()
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            first, last = (self.model.text.proj[n].weight.detach().numpy() for n in (0, 2))
            return np.asarray(_gelu(pooled @ first.T) @ last.T)
        tower = self.model.text if hasattr(self.model, "text") else self.model
        with _seen(tower.ln_final) as seen:
            self.library_texts(texts)
        hidden = seen[0].numpy()
        if self.family == "open_clip_siglip":
            layer = tower.text_projection
            return np.asarray(hidden[:, -1] @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        ends = ids.argmax(dim=1).numpy()
        return np.asarray(hidden[np.arange(len(ids)), ends] @ tower.text_projection.detach().numpy())

    def pictures_by_hand(self, images: Sequence[Image.Image]) -> Rows:
        if self.family == "open_clip_siglip":
            import torch

            with torch.no_grad():
                return np.asarray(self.model.visual.trunk(self.pixels(images)).numpy())
        with _seen(self.model.visual.ln_post) as seen:
            self.library_pictures(images)
        return np.asarray(seen[0].numpy()[:, 0] @ self.model.visual.proj.detach().numpy())

    def library_texts(self, texts: Sequence[str]) -> Rows:
        import torch

        with torch.no_grad():
            return np.asarray(self.model.encode_text(self.tokens(texts), normalize=True).numpy())

    def library_pictures(self, images: Sequence[Image.Image]) -> Rows:
        import torch

        with torch.no_grad():
            return np.asarray(self.model.encode_image(self.pixels(images), normalize=True).numpy())


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _seen(module: Any) -> Iterator[list[Any]]:
    """What a module returned while this was open."""
    found: list[Any] = []
    hook = module.register_forward_hook(lambda _module, _given, out: found.append(out))
    try:
        yield found
    finally:
        hook.remove()


def _gelu(rows: Rows) -> Rows:
    import torch

    return np.asarray(torch.nn.functional.gelu(torch.from_numpy(rows)).numpy())


def reference(family: str, folder: Path) -> TransformersReference | OpenClipReference:
    """The reference of a tiny model."""
    return (OpenClipReference if family.startswith("open_clip") else TransformersReference)(family, folder)
