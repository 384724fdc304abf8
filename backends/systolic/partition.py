"""Who computes which node: the host before, the accelerator, the host after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.systolic.formats import FLOATS, PRODUCTS, why_not
from tetrapla.ir.errors import UnsupportedError, some
from tetrapla.ir.graph import Graph, Node

DEVICE = (
    "qnn.conv2d",
    "qnn.matmul",
    "qnn.requantize",
    "qnn.add",
    "qnn.average_pool2d",
    "qnn.global_average_pool",
    "nn.max_pool2d",
    "nn.relu",
    "nn.reshape",
    "nn.transpose",
)
_MOVES = ("nn.reshape", "nn.transpose")
_INTEGERS = ("i8", "ui8", "i16", "i32", "i64")
_BORDER = ("qnn.dequantize", "qnn.quantize")
# work that the array is there for: never quietly done by the host
_NEVER_HOST = PRODUCTS


@dataclass(frozen=True)
class Partition:
    """The nodes of a graph by who computes them, each in the graph's order."""

    before: tuple[Node, ...]
    device: tuple[Node, ...]
    after: tuple[Node, ...]


@dataclass(frozen=True)
class Refusal:
    """A node that no instruction can do, and why."""

    kind: str
    name: str
    reason: str


def partition(graph: Graph, formats: Iterable[str] = ("int8",)) -> Partition:
    """Split the graph.

    Raises:
        UnsupportedError: some nodes can be computed by neither; one message names them all.
    """
    refuse(_structures(graph))
    before: list[Node] = []
    device: list[Node] = []
    after: list[Node] = []
    where: dict[int, str] = {}
    for node in graph.nodes:
        sources = {where.get(v.index, "before") for v in node.operands}
        moves = node.kind in _MOVES  # free on either side: the host's where it has the operand
        if _fits_device(node) and not (moves and sources <= {"before"}):
            place, nodes = "device", device
        elif sources <= {"before"}:
            place, nodes = "before", before
        else:
            place, nodes = "after", after
        where[node.result.index] = place
        nodes.append(node)
    refuse(
        [
            *_stranded(device, after),
            *_on_host((*before, *after)),
            *_static(graph, device, formats),
        ]
    )
    if not device:
        raise UnsupportedError(
            "systolic: the model has no integer operator for the array; quantise it with "
            "--quant int8"
        )
    return Partition(tuple(before), tuple(device), tuple(after))


def refuse(refusals: Iterable[Refusal]) -> None:
    """Raise one message that names every refused node, grouped by kind and reason.

    Raises:
        UnsupportedError: there is at least one.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals:
        names = groups.setdefault((refusal.kind, refusal.reason), [])
        if refusal.name not in names:
            names.append(refusal.name)
    if groups:
        parts = [
            f"{len(names)} {kind} ({some(names)}: {reason})"
            # what no instruction computes comes before the conversions that it brings along
            for (kind, reason), names in sorted(
                groups.items(), key=lambda g: g[0][0] in _BORDER
            )
        ]
        raise UnsupportedError(
            f"systolic has no instruction for {', '.join(parts)}; "
            f"it can do {', '.join(DEVICE)} on integers, and the host any float operator but "
            "conv2d and matmul before the first or after the last of these"
        )


def _fits_device(node: Node) -> bool:
    """Whether the machine has the operator for these types."""
    if node.kind in _MOVES:
        return node.result.dtype in (*_INTEGERS, *FLOATS)
    if node.kind in PRODUCTS and node.operands[0].dtype in FLOATS:
        return True
    return node.kind in DEVICE and all(v.dtype in _INTEGERS for v in node.operands[:1])


def _structures(graph: Graph) -> list[Refusal]:
    """What neither side can run: the host computes one result at a time."""
    found = [Refusal(n.kind, n.name, "a body") for n in graph.nodes if n.bodies]
    several = (n for n in graph.nodes if len(n.results) != 1 and not n.bodies)
    return [*found, *(Refusal(n.kind, n.name, "several results") for n in several)]


def _stranded(device: list[Node], after: list[Node]) -> list[Refusal]:
    """Host nodes after the accelerator whose results it would need back."""
    wanted = {v.index for node in device for v in node.operands}
    found = []
    for node in reversed(after):
        if node.result.index in wanted:
            found.append(Refusal(node.kind, node.name, "between integer operators"))
            wanted.update(v.index for v in node.operands)
    return found[::-1]


def _on_host(nodes: tuple[Node, ...]) -> list[Refusal]:
    found = []
    for node in nodes:
        if node.kind in _NEVER_HOST:
            dtype = node.operands[0].dtype
            operands = "floats" if node.kind.startswith("nn.") else dtype
            reason = f"on {operands}; quantise with --quant int8"
            found.append(Refusal(node.kind, node.name, reason))
    return found


def _static(graph: Graph, device: list[Node], formats: Iterable[str]) -> list[Refusal]:
    """What can be told from one node alone."""
    products = {n.result.index: n for n in device if n.kind in PRODUCTS}
    there = tuple(formats)
    found = []
    for node in device:
        reason = ""
        if node.kind in PRODUCTS:
            reason = _product(graph, node, there)
        elif node.kind == "qnn.requantize":
            reason = _requantize(graph, node, products)
        elif node.kind == "qnn.add" and node.operands[0].shape != node.operands[1].shape:
            reason = "operands of different shapes"
        elif node.kind not in _MOVES and node.operands[0].dtype not in ("i8", "ui8"):
            reason = f"on {node.operands[0].dtype}"
        if reason:
            found.append(Refusal(node.kind, node.name, reason))
    return found


def _product(graph: Graph, node: Node, formats: Iterable[str]) -> str:
    if not all(graph.is_weight(v) for v in node.operands[1:]):
        return "weights that are not constant"
    if node.kind in ("qnn.matmul", "nn.matmul") and len(node.operands[1].shape) != 2:
        return "weights that are not a matrix"
    return why_not(graph, node, formats)


def _requantize(graph: Graph, node: Node, products: dict[int, Node]) -> str:
    acc, scale = node.operands
    if acc.index not in products:
        return "its operand is not an accumulator"
    if not graph.is_weight(scale):
        return "a scale that is not constant"
    channel = 1 if products[acc.index].kind == "qnn.conv2d" else len(acc.shape) - 1
    if scale.shape != (1,) and node.int("axis") % len(acc.shape) != channel:
        return "a scale along another axis than the outputs"
    if scale.index in graph.weights and not np.isfinite(graph.weight(scale)).all():
        return "a scale that is not finite"
    return ""
