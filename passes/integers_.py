"""Which integer operator stands for which float one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.table import lookup_table
from tetrapla.passes.dynamic_ import dynamic_product
from tetrapla.passes.floats_ import product
from tetrapla.passes.given_ import reading_of
from tetrapla.passes.lowering_ import Lowering
from tetrapla.passes.plan_ import ELEMENTWISE, LINEAR, MORE_TABLES, PLACING
from tetrapla.passes.scales_ import (
    SMALLEST_SCALE,
    Affine,
    Scales,
    integer_bias,
    least_scales,
    multipliers,
    on_one_grid,
)
from tetrapla.passes.scheme_ import INTEGERS
from tetrapla.passes.weights_ import channel_axis, integers, mean_loss

# a probability of one is 256 steps above zero, as TensorFlow Lite fixes it
PROBABILITY = Affine(1 / 256, -128)
RECTIFYING = frozenset({"nn.relu", "nn.clip"})


def lower(state: Lowering, node: Node) -> None:
    """Emit what stands for the node under the state's plan."""
    if state.scheme.given and _given(state, node):
        return
    plan = state.plan
    narrow = state.narrow(node.operands[0]) if node.kind in PLACING else None
    if narrow is not None:
        state.hold(node.result, state.op(node.kind, [narrow], node.attributes, node.name))
        return
    held = state.reading(node.operands[0]) is not None if node.operands else False
    if plan.passes_on(node) and plan.moves(node, held):
        _moved(state, node)
    elif node.kind in RECTIFYING and _saturated(state, node):
        x, reading = state.integer(node.operands[0])
        state.set(node.result, x, reading)
    elif plan.integer(node):
        HOW[node.kind](state, node)
    elif plan.rounds(node):
        (dynamic_product if plan.dynamic(node) else product)(state, node)
    else:
        _float(state, node)


def _given(state: Lowering, node: Node) -> bool:
    """Whether integers of the model itself stand for the node's result, or are it.

    A dequantisation of i8 is how its operand is read; a quantisation to i8 of what is read so
    already is that.
    """
    reading = reading_of(state.graph, node)
    if reading is None:
        return False
    x = node.operands[0]
    if node.kind == "qnn.dequantize" and x.dtype == "i8":
        state.set(node.result, state.real(x), reading)
        return True
    if (
        node.kind == "qnn.quantize"
        and node.result.dtype == "i8"
        and state.reading(x) == reading
    ):
        state.new.set(node.result, state.integer(x)[0])
        return True
    return False


def _float(state: Lowering, node: Node) -> None:
    """The node as it was.

    Raises:
        ModelError: it is a product that makes infinities out of infinite weights.
    """
    weights = (value for value in node.operands if state.graph.is_weight(value))
    for value in weights if node.kind in LINEAR and state.plan.unbounded(node) else ():
        state.constant(value)
    for value in node.operands:
        state.real(value)
    state.new.copy(node)


def _moved(state: Lowering, node: Node) -> None:
    """The same on integers; a number that scales all of them changes how they are read."""
    x, reading = state.integer(node.operands[0])
    factor = state.plan.factor(node)
    if factor is not None:
        scaled = float(np.float32(reading.scale * factor))
        if scaled >= SMALLEST_SCALE and np.isfinite(scaled):
            state.set(node.result, x, replace(reading, scale=scaled))
            return
        _float(state, node)
        return
    attributes = dict(node.attributes)
    if node.kind == "nn.pad":
        attributes["value"] = float(reading.zero_point)
    operands = [x, *(state.real(value) for value in node.operands[1:])]
    state.set(node.result, state.op(node.kind, operands, attributes, node.name), reading)


def _saturated(state: Lowering, node: Node) -> bool:
    """Whether no integer stands for a number that the ReLU or clip would change."""
    reading = state.reading(node.operands[0])
    if reading is None:
        return False
    if node.kind == "nn.relu":
        return reading.zero_point == reading.low
    low, high = reading.integer(node.float("low")), reading.integer(node.float("high"))
    return (low, high) == (reading.low, reading.high)


def _linear(state: Lowering, node: Node) -> None:
    """A product or convolution: integer operator, then requantisation."""
    tail = state.tail(node, clips=True)
    x, x_reading = state.integer(node.operands[0])
    bias = state.constant(node.operands[2]) if len(node.operands) == 3 else None
    w, w_zero_point, w_scales, bias = _second(state, node, bias, x_reading, tail.reading)
    operands = [x, w]
    products = np.float32(x_reading.scale) * w_scales
    if bias is not None:
        operands.append(_bias(state, node, bias, products, x_reading.bits))
    attributes = {k: v for k, v in node.attributes.items() if k != "activation"}
    attributes |= {"x_zero_point": x_reading.zero_point, "w_zero_point": w_zero_point}
    acc = state.op(node.kind.replace("nn.", "qnn."), operands, attributes, node.name)
    name = f"{node.name}.requantize"
    scale = state.weight(f"{name}.scale", multipliers(node.name, products, tail.reading.scale))
    requantise: dict[str, Attribute] = {
        "zero_point": tail.reading.zero_point,
        "low": tail.low,
        "high": tail.high,
        "axis": 1 if node.kind == "nn.conv2d" else len(node.result.shape) - 1,
        "dtype": f"i{tail.reading.bits}",
    }
    made = state.op("qnn.requantize", [acc, scale], requantise, name)
    state.set(tail.node.result, made, tail.reading)


def _bias(state: Lowering, node: Node, bias: Array, products: Scales, bits: int) -> Value:
    """In steps of the accumulator, which 16-bit activations make 64 bits wide."""
    held = integer_bias(node.name, bias, products)
    given = len(node.operands) == 3
    stem = state.graph.constants[node.operands[2].index] if given else f"{node.name}.bias"
    if bits == 8:
        return state.weight(f"{stem}.int32", held)
    return state.weight(f"{stem}.int64", held.astype(np.int64))


def _second(
    state: Lowering, node: Node, bias: Array | None, x: Affine, y: Affine
) -> tuple[Value, int, Scales, Array | None]:
    """The second operand as integers, its zero point and scales, and the bias to add."""
    value = node.operands[1]
    if not state.graph.is_weight(value):
        centred = state.scheme.whole
        computed, reading = state.centred(value) if centred else state.integer(value)
        return computed, reading.zero_point, np.array([reading.scale], np.float32), bias
    array, scheme = state.constant(value), state.scheme
    bits = INTEGERS[scheme.format(node.name)]
    # the rounds of a loop share their weights, so that no round's inputs may decide on them
    alone = not scheme.whole or state.readers(value) == 1
    moments = state.moments.get(node.name) if alone else None
    least = least_scales(bias, x.scale, y.scale)
    per_channel = scheme.per_channel
    if scheme.given and bits == INTEGERS["i8"] and on_one_grid(array):
        per_channel = False
    make = partial(integers, node, array, bits, scheme.rounding, per_channel)
    if scheme.whole and moments is None:
        key = value.index, bits, channel_axis(node)
        made = state.stored(key, lambda: make(np.zeros(1), None))
        if not (made.scales >= least).all():
            made = make(least, None)
    else:
        made = make(least, moments)
    if scheme.correct_bias and moments is not None:
        lost = mean_loss(node, array, made.real, moments)
        bias = (lost if bias is None else bias + lost).astype(np.float32)
    symbol = f"{state.graph.constants[value.index]}.int{bits}"
    return state.weight(symbol, made.array), 0, made.scales, bias


def _pair(state: Lowering, node: Node) -> None:
    """A sum, a product element by element or a concatenation under a third scale."""
    tail = state.tail(node)
    (a, a_reading), (b, b_reading) = (state.integer(value) for value in node.operands)
    attributes = dict(node.attributes)
    for letter, reading in zip("aby", (a_reading, b_reading, tail.reading), strict=True):
        attributes[f"{letter}_scale"] = reading.scale
        attributes[f"{letter}_zero_point"] = reading.zero_point
    made = state.op(node.kind.replace("nn.", "qnn."), [a, b], attributes, node.name)
    state.set(tail.node.result, made, tail.reading)


def _average(state: Lowering, node: Node) -> None:
    tail = state.tail(node)
    x, x_reading = state.integer(node.operands[0])
    attributes: dict[str, Attribute] = {
        **node.attributes,
        "x_scale": x_reading.scale,
        "x_zero_point": x_reading.zero_point,
        "y_scale": tail.reading.scale,
        "y_zero_point": tail.reading.zero_point,
    }
    made = state.op(node.kind.replace("nn.", "qnn."), [x], attributes, node.name)
    state.set(tail.node.result, made, tail.reading)


def _table(state: Lowering, node: Node) -> None:
    """A function of one number: all 256 of its values."""
    tail = state.tail(node)
    x, x_reading = state.integer(node.operands[0])

    def function(real: Array) -> Array:
        return np.asarray(OPS[node.kind].evaluate(real, **node.attributes))

    y = tail.reading
    table = lookup_table(function, x_reading.scale, x_reading.zero_point, y.scale, y.zero_point)
    operands = [x, state.weight(f"{node.name}.table", table)]
    state.set(tail.node.result, state.op("qnn.lookup", operands, {}, node.name), y)


def _softmax(state: Lowering, node: Node) -> None:
    x, reading = state.integer(node.operands[0])
    y = _probability(state, node) if state.scheme.whole else PROBABILITY
    attributes: dict[str, Attribute] = {
        **node.attributes,
        "x_scale": reading.scale,
        "y_scale": y.scale,
        "y_zero_point": y.zero_point,
    }
    made = state.op("qnn.softmax", [x], attributes, node.name)
    state.set(node.result, made, y)


def _probability(state: Lowering, node: Node) -> Affine:
    """By the largest probability that there was: among many, each is far below one.

    The operator takes the reciprocal of a scale as a whole number, which a power of two is.
    """
    _, high = state.ranges.node(node.name)
    top = (PROBABILITY.high - PROBABILITY.low) / max(high, 2.0**-20)
    steps = 2.0 ** float(np.floor(np.log2(top)))
    return replace(PROBABILITY, scale=min(PROBABILITY.scale, 1 / steps))


HOW: Mapping[str, Callable[[Lowering, Node], None]] = MappingProxyType(
    {
        "nn.matmul": _linear,
        "nn.conv2d": _linear,
        "nn.add": _pair,
        "nn.mul": _pair,
        "nn.concat": _pair,
        "nn.average_pool2d": _average,
        "nn.global_average_pool": _average,
        "nn.softmax": _softmax,
        **dict.fromkeys((*ELEMENTWISE, *MORE_TABLES), _table),
    }
)
