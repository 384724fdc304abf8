"""Products whose activations are quantised by the range that they have when they run.

    before   y = nn.matmul(x, @w, @b)        after   q, s, z = qnn.dynamic_quantize(x)
                                                     a = qnn.matmul_integer(q, @w.int8, z)
                                                     y = nn.cast(a) * (s * @w.scale) + @b

The form that ONNX Runtime's dynamic quantisation writes (DynamicQuantizeLinear, MatMulInteger,
ConvInteger); it needs no calibration, and a sample's range moves its own numbers alone.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array, Node, Value
from tetrapla.passes.lowering_ import Lowering
from tetrapla.passes.scheme_ import INTEGERS
from tetrapla.passes.weights_ import integers, mean_loss


def dynamic_product(state: Lowering, node: Node) -> None:
    """Emit an integer convolution or product of what is quantised on the way.

    Args:
        state: the module that grows.
        node: nn.conv2d or nn.matmul with constant weights.
    """
    x, w = node.operands[:2]
    scheme, array = state.scheme, state.constant(w)
    moments = state.moments.get(node.name)
    bits = INTEGERS[scheme.format(node.name)]
    made = integers(
        node, array, bits, scheme.rounding, scheme.per_channel, np.zeros(1), moments
    )
    quantised, scale, zero_point = state.dynamic(x)
    symbol = state.graph.constants[w.index]
    operands = [quantised, state.weight(f"{symbol}.int{bits}", made.array), zero_point]
    attributes = {k: v for k, v in node.attributes.items() if k != "activation"}
    kind = {"nn.matmul": "qnn.matmul_integer", "nn.conv2d": "qnn.conv_integer"}[node.kind]
    acc = state.op(kind, operands, attributes, node.name)
    real = state.op("nn.cast", [acc], {"dtype": "f32"}, f"{node.name}.cast")
    scales = state.weight(f"{symbol}.scale", _by_channel(node, made.scales))
    factor = state.op("nn.mul", [scale, scales], {}, f"{node.name}.scale")
    y = state.op("nn.mul", [real, factor], {}, f"{node.name}.dequantize")
    y = _biased(state, node, y, made.real)
    if node.str("activation") == "relu":
        y = state.op("nn.relu", [y], {}, f"{node.name}.relu")
    state.new.set(node.result, y)


def _biased(state: Lowering, node: Node, y: Value, real: Array) -> Value:
    bias = state.constant(node.operands[2]) if len(node.operands) == 3 else None
    moments = state.moments.get(node.name)
    if state.scheme.correct_bias and moments is not None:
        lost = mean_loss(node, state.constant(node.operands[1]), real, moments)
        bias = (lost if bias is None else bias + lost).astype(np.float32)
    if bias is None:
        return y
    held = state.weight(f"{node.name}.bias", _by_channel(node, bias))
    return state.op("nn.add", [y, held], {}, f"{node.name}.bias")


def _by_channel(node: Node, values: Array) -> Array:
    """One number per channel, or one alone, shaped to broadcast to the result."""
    return values.reshape(-1, 1, 1) if node.kind == "nn.conv2d" else values
