"""Nodes that start a kernel: what each becomes before anything is fused into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from tetrapla.backends.gpu.formats import FLOATS, SMALL
from tetrapla.backends.gpu.plan import Plan
from tetrapla.backends.gpu.steps import FUSIBLE, layout, step
from tetrapla.backends.gpu.tiles import covering, power_of_two
from tetrapla.backends.gpu.views import View, reshaped
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
    row_major,
)
from tetrapla.simulators.gpu.steps import Bias, Relu, Scale, Step

BLOCK = 1024
OPERANDS = {name: floats.multiplied for name, floats in FLOATS.items()}


def matmul(node: Node, plan: Plan) -> Kernel:
    """A matrix product; leading axes of a join m where one b serves them all."""
    a, b = plan.operands(node)
    y = plan.written(node)
    operand, zero_points = _operand(node, plan)
    steps = _epilogue(node, plan)
    name, b = plan.second(b, operand)
    a, b, y = _joined(a, b, y)
    m, k, n, lead = a.shape[-2], a.shape[-1], b.shape[-1], y.shape[:-2]
    views = [
        View(v.value, v.offset, (*lead, *own), (*repeated_lead(v, lead), *v.strides[-2:]))
        for v, own in ((a, (m, k)), (b, (k, n)), (y, (m, n)))
    ]
    strides = [() if v.strides == row_major(v.shape) else v.strides for v in views]
    return MatMul(
        node.name,
        node.kind,
        "",
        steps,
        n,
        1,
        plan.load(a.value),
        name,
        operand,
        *zero_points,
        covering(m, n, k, operand),
        lead,
        strides[0],
        strides[1],
        m,
        n,
        k,
        strides[2],
        a.offset,
        b.offset,
        shift=plan.shift(node, 0) if operand == "i8" else "",
    )


def _joined(a: View, b: View, y: View) -> tuple[View, View, View]:
    """Without leading axes where one b serves them all and they join m."""
    if prod(b.shape[:-2]) != 1:
        return a, b, y
    made: list[View] = []
    for view in (a, y):
        shape = (prod(view.shape[:-1]), view.shape[-1])
        strides = reshaped(view.shape, view.strides, shape)
        if strides is None:
            return a, b, y
        made.append(replace(view, shape=shape, strides=strides))
    return made[0], replace(b, shape=b.shape[-2:], strides=b.strides[-2:]), made[1]


def repeated_lead(view: View, lead: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of the axes before the last two, laid against others; 0 where it is repeated."""
    own = zip(view.shape[:-2], view.strides[:-2], strict=True)
    strides = tuple(0 if size == 1 else stride for size, stride in own)
    return (0,) * (len(lead) - len(strides)) + strides


def conv(node: Node, plan: Plan) -> Kernel:
    """A convolution as implicit GEMM."""
    x, w = node.operands[:2]
    image, _ = plan.operands(node)
    filters, groups = w.shape[0], node.int("groups")
    out = node.result.shape[2:]
    operand, zero_points = _operand(node, plan)
    m, n, k = image.shape[0] * prod(out), filters // groups, prod(w.shape[1:])
    held, w_strides = plan.filters(w, operand)
    stored, place = plan.stored.get(node.name, node.result), plan.writes.get(node.name)
    return Conv(
        node.name,
        node.kind,
        "",
        _epilogue(node, plan),
        filters,
        prod(out),
        plan.load(x),
        held,
        operand,
        *zero_points,
        covering(m, n, k, operand),
        _four(image.shape),
        filters,
        _two(w.shape[2:]),
        _two(node.ints("strides")),
        _four(node.ints("pads")),
        _two(node.ints("dilations")),
        groups,
        _two(out),
        image.strides if node.name in plan.reads else plan.strides(x),
        w_strides,
        place.strides if place is not None else plan.strides(stored),
        shift=plan.shift(node, groups) if operand == "i8" else "",
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
        x.shape[1] if plan.order(x) else 1,
    )


def global_pool(node: Node, plan: Plan) -> Kernel:
    """The mean of each plane."""
    (x,) = node.operands
    planes, size = prod(x.shape[:2]), prod(x.shape[2:])
    function = "average" if node.kind.startswith("nn.") else "quant_average"
    rows = max(1, BLOCK // power_of_two(size))
    return GlobalPool(
        node.name, node.kind, "", (), 1, 1, plan.load(x), function, planes, size,
        *_affine(node), rows, x.shape[1] if plan.order(x) else 1,
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
    steps: list[Step] = []
    if node.name in plan.scales:
        steps.append(Scale(plan.scale(node)))
    steps += [Bias(plan.load(value)) for value in node.operands[2:]]
    if node.attributes.get("activation", "none") == "relu":
        steps.append(Relu())
    return tuple(steps)


def _operand(node: Node, plan: Plan) -> tuple[str, tuple[int, int]]:
    if node.name in plan.scales:
        return SMALL, (0, 0)
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
