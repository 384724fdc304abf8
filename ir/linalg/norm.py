"""Softmax and normalisations: folds along axes, and what they are put against."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import is_float
from tetrapla.ir.linalg.elementwise import parameter
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, tensor_of
from tetrapla.ir.op import Tensor


def work_type(dtype: str) -> str:
    """What products and softmax are computed in: f32 for the narrower floats, else itself."""
    return "f32" if dtype in ("f16", "bf16") else dtype


def softmaxed(writer: Writer, x: Held, axis: int) -> Held:
    """``exp(x - max) / sum exp(x - max)`` in the type of `x`."""
    dims = axes_of(x.type.rank)
    kept = [dim for i, dim in enumerate(dims) if i != axis]
    power = writer.placed(
        x.type,
        lambda b, a, m: b.math("exp", b.sub(a, m)),
        [(x, dims), (_maximum(writer, x, axis), kept)],
    )
    total = writer.folded(power, {axis}, 0, Body.add)
    return writer.placed(x.type, Body.div, [(power, dims), (total, kept)])


def lower_softmax(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats."""
    (x,) = operands
    axis = node.int("axis") % x.type.rank
    y = softmaxed(writer, writer.cast(x, work_type(x.type.dtype)), axis)
    return writer.cast(y, x.type.dtype)


def lower_log_softmax(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``x - max - log sum exp(x - max)``, in f64."""
    (x,) = operands
    axis = node.int("axis") % x.type.rank
    dims = axes_of(x.type.rank)
    kept = [dim for i, dim in enumerate(dims) if i != axis]
    wide = writer.cast(x, "f64")
    top = (_maximum(writer, wide, axis), kept)
    shifted = writer.placed(wide.type, Body.sub, [(wide, dims), top])
    total = writer.folded(shifted, {axis}, 0, lambda b, held, a: b.add(held, b.math("exp", a)))
    return writer.placed(
        x.type,
        lambda b, a, t: b.cast(b.sub(a, b.math("log", t)), x.type.dtype),
        [(shifted, dims), (total, kept)],
    )


def lower_batch_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats; the gain is computed once per channel."""
    x, scale, bias, mean, variance = operands
    if not is_float(x.type.dtype):
        raise UnsupportedError(
            f"{node.kind} must have floats to be lowered to linalg, not {x.type}; compute this "
            "model with the interpreter"
        )
    work, dims = work_type(x.type.dtype), axes_of(x.type.rank)

    def gain(b: Body, s: Scalar, v: Scalar) -> Scalar:
        spread = b.add(b.cast(v, work), b.number(parameter(node, "epsilon"), work))
        return b.div(b.cast(s, work), b.math("sqrt", spread))

    def line(b: Body, *elements: Scalar) -> Scalar:
        a, m, g, c = (b.cast(each, work) for each in elements)
        return b.cast(b.add(b.mul(b.sub(a, m), g), c), x.type.dtype)

    gains = writer.elementwise(Tensor(scale.type.shape, work), gain, scale, variance)
    channels = [(held, ["d1"]) for held in (mean, gains, bias)]
    return writer.placed(x.type, line, [(x, dims), *channels])


def lower_layer_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Over the axes from `axis` on."""
    x, *parameters = operands
    first = node.int("axis") % x.type.rank
    unit = standardised(writer, x, range(first, x.type.rank), parameter(node, "epsilon"))
    return _scaled(writer, unit, parameters, axes_of(x.type.rank)[first:], x.type)


def lower_rms_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Over the axes from `axis` on, about zero."""
    x, *parameters = operands
    first = node.int("axis") % x.type.rank
    axes = range(first, x.type.rank)
    wide = writer.cast(x, "f64")
    unit = _over_spread(writer, wide, axes, parameter(node, "epsilon"))
    return _scaled(writer, unit, parameters, axes_of(x.type.rank)[first:], x.type)


def lower_group_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Over the channels of a group and all that follows."""
    x, *parameters = operands
    n, groups = x.type.shape[0], node.int("groups")
    grouped = writer.reshaped(x, (n, groups, prod(x.type.shape[1:]) // groups))
    unit = standardised(writer, grouped, (2,), parameter(node, "epsilon"))
    unit = writer.reshaped(unit, x.type.shape)
    return _scaled(writer, unit, parameters, ["d1"], tensor_of(node.result))


def lower_instance_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Over what follows each channel."""
    x, *parameters = operands
    axes = range(2, x.type.rank)
    unit = standardised(writer, x, axes, parameter(node, "epsilon"))
    return _scaled(writer, unit, parameters, ["d1"], x.type)


def lower_lrn(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Over the channels around each one, in f64."""
    (x,), size = operands, node.int("size")
    alpha, beta, base = (parameter(node, key) for key in ("alpha", "beta", "bias"))
    before = (size - 1) // 2

    def around(b: Body, at: Sequence[Scalar]) -> Scalar:
        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            wide = b.cast(b.at(x, [at[0], i, *at[2:]]), "f64")
            return [b.add(held[0], b.mul(wide, wide))]

        first = b.maximum(b.affine(f"d0 - {before}", at[1]), b.number(0, "index"))
        last = b.affine(f"d0 + {size - before}", at[1])
        behind = b.minimum(last, b.number(x.type.shape[1], "index"))
        (total,) = b.loop(first, behind, [b.number(0, "f64")], step)
        wide = b.cast(b.at(x, at), "f64")
        spread = b.add(b.like(base, wide), b.mul(b.like(alpha / size, wide), total))
        power = b.math("powf", spread, b.like(beta, wide))
        return b.cast(b.div(wide, power), x.type.dtype)

    return writer.gathered(x.type, around)


def standardised(writer: Writer, x: Held, axes: Collection[int], epsilon: float) -> Held:
    """``(x - mean) / sqrt(variance + epsilon)`` in f64."""
    dims = axes_of(x.type.rank)
    kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
    size = prod(x.type.shape[axis] for axis in axes)
    wide = writer.cast(x, "f64")
    total = writer.folded(wide, axes, 0, Body.add)
    centred = writer.placed(
        wide.type,
        lambda b, a, t: b.sub(a, b.div(t, b.like(size, t))),
        [(wide, dims), (total, kept)],
    )
    return _over_spread(writer, centred, axes, epsilon)


def _over_spread(writer: Writer, x: Held, axes: Collection[int], epsilon: float) -> Held:
    """``x / sqrt(mean(x * x) + epsilon)`` in f64."""
    dims = axes_of(x.type.rank)
    kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
    size = prod(x.type.shape[axis] for axis in axes)
    power = writer.folded(x, axes, 0, lambda b, held, a: b.add(held, b.mul(a, a)))

    def over(b: Body, a: Scalar, t: Scalar) -> Scalar:
        spread = b.add(b.div(t, b.like(size, t)), b.like(epsilon, t))
        return b.div(a, b.math("sqrt", spread))

    return writer.placed(x.type, over, [(x, dims), (power, kept)])


def _scaled(
    writer: Writer, unit: Held, parameters: list[Held], places: list[str], type_: Tensor
) -> Held:
    """``unit * scale + bias`` in f64, rounded once; the bias may be absent."""

    def line(b: Body, a: Scalar, scale: Scalar, *bias: Scalar) -> Scalar:
        y = b.mul(a, b.cast(scale, "f64"))
        for each in bias:
            y = b.add(y, b.cast(each, "f64"))
        return b.cast(y, type_.dtype)

    placed = [(held, places) for held in parameters]
    return writer.placed(type_, line, [(unit, axes_of(type_.rank)), *placed])


def _maximum(writer: Writer, x: Held, axis: int) -> Held:
    return writer.folded(x, {axis}, -np.inf, Body.maximum)
