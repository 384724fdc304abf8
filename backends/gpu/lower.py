"""Module to plan: one kernel per product, pool, softmax or sum, with what follows fused in.

    before   c = nn.conv2d(x, @w, @b) {activation = "relu"}     after   conv: c = Conv(x, w) | Bias | Relu
             f = nn.reshape(c)                                          (no kernel: f is c)

    before   a = quant.conv2d(q, @w, @b)                        after   conv: r = Conv(q, w) | Bias
             r = quant.requantize(a, @s)                                       | Requantize

A value is stored once, in the plan's format; a reshape, and a transpose that keeps the order
of the axes longer than one, are the same buffer read with other extents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tetrapla.backends.gpu.kernels import HEADS, Plan
from tetrapla.backends.gpu.views import roots
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.passes import pipeline_
from tetrapla.simulators.gpu.program import Buffer, Kernel, Port, Program
from tetrapla.simulators.gpu.spec import Spec
from tetrapla.simulators.gpu.steps import (
    BatchNorm,
    Dequantize,
    Quantize,
    Relu,
    Requantize,
    Step,
)

# float arithmetic whose result depends on the order of its sums or on the library's exponential
INEXACT = (
    "nn.matmul",
    "nn.conv2d",
    "nn.softmax",
    "nn.average_pool2d",
    "nn.global_average_pool",
)
FUSIBLE = ("nn.relu", "nn.batch_norm", "quant.quantize", "quant.dequantize", "quant.requantize")
VIEWS = ("nn.reshape", "nn.transpose")
DTYPES = ("f32", "i8", "ui8", "i32")


def lower(
    module: Module, spec: Spec, calibration: Mapping[str, Array] | None, options: Options
) -> Lowered[Program]:
    """Compile a module for a GPU.

    Args:
        module: float, or already quantised (then the plan is the integer one).
        spec: the chip; its `chip.default_format` holds where `options.quant` is None or none.
        calibration: (invocations, *shape) by input name, for int8.
        options: `quant` is int8, none or None.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts.
        ModelError: int8 without calibration data.
    """
    number_format = _format(spec, options)
    if any(node.kind.startswith("quant.") for node in module.graph.nodes):
        lowered, number_format = module, "int8"
    elif number_format == "int8":
        if calibration is None:
            raise ModelError(
                f"model '{module.name}' must have calibration data for int8, not none; "
                "give --calib F.npz, or --quant none"
            )
        _refuse_unsupported(module.graph)
        lowered = pipeline_.int8(module, calibration)
    else:
        lowered = pipeline_.canonical(module)
    return Lowered(lowered, plan(lowered, number_format))


def plan(module: Module, number_format: str) -> Program:
    """The plan of a module as it stands.

    Raises:
        UnsupportedError: all nodes that have no kernel, with counts.
    """
    graph = module.graph
    _refuse_unsupported(graph)
    _refuse_inexact_integers(graph)
    made = Plan(graph, roots(graph), number_format)
    uses = graph.uses()
    kept = {value.index for _, value in graph.outputs}
    fused: set[str] = set()
    kernels: list[Kernel] = []
    for node in graph.nodes:
        if node.name in fused or _is_view(node, made.root):
            continue
        draft, tail = _Draft(HEADS[node.kind](node, made)), node
        while tail.result.index not in kept:
            (user, *others) = uses.get(tail.result.index, [None])
            if others or user is None or not draft.take(user, made):
                break
            fused.add(user.name)
            tail = user
        kernels.append(replace(draft.kernel, output=made.store(tail.result, tail.name)))
    return _program(module, made, tuple(kernels), number_format)


@dataclass
class _Draft:
    """A kernel that may still take the next node in."""

    kernel: Kernel

    def take(self, node: Node, made: Plan) -> bool:
        """Fuse `node` as a step if it is one and its parameters lie along the same axis."""
        if node.kind not in FUSIBLE or any(not made.is_weight(v) for v in node.operands[1:]):
            return False
        layout = step_layout(node)
        held = (self.kernel.channels, self.kernel.inner)
        if layout is not None and held != (1, 1) and layout != held:
            return False
        if layout is not None:
            self.kernel = replace(self.kernel, channels=layout[0], inner=layout[1])
        self.kernel = replace(self.kernel, steps=(*self.kernel.steps, step(node, made)))
        return True


def step(node: Node, made: Plan) -> Step:
    """A node as a step of the kernel that makes its operand."""
    names = [made.load(value, "f32") for value in node.operands[1:]]
    match node.kind:
        case "nn.relu":
            return Relu()
        case "nn.batch_norm":
            scale, bias, mean, variance = names
            return BatchNorm(scale, bias, mean, variance, node.float("epsilon"))
        case "quant.quantize":
            return Quantize(names[0], node.int("zero_point"), node.str("dtype"))
        case "quant.dequantize":
            return Dequantize(names[0], node.int("zero_point"))
        case _:
            low, high = node.int("low"), node.int("high")
            return Requantize(names[0], node.int("zero_point"), low, high)


def step_layout(node: Node) -> tuple[int, int] | None:
    """(channels, inner) of a node's per-channel parameters; None where one number serves all."""
    if len(node.operands) == 1 or node.operands[1].elements == 1:
        return None
    shape = node.result.shape
    axis = 1 if node.kind == "nn.batch_norm" else node.int("axis") % len(shape)
    inner = 1
    for size in shape[axis + 1 :]:
        inner *= size
    return shape[axis], inner


def pointwise(node: Node, made: Plan) -> Kernel:
    """A step that found no kernel to join."""
    from tetrapla.simulators.gpu.program import Pointwise
    channels, inner = step_layout(node) or (1, 1)
    x = made.load(node.operands[0])
    elements = node.result.elements
    only = (step(node, made),)
    return Pointwise(node.name, node.kind, "", only, channels, inner, x, elements, 1024)
