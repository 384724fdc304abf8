"""Which instructions of the vector unit become steps of a routine, because that is faster.

An instruction of the vector unit takes a cycle for each row of as many elements as lie together
(the channels of a pixel) and lanes; a step of a routine fills all lanes, and takes up to three
cycles for each row of them. And an instruction first needs its access descriptors, a lookup
its table, which come in time only behind a product. So a chain of element-wise instructions
on a few hundred elements (the gates of a recurrent layer), or on pixels of few channels, is
one routine: its text needs nothing from DRAM, and its tables come beside the product before.
A sum alone, as of residuals, stays an instruction: hardware runs it, and so does the RTL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tetrapla.backends.systolic.array.formats import PRODUCTS
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.vector.homes import Homes
from tetrapla.backends.systolic.vector.islands import Grouping, elementwise
from tetrapla.backends.systolic.vector.operators import is_pass
from tetrapla.ir.graph import Graph, Node
from tetrapla.simulators.systolic.lanes import step_cycles
from tetrapla.simulators.systolic.tables import DESCRIPTOR_BYTES
from tetrapla.simulators.systolic.vector import TABLE_BYTES


def fused(
    graph: Graph,
    nodes: Sequence[Node],
    machine: Machine,
    alone: Callable[[Node], bool],
    joined: Callable[[Node], bool],
) -> frozenset[str]:
    """Names of the nodes that an instruction could compute and a routine computes sooner.

    Args:
        graph: of the nodes.
        nodes: of the accelerator, in the graph's order.
        machine: whose vector unit and DRAM they run on.
        alone: whether something else than a routine computes a node.
        joined: whether a node is computed with what makes its first operand.
    """
    found = frozenset(
        node.name
        for node in nodes
        if elementwise(node) and is_pass(graph, node) and not joined(node)
    )
    if not found:
        return found
    grouping = Grouping(
        graph, nodes, lambda node: node.name not in found and alone(node), joined
    )
    names, homes = set[str](), Homes(graph)
    hidden = 0  # beside a product the tables of the stage after it come in time
    for unit in grouping.ordered():
        passes = [node for node in unit.nodes if node.name in found]
        instructions = _passes_cycles(passes, machine, homes, hidden)
        sum_alone = [node.kind for node in unit.nodes] == ["qnn.add"]
        if not sum_alone and _steps_cycles(passes, machine) < instructions:
            names.update(node.name for node in passes)
        hidden = int(unit.nodes[0].kind in PRODUCTS)
    return frozenset(names)


def _steps_cycles(passes: Sequence[Node], machine: Machine) -> int:
    """As steps of a routine that is there, or is to be."""
    return sum(step_cycles(n.kind, n.result.elements, machine.lanes) for n in passes)


def _passes_cycles(
    passes: Sequence[Node], machine: Machine, homes: Homes, hidden: int
) -> float:
    """As instructions, of which the tables of the first `hidden` come in time."""
    issued = [_issue_cycles(node, machine, homes) for node in passes]
    fetched = [_fetch_cycles(node, machine) for node in passes[hidden:]]
    return sum(issued[:hidden]) + sum(map(max, issued[hidden:], fetched))


def _issue_cycles(node: Node, machine: Machine, homes: Homes) -> int:
    """Rows of what lies together, about: of an image the channels of each pixel."""
    physical, _ = homes.layout(node.result, None)
    channels = max(1, physical[-1]) if physical else 1
    return node.result.elements // channels * -(-channels // machine.lanes)


def _fetch_cycles(node: Node, machine: Machine) -> float:
    """Access descriptors, and the table of a lookup."""
    lookup = node.kind == "qnn.lookup"
    count = 1 if lookup else len(node.operands)
    size_bytes = count * DESCRIPTOR_BYTES + (TABLE_BYTES if lookup else 0)
    return machine.latency_cycles + size_bytes * machine.byte_cycles
