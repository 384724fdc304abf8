"""Recurrent layers in a plan: a product of the input in all steps, and one kernel for the rest.

    before   y, h = nn.lstm(x, w, r, b)        after   g = MatMul(x, w)      all steps at once
                                                       y = Recurrent(g, r, b)

A layer that the kernel does not take is unrolled before (`pipeline`). What reads the last state
reads the last step of y in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np

from tetrapla.backends.gpu.heads import OPERANDS
from tetrapla.backends.gpu.plan import Plan
from tetrapla.backends.gpu.tiles import covering, power_of_two
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.passes.unroll_recurrence import UnrollRecurrence
from tetrapla.simulators.gpu.kernels import Kernel, MatMul
from tetrapla.simulators.gpu.recurrent import ACTIVATIONS, GATES, Recurrent, scratch_planes

# places of the operands that may be absent
FIRST, LENGTHS = 4, {"nn.rnn": 5, "nn.gru": 5, "nn.lstm": 6}
CELL, PEEPHOLES = 5, 7
# elements of a direction's recurrent matrix, at most. An instance reads it in every step, at
# some 100 GB/s from the L2 cache (64 bytes a clock and multiprocessor, assumed): 2^19 halves
# take 10 us, about what the launches of an unrolled step do, whose products have the whole chip
MOST_RECURRENT = 2**19
LEAST = 16  # the least extent that the tensor core's instruction takes


def refusal(graph: Graph, node: Node) -> str | None:
    """Why a recurrent layer is no kernel of its own; None of one that is."""
    wanted = set(node.str("activations").split(","))
    if not wanted <= set(ACTIVATIONS):
        return "its activations are not sigmoid, tanh and relu alone"
    r = node.operands[2]
    if prod(r.shape[1:]) > MOST_RECURRENT:
        return f"its matrix has more than {MOST_RECURRENT} elements"
    if any(
        value.dtype != "f32"
        for at, value in enumerate(node.operands)
        if at != LENGTHS[node.kind]
    ):
        return "it is not of float32"
    if not all(value.elements for value in node.operands):
        return "it has no elements"
    if not _whole(graph, node):
        return "its sequences may end early"
    read = {v.index for each in graph.nodes for v in each.operands}
    read |= {value.index for _, value in graph.outputs}
    if node.kind == "nn.lstm" and node.results[2].index in read:
        return "its last cell is read"
    return None


def _whole(graph: Graph, node: Node) -> bool:
    """Whether every sequence has all steps."""
    at = LENGTHS[node.kind]
    if len(node.operands) <= at:
        return True
    held = graph.weights.get(node.operands[at].index)
    return held is not None and bool((held == node.operands[0].shape[0]).all())


@dataclass(frozen=True)
class LastStates(Pass):
    """Bit exact: of layers that are one kernel, the last state is read out of y."""

    def __call__(self, module: Module) -> Module:
        graph = module.graph
        read = {v.index for each in graph.nodes for v in each.operands}
        read |= {value.index for _, value in graph.outputs}
        new = Rebuild(module)
        for node in new.graph.nodes:
            new.copy(node)
            whole = node.kind in GATES and refusal(graph, node) is None
            if whole and node.results[1].index in read:
                new.set(node.results[1], _last(new, node))
        return new.finish()


def _last(new: Rebuild, node: Node) -> Value:
    """[directions, B, H] of the states y[T, directions, B, H]."""
    y, reverse = new.of(node.results[0]), node.str("direction") == "reverse"
    steps, directions, batch, hidden = y.shape
    parts: list[Value] = []
    for way in range(directions):
        start = 0 if reverse or way == 1 else steps - 1
        held = {"starts": (start, way, 0, 0), "sizes": (1, 1, batch, hidden)}
        attributes = {**held, "steps": (1, 1, 1, 1)}
        cut = new.builder.op("nn.slice", [y], attributes, f"{node.name}.last.{way}")
        shape = {"shape": (1, batch, hidden)}
        parts.append(new.builder.op("nn.reshape", [cut], shape, f"{node.name}.last.{way}.rows"))
    if directions == 1:
        return parts[0]
    return new.builder.op("nn.concat", parts, {"axis": 0}, f"{node.name}.last")


def single(graph: Graph) -> Graph:
    """The graph with layers that have y alone for a result."""
    nodes = tuple(
        replace(node, results=node.results[:1]) if node.kind in GATES else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def given(node: Node, plan: Plan) -> MatMul:
    """What the input gives the gates in all steps, in a buffer of its own."""
    x, w = node.operands[:2]
    steps, batch, inputs = x.shape
    directions, rows, _ = w.shape
    operand = OPERANDS[plan.number_format]
    output = plan.scratch(f"{node.name}.given", (steps, batch, directions, rows))
    problem = (1, steps * batch, directions * rows, inputs)
    return MatMul(
        name=f"{node.name}.given",
        op="nn.matmul",
        output=output,
        steps=(),
        channels=directions * rows,
        inner=1,
        a=plan.load(x),
        b=plan.load(w),
        operand=operand,
        a_zero_point=0,
        b_zero_point=0,
        tile=covering(*problem[1:], operand),
        lead=(),
        a_strides=(),
        # a filter's weights lie side by side
        b_strides=(1, inputs),
        m=problem[1],
        n=problem[2],
        k=inputs,
    )


def recurrent(node: Node, plan: Plan, given_by: str) -> Recurrent:
    """The layer, behind the product that `given` is."""
    steps, batch, _ = node.operands[0].shape
    directions, _, hidden = node.operands[2].shape
    flag = any(node.attributes.get(n) == 1 for n in ("input_forget", "linear_before_reset"))
    planes = scratch_planes(node.kind, flag)
    shape = (planes, directions, batch, hidden)
    lstm = node.kind == "nn.lstm"
    return Recurrent(
        name=node.name,
        op=node.kind,
        output="",
        steps=(),
        channels=1,
        inner=1,
        operand=OPERANDS[plan.number_format],
        kept="",
        given=given_by,
        r=plan.load(node.operands[2]),
        b=_buffer(node, plan, 3),
        h0=_buffer(node, plan, FIRST),
        c0=_buffer(node, plan, CELL) if lstm else "",
        p=_buffer(node, plan, PEEPHOLES) if lstm else "",
        scratch=plan.scratch(f"{node.name}.scratch", shape) if planes else "",
        length=steps,
        batch=batch,
        hidden=hidden,
        directions=directions,
        reverse=node.str("direction") == "reverse",
        activations=tuple(node.str("activations").split(",")),
        clip=float(np.float32(node.float("clip"))),
        flag=flag,
        # the least: as many multiprocessors as can be have sequences, and registers suffice
        tile_batch=LEAST,
        tile_hidden=min(32, max(LEAST, power_of_two(hidden))),
        tile_k=min(32, max(LEAST, power_of_two(hidden))),
    )


def stored_in(kernel: Kernel, plan: Plan) -> Kernel:
    """A kernel that reads its own output knows the type of its buffer."""
    if not isinstance(kernel, Recurrent):
        return kernel
    return replace(kernel, kept=plan.dtype(kernel.output))


def _buffer(node: Node, plan: Plan, at: int) -> str:
    """The buffer of an operand that may be absent."""
    return plan.load(node.operands[at]) if len(node.operands) > at else ""


@dataclass(frozen=True)
class _Unroll(UnrollRecurrence):
    """Of the layers that are no kernel of their own."""

    kept: frozenset[str] = frozenset()

    def refusal(self, node: Node) -> str | None:
        if node.name in self.kept:
            return "it is one kernel"
        return super().refusal(node)


@dataclass(frozen=True)
class UnrollOthers(Pass):
    """As `unroll-recurrence`, without the layers that a kernel takes."""

    max_rel_error: ClassVar[float] = UnrollRecurrence.max_rel_error

    def __call__(self, module: Module) -> Module:
        graph = module.graph
        layers = [node for node in graph.nodes if node.kind in GATES]
        kept = frozenset(node.name for node in layers if refusal(graph, node) is None)
        return _Unroll(kept=kept)(module)
