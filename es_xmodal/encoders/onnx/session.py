"""ONNX Runtime: where it runs, with how many threads, and what its failures mean."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_xmodal.errors import EncoderError
from es_xmodal.resources import silence_onnxruntime

if TYPE_CHECKING:
    from es_xmodal.encoders.base import EncoderOptions
    from es_xmodal.encoders.onnx.manifest import Precision

_log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_NO_MEMORY = ("failed to allocate", "bad_alloc", "out of memory", "allocation", "cudaerrormemory")


class OutOfMemoryError(Exception):
    """The runtime could not get the memory for a batch."""


def choose_provider(spec: str, options: EncoderOptions, precision: Precision) -> tuple[str, dict[str, Any]]:
    """Return the runtime's name of the device, and its options.

    Args:
        spec: the encoder, for messages.
        options: what is asked for.
        precision: of the exported model.

    Raises:
        EncoderError: what is asked for is not there, or the model does not suit it.
    """
    if options.precision not in ("auto", precision):
        raise EncoderError(
            f"encoder {spec} was exported in {precision} and cannot run in {options.precision}",
            hint="leave precision at auto, or export the source again",
        )
    if options.device == "cpu" or (options.device == "auto" and precision == "int8"):
        return CPU, {}
    silence_onnxruntime()
    import onnxruntime

    there = _CUDA in onnxruntime.get_available_providers()
    if options.device == "auto":
        return (_CUDA, _cuda_options(0)) if there else (CPU, {})
    if options.device == "mps":
        raise EncoderError(f"encoder {spec} does not run on mps", hint="device cpu, or the source with torch")
    if precision == "int8":
        raise EncoderError(f"encoder {spec} is int8, which is for CPUs", hint="export it without --int8")
    if not there:
        raise EncoderError(
            f"encoder {spec} cannot run on {options.device}: this ONNX Runtime has no CUDA",
            hint="install onnxruntime-gpu in place of onnxruntime, or leave device at auto",
        )
    return _CUDA, _cuda_options(int(options.device.partition(":")[2] or 0))


def _cuda_options(number: int) -> dict[str, Any]:
    # TF32 has a mantissa of 10 bits: the vectors would no longer be those of the source.
    return {"device_id": number, "use_tf32": 0}


def open_session(
    path: Path, spec: str, options: EncoderOptions, precision: Precision, *, keep_memory: bool = False
) -> Any:
    """Open a model.

    Args:
        path: the ONNX file.
        spec: the encoder, for messages.
        options: device and threads.
        precision: of the exported model.
        keep_memory: keep what a call needed for the next one, which then finds its pages mapped; for inputs
            that differ in nothing but the size of the batch.

    Raises:
        EncoderError: the runtime cannot load it, or not on the device that is asked for.
    """
    silence_onnxruntime()
    import onnxruntime

    provider, details = choose_provider(spec, options, precision)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads or cores()
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 3
    # Where shapes vary from call to call, as with texts, kept arenas would only grow.
    session_options.enable_cpu_mem_arena = keep_memory
    # Waiting threads that spin would take the cores from the threads that decode pictures.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [(provider, details), CPU] if provider != CPU else [CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), session_options, providers=providers)
    except Exception as error:  # the runtime's exception classes share no public base
        raise EncoderError(
            f"encoder {spec}: ONNX Runtime {onnxruntime.__version__} cannot load {path.name}: {error}",
            hint="export it again with `es-xmodal export`",
        ) from None
    if session.get_providers()[0] != provider:
        if options.device != "auto":
            raise EncoderError(
                f"encoder {spec} cannot run on {options.device}: ONNX Runtime could not start CUDA",
                hint="check the driver and the CUDA libraries, or leave device at auto",
            )
        _log.warning("%s runs on the CPU: ONNX Runtime has CUDA and could not start it", spec)
    return session


def run(session: Any, inputs: dict[str, Any], spec: str) -> Any:
    """Return the first output of a session.

    Raises:
        OutOfMemoryError: the runtime could not get the memory for it.
        EncoderError: it fails for any other reason.
    """
    try:
        return session.run(None, inputs)[0]
    except MemoryError as error:
        raise OutOfMemoryError(str(error)) from None
    except Exception as error:  # the runtime's exception classes share no public base
        text = str(error)
        if any(mark in text.lower() for mark in _NO_MEMORY):
            raise OutOfMemoryError(text) from None
        raise EncoderError(f"encoder {spec}: ONNX Runtime failed: {text}") from None


def cores() -> int:
    """Return the processor cores that this process may use; a container's quota counts."""
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no quota
        return count
