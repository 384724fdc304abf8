"""Recurrent layers become their steps, before a network of ReLUs is converted.

Each step of a layer is neurons of its own, which hear the input of that step and the neurons
of the step before; so every code that is exact for layers is exact for steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.ir.graph import Graph, Node
from tetrapla.ir.module import Module
from tetrapla.passes.cells_ import CELLS
from tetrapla.passes.pass_ import run
from tetrapla.passes.slice_gathers import SliceGathers
from tetrapla.passes.unroll_loops import LOOPS, UnrollLoops
from tetrapla.passes.unroll_recurrence import UnrollRecurrence


def has_steps(module: Module) -> bool:
    """Whether something in a module goes on from step to step."""
    return any(node.kind in (*CELLS, *LOOPS) for node in module.graph.nodes)


def unrolled(module: Module) -> Module:
    """The module with the steps of its layers and loops written out, where neurons can be them.

    What they cannot be stays as it is; `refusal` says why.
    """
    kept = frozenset(
        node.name
        for graph in module.graph.nested()
        for node in graph.nodes
        if node.kind in CELLS and refusal(graph, node) is not None
    )
    return run(module, (_Unroll(kept=kept), UnrollLoops(), SliceGathers()))


def refusal(graph: Graph, node: Node) -> str | None:
    """Why neurons cannot be a recurrent layer; None if they can."""
    if node.kind != "nn.rnn":
        return "its gates multiply what was computed; train an nn.rnn of relu"
    names = {text.partition(":")[0] for text in node.str("activations").split(",")}
    others = sorted(names - {"relu"})
    if others:
        return f"neurons are a relu, not {' and '.join(others)}; train it with relu"
    if node.float("clip"):
        return f"it clips at {node.float('clip'):g}; train it without"
    steps, batch, _ = node.operands[0].shape
    if batch != 1:
        return f"its batch must be 1, not {batch}; give inferences one after another"
    lengths = [value for value in node.operands if value.dtype in ("i32", "i64")]
    if any(not graph.is_weight(v) or (graph.weight(v) != steps).any() for v in lengths):
        return "its sequences differ in length; give whole ones"
    return UnrollRecurrence().refusal(node)


@dataclass(frozen=True)
class _Unroll(UnrollRecurrence):
    """Of the layers that neurons can be."""

    kept: frozenset[str] = frozenset()

    def refusal(self, node: Node) -> str | None:
        return "neurons cannot be it" if node.name in self.kept else super().refusal(node)
