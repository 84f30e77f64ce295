"""The two towers as torch modules with nothing but tensors in and one tensor out. Imports torch.

What is pooled and projected is written here for each family and not left to the libraries'
`get_text_features`: a release of one of them once returned another tensor for Chinese-CLIP's texts, and what
these methods return changed between releases from a tensor to an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Tower(nn.Module):  # type: ignore[misc]  # torch is not followed by the type checker
    """A part of a model, called with positional tensors.

    Args:
        model: the whole model or the part; its weights move along with this module.
        names: of the inputs, in their order.
        run: model and inputs by name to vectors, [n, dim], not unit.
    """

    def __init__(
        self, model: nn.Module, names: tuple[str, ...], run: Callable[[Any, dict[str, Any]], torch.Tensor]
    ) -> None:
        super().__init__()
        self.model, self.names, self._vectors = model, names, run

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Encode one batch."""
        return self._vectors(self.model, dict(zip(self.names, inputs, strict=True)))


def parts(**modules: nn.Module | None) -> nn.ModuleDict:
    """Put the modules that are there together, so that they move as one."""
    return nn.ModuleDict({name: module for name, module in modules.items() if module is not None})


def pooler_output(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The part's own pooled state, projected where the model has a projection."""
    return _projected(model, model["body"](**inputs).pooler_output)


def first_token(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The last hidden state of the first token, projected."""
    return _projected(model, model["body"](**inputs).last_hidden_state[:, 0, :])


def patches(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The pooled state of patches with mask and shape; the names of these inputs changed between releases."""
    return _projected(model, model["body"](*inputs.values()).pooler_output)


def _projected(model: Any, pooled: torch.Tensor) -> torch.Tensor:
    return model["projection"](pooled) if "projection" in model else pooled


def open_clip_picture(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """What open_clip's model makes of pictures."""
    return _tensor(model.encode_image(inputs["pixel_values"], normalize=False))


def open_clip_text(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """What open_clip's model makes of texts."""
    return _tensor(model.encode_text(inputs["input_ids"], normalize=False))


def _tensor(found: Any) -> torch.Tensor:
    return found[0] if isinstance(found, tuple) else found  # some return their tokens, too
