"""Module to plan: one kernel per product, pool, softmax or sum, with what follows fused in.

    before   a = qnn.conv2d(q, @w, @b)         after   conv: r = Conv(q, w) | Bias | Requantize
             r = qnn.requantize(a, @s)                 fc: a = MatMul(r, v)
             f = nn.reshape(r)
             a = qnn.matmul(f, @v)

A value is stored once, in the plan's format; a reshape, and a transpose that keeps the order
of the axes longer than one, are the same buffer read with other extents. Products read and
write through other transposes (`folded_moves`) and take what follows element by element
(`groups`); images lie with their channels last (`channels_last`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tetrapla.backends.gpu.attention import attention, fitting, gathered
from tetrapla.backends.gpu.channels_last import channels_last
from tetrapla.backends.gpu.folded_moves import read_through, write_through
from tetrapla.backends.gpu.formats import FLOATS as FLOATS_OF
from tetrapla.backends.gpu.formats import FP8, is_small, refuse_lacking, shrunk
from tetrapla.backends.gpu.generated.expressions import (
    EXPRESSIONS,
    epilogue,
    expression,
    is_long,
)
from tetrapla.backends.gpu.generated.folding import inlined, is_plain
from tetrapla.backends.gpu.groups import Group, Groups
from tetrapla.backends.gpu.heads import HEADS
from tetrapla.backends.gpu.pipeline import FLOATS
from tetrapla.backends.gpu.plan import ATTENTION, Layout, Plan
from tetrapla.backends.gpu.recurrent import given, recurrent, single, stored_in
from tetrapla.backends.gpu.refusals import refuse_unsupported
from tetrapla.backends.gpu.sparse import compressed
from tetrapla.backends.gpu.split_results import SplitResults
from tetrapla.backends.gpu.steps import FUSIBLE, joined
from tetrapla.backends.gpu.tiles import tiled
from tetrapla.backends.gpu.tuning import read_tuning, tuned
from tetrapla.backends.gpu.views import turned
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import FLAT, quantised, quantises
from tetrapla.passes.widen_weights import WidenWeights
from tetrapla.simulators.gpu.kernels import Kernel, Product
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.recurrent import GATES
from tetrapla.simulators.gpu.spec import GpuSpec


def lower(
    module: Module, spec: GpuSpec, calibration: Mapping[str, Array] | None, options: Options
) -> Lowered[Program]:
    """Compile a module for a GPU.

    Args:
        module: float, or already quantised (then the plan is the integer one).
        spec: the chip; its `chip.default_format` holds where `options.quant` is None.
        calibration: (invocations, *shape) by input name, for int8 and fp8.
        options: `quant` is a format of `formats.FLOATS` or `pipeline_.quantises`, or none;
            none on a chip whose format is int8 or fp8 means fp16.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts; or the chip lacks the
            format.
        ModelError: int8 or fp8 without calibration data; a tuning file that is none.
    """
    lowered, number_format = _prepared(module, spec, calibration, options)
    refuse_lacking(spec, number_format)
    program = compressed(plan(lowered, number_format, spec))
    if options.tuning is None:
        return Lowered(lowered, program)
    program, said = tuned(program, spec, read_tuning(Path(options.tuning)))
    return Lowered(lowered, program, (said,))


def plan(module: Module, number_format: str, spec: GpuSpec | None = None) -> Program:
    """The plan of a module as it stands; without a chip its tiles are small enough for any.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts.
    """
    return planned(module, number_format, spec)[0]


def planned(
    module: Module, number_format: str, spec: GpuSpec | None = None
) -> tuple[Program, Layout]:
    """The plan, and which of the module's values it keeps where."""
    refuse_unsupported(module)
    small, scales = shrunk(single(module.graph))
    graph, reads = gathered(small)
    through = read_through(graph)
    graph = through.graph
    made = Plan(graph, number_format)
    made.scales = scales
    made.reads = through.reads
    groups, folded, made.orders = grouped(graph, made)
    made.stored = {group.head.name: group.stored for group in groups}
    kernels: list[Kernel] = []
    for group in groups:
        if group.head.kind == ATTENTION:
            kernel: Kernel = attention(group.head, reads[group.head.name], made)
        elif group.head.kind in GATES:
            kernels.append(given(group.head, made))
            kernel = recurrent(group.head, made, kernels[-1].output)
        else:
            kernel = _kernel(group, made, folded)
        output = made.store(group.stored, group.named)
        kernels.append(stored_in(replace(kernel, output=output), made))
    inputs, outputs = made.ports()
    weights = {
        buffer.name: module.weights[buffer.name]
        for buffer in made.buffers
        if buffer.role == "weight" and buffer.name in module.weights
    } | made.tables
    cut = (
        tuple(kernels)
        if spec is None
        else tuple(fitting(tiled(k, spec), spec) for k in kernels)
    )
    program = Program(module.name, number_format, inputs, outputs, made.buffers, cut, weights)
    return program, made.layout


def grouped(
    graph: Graph, made: Plan
) -> tuple[list[Group], dict[int, Node], dict[int, tuple[int, ...]]]:
    """The kernels' nodes in the order of launches; what is computed where it is read; orders.

    A kernel runs once all that its last node reads is made.
    """
    found = Groups(graph, made.root)
    heads = found.heads()
    folded = inlined(graph, made.root, found.taken | set(heads))
    found.folded = folded
    for node in graph.nodes:
        alone = node.name in heads or node.name in found.taken
        if alone or node.result.index in folded or made.is_view(node):
            continue
        group = write_through(node, found, heads)
        if group is None:
            heads[node.name] = found.grow(node)
        else:
            heads[group.head.name] = group
    groups = sorted(heads.values(), key=lambda each: found.position[each.tail.name])
    return groups, folded, channels_last(groups, folded, found, made.reads)


def _kernel(group: Group, made: Plan, folded: Mapping[int, Node]) -> Kernel:
    """A group's kernel: written or generated, with its steps and code behind them."""
    inside = {**folded, **{node.result.index: node for node in group.members}}
    tail = group.tail if group.members else None
    if _is_generated(group.head, made, folded):
        if not group.steps:
            return expression(group.head, made, inside, tail, group.stored)
        kernel: Kernel = expression(group.head, made, folded, None, group.stored)
    else:
        place = group.place
        if group.turns:
            lying = made.strides(group.stored)
            place = turned(group.stored, group.turns, group.head.result.shape, lying)
            assert place is not None, group.head.name
        if place is not None:
            made.writes[group.head.name] = place
        kernel = HEADS[group.head.kind](group.head, made)
    for node in group.steps:
        kernel = joined(kernel, node, made)
    if made.order(group.stored) and not isinstance(kernel, Product):
        kernel = replace(kernel, inner=1)  # channels are innermost in memory
    if tail is not None:
        code = epilogue(group.head, group.held, tail, made, inside, group.turns)
        kernel = replace(kernel, steps=(*kernel.steps, code))
    return kernel


def _is_generated(node: Node, made: Plan, folded: Mapping[int, Node]) -> bool:
    """Whether the head is generated code; else its kernel is written by hand."""
    folds = any(made.root(value).index in folded for value in node.operands)
    computed = node.kind in FUSIBLE and not all(map(made.graph.is_weight, node.operands[1:]))
    values = (*node.operands, made.stored.get(node.name, node.result))
    lies = any(made.order(value) for value in values)  # written ones take but a value's own
    written = is_plain(node) and not is_long(node) and not lies
    generated = node.kind in EXPRESSIONS and (folds or computed or not written)
    return generated or node.kind not in HEADS


def _prepared(
    module: Module, spec: GpuSpec, calibration: Mapping[str, Array] | None, options: Options
) -> tuple[Module, str]:
    """The module that is planned, quantised where that is asked for, and the plan's format."""
    number_format = _format(spec, options)
    if any(node.kind.startswith("qnn.") for node in module.graph.nodes):
        lowered, number_format = run(module, (WidenWeights(),)), "int8"
    elif number_format in ("int8", "fp8"):
        refuse_lacking(spec, number_format)
        if calibration is None:
            raise ModelError(
                f"model '{module.name}' must have calibration data for {number_format}, not "
                "none; give --calib F.npz, or --quant none"
            )
        scheme = options.quant or number_format
        scheme = FP8 if scheme == "fp8" else scheme
        lowered = quantised(run(module, FLAT), calibration, scheme)
    else:
        lowered = run(module, FLOATS)
    lowered = SplitResults()(lowered)
    if number_format == "int8" and is_small(lowered.graph):
        number_format = "fp8"
    return lowered, number_format


def _format(spec: GpuSpec, options: Options) -> str:
    default = spec.chip.default_format
    match options.quant:
        case None:
            return default
        case "none":
            return "fp16" if default in ("int8", "fp8") else default
        case name if name in FLOATS_OF:
            return name
        case scheme if quantises(scheme):
            return "int8"
        case other:
            names = ", ".join((*FLOATS_OF, "int4"))
            raise UnsupportedError(f"gpu: --quant must be {names} or none, not {other}")
