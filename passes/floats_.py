"""Products that stay float on operands rounded to other formats.

    before   y = nn.matmul(x, @w)        after   q = qnn.quantize(x, @scale) {dtype = f8E4M3FN}
                                                 a = qnn.dequantize(q, @scale)
                                                 b = qnn.dequantize(@w.f8E4M3FN, @w.scale)
                                                 y = nn.matmul(a, b)

MX formats and groups of weights have one scale per block of the summed axis. bf16 and f16 have
no scale: where both operands are of one of them, so is the product.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.op import OPS
from tetrapla.passes.lowering_ import Lowering
from tetrapla.passes.scheme_ import FORMATS, INTEGERS, PLAIN, Format
from tetrapla.passes.weights_ import (
    Stored,
    channel_axis,
    grouped,
    integers,
    mean_loss,
    microscaled,
    small_floats,
    small_scale,
)


def product(state: Lowering, node: Node) -> None:
    """Emit a convolution or product on rounded operands; its result is a float.

    Args:
        state: the module that grows.
        node: nn.conv2d or nn.matmul of float32.
    """
    second, form = node.operands[1], state.scheme.format(node.name)
    if state.scheme.whole and form in PLAIN and form == state.scheme.activations != "f32":
        _narrow(state, node, form)
        return
    if not state.graph.is_weight(second):
        pair = node.operands[:2]
        operands = [_activation(state, node, value, at) for at, value in enumerate(pair)]
        operands += [state.real(value) for value in node.operands[2:]]
    elif form in PLAIN and form == state.scheme.activations and _constant(state, node):
        _narrow_product(state, node, form)
        return
    else:
        operands = [_activation(state, node, node.operands[0], 0)]
        operands += _weights(state, node, form)
    made = state.op(node.kind, operands, node.attributes, node.name)
    state.new.set(node.result, made)


def _constant(state: Lowering, node: Node) -> bool:
    """Whether the weights and the bias are constants."""
    return all(state.graph.is_weight(value) for value in node.operands[1:])


def _narrow_product(state: Lowering, node: Node, dtype: str) -> None:
    """The product itself in bf16 or f16, whose sums are float32's."""
    x, *parameters = node.operands
    operands = [_cast(state, state.real(x), dtype, f"{state.name(x)}.{dtype}")]
    for value in parameters:
        symbol = state.graph.constants[value.index]
        operands.append(
            state.weight(f"{symbol}.{dtype}", _narrowed(symbol, state.constant(value), dtype))
        )
    made = state.op(node.kind, operands, node.attributes, node.name)
    state.new.set(node.result, _cast(state, made, "f32", f"{node.name}.f32"))


def _narrow(state: Lowering, node: Node, dtype: str) -> None:
    """As `_narrow_product`, of operands of which any may be computed."""
    operands: list[Value] = []
    for value in node.operands:
        held = state.narrow(value)
        if held is not None:
            operands.append(held)
            continue
        if state.graph.is_weight(value):
            symbol = state.graph.constants[value.index]
            make = partial(_held, state, value, symbol, dtype)
        else:
            make = partial(
                _cast, state, state.real(value), dtype, f"{state.name(value)}.{dtype}"
            )
        operands.append(state.once(value, dtype, make))
    state.hold(node.result, state.op(node.kind, operands, node.attributes, node.name))


def _held(state: Lowering, value: Value, symbol: str, dtype: str) -> Value:
    return state.weight(f"{symbol}.{dtype}", _narrowed(symbol, state.constant(value), dtype))


def _weights(state: Lowering, node: Node, name: str) -> list[Value]:
    """The weights as floats again, and the bias corrected for what their rounding shifts."""
    value = node.operands[1]
    rest = [state.real(other) for other in node.operands[2:]]
    if name == "f32":
        return [state.real(value), *rest]
    array, symbol = state.constant(value), state.graph.constants[value.index]
    if name in PLAIN:
        held = state.weight(f"{symbol}.{name}", _narrowed(symbol, array, name))
        return [_cast(state, held, "f32", f"{node.name}.weights"), *rest]
    found = _stored(state, node, array, name)
    operands = [
        state.weight(f"{symbol}.{name}", found.array),
        state.weight(f"{symbol}.scale", found.scales),
    ]
    widened = state.op(found.kind, operands, found.attributes, f"{node.name}.weights")
    moments = state.moments.get(node.name)
    if state.scheme.correct_bias and moments is not None and _constant(state, node):
        lost = mean_loss(node, array, found.real, moments)
        if rest:
            lost = state.constant(node.operands[2]) + lost
        rest = [state.weight(f"{node.name}.bias", lost.astype(np.float32))]
    return [widened, *rest]


def _stored(state: Lowering, node: Node, array: Array, name: str) -> Stored:
    scheme, form = state.scheme, FORMATS[name]
    moments = state.moments.get(node.name)
    if form.block:
        return microscaled(node, array, form)
    if name not in INTEGERS:
        return small_floats(node, array, form, scheme.per_channel)
    if scheme.group and channel_axis(node) is not None:
        return grouped(node, array, INTEGERS[name], scheme.rounding, scheme.group, moments)
    return integers(
        node, array, INTEGERS[name], scheme.rounding, scheme.per_channel, np.zeros(1), moments
    )


def _activation(state: Lowering, node: Node, value: Value, at: int) -> Value:
    """An operand rounded as the scheme's activations are."""
    name = state.scheme.activations
    if name in ("f32", "dynamic"):
        return state.real(value)
    stem = f"{state.name(value)}.{name}"
    if name == "integer":
        return state.once(value, name, lambda: state.dequantized(*state.integer(value), stem))
    if FORMATS[name].block:
        axis = _summed(node, at)
        make = lambda: _microscaled(state, value, FORMATS[name], axis, stem)  # noqa: E731
        return state.once(value, f"{name}{axis}", make)
    if name in PLAIN:
        return state.once(value, name, lambda: _through(state, value, name, stem))
    return state.once(value, name, lambda: _scaled(state, value, name, stem))


def _through(state: Lowering, value: Value, dtype: str, stem: str) -> Value:
    narrow = _cast(state, state.real(value), dtype, stem)
    return _cast(state, narrow, "f32", f"{stem}.f32")


def _scaled(state: Lowering, value: Value, dtype: str, stem: str) -> Value:
    """Under the scale that maps the calibrated extreme to the format's largest number."""
    low, high = state.interval(value)
    scale = small_scale(max(abs(low), abs(high)), dtype)
    held = state.weight(f"{stem}.scale", np.array([scale], np.float32))
    attributes: dict[str, Attribute] = {"zero_point": 0, "axis": 0}
    real = state.real(value)
    made = state.op("qnn.quantize", [real, held], {**attributes, "dtype": dtype}, stem)
    return state.op("qnn.dequantize", [made, held], attributes, f"{stem}.dequantize")


def _microscaled(state: Lowering, value: Value, form: Format, axis: int, stem: str) -> Value:
    attributes: dict[str, Attribute] = {
        "axis": axis,
        "block_size": form.block,
        "dtype": form.dtype,
    }
    pair = state.new.builder.ops("qnn.mx_quantize", [state.real(value)], attributes, stem)
    blocks = tuple(form.block if i == axis else 1 for i in range(len(value.shape)))
    return state.op(
        "qnn.dequantize_blocks", list(pair), {"blocks": blocks}, f"{stem}.dequantize"
    )


def _summed(node: Node, at: int) -> int:
    """The axis of an operand that the node sums over: channels, or a matrix's inner axis."""
    if node.kind == "nn.conv2d":
        return 1
    return len(node.operands[at].shape) - (2 if at else 1)


def _cast(state: Lowering, value: Value, dtype: str, name: str) -> Value:
    return state.op("nn.cast", [value], {"dtype": dtype}, name)


def _narrowed(symbol: str, array: Array, dtype: str) -> Array:
    made = np.asarray(OPS["nn.cast"].evaluate(array, dtype=dtype))
    fits = np.isfinite(made.astype(np.float32))
    if not fits.all():
        raise ModelError(
            f"weight @{symbol} must fit {dtype} to be quantised, not {array[~fits].flat[0]}; "
            "use bf16 or rescale it"
        )
    return made
