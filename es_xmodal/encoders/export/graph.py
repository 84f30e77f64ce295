"""Torch modules to ONNX files with any batch size and, where the model allows it, any number of tokens."""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_xmodal.encoders.export.attention import plain_attention
from es_xmodal.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    import torch

    from es_xmodal.encoders.clip.pixels import PixelRecipe

OPSET = 17
"""Known to every ONNX Runtime since 1.18 and every torch since 2.2; has LayerNormalization."""
_ONE_FILE_BYTES = 1_900_000_000
"""Protocol buffers end at 2 GB; larger models get their weights in a file beside the graph."""


def picture_graph(tower: torch.nn.Module, recipe: PixelRecipe) -> torch.nn.Module:
    """Return the tower behind the table that turns bytes into its floats.

    The table gives the very bits of the source's own scaling, and leaves nothing but resizing to the threads
    that prepare pictures: input uint8, shape [n, 3, height, width].
    """
    import torch

    class FromBytes(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower
            self.register_buffer("values", torch.from_numpy(recipe.table()).reshape(-1))
            self.register_buffer("rows", torch.arange(3, dtype=torch.int64).reshape(1, 3, 1, 1) * 256)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.tower(self.values[pixels.to(torch.int64) + self.rows])
            return found

    return FromBytes().eval()


def text_graph(tower: torch.nn.Module, length: int) -> torch.nn.Module:
    """Return the tower so that it also reads fewer tokens than `length`.

    open_clip adds a whole table of positions, and a whole causal mask, to every text; both are cut to the
    tokens that are there. Whether the vectors stay the same is for the verification to say.
    """
    import torch

    places = [
        (holder, name, value)
        for holder in tower.modules()
        for name, value in (*holder.named_parameters(recurse=False), *holder.named_buffers(recurse=False))
        if (name == "positional_embedding" and value.ndim == 2 and value.shape[0] == length)
        or (name == "attn_mask" and tuple(value.shape) == (length, length))
    ]
    if not places:
        return tower

    class Short(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, *inputs: torch.Tensor) -> Any:
            count = inputs[0].shape[1]
            # An attribute of the object hides the parameter of that name; `functional_call`, which is made
            # for this, refuses to be traced.
            for holder, name, value in places:
                cut = value[:count, :count] if name == "attn_mask" else value[:count]
                holder.__dict__[name] = cut
            try:
                return self.tower(*inputs)
            finally:
                for holder, name, _ in places:
                    del holder.__dict__[name]

    return Short().eval()


def write_graph(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    names: Sequence[str],
    path: Path,
    *,
    free: Sequence[str] = ("n",),
) -> None:
    """Write a module as ONNX.

    Args:
        module: in evaluation mode, on the CPU, in fp32.
        inputs: an example of each input, of at least two items.
        names: of the inputs.
        path: where to write; weights above 2 GB go into `<path>.data`.
        free: names of the leading axes of every input that may have any length.

    Raises:
        EncoderError: torch cannot write this model.
        MissingExtraError: `onnx` is not installed.
    """
    import torch

    try:
        import onnx
    except ImportError:
        raise MissingExtraError("writing ONNX files", extra="export") from None
    axes = {name: dict(enumerate(free)) for name in names} | {"vectors": {0: free[0]}}
    # Since 2.9 the default is another exporter, which needs further packages; before 2.5 there was no choice.
    chosen = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    # In a folder of its own: what is above 2 GB comes as one file for each weight.
    with tempfile.TemporaryDirectory(dir=path.parent) as raw, _traceable(), torch.no_grad():
        written = Path(raw) / path.name
        try:
            torch.onnx.export(
                module,
                tuple(inputs),
                str(written),
                input_names=list(names),
                output_names=["vectors"],
                dynamic_axes=axes,
                opset_version=OPSET,
                **chosen,
            )
        except Exception as error:  # torch's exporter raises nearly every exception there is
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EncoderError(f"torch cannot write {path.name}: {line}") from error
        save_graph(onnx.load(str(written)), path)


def save_graph(model: Any, path: Path) -> None:
    """Save a model in one file, or, where it is too large for one, with its weights beside it."""
    import onnx

    if model.ByteSize() < _ONE_FILE_BYTES:
        onnx.save_model(model, str(path))
    else:
        onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}.data")


@contextmanager
def _traceable() -> Iterator[None]:
    """Tracing warns about every size that it reads, and torch about the exporter that is used."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), plain_attention():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def bytes_per_picture(module: torch.nn.Module, example: torch.Tensor) -> int:
    """Estimate the memory that one more picture in a batch needs while the tower runs.

    Four times the largest output of any layer: a block holds about as many such tensors at once.

    Args:
        module: as `picture_graph` returned it.
        example: its input, any number of pictures.
    """
    import torch

    largest = example.numel() * 8  # the index into the table of bytes

    def note(_module: Any, _inputs: Any, found: Any) -> None:
        nonlocal largest
        if isinstance(found, torch.Tensor):
            largest = max(largest, found.numel() * found.element_size())

    hooks = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with torch.inference_mode():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()
    return int(4 * largest // example.shape[0])
