"""What the digital side of a chip does between products, and how much of it.

Every operator that is no product with a constant matrix is computed by the reference's own
definition. Its unit and its work:

* ``host``: integers made of the inputs' floats, and floats of the results, at the border.
* ``requantize``: one operation an element between products and what computes on floats.
* ``pool``: largest of a window, one operation a tap. ``mac``: integer products of two
  computed matrices, one operation a multiply-accumulate.
* ``vector``: all other arithmetic, one operation for each that `ir.op` counts; a multiply-
  accumulate of floats is one, as its price is that of both.
* ``move``: what computes nothing; a view of the same elements is free, and what the host's
  side of the border reorders.

Where values decide how much there is to do, one operation is counted for each element that is
read or written.

Steps read their operands from eDRAM and write their results back, each once (assumed: lanes
keep what they reuse); sums of products come from output registers, so a requantisation writes
alone. A window is read tap by tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.op import OPS, macs
from tetrapla.simulators.analog.program import Digital

_VIEWS = ("nn.reshape",)
_CODING = ("qnn.quantize", "qnn.dequantize", "qnn.requantize")
_INTEGERS = ("i8", "ui8", "i32", "i64")


class Border:
    """Which nodes stand between the floats outside the chip and its integers.

    The host quantises an input, maybe after reordering it, and gives an output its scale.
    """

    def __init__(self, graph: Graph) -> None:
        outside = {value.index for _, value in graph.inputs}
        self._names: set[str] = set()
        for node in graph.nodes:
            computed = [v.index for v in node.operands if not graph.is_weight(v)]
            made_outside = bool(computed) and outside.issuperset(computed)
            if made_outside and node.kind == "qnn.quantize":
                self._names.add(node.name)
            elif made_outside and len(computed) == len(node.operands) and _moves(node):
                self._names.add(node.name)
                outside.update(value.index for value in node.results)
        uses = graph.uses()
        results = {value.index for _, value in graph.outputs}
        for node in reversed(graph.nodes):
            readers = [use.name for value in node.results for use in uses.get(value.index, [])]
            left = bool(readers) or any(value.index in results for value in node.results)
            if left and self._names.issuperset(readers):
                if node.kind == "qnn.dequantize" or _moves(node):
                    self._names.add(node.name)

    def __contains__(self, node: Node) -> bool:
        return node.name in self._names


def digital(node: Node, border: Border) -> Digital:
    """The step of a node."""
    outside = node in border
    unit = "host" if outside and node.kind in _CODING else unit_of(node)
    free = outside or node.kind in _VIEWS
    return Digital(
        name=node.name,
        op=node.kind,
        unit=unit,
        operands=tuple(value.index for value in node.operands),
        result=node.results[0].index,
        attributes=dict(node.attributes),
        elements=0 if free else _elements(node, unit),
        traffic_bytes=0 if free else _traffic_bytes(node),
        macs=macs([node]) or 0,
        more_results=tuple(value.index for value in node.results[1:]),
    )


def unit_of(node: Node) -> str:
    """The unit inside the chip."""
    if node.kind in _CODING:
        return "requantize"
    if _moves(node):
        return "move"
    integers = all(map(_integer, (*node.operands, *node.results)))
    if integers and macs([node]):
        return "mac"
    return "pool" if node.kind == "nn.max_pool2d" and integers else "vector"


def is_float(step: Digital, node: Node) -> bool:
    """Whether a step of the periphery computes on floats."""
    floats = any(value.dtype.startswith(("f", "bf")) for value in node.operands)
    return step.unit in ("vector", "mac", "pool") and floats


def work(node: Node) -> int | None:
    """Operations of a node on the vector unit; None where its values decide."""
    if node.kind.startswith("qnn."):
        return _integer_work(node)
    found = OPS[node.kind].flops(node.operands, node.results, node.attributes)
    return None if found is None else found - (macs([node]) or 0)


def _integer_work(node: Node) -> int:
    if "kernel" in node.attributes:
        return node.result.elements * prod(node.ints("kernel"))
    if node.kind == "qnn.global_average_pool":
        return node.operands[0].elements
    return node.result.elements


def _elements(node: Node, unit: str) -> int:
    made = sum(value.elements for value in node.results)
    match unit:
        case "requantize" | "move":
            return made
        case "mac":
            return macs([node]) or 0
        case _:
            read = sum(value.elements for value in node.operands)
            found = work(node)
            return read + made if found is None else found


def _traffic_bytes(node: Node) -> int:
    made = _bytes(node.results)
    if node.kind == "qnn.requantize":
        return made
    if "kernel" in node.attributes:
        return made * (1 + prod(node.ints("kernel")))
    if node.kind in ("nn.gather", "nn.gather_elements", "nn.gather_nd", "nn.slice"):
        # of what it picks from, only what is picked
        return 2 * made + _bytes(node.operands[1:])
    return made + _bytes(node.operands)


def _bytes(values: Sequence[Value]) -> int:
    return sum(value.traffic_bytes for value in values)


def _moves(node: Node) -> bool:
    moved = OPS[node.kind].flops(node.operands, node.results, node.attributes) == 0
    return moved and not node.kind.startswith("qnn.")


def _integer(value: Value) -> bool:
    return value.dtype in _INTEGERS
