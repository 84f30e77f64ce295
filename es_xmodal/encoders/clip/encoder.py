"""A pair of towers behind the interface of all encoders, run by torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import JOINT, Encoder, EncoderInfo, EncoderOptions, Space
from es_xmodal.encoders.clip.device import choose_runtime, free_memory, is_out_of_memory, to_device
from es_xmodal.encoders.clip.towers import Towers
from es_xmodal.errors import EncoderError, XModalError

if TYPE_CHECKING:
    import torch

    from es_xmodal.media.picture import Picture

logger = logging.getLogger(__name__)


class ClipEncoder(Encoder):
    """A model of the CLIP kind: one space, in which texts and pictures meet.

    Attributes:
        towers: the model, now on the device and in the precision of `runs_on`.
    """

    def __init__(self, spec: str, towers: Towers, options: EncoderOptions) -> None:
        self.towers = towers
        self._runtime = choose_runtime(options, half_safe=towers.half_safe)
        self.batch_size = self._runtime.batch_size
        self._fits = self.batch_size
        # One batch at a time: two would fight for the cores or the GPU's memory.
        self._lock = threading.Lock()
        self._tokenizing = threading.Lock()  # tokenizers keep state while they run
        self.info = EncoderInfo(
            spec=spec,
            fingerprint=towers.fingerprint,
            spaces=(Space(name=JOINT, dim=towers.dim, modalities=frozenset({"text", "picture"})),),
            text_space=JOINT,
            languages=towers.languages,
            licence=towers.licence,
            picture_side=towers.side,
        )
        for tower in (towers.picture, towers.text):
            tower.to(device=self._runtime.device, dtype=self._runtime.dtype)
        logger.info("%s runs on %s, up to %d items at once", spec, self.runs_on, self.batch_size)

    @property
    def runs_on(self) -> str:
        """Device and precision, such as `cpu fp32` or `cuda:0 fp16`."""
        return self._runtime.name

    def prepare(self, picture: Picture) -> Any:
        """Resize and cut one picture: bytes where the model has a recipe for them, else its own inputs."""
        if self.towers.recipe is not None:
            return self.towers.recipe.pixels(picture.image)
        try:
            return self.towers.prepare(picture.image)
        except XModalError:
            raise
        except Exception as error:  # the code of another library, and any picture: anything may come
            raise EncoderError(
                f"{self.info.spec} cannot prepare {picture.source}: {type(error).__name__}: {error}"
            ) from error

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return {JOINT: self._halving(batch, self._pictures)}

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return {JOINT: self._halving(batch, self._texts)}

    def _halving(
        self, batch: Sequence[Any], run: Callable[[Sequence[Any]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Run a batch; when it does not fit into memory, in halves, and remember that size."""
        rows: list[NDArray[np.float32]] = []
        start = 0
        while start < len(batch):
            size = min(self._fits, len(batch) - start)
            try:
                rows.append(run(batch[start : start + size]))
                start += size
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Here, and not in the clause above: its error would still hold the tensors that must go.
            self._shrink(size)
        return np.concatenate(rows)

    def _shrink(self, size: int) -> None:
        if size == 1:
            raise EncoderError(
                f"{self.info.spec}: one item does not fit into the memory of {self._runtime.device}",
                hint="use a smaller model, another device, or precision fp16",
            )
        self._fits = -(-size // 2)
        logger.warning(
            "%s: %d items do not fit on %s, now %d", self.info.spec, size, self.runs_on, self._fits
        )
        free_memory(self._runtime)

    def _pictures(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        import torch

        recipe, runtime = self.towers.recipe, self._runtime
        if recipe is None:
            found = [torch.stack([one[name] for one in batch]) for name in self.towers.picture_inputs]
            return self._forward(self.towers.picture, [to_device(values, runtime) for values in found])
        pixels = np.stack(batch)
        if runtime.device.type == "cpu":
            values = torch.from_numpy(recipe.normalised(pixels))
        else:  # bytes over the bus, a quarter of what floats would be
            values = self._on_device(to_device(torch.from_numpy(pixels), runtime))
        return self._forward(self.towers.picture, [values])

    def _on_device(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise bytes on the device, in float32."""
        import torch

        recipe = self.towers.recipe
        assert recipe is not None
        mean = torch.tensor(recipe.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(recipe.std, device=pixels.device).view(3, 1, 1)
        return (pixels.float() * (recipe.scale or 1 / 255) - mean) / std

    def _texts(self, batch: Sequence[str]) -> NDArray[np.float32]:
        with self._tokenizing:
            found = self.towers.tokenize(list(batch))
        inputs = [to_device(found[name], self._runtime) for name in self.towers.text_inputs]
        return self._forward(self.towers.text, inputs)

    def _forward(self, tower: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        import torch

        dtype = self._runtime.dtype
        with self._lock, torch.inference_mode():
            found = tower(*(one.to(dtype) if one.is_floating_point() else one for one in inputs))
            rows: NDArray[np.float32] = found.float().cpu().numpy()
        if dtype != torch.float32 and not np.isfinite(rows).all():
            raise EncoderError(
                f"{self.info.spec} overflows on {self.runs_on}", hint="use precision bf16 or fp32"
            )
        return rows
