"""What no kernel does: every such node of a graph in one message, and where it runs instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from tetrapla.backends.gpu.formats import SMALL
from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS, MOST_LANES, ROWS
from tetrapla.backends.gpu.heads import HEADS
from tetrapla.backends.gpu.plan import ATTENTION, VIEWS
from tetrapla.backends.gpu.recurrent import refusal
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import is_narrow
from tetrapla.passes.unroll_loops import UnrollLoops
from tetrapla.simulators.gpu.recurrent import GATES

KNOWN = frozenset({*HEADS, *VIEWS, *EXPRESSIONS, ATTENTION, *GATES})
DTYPES = ("f32", "i8", "ui8", "i32", "i64", "i1")
# what takes 8-bit floats and makes them; a product reads them through its dequantisations
SMALL_KINDS = ("qnn.quantize", "qnn.dequantize", "nn.reshape")


def refuse_unsupported(module: Module) -> None:
    """Name every node that has no kernel, in one message.

    Raises:
        UnsupportedError: there are some; with counts, and why a loop could not be written out.
    """
    counts: dict[str, int] = {}
    for named in _refused(module):
        counts[named] = counts.get(named, 0) + 1
    if counts:
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
        raise UnsupportedError(
            f"gpu has no kernel for {listed}; compute the whole model on the host with "
            "`tetrapla run`, or replace what is listed"
        )


def _refused(module: Module) -> Iterator[str]:
    loops = UnrollLoops().refusals(module)
    for node in module.graph.nodes:
        why = _reason(node, loops)
        if why is None and node.kind in GATES:
            unfit = refusal(module.graph, node)
            why = None if unfit is None else f"{node.kind}, since {unfit}"
        if why is not None:
            yield why


def _reason(node: Node, loops: Mapping[str, str]) -> str | None:
    """What is said of a node without a kernel; None of one that has one."""
    if node.name in loops:
        return f"{node.kind}, since {loops[node.name]}"
    if node.kind not in KNOWN:
        return node.kind
    values = (*node.operands, *node.results)
    known = (*DTYPES, SMALL) if node.kind in SMALL_KINDS else DTYPES
    wrong = [value.dtype for value in values if value.dtype not in known]
    if wrong:
        return f"{node.kind} of {wrong[0]}"
    if not all(value.elements for value in values):
        return f"{node.kind} of nothing"
    if node.kind == "nn.mod" and node.results[0].dtype == "f32":
        return "nn.mod of floats"
    if node.kind in ROWS and prod(ROWS[node.kind].extents(node)[1]) > MOST_LANES:
        return f"{node.kind} over more than {MOST_LANES} elements"
    if not is_narrow(node):
        return f"{node.kind} with more than a bias and a ReLU"
    return None
