"""Attention as the few operations that it is, while a model is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let torch's `MultiheadAttention` compute in the open, for any number of items and tokens.

    Its own code picks between fused kernels, which have no ONNX form, and reads sizes in ways that a trace
    turns into constants.
    """
    from torch import nn

    own = nn.MultiheadAttention.forward

    def forward(
        self: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        plain = self.in_proj_weight is not None and self.bias_k is None and not self.add_zero_attn
        if (
            args
            or not plain
            or not set(kwargs) <= {"need_weights", "attn_mask"}
            or kwargs.get("need_weights", True)
        ):
            return own(self, query, key, value, *args, **kwargs)
        return _attend(self, query, key, value, kwargs.get("attn_mask")), None

    nn.MultiheadAttention.forward = forward
    try:
        yield
    finally:
        nn.MultiheadAttention.forward = own


def _attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """softmax(q kᵀ / √d + mask) v for each head (Vaswani et al., arXiv 1706.03762)."""
    import torch
    from torch.nn import functional

    heads, wide = module.num_heads, module.head_dim
    weights = module.in_proj_weight.chunk(3)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    given = (
        (query, key, value) if module.batch_first else tuple(x.transpose(0, 1) for x in (query, key, value))
    )
    q, k, v = (
        functional.linear(x, weight, bias).unflatten(-1, (heads, wide)).transpose(1, 2)
        for x, weight, bias in zip(given, weights, biases, strict=True)
    )
    scores = (q * wide**-0.5) @ k.transpose(-2, -1)
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, float("-inf"))
        scores = scores + (mask.unflatten(0, (-1, heads)) if mask.ndim == 3 else mask)
    found = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)
    out: torch.Tensor = module.out_proj(found)
    return out if module.batch_first else out.transpose(0, 1)
