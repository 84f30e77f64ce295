"""On which device a model runs, in which precision, and how much it gets at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.errors import EncoderError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_BATCH = {"cuda": 256, "mps": 32, "cpu": 16}
_FULL = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Where and how a model runs.

    Args:
        device: of torch.
        precision: `fp32`, `fp16` or `bf16`.
        batch_size: items at once.
    """

    device: torch.device
    precision: str
    batch_size: int

    @property
    def dtype(self) -> torch.dtype:
        """Torch's name of the precision."""
        import torch

        found: torch.dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[
            self.precision
        ]
        return found

    @property
    def name(self) -> str:
        """For people: `cpu fp32`, `cuda:0 fp16`."""
        return f"{self.device} {self.precision}"


def choose_runtime(options: EncoderOptions, *, half_safe: bool = True) -> Runtime:
    """Choose device, precision and batch size.

    Args:
        options: what was asked for.
        half_safe: whether the model is known not to overflow in fp16.

    Returns:
        The choice: for `auto` CUDA in fp16 (bf16 where fp16 is not safe, fp32 where the GPU lacks that), else
        MPS in fp32, else the CPU in fp32.

    Raises:
        EncoderError: the device that was asked for is not there, or lacks the precision.
    """
    import torch

    device = _device(options.device)
    precision = options.precision
    if precision == "auto":
        precision = "fp32"
        if device.type == "cuda":
            precision = "fp16" if half_safe else "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise EncoderError(f"{device} has no bf16", hint="use precision fp16 or fp32")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    batch_size = options.batch_size or _BATCH[device.type]
    return Runtime(device=device, precision=precision, batch_size=batch_size)


def _device(wanted: str) -> torch.device:
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda:0" if gpus else "mps" if mps else "cpu")
    if wanted == "mps" and not mps:
        raise EncoderError("this machine has no device mps", hint="use device cpu or auto")
    if wanted.startswith("cuda"):
        number = int(wanted.partition(":")[2] or 0)
        if number >= gpus:
            there = f"it has {gpus}" if gpus else "torch sees no GPU here"
            raise EncoderError(f"this machine has no device {wanted}: {there}", hint="use device cpu or auto")
        return torch.device(f"cuda:{number}")
    return torch.device(wanted)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the batch was too large for the device."""
    import torch

    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _FULL)


def free_memory(runtime: Runtime) -> None:
    """Give back what torch keeps for later, so that a smaller batch finds one free piece."""
    import torch

    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()


def to_device(values: Any, runtime: Runtime) -> torch.Tensor:
    """Copy a tensor to the device; from pinned memory and without waiting where that is a GPU."""
    if runtime.device.type == "cuda":
        values = values.pin_memory().to(runtime.device, non_blocking=True)
    else:
        values = values.to(runtime.device)
    return values
