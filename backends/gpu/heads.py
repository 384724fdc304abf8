"""Nodes that start a kernel: what each becomes before anything is fused into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from tetrapla.backends.gpu.plan import Plan
from tetrapla.backends.gpu.steps import FUSIBLE, layout, step
from tetrapla.ir.graph import Node
from tetrapla.ir.quant.arithmetic import is_single_inside
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Conv,
    Gather,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Softmax,
    Tile,
)
from tetrapla.simulators.gpu.steps import Bias, Relu, Step

BLOCK = 1024
OPERANDS = {"fp16": "f16", "fp32": "f32", "int8": "f32"}
# the largest tile, and the least k that the tensor core's instruction takes; fp32 runs on the
# CUDA cores, where a large tile spills registers
LARGEST = {"f16": Tile(128, 128, 64), "i8": Tile(128, 128, 128), "f32": Tile(64, 64, 32)}
LEAST = {"f16": Tile(16, 16, 16), "i8": Tile(16, 16, 32), "f32": Tile(16, 16, 16)}


def tile(m: int, n: int, k: int, operand: str) -> Tile:
    """The smallest power of two that covers each extent, within the format's limits."""
    most, least = LARGEST[operand], LEAST[operand]
    return Tile(
        min(most.m, max(least.m, power_of_two(m))),
        min(most.n, max(least.n, power_of_two(n))),
        min(most.k, max(least.k, power_of_two(k))),
    )


def power_of_two(number: int) -> int:
    """The least power of two that is not below `number`."""
    return 1 << max(0, number - 1).bit_length()


def matmul(node: Node, plan: Plan) -> Kernel:
    """A matrix product; leading axes of a join m where one b serves them all."""
    a, b = node.operands[:2]
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    lead = node.result.shape[:-2]
    if prod(b.shape[:-2]) == 1:
        m, lead = prod(a.shape[:-1]), ()
        a_strides: tuple[int, ...] = ()
        b_strides: tuple[int, ...] = ()
    else:
        a_strides, b_strides = (broadcast_strides(v.shape[:-2], lead) for v in (a, b))
    operand, zero_points = _operand(node, plan)
    return MatMul(
        node.name,
        node.kind,
        "",
        _epilogue(node, plan),
        n,
        1,
        plan.load(a),
        plan.load(b),
        operand,
        *zero_points,
        tile(m, n, k, operand),
        lead,
        a_strides,
        b_strides,
        m,
        n,
        k,
    )


def conv(node: Node, plan: Plan) -> Kernel:
    """A convolution as implicit GEMM."""
    x, w = node.operands[:2]
    filters, groups = w.shape[0], node.int("groups")
    out = node.result.shape[2:]
    operand, zero_points = _operand(node, plan)
    m, n, k = x.shape[0] * prod(out), filters // groups, prod(w.shape[1:])
    return Conv(
        node.name,
        node.kind,
        "",
        _epilogue(node, plan),
        filters,
        prod(out),
        plan.load(x),
        plan.load(w),
        operand,
        *zero_points,
        tile(m, n, k, operand),
        _four(x.shape),
        filters,
        _two(w.shape[2:]),
        _two(node.ints("strides")),
        _four(node.ints("pads")),
        _two(node.ints("dilations")),
        groups,
        _two(out),
    )


def pool(node: Node, plan: Plan) -> Kernel:
    """A window's maximum or mean."""
    (x,) = node.operands
    functions = {"nn.max_pool2d": "max", "nn.average_pool2d": "average"}
    average = node.kind != "nn.max_pool2d"
    return Pool(
        node.name,
        node.kind,
        "",
        (),
        1,
        1,
        plan.load(x),
        functions.get(node.kind, "quant_average"),
        prod(x.shape[:2]),
        _two(x.shape[2:]),
        _two(node.ints("kernel")),
        _two(node.ints("strides")),
        _four(node.ints("pads")),
        (1, 1) if average else _two(node.ints("dilations")),
        _two(node.result.shape[2:]),
        node.int("count_include_pad") if average else 0,
        *_affine(node),
        BLOCK,
    )


def global_pool(node: Node, plan: Plan) -> Kernel:
    """The mean of each plane."""
    (x,) = node.operands
    planes, size = prod(x.shape[:2]), prod(x.shape[2:])
    function = "average" if node.kind.startswith("nn.") else "quant_average"
    rows = max(1, BLOCK // power_of_two(size))
    return GlobalPool(
        node.name, node.kind, "", (), 1, 1, plan.load(x), function, planes, size,
        *_affine(node), rows,
    )  # fmt: skip


def softmax(node: Node, plan: Plan) -> Kernel:
    """Softmax along an axis, one row of a program instance each."""
    (x,) = node.operands
    axis = node.int("axis") % len(x.shape)
    length, stride = x.shape[axis], prod(x.shape[axis + 1 :])
    rows = max(1, BLOCK // power_of_two(length))
    return Softmax(
        node.name, node.kind, "", (), 1, 1, plan.load(x), x.elements // length, length, stride,
        rows,
    )  # fmt: skip


def binary(node: Node, plan: Plan) -> Kernel:
    """A sum or product with broadcasting."""
    a, b = node.operands
    shape = node.result.shape
    quantised = node.kind == "qnn.add"
    names = "aby"
    if quantised and is_single_inside(a.shape, b.shape):
        a, b, names = b, a, "bay"  # as the operator says
    scales = [node.float(f"{v}_scale") if quantised else 1.0 for v in names]
    zeros = [node.int(f"{v}_zero_point") if quantised else 0 for v in names]
    return Binary(
        node.name,
        node.kind,
        "",
        (),
        1,
        1,
        plan.load(a),
        plan.load(b),
        "quant_add" if quantised else node.kind.removeprefix("nn."),
        shape,
        broadcast_strides(a.shape, shape),
        broadcast_strides(b.shape, shape),
        (scales[0], scales[1], scales[2]),
        (zeros[0], zeros[1], zeros[2]),
        BLOCK,
    )


def transpose(node: Node, plan: Plan) -> Kernel:
    """A copy in another order."""
    (x,) = node.operands
    strides = broadcast_strides(x.shape, x.shape)
    moved = tuple(strides[axis] for axis in node.ints("perm"))
    shape = node.result.shape
    return Gather(node.name, node.kind, "", (), 1, 1, plan.load(x), shape, moved, BLOCK)


def pointwise(node: Node, plan: Plan) -> Kernel:
    """A step that found no kernel to join."""
    channels, inner = layout(node) or (1, 1)
    steps = (step(node, plan),)
    x, elements = plan.load(node.operands[0]), node.result.elements
    return Pointwise(node.name, node.kind, "", steps, channels, inner, x, elements, BLOCK)


def broadcast_strides(shape: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides of `shape` laid against the axes of `to`; 0 along a repeated axis."""
    padded = (1,) * (len(to) - len(shape)) + shape
    return tuple(
        0 if size == 1 else prod(padded[axis + 1 :]) for axis, size in enumerate(padded)
    )


HEADS: Mapping[str, Callable[[Node, Plan], Kernel]] = {
    "nn.matmul": matmul,
    "qnn.matmul": matmul,
    "nn.conv2d": conv,
    "qnn.conv2d": conv,
    "nn.max_pool2d": pool,
    "nn.average_pool2d": pool,
    "qnn.average_pool2d": pool,
    "nn.global_average_pool": global_pool,
    "qnn.global_average_pool": global_pool,
    "nn.softmax": softmax,
    "nn.add": binary,
    "nn.mul": binary,
    "qnn.add": binary,
    "nn.transpose": transpose,
    **dict.fromkeys(FUSIBLE, pointwise),
}


def _epilogue(node: Node, plan: Plan) -> tuple[Step, ...]:
    steps: list[Step] = [Bias(plan.load(value)) for value in node.operands[2:]]
    if node.attributes.get("activation", "none") == "relu":
        steps.append(Relu())
    return tuple(steps)


def _operand(node: Node, plan: Plan) -> tuple[str, tuple[int, int]]:
    if node.kind.startswith("nn."):
        return OPERANDS[plan.number_format], (0, 0)
    return "i8", (node.int("x_zero_point"), node.int("w_zero_point"))


def _affine(node: Node) -> tuple[tuple[float, float], tuple[int, int]]:
    """Scales and zero points of a quantised pool's operand and result."""
    if node.kind.startswith("nn."):
        return (1.0, 1.0), (0, 0)
    scales = node.float("x_scale"), node.float("y_scale")
    return scales, (node.int("x_zero_point"), node.int("y_zero_point"))


def _two(numbers: tuple[int, ...]) -> tuple[int, int]:
    first, second = numbers
    return first, second


def _four(numbers: tuple[int, ...]) -> tuple[int, int, int, int]:
    a, b, c, d = numbers
    return a, b, c, d
