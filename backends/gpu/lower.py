"""Module to plan: one kernel per product, pool, softmax or sum, with what follows fused in.

    before   a = qnn.conv2d(q, @w, @b)         after   conv: r = Conv(q, w) | Bias | Requantize
             r = qnn.requantize(a, @s)                 fc: a = MatMul(r, v)
             f = nn.reshape(r)
             a = qnn.matmul(f, @v)

A value is stored once, in the plan's format; a reshape, and a transpose that keeps the order
of the axes longer than one, are the same buffer read with other extents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS, MOST_LANES, expression
from tetrapla.backends.gpu.generated.folding import inlined, is_plain
from tetrapla.backends.gpu.generated.rowwise import ROWWISE
from tetrapla.backends.gpu.heads import HEADS
from tetrapla.backends.gpu.plan import VIEWS, Layout, Plan
from tetrapla.backends.gpu.steps import FUSIBLE, joined
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import is_narrow
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import FLAT, quantised, quantises
from tetrapla.passes.widen_weights import WidenWeights
from tetrapla.simulators.gpu.kernels import Kernel
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec

DTYPES = ("f32", "i8", "ui8", "i32", "i64", "i1")


def lower(
    module: Module, spec: GpuSpec, calibration: Mapping[str, Array] | None, options: Options
) -> Lowered[Program]:
    """Compile a module for a GPU.

    Args:
        module: float, or already quantised (then the plan is the integer one).
        spec: the chip; its `chip.default_format` holds where `options.quant` is None.
        calibration: (invocations, *shape) by input name, for int8.
        options: `quant` is a format of `pipeline_.quantises`, or none; none on a chip whose
            format is int8 means fp16.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts; or the chip lacks the
            format.
        ModelError: int8 without calibration data.
    """
    number_format = _format(spec, options)
    if any(node.kind.startswith("qnn.") for node in module.graph.nodes):
        lowered, number_format = run(module, (WidenWeights(),)), "int8"
    elif number_format == "int8":
        if calibration is None:
            raise ModelError(
                f"model '{module.name}' must have calibration data for int8, not none; "
                "give --calib F.npz, or --quant none"
            )
        flat = run(module, FLAT)
        lowered = quantised(flat, calibration, options.quant or number_format)
    else:
        lowered = run(module, FLAT)
    spec.per_clock(number_format)  # refuses a format that the chip lacks
    return Lowered(lowered, plan(lowered, number_format))


def plan(module: Module, number_format: str) -> Program:
    """The plan of a module as it stands.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts.
    """
    return planned(module, number_format)[0]


def planned(module: Module, number_format: str) -> tuple[Program, Layout]:
    """The plan, and which of the module's values it keeps where."""
    graph = module.graph
    refuse_unsupported(graph)
    made = Plan(graph, number_format)
    folded = inlined(graph, made.root)
    uses = graph.uses()
    fused: set[str] = set()
    kernels: list[Kernel] = []
    for node in graph.nodes:
        if node.name in fused or node.result.index in folded or made.is_view(node):
            continue
        kernel, tail, joins = _grown(_head(node, made, folded), node, made, uses, folded)
        fused |= joins
        kernels.append(replace(kernel, output=made.store(tail.result, tail.name)))
    inputs, outputs = made.ports()
    weights = {
        buffer.name: module.weights[buffer.name]
        for buffer in made.buffers
        if buffer.role == "weight" and buffer.name in module.weights
    } | made.tables
    program = Program(
        module.name, number_format, inputs, outputs, made.buffers, tuple(kernels), weights
    )
    return program, made.layout


def _head(node: Node, made: Plan, folded: Mapping[int, Node]) -> Kernel:
    """The kernel that starts at a node: a written one, or a generated one of what it folds."""
    folds = any(made.root(value).index in folded for value in node.operands)
    computed = node.kind in FUSIBLE and not all(map(made.graph.is_weight, node.operands[1:]))
    generated = node.kind in EXPRESSIONS and (folds or computed or not is_plain(node))
    if node.kind in HEADS and not generated:
        return HEADS[node.kind](node, made)
    return expression(node, made, folded)


def refuse_unsupported(graph: Graph) -> None:
    """Name every node that has no kernel, in one message."""
    known = {*HEADS, *VIEWS, *EXPRESSIONS}
    counts: dict[str, int] = {}
    for node in graph.nodes:
        wrong = [v.dtype for v in (*node.operands, *node.results) if v.dtype not in DTYPES]
        named = ""
        if node.kind not in known:
            named = node.kind
        elif wrong:
            named = f"{node.kind} of {wrong[0]}"
        elif not all(value.elements for value in (*node.operands, node.result)):
            named = f"{node.kind} of nothing"
        elif node.kind in ROWWISE and prod(ROWWISE[node.kind].extents(node)[1]) > MOST_LANES:
            named = f"{node.kind} over more than {MOST_LANES} elements"
        elif not is_narrow(node):
            named = f"{node.kind} with more than a bias and a ReLU"
        if named:
            counts[named] = counts.get(named, 0) + 1
    if counts:
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
        raise UnsupportedError(
            f"gpu has no kernel for {listed}; it can do {', '.join(sorted(known))}"
        )


def _grown(
    kernel: Kernel,
    node: Node,
    made: Plan,
    uses: Mapping[int, list[Node]],
    folded: Mapping[int, Node],
) -> tuple[Kernel, Node, set[str]]:
    """The kernel with every step that follows, whose result it stores, and who joined."""
    kept = {value.index for _, value in made.graph.outputs}
    fused: set[str] = set()
    tail = node
    while tail.result.index not in kept and len(uses.get(tail.result.index, ())) == 1:
        (user,) = uses[tail.result.index]
        if user.operands[0].index != tail.result.index or user.result.index in folded:
            break
        grown = joined(kernel, user, made)
        if grown is None:
            break
        fused.add(user.name)
        kernel, tail = grown, user
    return kernel, tail, fused


def _format(spec: GpuSpec, options: Options) -> str:
    default = spec.chip.default_format
    match options.quant:
        case None:
            return default
        case "none":
            return "fp16" if default == "int8" else default
        case scheme if quantises(scheme):
            return "int8"
        case other:
            raise UnsupportedError(f"gpu: --quant must be int8, int4 or none, not {other}")
