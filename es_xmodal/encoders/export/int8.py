"""Matrix products in 8 bit: weights once, by channel; activations while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from es_xmodal.errors import MissingExtraError

_KINDS = ("MatMul", "Gemm")
"""Not `Conv`: the cut into patches is one product of many, and the one that sees raw pixels."""


def spared_products(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield names of products that stay in fp32: none, then the last, then also those behind activations.

    What is quantised per tensor suffers where a few values are far larger than the rest: in the projection
    into the joint space, and behind the activation function of a block, where its second product is the
    one with more rows than columns.

    Args:
        path: the fp32 model.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    products = [
        (node.name, _rows_and_columns(node, shapes)) for node in model.graph.node if node.op_type in _KINDS
    ]
    weighted = [(name, shape) for name, shape in products if shape is not None]
    yield ()
    if weighted:
        last = weighted[-1][0]
        yield (last,)
        narrowing = [name for name, (rows, columns) in weighted if rows > columns and name != last]
        if narrowing:
            yield (last, *narrowing)


def _rows_and_columns(node: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int] | None:
    shape = shapes.get(node.input[1])
    if shape is None or len(shape) != 2:
        return None
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return (shape[1], shape[0]) if turned else (shape[0], shape[1])


def write_int8(source: Path, target: Path, *, spared: tuple[str, ...]) -> None:
    """Write a model with 8-bit products.

    Args:
        source: the fp32 model.
        target: where to write.
        spared: names of products that stay as they are.

    Raises:
        MissingExtraError: the parts of ONNX Runtime that quantise need `onnx`.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtraError("quantising to int8", extra="export") from None
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it asks, on the root logger, for a pass that changes nothing here
    try:
        quantize_dynamic(
            str(source),
            str(target),
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_KINDS),
            nodes_to_exclude=list(spared),
            use_external_data_format=source.with_name(f"{source.name}.data").exists(),
        )
    finally:
        logger.setLevel(level)
