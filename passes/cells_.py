"""One step of a recurrent layer, written as operators: Elman's, the LSTM's, the GRU's.

Gates are columns of [B, gates H] in ONNX's order. The operators are those of the layers'
definitions (`nn.rnn`, `nn.gru`, `nn.lstm`), in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from tetrapla.ir.graph import Attribute, Value

# what an activation has where no parameters are given, as in `ir.nn.gate`
USUAL: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "affine": (1.0, 0.0),
        "leaky_relu": (0.01,),
        "thresholded_relu": (1.0,),
        "scaled_tanh": (1.0, 1.0),
        "hard_sigmoid": (0.2, 0.5),
        "elu": (1.0,),
    }
)


class Pen(Protocol):
    """What writes the operators of a step."""

    def op(self, kind: str, operands: Sequence[Value], name: str, **held: Attribute) -> Value:
        """Add an operator of the dialect nn under a name of the step."""
        ...

    def number(self, value: float) -> Value:
        """A constant of one number, in the type that the layer computes in."""
        ...


@dataclass(frozen=True)
class Weights:
    """What a direction has: the matrices turned, the vectors by column.

    Attributes:
        recurrent: [H, gates H]; of a GRU [H, 2 H], the gates that are sigmoids.
        fresh: of a GRU's candidate, [H, H]; None of others.
        late: what the GRU's reset multiplies beside the product, [H]; None for no bias.
        peepholes: of input, output and forget gate, [H] each; None for none.
    """

    recurrent: Value
    fresh: Value | None = None
    late: Value | None = None
    peepholes: tuple[Value, Value, Value] | None = None


@dataclass(frozen=True)
class Form:
    """The static side of a direction.

    Attributes:
        activations: their texts, ``name:parameter``.
        clip: of what an activation is given; 0 for none.
        flag: input_forget of an LSTM, linear_before_reset of a GRU.
    """

    activations: tuple[str, ...]
    clip: float
    flag: bool


States = tuple[Value | None, ...]
"""h, and c of an LSTM, [B, H]; None before the first step of a layer that starts at zero."""

Cell = Callable[[Pen, Form, Weights, Value, States], tuple[Value, ...]]


def elman(pen: Pen, form: Form, held: Weights, given: Value, states: States) -> tuple[Value]:
    """``h = f(given + h rT)``."""
    sums = _sums(pen, given, states[0], held.recurrent)
    return (activated(pen, form.activations[0], _limited(pen, form, sums, "h"), "h"),)


def lstm(
    pen: Pen, form: Form, held: Weights, given: Value, states: States
) -> tuple[Value, Value]:
    """The gates i, o, f and c of the sums; then c and h."""
    h, c = states
    sums = _sums(pen, given, h, held.recurrent)
    f, g, last = form.activations
    gate = _Gates(pen, form, held.peepholes, sums, f)
    put = gate.of(0, "input", c)
    column = _column(pen, sums, 3, "candidate.sum")
    new = activated(pen, g, _limited(pen, form, column, "candidate"), "candidate")
    made = pen.op("mul", [put, new], "put")
    if c is not None:
        if form.flag:
            keep = pen.op("sub", [pen.number(1.0), put], "forget")
        else:
            keep = gate.of(2, "forget", c)
        made = pen.op("add", [pen.op("mul", [keep, c], "kept"), made], "c")
    shown = activated(pen, last, made, "shown")
    return pen.op("mul", [gate.of(1, "output", made), shown], "h"), made


def gru(pen: Pen, form: Form, held: Weights, given: Value, states: States) -> tuple[Value]:
    """The gates z and r of the sums, the candidate, and h between it and the last one."""
    (h,) = states
    f, g = form.activations
    n = held.recurrent.shape[0]
    both = _cut(pen, given, 0, 2 * n, "gates.given")
    fresh = _cut(pen, given, 2 * n, n, "candidate.given")
    if h is None:
        return (_first_of_gru(pen, form, held, both, fresh),)
    assert held.fresh is not None
    product = _product(pen, h, held.recurrent, "gates.product")
    sums = pen.op("add", [product, both], "gates.sum")
    both = activated(pen, f, _limited(pen, form, sums, "gates"), "gates")
    update, reset = _cut(pen, both, 0, n, "update"), _cut(pen, both, n, n, "reset")
    if form.flag:
        kept = _product(pen, h, held.fresh, "candidate.product", held.late)
        kept = pen.op("mul", [reset, kept], "reset.product")
    else:
        seen = pen.op("mul", [reset, h], "reset.h")
        kept = _product(pen, seen, held.fresh, "candidate.product")
    sums = pen.op("add", [kept, fresh], "candidate.sum")
    made = activated(pen, g, _limited(pen, form, sums, "candidate"), "candidate")
    rest = pen.op("sub", [pen.number(1.0), update], "rest")
    parts = [pen.op("mul", [rest, made], "new"), pen.op("mul", [update, h], "kept")]
    return (pen.op("add", parts, "h"),)


def _first_of_gru(pen: Pen, form: Form, held: Weights, both: Value, fresh: Value) -> Value:
    """The step on a state of zeros, whose products are zero."""
    f, g = form.activations
    n = held.recurrent.shape[0]
    gates = activated(pen, f, _limited(pen, form, both, "gates"), "gates")
    update = _cut(pen, gates, 0, n, "update")
    if form.flag and held.late is not None:
        reset = _cut(pen, gates, n, n, "reset")
        kept = pen.op("mul", [reset, held.late], "reset.product")
        fresh = pen.op("add", [kept, fresh], "candidate.sum")
    made = activated(pen, g, _limited(pen, form, fresh, "candidate"), "candidate")
    rest = pen.op("sub", [pen.number(1.0), update], "rest")
    return pen.op("mul", [rest, made], "h")


CELLS: Mapping[str, Cell] = MappingProxyType({"nn.rnn": elman, "nn.lstm": lstm, "nn.gru": gru})


def activated(pen: Pen, text: str, x: Value, name: str) -> Value:
    """An activation of a layer, by its text."""
    kind, *given = text.split(":")
    own = tuple(float(np.float32(number)) for number in given)
    held = (*own, *USUAL.get(kind, ())[len(own) :])
    match kind:
        case "affine":
            x = pen.op("mul", [x, pen.number(held[0])], f"{name}.scaled")
            return pen.op("add", [x, pen.number(held[1])], name)
        case "scaled_tanh":
            x = pen.op("mul", [x, pen.number(held[1])], f"{name}.scaled")
            x = pen.op("tanh", [x], f"{name}.tanh")
            return pen.op("mul", [x, pen.number(held[0])], name)
        case "hard_sigmoid":
            return pen.op(kind, [x], name, alpha=held[0], beta=held[1])
        case "leaky_relu" | "thresholded_relu" | "elu":
            return pen.op(kind, [x], name, alpha=held[0])
        case _:
            return pen.op(kind, [x], name)


class _Gates:
    """The input, output and forget gate; one function of all where no peephole is between."""

    def __init__(
        self,
        pen: Pen,
        form: Form,
        peepholes: tuple[Value, Value, Value] | None,
        sums: Value,
        function: str,
    ) -> None:
        self._pen = pen
        self._form = form
        self._peepholes = peepholes
        self._function = function
        if peepholes is None:
            n = sums.shape[1] // 4
            sums = _limited(pen, form, _cut(pen, sums, 0, 3 * n, "gates.sum"), "gates")
            sums = activated(pen, function, sums, "gates")
        self._sums = sums

    def of(self, at: int, name: str, c: Value | None) -> Value:
        """The gate of a place in the order i, o, f, with what the peephole of c adds."""
        pen = self._pen
        if self._peepholes is None:
            return _cut(pen, self._sums, at * (n := self._sums.shape[1] // 3), n, name)
        sums = _column(pen, self._sums, at, f"{name}.sum")
        if c is not None:
            seen = pen.op("mul", [self._peepholes[at], c], f"{name}.peephole")
            sums = pen.op("add", [sums, seen], f"{name}.seen")
        return activated(pen, self._function, _limited(pen, self._form, sums, name), name)


def _sums(pen: Pen, given: Value, h: Value | None, recurrent: Value) -> Value:
    if h is None:
        return given
    return pen.op("add", [_product(pen, h, recurrent, "product"), given], "sum")


def _product(pen: Pen, a: Value, b: Value, name: str, bias: Value | None = None) -> Value:
    operands = [a, b] if bias is None else [a, b, bias]
    return pen.op("matmul", operands, name, activation="none")


def _limited(pen: Pen, form: Form, x: Value, name: str) -> Value:
    if not form.clip:
        return x
    limit = float(np.float32(form.clip))
    return pen.op("clip", [x], f"{name}.limited", low=-limit, high=limit)


def _column(pen: Pen, x: Value, at: int, name: str) -> Value:
    """One of four gates."""
    n = x.shape[1] // 4
    return _cut(pen, x, at * n, n, name)


def _cut(pen: Pen, x: Value, start: int, count: int, name: str) -> Value:
    sizes = (x.shape[0], count)
    return pen.op("slice", [x], name, starts=(0, start), sizes=sizes, steps=(1, 1))
