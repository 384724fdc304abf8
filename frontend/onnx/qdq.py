"""QDQ files: float operators between DequantizeLinear and QuantizeLinear as integer ones.

::

    x ─ DQ ─┐                              x ──┐
    w ─ DQ ─┼─ Conv ─ (Relu) ─ Q ─ y  to   w ──┼─ QLinearConv ─ y
    b ─ DQ ─┘                              b ──┘

The integer operators (ONNX's QLinear ones) define what such a file means, and ONNX Runtime
makes the same of it. What has no integer form stays a float operator between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from tetrapla.frontend.onnx import tensors
from tetrapla.frontend.onnx.control import names_read
from tetrapla.frontend.onnx.external import Store
from tetrapla.frontend.onnx.qdq_moves import MOVES, Rules, moved
from tetrapla.frontend.onnx.table import RUNTIME
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

_BYTES = (TensorProto.INT8, TensorProto.UINT8)
_LARGEST_PARAMETER = 2**16  # numbers of a scale that is compared


@dataclass
class Lowered:
    """The nodes of a graph after the patterns.

    Attributes:
        relu: outputs of nodes that include a ReLU which stood behind them.
    """

    nodes: list[NodeProto]
    relu: set[str] = field(default_factory=set[str])


def lowered(graph: GraphProto, store: Store) -> Lowered:
    """The graph's nodes with every pattern replaced; `store` has the large tensors."""
    if not any(node.op_type == "QuantizeLinear" for node in graph.node):
        return Lowered(list(graph.node))
    return _Matcher(graph, store).lowered()


class _Matcher:
    def __init__(self, graph: GraphProto, store: Store) -> None:
        self._graph, self._store = graph, store
        self._constants: dict[str, TensorProto] = {t.name: t for t in graph.initializer}
        for node in graph.node:
            held = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
            if held is not None and held.HasField("t") and node.output:
                self._constants[node.output[0]] = held.t
        outputs = [info.name for info in graph.output]
        rules = Rules(self._is_one, self.same_parameters, self._is_scalar)
        self._nodes = moved(graph.node, outputs, rules)
        self._makers: dict[str, NodeProto] = {
            name: node for node in self._nodes for name in node.output if name
        }
        self._readers: dict[str, int] = {}
        for name in [*outputs, *(n for node in self._nodes for n in names_read(node))]:
            self._readers[name] = self._readers.get(name, 0) + 1

    def lowered(self) -> Lowered:
        replaced: dict[str, NodeProto] = {}  # the output of a Q: what makes it now
        gone: set[str] = set()  # the first outputs of the nodes inside a pattern
        found = Lowered([])
        for node in self._nodes:
            if node.op_type != "QuantizeLinear" or not self._is_plain(node):
                continue
            inner, relu = self._behind(node)
            made = None if inner is None else self._integer(inner, node)
            if inner is None or made is None:
                continue
            replaced[node.output[0]] = made
            gone.add(inner.output[0])
            if relu is not None:
                gone.add(relu.output[0])
                found.relu.add(node.output[0])
        for node in self._nodes:
            first = node.output[0] if node.output else ""
            if first in replaced:
                found.nodes.append(replaced[first])
            elif first not in gone:
                found.nodes.append(node)
        found.nodes = self._without_unread(found.nodes)
        return found

    def _without_unread(self, nodes: list[NodeProto]) -> list[NodeProto]:
        read = {name for node in nodes for name in names_read(node)}
        read.update(info.name for info in self._graph.output)
        return [n for n in nodes if n.op_type != "DequantizeLinear" or n.output[0] in read]

    def _behind(self, node: NodeProto) -> tuple[NodeProto | None, NodeProto | None]:
        """The node whose result is quantised, and a ReLU between the two."""
        maker = self._makers.get(node.input[0])
        if maker is None or self._readers[node.input[0]] != 1 or len(maker.output) != 1:
            return None, None
        if maker.op_type != "Relu":
            return maker, None
        before = self._makers.get(maker.input[0])
        if before is None or self._readers[maker.input[0]] != 1 or len(before.output) != 1:
            return None, None
        return before, maker if before.op_type in _FORMS else None

    def _integer(self, node: NodeProto, quantize: NodeProto) -> NodeProto | None:
        """The integer operator for a float one; None where a rule does not hold."""
        if node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in MOVES:
            return self._moved(node, quantize)
        form = _FORMS.get(node.op_type)
        parts = [self._dequantize(name) for name in node.input if name]
        present = [part for part in parts if part is not None]
        if form is None or len(present) < len(parts):
            return None
        made: NodeProto | None = form(self, node, present, quantize)
        if made is not None:
            made.name = node.name or node.output[0]
        return made

    def _dequantize(self, name: str) -> NodeProto | None:
        found = self._makers.get(name)
        if found is None or found.op_type != "DequantizeLinear" or not self._is_plain(found):
            return None
        return found

    def _is_plain(self, node: NodeProto) -> bool:
        """Whether scale and zero point are constants without blocks."""
        plain = all(not (a.name == "block_size" and a.i) for a in node.attribute)
        return plain and all(name in self._constants for name in node.input[1:] if name)

    def _is_one(self, node: NodeProto) -> bool:
        """Whether one constant scale and zero point of 8 bits are all that the node has."""
        if not self._is_plain(node) or not self.is_bytes(node):
            return False
        return self.same_parameters(node, node)

    def _is_scalar(self, name: str) -> bool:
        return not self._constants[name].dims

    def _moved(self, node: NodeProto, quantize: NodeProto) -> NodeProto | None:
        before = self._dequantize(node.input[0])
        if before is None or not self.same_parameters(before, quantize):
            return None
        made = NodeProto()
        made.CopyFrom(node)
        made.input[0] = before.input[0]
        made.output[0] = quantize.output[0]
        return made

    def same_parameters(self, a: NodeProto, b: NodeProto) -> bool:
        """Whether two nodes have one scale and zero point, of one type."""
        if len(a.input) != 3 or len(b.input) != 3:
            return False
        values = [[self.values(name) for name in node.input[1:]] for node in (a, b)]
        return all(
            x is not None and y is not None and x.size == 1 and x.dtype == y.dtype
            and bool((x == y).all())
            for x, y in zip(*values, strict=True)
        )  # fmt: skip

    def values(self, name: str) -> Array | None:
        """A small constant; None where it is large."""
        tensor = self._constants.get(name)
        if tensor is None or len(tensor.dims) > 1:
            return None
        if tensor.dims and tensor.dims[0] > _LARGEST_PARAMETER:
            return None
        try:
            return tensors.array(tensor, self._store, name).reshape(-1)
        except ModelError:  # broken data is reported by who reads the tensor
            return None

    def type_of(self, node: NodeProto) -> int:
        """The element type of the quantised side, which the zero point tells; 0 if open."""
        name = node.input[2] if len(node.input) > 2 else ""
        return self._constants[name].data_type if name in self._constants else 0

    def is_bytes(self, *nodes: NodeProto) -> bool:
        """Whether all have one 8-bit type."""
        types = {self.type_of(node) for node in nodes}
        return len(types) == 1 and types <= set(_BYTES)


_Form: TypeAlias = Callable[
    [_Matcher, NodeProto, "list[NodeProto]", NodeProto], "NodeProto | None"
]


def _triple(node: NodeProto) -> list[str]:
    """Value, scale and zero point."""
    return [*node.input, *[""] * (3 - len(node.input))]


def _made(
    op: str, domain: str, inputs: list[str], node: NodeProto, quantize: NodeProto
) -> NodeProto:
    made = NodeProto(op_type=op, domain=domain)
    made.input.extend(inputs)
    made.output.append(quantize.output[0])
    made.attribute.extend(node.attribute)
    return made


def _product(op: str) -> _Form:
    """Conv and MatMul: both operands, the result's parameters, an int32 bias."""

    def form(
        m: _Matcher, node: NodeProto, parts: list[NodeProto], q: NodeProto
    ) -> NodeProto | None:
        if not all(map(m.type_of, (*parts[:2], q))) or not _fits_bias(m, parts):
            return None
        bias = [parts[2].input[0]] if len(parts) > 2 else []
        inputs = [*_triple(parts[0]), *_triple(parts[1]), *q.input[1:3], *bias]
        return _made(op, "", inputs, node, q)

    return form


def _fits_bias(m: _Matcher, parts: list[NodeProto]) -> bool:
    """The bias is an int32 in steps of the product of the other two scales."""
    if len(parts) < 3:
        return True
    scales = [m.values(part.input[1]) for part in parts]
    if any(scale is None for scale in scales) or m.type_of(parts[2]) not in (0, _INT32):
        return False
    x, w, b = (np.asarray(scale, np.float64) for scale in scales)
    # the file's product was rounded to float32 once: a relative 2^-24, and one for the writer's
    return bool(np.allclose(b, x * w, rtol=2**-23, atol=0)) if b.size in (1, w.size) else False


_INT32 = int(TensorProto.INT32)


def _gemm(
    m: _Matcher, node: NodeProto, parts: list[NodeProto], q: NodeProto
) -> NodeProto | None:
    held = {attribute.name: attribute for attribute in node.attribute}
    if any(key in held and held[key].f != 1 for key in ("alpha", "beta")):
        return None
    if not all(map(m.type_of, (*parts[:2], q))) or not _fits_bias(m, parts):
        return None
    bias = [parts[2].input[0]] if len(parts) > 2 else [""]
    inputs = [*_triple(parts[0]), *_triple(parts[1]), *bias, *q.input[1:3]]
    made = _made("QGemm", RUNTIME, inputs, node, q)
    del made.attribute[:]
    made.attribute.extend(held[key] for key in ("transA", "transB") if key in held)
    return made


def _pair(op: str) -> _Form:
    """Add and Mul."""

    def form(
        m: _Matcher, node: NodeProto, parts: list[NodeProto], q: NodeProto
    ) -> NodeProto | None:
        if len(parts) != 2 or not m.is_bytes(*parts, q):
            return None
        inputs = [*_triple(parts[0]), *_triple(parts[1]), *q.input[1:3]]
        return _made(op, RUNTIME, inputs, node, q)

    return form


def _single(op: str, kept: str) -> _Form:
    """An operator of one value; `kept` names its attributes."""

    def form(
        m: _Matcher, node: NodeProto, parts: list[NodeProto], q: NodeProto
    ) -> NodeProto | None:
        if len(parts) != 1 or not m.is_bytes(*parts, q):
            return None
        if any(a.name not in kept.split() for a in node.attribute):
            return None
        return _made(op, RUNTIME, [*_triple(parts[0]), *q.input[1:3]], node, q)

    return form


def _concat(
    m: _Matcher, node: NodeProto, parts: list[NodeProto], q: NodeProto
) -> NodeProto | None:
    if not m.is_bytes(*parts, q):
        return None
    inputs = [*q.input[1:3], *[name for part in parts for name in _triple(part)]]
    return _made("QLinearConcat", RUNTIME, inputs, node, q)


_POOL = "kernel_shape strides pads auto_pad ceil_mode count_include_pad"
_FORMS: Mapping[str, _Form] = {
    "Conv": _product("QLinearConv"),
    "MatMul": _product("QLinearMatMul"),
    "Gemm": _gemm,
    "Add": _pair("QLinearAdd"),
    "Mul": _pair("QLinearMul"),
    "Concat": _concat,
    "AveragePool": _single("QLinearAveragePool", _POOL),
    "GlobalAveragePool": _single("QLinearGlobalAveragePool", ""),
    "Sigmoid": _single("QLinearSigmoid", ""),
    "LeakyRelu": _single("QLinearLeakyRelu", "alpha"),
    "Softmax": _single("QLinearSoftmax", "axis"),
}
