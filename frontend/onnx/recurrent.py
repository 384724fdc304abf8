"""Recurrent layers: RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.frontend.onnx.constants import filled
from tetrapla.frontend.onnx.node import Constant, Ints, OnnxNode, Operand, Scope
from tetrapla.frontend.onnx.shapes import transposed
from tetrapla.frontend.onnx.table import translates
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Attribute

# ONNX's names in lower case: the IR's name, and how many parameters it has
_ACTIVATIONS: Mapping[str, tuple[str, int]] = {
    "relu": ("relu", 0),
    "tanh": ("tanh", 0),
    "sigmoid": ("sigmoid", 0),
    "softsign": ("softsign", 0),
    "softplus": ("softplus", 0),
    "affine": ("affine", 2),
    "leakyrelu": ("leaky_relu", 1),
    "thresholdedrelu": ("thresholded_relu", 1),
    "scaledtanh": ("scaled_tanh", 2),
    "hardsigmoid": ("hard_sigmoid", 2),
    "elu": ("elu", 1),
}
_BATCH_FIRST = (1, 0, 2)


@translates("RNN")
def _rnn(node: OnnxNode, scope: Scope) -> tuple[Operand, ...]:
    activations = _activations(node, ("Tanh",))
    return _recurrent("nn.rnn", node, scope, {"activations": activations}, states=1)


@translates("GRU")
def _gru(node: OnnxNode, scope: Scope) -> tuple[Operand, ...]:
    attributes: dict[str, Attribute] = {
        "activations": _activations(node, ("Sigmoid", "Tanh")),
        "linear_before_reset": node.int("linear_before_reset", 0),
    }
    return _recurrent("nn.gru", node, scope, attributes, states=1)


@translates("LSTM")
def _lstm(node: OnnxNode, scope: Scope) -> tuple[Operand, ...]:
    attributes: dict[str, Attribute] = {
        "activations": _activations(node, ("Sigmoid", "Tanh", "Tanh")),
        "input_forget": node.int("input_forget", 0),
    }
    return _recurrent("nn.lstm", node, scope, attributes, states=2)


def _recurrent(
    kind: str,
    node: OnnxNode,
    scope: Scope,
    attributes: dict[str, Attribute],
    states: int,
) -> tuple[Operand, ...]:
    x, w, r = (node.operand(index) for index in range(3))
    if len(x.shape) != 3 or len(w.shape) != 3 or len(r.shape) != 3:
        raise ModelError(f"{node.op} needs X, W and R of rank 3")
    batch_first = node.int("layout", 0)
    b, lengths = node.optional(3), node.optional(4)
    first = [node.optional(5 + index) for index in range(states)]
    peepholes = node.optional(7) if states == 2 else None
    if batch_first:
        x = transposed(x, _BATCH_FIRST, scope, f"{node.label}_time_first")
        first = [
            None if h is None else transposed(h, _BATCH_FIRST, scope, f"{node.label}_first")
            for h in first
        ]
    more = _written_out(node, x, w, r, [b, *first, lengths, peepholes])
    attributes["direction"] = node.str("direction", "forward")
    attributes["clip"] = node.float("clip", 0.0)
    y, *last = scope.ops(kind, [x, w, r, *more], attributes, node.label)
    if not batch_first:
        return y, *last
    name = f"{node.label}_batch_first"
    swapped = [transposed(h, _BATCH_FIRST, scope, name) for h in last]
    return transposed(y, (2, 0, 1, 3), scope, name), *swapped


def _written_out(
    node: OnnxNode, x: Operand, w: Operand, r: Operand, more: list[Operand | None]
) -> list[Operand | None]:
    """Bias, states, lengths and peepholes with what is absent from the middle filled in."""
    states = len(more) - 3
    state: Ints = (w.shape[0], x.shape[1], r.shape[-1])
    shapes: list[Ints] = [(w.shape[0], 2 * w.shape[1]), *[state] * states]
    while more and more[-1] is None:
        more.pop()
    for index, (held, shape) in enumerate(zip(more, shapes, strict=False)):
        if held is None:
            zero = np.zeros((), DTYPES[x.dtype])
            more[index] = Constant(filled(zero, shape), f"{node.label}_zeros")
    if len(more) > states + 1 and more[states + 1] is None:
        steps = np.full(x.shape[1], x.shape[0], np.int32)
        more[states + 1] = Constant(steps, f"{node.label}_steps")
    return more


def _activations(node: OnnxNode, usual: Sequence[str]) -> str:
    """ONNX's lists of names, alphas and betas as one text."""
    directions = 2 if node.str("direction", "forward") == "bidirectional" else 1
    names = node.texts("activations") or tuple(usual) * directions
    alphas = iter(node.all_floats("activation_alpha") or ())
    betas = iter(node.all_floats("activation_beta") or ())
    found: list[str] = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise ModelError(f"{node.op} has no activation {name[:32]!r}")
        known, count = _ACTIVATIONS[name.lower()]
        given = [next(alphas, None)] if count else []
        if count == 2 and given[0] is not None:
            given.append(next(betas, None))
        found.append(":".join([known, *(repr(n) for n in given if n is not None)]))
    return ",".join(found)
