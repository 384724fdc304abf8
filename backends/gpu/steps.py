"""Nodes that fuse into the kernel before them, as steps on its output elements."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from tetrapla.backends.gpu.plan import Plan
from tetrapla.ir.graph import Graph, Node
from tetrapla.simulators.gpu.kernels import Kernel
from tetrapla.simulators.gpu.steps import (
    BatchNorm,
    Dequantize,
    Quantize,
    Relu,
    Requantize,
    Step,
)

FUSIBLE = ("nn.relu", "nn.batch_norm", "qnn.quantize", "qnn.dequantize", "qnn.requantize")


def fits(held: tuple[int, int], node: Node, graph: Graph) -> tuple[int, int] | None:
    """(channels, inner) of a kernel once `node` is its last step; None where it cannot be.

    It can where the node's parameters are weights that lie along the kernel's own channels,
    which are `held` before.
    """
    if node.kind not in FUSIBLE or not all(map(graph.is_weight, node.operands[1:])):
        return None
    if any(value.dtype.startswith("f8") for value in (node.operands[0], node.result)):
        return None  # generated code rounds to small floats
    wanted = layout(node)
    if wanted is not None and held not in ((1, 1), wanted):
        return None
    return wanted or held


def channels_of(head: Node) -> tuple[int, int]:
    """(channels, inner) of the operator that a kernel starts with."""
    shape = head.result.shape
    match head.kind:
        case "nn.matmul" | "qnn.matmul":
            return shape[-1], 1
        case "nn.conv2d" | "qnn.conv2d":
            return shape[1], prod(shape[2:])
        case _ if head.kind in FUSIBLE:
            return layout(head) or (1, 1)
        case _:
            return 1, 1


def joined(kernel: Kernel, node: Node, plan: Plan) -> Kernel:
    """The kernel with `node`, which fits, as its last step."""
    wanted = fits((kernel.channels, kernel.inner), node, plan.graph)
    assert wanted is not None, node.name
    channels, inner = wanted
    steps = (*kernel.steps, step(node, plan))
    return replace(kernel, steps=steps, channels=channels, inner=inner)


def step(node: Node, plan: Plan) -> Step:
    """A node as a step of the kernel that makes its operand."""
    names = [plan.load(value) for value in node.operands[1:]]
    match node.kind:
        case "nn.relu":
            return Relu()
        case "nn.batch_norm":
            scale, bias, mean, variance = names
            return BatchNorm(scale, bias, mean, variance, node.float("epsilon"))
        case "qnn.quantize":
            return Quantize(names[0], node.int("zero_point"), node.str("dtype"))
        case "qnn.dequantize":
            return Dequantize(names[0], node.int("zero_point"))
        case _:
            low, high = node.int("low"), node.int("high")
            return Requantize(names[0], node.int("zero_point"), low, high)


def layout(node: Node) -> tuple[int, int] | None:
    """(channels, inner) of a node's parameters; None where one number serves all."""
    if len(node.operands) == 1 or node.operands[1].elements == 1:
        return None
    shape = node.result.shape
    axis = 1 if node.kind == "nn.batch_norm" else node.int("axis") % len(shape)
    return shape[axis], prod(shape[axis + 1 :])
