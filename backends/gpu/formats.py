"""Number formats of a plan: what floats are kept as, and what enters the multipliers.

A plan in fp8 is one of a module that `quantize` has given 8-bit floats with scales::

    q = qnn.quantize(x, @sx) {dtype = f8E4M3FN}      q: kept in 8 bits
    y = nn.matmul(qnn.dequantize(q, @sx),            y = MatMul(q, w) | Scale(sx sw)
                  qnn.dequantize(@w, @sw))

The scales leave the sum, so that 8-bit numbers are multiplied: four roundings more of a term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.gpu.spec import GpuSpec

SMALL = "f8E4M3FN"
PRODUCTS = ("nn.matmul", "nn.conv2d")
# what turns a float model into one of 8-bit floats
FP8 = f"quantize{{weights={SMALL},activations={SMALL}}}"
# AMD's architectures whose 8-bit floats have no negative zero and half the range (CDNA 3
# instruction set architecture guide)
FNUZ = ("gfx940", "gfx941", "gfx942")
# roundings of a term of a product of scaled numbers beside those of the sum: the reference's
# two dequantisations, the product of the scales and the product by it
SCALING = 4


@dataclass(frozen=True)
class Floats:
    """A plan's floats: `kept` between kernels as one type, `multiplied` as another."""

    kept: str
    multiplied: str


FLOATS: Mapping[str, Floats] = MappingProxyType(
    {
        "fp32": Floats("f32", "f32"),
        "tf32": Floats("f32", "tf32"),
        "fp16": Floats("f16", "f16"),
        "bf16": Floats("bf16", "bf16"),
        "int8": Floats("f32", "f32"),
        "fp8": Floats("f32", "f32"),
    }
)


def is_small(graph: Graph) -> bool:
    """Whether a module has 8-bit floats."""
    return any(value.dtype == SMALL for node in graph.nodes for value in node.operands)


def refuse_lacking(spec: GpuSpec, number_format: str) -> None:
    """Refuse a format that the chip lacks.

    Raises:
        UnsupportedError: with the formats that it has.
    """
    spec.per_clock(number_format)
    if number_format == "fp8" and spec.architecture in FNUZ:
        raise UnsupportedError(
            f"{spec.name} must be given 8-bit floats that it multiplies, E4M3FNUZ, not the "
            "E4M3FN of a plan in fp8; choose another --quant or chip"
        )


def small_products(graph: Graph) -> dict[str, tuple[Node, Node]]:
    """By name of a product of 8-bit floats, the dequantisations that make its operands."""
    makers = {node.result.index: node for node in graph.nodes if _is_small(node, graph)}
    found: dict[str, tuple[Node, Node]] = {}
    for node in graph.nodes:
        if node.kind in PRODUCTS:
            a, b = (makers.get(value.index) for value in node.operands[:2])
            if a is not None and b is not None and _fits(node, a, b):
                found[node.name] = a, b
    return found


def shrunk(graph: Graph) -> tuple[Graph, dict[str, tuple[Value, Value]]]:
    """The graph whose products read 8-bit floats where they can, and by name their scales.

    Dequantisations that nothing else reads are gone.
    """
    products = small_products(graph)
    if not products:
        return graph, {}
    nodes = [
        replace(
            node, operands=(*(p.operands[0] for p in products[node.name]), *node.operands[2:])
        )
        if node.name in products
        else node
        for node in graph.nodes
    ]
    gone = {pair.result.index for pairs in products.values() for pair in pairs}
    gone -= {v.index for node in nodes for v in node.operands}
    gone -= {v.index for _, v in graph.outputs}
    kept = tuple(node for node in nodes if node.result.index not in gone)
    scales = {name: (a.operands[1], b.operands[1]) for name, (a, b) in products.items()}
    return replace(graph, nodes=kept), scales


def scale_of(graph: Graph, scales: tuple[Value, Value]) -> Array:
    """The product of a product's two scales; ones where the weights are not known."""
    if not all(value.index in graph.weights for value in scales):
        return np.ones(scales[1].elements, np.float32)
    a, b = (graph.weight(value).reshape(-1) for value in scales)
    return np.asarray(a * b)


def _is_small(node: Node, graph: Graph) -> bool:
    if node.kind != "qnn.dequantize" or node.operands[0].dtype != SMALL:
        return False
    return graph.is_weight(node.operands[1])


def _fits(product: Node, a: Node, b: Node) -> bool:
    """Whether scales are one of the first operand, and one of each output channel's weights."""
    if a.operands[1].elements != 1:
        return False
    if b.operands[1].elements == 1:
        return True
    rank = len(b.result.shape)
    channel = 0 if product.kind == "nn.conv2d" else rank - 1
    return b.int("axis") % rank == channel
