"""Integer operators as float ones between DequantizeLinear and QuantizeLinear (QDQ).

::

    x ── DequantizeLinear ─┐
    w ── DequantizeLinear ─┼─ Conv ── QuantizeLinear ── y
    b ── DequantizeLinear ─┘

ONNX Runtime joins each such group of 8-bit types into the integer operator that it stands for,
and then computes the module's integers; so does this package's reader. It has no kernels of 16
bits: those groups it computes in float32, whose rounding may move a result to the next step.

Some operators stay those of `export_quant`: accumulators that nothing requantises, tables, and
8-bit layers whose multiplier is no product of scales. Weights of 4 bits are written in 8: ONNX
Runtime joins no group of 4 bits, and would round where the module does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from tetrapla.frontend.onnx import export_elementwise, export_moves
from tetrapla.frontend.onnx.export_elementwise import pool_window
from tetrapla.frontend.onnx.export_linear import window
from tetrapla.frontend.onnx.export_quant import requantization
from tetrapla.frontend.onnx.export_scales import MOVES, LayerScales, Scales
from tetrapla.frontend.onnx.writer import TYPES, Writer
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Node
from tetrapla.ir.quant.dialect import BYTES, RANGES

Write = Callable[[Node, Writer], None]
_TYPES = (*BYTES, "i16", "ui16")  # those of pairs
_INT32 = np.iinfo(np.int32)
_MOVERS = {
    kind: write
    for writers in (export_elementwise.WRITERS, export_moves.WRITERS)
    for kind, write in writers.items()
    if kind in MOVES
}


class Pairs:
    """Writes the operators of one graph that a QDQ form stands for."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._scales = Scales(writer.graph)

    def write(self, node: Node) -> bool:
        """Write a node with a QDQ form; False, and nothing is written, where it has none."""
        if node.kind in ("qnn.conv2d", "qnn.matmul"):
            follower = requantization(node, self._writer)
            if follower is None:
                return False
            scales = self._scales.layer(node, follower)
            if scales is None and follower.str("dtype") in BYTES:
                return False  # as a QLinear operator
            self._product(node, follower, scales or self._scales.unit(follower))
            return True
        if node.kind in MOVES and node.operands[0].dtype in _TYPES:
            self._moved(node)
            return True
        form = _FORMS.get(node.kind)
        if form is not None:
            op, attributes = form
            self._between(op, node, attributes(node))
        return form is not None

    def _product(self, node: Node, follower: Node, scales: LayerScales) -> None:
        """A convolution or matrix product and the requantisation behind it."""
        writer = self._writer
        conv = node.kind == "qnn.conv2d"
        x, w = node.operands[:2]
        name, shape = writer.name(x), follower.result.shape
        flat = not conv and len(node.operands) == 3 and len(x.shape) != 2
        if flat:  # Gemm takes matrices
            name = self._reshaped(name, (prod(x.shape[:-1]), x.shape[-1]), node.name)
        channel = 0 if conv else 1
        point = node.int("x_zero_point")
        names = [self._dequantized(name, scales.x, point, x.dtype, f"{node.name}_x")]
        point = node.int("w_zero_point")
        names.append(
            self._dequantized(
                writer.name(w), scales.w, point, w.dtype, f"{node.name}_w", channel
            )
        )
        if len(node.operands) == 3:
            names.append(self._bias(node, scales.x * scales.w))
        op = "Conv" if conv else "Gemm" if len(names) == 3 else "MatMul"
        real = writer.add(
            op, names, writer.fresh(f"{node.name}_real"), window(node) if conv else {}
        )
        made = writer.fresh(f"{node.name}_matrix") if flat else writer.result(follower)
        self._requantized(real, scales.y, follower, made)
        if flat:
            writer.add(
                "Reshape", [made, self._shape(shape, node.name)], writer.result(follower)
            )

    def _requantized(self, real: str, scale: np.float32, follower: Node, result: str) -> None:
        """QuantizeLinear, and bounds where they are narrower than the type's."""
        dtype, writer = follower.str("dtype"), self._writer
        bounds = (follower.int("low"), follower.int("high"))
        point, name = follower.int("zero_point"), follower.name
        if bounds == RANGES[dtype]:
            self._quantized(real, scale, point, dtype, name, result)
            return
        wide = writer.fresh(f"{name}_wide")
        self._quantized(real, scale, point, dtype, name, wide)
        held = dtype
        if dtype not in BYTES:  # ONNX Runtime clips no 16-bit integers
            held = "i32"
            wide = writer.add("Cast", [wide], writer.fresh(f"{name}_cast"), {"to": TYPES[held]})
        limits = [
            writer.constant(np.array(bound, DTYPES[held]), f"{name}_bound") for bound in bounds
        ]
        if held == dtype:
            writer.add("Clip", [wide, *limits], result)
            return
        clipped = writer.add("Clip", [wide, *limits], writer.fresh(f"{name}_clipped"))
        writer.add("Cast", [clipped], result, {"to": TYPES[dtype]})

    def _bias(self, node: Node, scale: Array) -> str:
        """The bias in steps of the product of the two scales.

        Raises:
            UnsupportedError: it is computed, or does not fit int32.
        """
        value, writer = node.operands[2], self._writer
        if not writer.graph.is_weight(value):
            if value.dtype != "i32":
                raise UnsupportedError(
                    f"ONNX dequantises a bias of int32, not a computed one of {value.dtype} "
                    f"(node '{node.name}'); make it a weight"
                )
            return self._dequantized(
                writer.name(value), scale, 0, "i32", f"{node.name}_bias", 0
            )
        bias = writer.graph.weight(value)
        if bias.size and not _INT32.min <= int(bias.min()) <= int(bias.max()) <= _INT32.max:
            raise UnsupportedError(
                f"ONNX dequantises a bias of int32, and that of node '{node.name}' exceeds it; "
                f"quantise with bits=8"
            )
        held = writer.constant(
            bias.astype(np.int32), writer.graph.constants[value.index]
        ) if value.dtype != "i32" else writer.name(value)  # fmt: skip
        return self._dequantized(held, scale, 0, "i32", f"{node.name}_bias", 0)

    def _moved(self, node: Node) -> None:
        """The numbers move as their integers do."""
        x, writer = node.operands[0], self._writer
        held, name = self._scales.reading(x), f"{node.name}_x"
        real = self._dequantized(writer.name(x), held.scale, held.zero_point, x.dtype, name)
        made = writer.fresh(f"{node.name}_real")
        twin = replace(
            node,
            operands=(writer.named(real, x.shape, "f32"), *node.operands[1:]),
            results=(writer.named(made, node.result.shape, "f32"),),
        )
        _MOVERS[node.kind](twin, writer)
        point, dtype = held.zero_point, node.result.dtype
        self._quantized(made, held.scale, point, dtype, node.name, writer.result(node))

    def _between(self, op: str, node: Node, attributes: Mapping[str, object]) -> None:
        """A float operator whose operands and result hold their scales as attributes."""
        keys = ("a", "b") if len(node.operands) == 2 else ("x",)
        names: list[str] = []
        for key, operand in zip(keys, node.operands, strict=True):
            # softmax has no zero point of x: it cancels
            point = node.attributes.get(f"{key}_zero_point", 0)
            assert isinstance(point, int)
            scale = np.float32(node.float(f"{key}_scale"))
            held = self._writer.name(operand)
            names.append(
                self._dequantized(held, scale, point, operand.dtype, f"{node.name}_{key}")
            )
        real = self._writer.add(op, names, self._writer.fresh(f"{node.name}_real"), attributes)
        scale, point = np.float32(node.float("y_scale")), node.int("y_zero_point")
        result = self._writer.result(node)
        self._quantized(real, scale, point, node.result.dtype, node.name, result)

    def _dequantized(
        self, name: str, scale: Array | np.float32, point: int, dtype: str, layer: str,
        axis: int = 0,
    ) -> str:  # fmt: skip
        """The numbers that integers stand for; one scale, or one per index of the axis."""
        parameters, shape = self._parameters(scale, point, dtype, layer)
        held = {"axis": axis} if shape else {}
        made = self._writer.fresh(f"{layer}_dequantized")
        return self._writer.add("DequantizeLinear", [name, *parameters], made, held)

    def _quantized(
        self, name: str, scale: np.float32, point: int, dtype: str, layer: str, result: str
    ) -> None:
        parameters, _ = self._parameters(scale, point, dtype, f"{layer}_y")
        self._writer.add("QuantizeLinear", [name, *parameters], result)

    def _parameters(
        self, scale: Array | np.float32, point: int, dtype: str, layer: str
    ) -> tuple[list[str], Sequence[int]]:
        """Scale and zero point as initializers, and their shape."""
        held = np.asarray(scale, np.float32)
        held = held.reshape(() if held.size == 1 else held.shape)
        points = np.full(held.shape, point, DTYPES[dtype])
        names = [
            self._writer.constant(held, f"{layer}_scale"),
            self._writer.constant(points, f"{layer}_zero_point"),
        ]
        return names, held.shape

    def _reshaped(self, name: str, shape: tuple[int, ...], layer: str) -> str:
        made = self._writer.fresh(f"{layer}_reshaped")
        return self._writer.add("Reshape", [name, self._shape(shape, layer)], made)

    def _shape(self, shape: tuple[int, ...], layer: str) -> str:
        return self._writer.constant(np.array(shape, np.int64), f"{layer}_shape")


def _nothing(node: Node) -> dict[str, object]:
    return {}


def _axis(node: Node) -> dict[str, object]:
    return {"axis": node.int("axis")}


def _pool(node: Node) -> dict[str, object]:
    return {**pool_window(node), "count_include_pad": node.int("count_include_pad")}


_FORMS: Mapping[str, tuple[str, Callable[[Node], dict[str, object]]]] = {
    "qnn.add": ("Add", _nothing),
    "qnn.average_pool2d": ("AveragePool", _pool),
    "qnn.concat": ("Concat", _axis),
    "qnn.global_average_pool": ("GlobalAveragePool", _nothing),
    "qnn.mul": ("Mul", _nothing),
    "qnn.softmax": ("Softmax", _axis),
}
