"""Which instructions of the vector unit become steps of a routine, because that is faster.

An instruction of the vector unit computes an element a cycle and lane, a step of a routine
takes up to three; but an instruction first needs its access descriptors, and a lookup its
table, and only behind a product do they come in time. A chain of
element-wise instructions on a few hundred elements (the gates of a recurrent layer) is one
routine instead, whose text needs nothing from DRAM and whose tables come beside the stage
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tetrapla.backends.systolic.array.formats import PRODUCTS
from tetrapla.backends.systolic.design import Machine
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
    found = frozenset(node.name for node in nodes if _is_short(graph, node, machine, joined))
    if not found:
        return found
    grouping = Grouping(
        graph, nodes, lambda node: node.name not in found and alone(node), joined
    )
    names: set[str] = set()
    hidden = 0  # beside a product the tables of the stage after it come in time
    for unit in grouping.ordered():
        passes = [node for node in unit.nodes if node.name in found]
        if _steps_cycles(passes, machine) < _passes_cycles(passes, machine, hidden):
            names.update(node.name for node in passes)
        hidden = int(unit.nodes[0].kind in PRODUCTS)
    return frozenset(names)


def _is_short(
    graph: Graph, node: Node, machine: Machine, joined: Callable[[Node], bool]
) -> bool:
    """Whether its tables take longer than the work."""
    return (
        elementwise(node)
        and is_pass(graph, node)
        and not joined(node)
        and _issue_cycles(node, machine) < _fetch_cycles(node, machine)
    )


def _steps_cycles(passes: Sequence[Node], machine: Machine) -> int:
    """As steps of a routine that is there, or is to be."""
    return sum(step_cycles(n.kind, n.result.elements, machine.lanes) for n in passes)


def _passes_cycles(passes: Sequence[Node], machine: Machine, hidden: int) -> float:
    """As instructions, of which the tables of the first `hidden` come in time."""
    return sum(_issue_cycles(node, machine) for node in passes[:hidden]) + sum(
        max(_issue_cycles(node, machine), _fetch_cycles(node, machine))
        for node in passes[hidden:]
    )


def _issue_cycles(node: Node, machine: Machine) -> int:
    """Rows of channels, of an image one for each pixel."""
    shape = node.result.shape or (1,)
    channels = max(1, shape[1 if len(shape) == 4 else -1])
    return node.result.elements // channels * -(-channels // machine.lanes)


def _fetch_cycles(node: Node, machine: Machine) -> float:
    """Access descriptors, and the table of a lookup."""
    lookup = node.kind == "qnn.lookup"
    count = 1 if lookup else len(node.operands)
    size_bytes = count * DESCRIPTOR_BYTES + (TABLE_BYTES if lookup else 0)
    return machine.latency_cycles + size_bytes * machine.byte_cycles
