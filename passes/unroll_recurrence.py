"""Recurrent layers become the products and gates of their steps.

    before   y, h = nn.rnn(x, @w, @r, @b)     after   g = nn.matmul(x, @w.T, @b.sum)
             {direction = "forward"}                  h0 = nn.tanh(g[0])
                                                      h1 = nn.tanh(h0 @ r.T + g[1])
                                                      ...
                                                      y = nn.concat(h0, h1, ...)

For a machine that multiplies matrices and has no recurrent layers. What the input gives the
gates is one product of all steps; the steps share their weights. A sequence that is over keeps
its state and gives zeros. The operators of step t of layer ``lstm`` are called
``lstm/step.t/...``, as if the layer were a loop with a body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.bodies_ import within
from tetrapla.passes.cells_ import CELLS, Form, States, Weights
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# places of the operands that may be absent: first states, lengths, peepholes
PLACES = {
    "nn.rnn": ((4,), 5, 6),
    "nn.gru": ((4,), 5, 6),
    "nn.lstm": ((4, 5), 6, 7),
}
FUNCTIONS = {"nn.rnn": 1, "nn.gru": 2, "nn.lstm": 3}
# operators of one step of any layer, at most (an LSTM with peepholes, clip and lengths)
MOST_OF_A_STEP = 32


@dataclass(frozen=True)
class UnrollRecurrence(Pass):
    """The same sums and functions, of which a product may form its sums in another order.

    Two orders of a sum of K terms are within 2 K u of one another, relative to the sum of the
    terms' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section
    3.1; u = 2^-24): 5.5e-4 at K = 4608, and some u for the functions, which the layers round
    step by step and the operators once. That later steps do not enlarge it is assumed: gates
    have slopes of at most 1, and of a layer whose states amplify roundings no form is certain.

    Lengths beyond the sequence, which the layers refuse, count as all of its steps.

    Attributes:
        limit: of the operators that a layer becomes, 32 a step; a longer one stays. The
            default, assumed, is what a compiler handles in seconds.
    """

    max_rel_error: ClassVar[float] = 2 * (4608 + 8) * 2.0**-24

    limit: int = 2**16

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise SpecError(f"limit must be 0 operators or more, not {self.limit}")

    def __call__(self, module: Module) -> Module:
        def once(inner: Module) -> Module:
            new = Rebuild(inner)
            for node in new.graph.nodes:
                if node.kind in CELLS and self.refusal(node) is None:
                    _Layer(new, node).unroll()
                else:
                    new.copy(node)
            made = new.finish()
            # a matrix that one step alone would not read is declared and not used
            return inner if made is inner else EliminateDeadCode()(made)

        return once(within(module, once))

    def refusal(self, node: Node) -> str | None:
        """Why a recurrent layer stays as it is; None if it does not."""
        if not all(value.elements for value in node.operands):
            return "it has no elements"
        directions, steps = node.operands[1].shape[0], node.operands[0].shape[0]
        size = directions * steps * MOST_OF_A_STEP
        if size > self.limit:
            return f"its {steps} steps are {size} operators, more than {self.limit}"
        return None


class _Pen:
    """Writes one step of one direction."""

    def __init__(self, layer: _Layer, step: int, way: str) -> None:
        self._layer = layer
        self._stem = f"{layer.node.name}/step.{step}/{way}"

    def op(self, kind: str, operands: Sequence[Value], name: str, **held: Attribute) -> Value:
        """Add an operator of the dialect nn."""
        return self._layer.op(kind, operands, f"{self._stem}{name}", **held)

    def number(self, value: float) -> Value:
        """A constant of one number."""
        return self._layer.number(value)


class _Layer:
    """One recurrent layer under unrolling."""

    def __init__(self, new: Rebuild, node: Node) -> None:
        self.node = node
        self._new = new
        self._dtype = node.operands[0].dtype
        self._work = "f64" if self._dtype == "f64" else "f32"
        self._rows, self._hidden = node.operands[1].shape[1], node.operands[2].shape[2]
        firsts, lengths, peepholes = PLACES[node.kind]
        self._firsts = [self._operand(at) for at in firsts]
        self._lengths = self._operand(lengths)
        self._peepholes = self._operand(peepholes)
        self._numbers: dict[float, Value] = {}
        self._lives: dict[int, Value] = {}

    def unroll(self) -> None:
        """Let the operators of the steps stand for the layer's results."""
        direction, count = self.node.str("direction"), self.node.operands[1].shape[0]
        whole, lasts = list[Value](), list[States]()
        for i in range(count):
            backwards = i == 1 or direction == "reverse"
            rows, last = self._direction(i, backwards, "reverse." if i else "")
            whole.append(rows)
            lasts.append(last)
        states = zip(*lasts, strict=True)
        results = [self._joined(whole, 1, "y")]
        for name, each in zip("hc", states, strict=False):
            held = [value for value in each if value is not None]
            lead = (1, *held[0].shape)
            stem = f"{self.node.name}.{name}"
            shaped = [self.op("reshape", [v], stem, shape=lead) for v in held]
            results.append(self._joined(shaped, 0, f"last.{name}"))
        for old, made in zip(self.node.results, results, strict=True):
            self._new.set(old, self._cast(made, self._dtype, "rounded"))

    def op(self, kind: str, operands: Sequence[Value], name: str, **held: Attribute) -> Value:
        """Add an operator of the dialect nn."""
        return self._new.builder.op(f"nn.{kind}", operands, held, name)

    def number(self, value: float) -> Value:
        """A constant of one number, in the type that the layer computes in."""
        if value not in self._numbers:
            array = np.array(value, DTYPES[self._work])
            self._numbers[value] = self._constant("number", array)
        return self._numbers[value]

    def _direction(self, i: int, backwards: bool, way: str) -> tuple[Value, States]:
        """The states [T, 1, B, H] of a direction, and the last of all states."""
        x = self._wide(self._new.of(self.node.operands[0]), "x")
        turned = backwards and self._lengths is not None
        if turned:
            x = self._reversed(x)
        given, held, form = self._given(x, i), self._weights(i), self._form(i)
        states: States = tuple(self._first(first, i) for first in self._firsts)
        steps = x.shape[0]
        rows = dict[int, Value]()
        for t in reversed(range(steps)) if backwards and not turned else range(steps):
            pen = _Pen(self, t, way)
            cut = pen.op(
                "slice",
                [given],
                "given.slice",
                starts=(t, 0, 0),
                sizes=(1, *given.shape[1:]),
                steps=(1, 1, 1),
            )
            now = pen.op("reshape", [cut], "given", shape=given.shape[1:])
            after: States = CELLS[self.node.kind](pen, form, held, now, states)
            states, y = self._living(pen, t, after, states)
            rows[t] = pen.op("reshape", [y], "row", shape=(1, 1, *y.shape))
        whole = self._joined([rows[t] for t in range(steps)], 0, f"{way}steps")
        return (self._reversed(whole) if turned else whole), states

    def _living(self, pen: _Pen, t: int, after: States, before: States) -> tuple[States, Value]:
        """The states of what goes on at step t, those before of what is over; and y."""
        assert after[0] is not None
        if self._lengths is None:
            return after, after[0]
        live, zero = self._live(t), self.number(0.0)
        kept: list[Value] = []
        for new, old, name in zip(after, before, "hc", strict=False):
            assert new is not None
            kept.append(pen.op("where", [live, new, old or zero], f"{name}.kept"))
        return tuple(kept), pen.op("where", [live, after[0], zero], "y")

    def _live(self, t: int) -> Value:
        """Whether each sequence goes on at step t, [B, 1]."""
        assert self._lengths is not None
        if t not in self._lives:
            stem, lengths = f"{self.node.name}/step.{t}/live", self._lengths
            step = self._constant("step", np.array(t, DTYPES[lengths.dtype]))
            found = self.op("greater", [lengths, step], f"{stem}.batch")
            self._lives[t] = self.op("reshape", [found], stem, shape=(*lengths.shape, 1))
        return self._lives[t]

    def _given(self, x: Value, i: int) -> Value:
        """What x gives the gates in every step, [T, B, gates H]: one product."""
        steps, batch, width = x.shape
        name = self.node.name
        flat = self.op("reshape", [x], f"{name}.x", shape=(steps * batch, width))
        operands = [flat, self._matrix(1, i, 0, self._rows, "w")]
        if self._bias_parts():
            operands.append(self._bias(i))
        made = self.op("matmul", operands, f"{name}.given", activation="none")
        return self.op("reshape", [made], f"{name}.given", shape=(steps, batch, self._rows))

    def _weights(self, i: int) -> Weights:
        n, rows = self._hidden, self._rows
        peepholes = None
        if self._peepholes is not None:
            place = PLACES[self.node.kind][2]
            a, b, c = (self._vector(place, i, at * n, n) for at in range(3))
            peepholes = a, b, c
        if self.node.kind != "nn.gru":
            return Weights(self._matrix(2, i, 0, rows, "r"), peepholes=peepholes)
        late = None
        if self._bias_parts() and self.node.int("linear_before_reset"):
            late = self._vector(3, i, rows + 2 * n, n)
        gates, fresh = self._matrix(2, i, 0, 2 * n, "r"), self._matrix(2, i, 2 * n, n, "r.new")
        return Weights(gates, fresh, late)

    def _form(self, i: int) -> Form:
        node, count = self.node, FUNCTIONS[self.node.kind]
        own = node.str("activations").split(",")[i * count : (i + 1) * count]
        flags = ("input_forget", "linear_before_reset")
        flag = any(node.attributes.get(name) == 1 for name in flags)
        return Form(tuple(own), node.float("clip"), flag)

    def _bias_parts(self) -> bool:
        return len(self.node.operands) > 3

    def _bias(self, i: int) -> Value:
        """The sum of both biases, [gates H]; without what a GRU's reset multiplies."""
        rows, n = self._rows, self._hidden
        late = self.node.kind == "nn.gru" and self.node.int("linear_before_reset")

        def total(b: Array) -> Array:
            own = b[i, rows:].copy()
            if late:
                own[2 * n :] = 0
            return np.asarray(b[i, :rows] + own, b.dtype)

        value = self.node.operands[3]
        if self._is_constant(value) and value.dtype == self._work:
            return self._new.derived(f"{self._symbol(value)}.{i}.sum", value, (rows,), total)
        x, h = self._vector(3, i, 0, rows), self._vector(3, i, rows, rows)
        if late:
            kept = np.arange(rows) < 2 * n
            seen = self._constant("gates", kept.astype(DTYPES[self._work]))
            h = self.op("mul", [h, seen], f"{self.node.name}.bias.h")
        return self.op("add", [x, h], f"{self.node.name}.bias")

    def _matrix(self, at: int, i: int, start: int, count: int, name: str) -> Value:
        """Rows of a direction's matrix as columns, [width, count]."""
        value = self.node.operands[at]
        shape = (value.shape[2], count)

        def turned(array: Array) -> Array:
            return array[i, start : start + count].T

        if self._is_constant(value) and value.dtype == self._work:
            return self._new.derived(f"{self._symbol(value)}.{i}.{name}", value, shape, turned)
        return self._turned(value, i, (start, count), f"{self.node.name}.{name}")

    def _turned(self, value: Value, i: int, rows: tuple[int, int], name: str) -> Value:
        (start, count), width = rows, value.shape[2]
        x = self._wide(self._new.of(value), name)
        held: dict[str, Attribute] = {"starts": (i, start, 0), "sizes": (1, count, width)}
        cut = self.op("slice", [x], f"{name}.rows", **held, steps=(1, 1, 1))
        flat = self.op("reshape", [cut], f"{name}.matrix", shape=(count, width))
        return self.op("transpose", [flat], name, perm=(1, 0))

    def _vector(self, at: int, i: int, start: int, count: int) -> Value:
        value = self.node.operands[at]
        if self._is_constant(value) and value.dtype == self._work:
            symbol, end = f"{self._symbol(value)}.{i}.{start}", start + count
            return self._new.derived(symbol, value, (count,), lambda a: a[i, start:end].copy())
        name = f"{self.node.name}.vector"
        x = self._wide(self._new.of(value), name)
        held: dict[str, Attribute] = {"starts": (i, start), "sizes": (1, count)}
        cut = self.op("slice", [x], name, **held, steps=(1, 1))
        return self.op("reshape", [cut], name, shape=(count,))

    def _first(self, first: Value | None, i: int) -> Value | None:
        """The first state of a direction, [B, H]; None for zeros."""
        if first is None:
            return None
        array = self._new.graph.weights.get(first.index)
        if array is not None and not array.any():
            return None
        name, (_, batch, n) = f"{self.node.name}.first", first.shape
        x = self._wide(self._new.of(first), name)
        held: dict[str, Attribute] = {"starts": (i, 0, 0), "sizes": (1, batch, n)}
        cut = self.op("slice", [x], name, **held, steps=(1, 1, 1))
        return self.op("reshape", [cut], name, shape=(batch, n))

    def _reversed(self, x: Value) -> Value:
        """[T, ...] with the steps of each sequence backwards."""
        assert self._lengths is not None
        axes = {"time_axis": 0, "batch_axis": 1 if len(x.shape) == 3 else 2}
        return self.op(
            "reverse_sequence", [x, self._lengths], f"{self.node.name}.reverse", **axes
        )

    def _joined(self, parts: Sequence[Value], axis: int, name: str) -> Value:
        """The parts behind one another, by halves: every element is copied log T times."""
        if len(parts) == 1:
            return parts[0]
        middle = len(parts) // 2
        both = [self._joined(half, axis, name) for half in (parts[:middle], parts[middle:])]
        return self.op("concat", both, f"{self.node.name}/{name}", axis=axis)

    def _operand(self, at: int) -> Value | None:
        """An operand that may be absent, or written out for the sake of those behind it."""
        if len(self.node.operands) <= at:
            return None
        value = self.node.operands[at]
        if value.dtype in ("i32", "i64"):  # lengths
            return None if self._all_steps(value) else self._new.of(value)
        return value

    def _all_steps(self, lengths: Value) -> bool:
        """Whether every sequence goes over all steps; constants of a shape-only module do."""
        array = self._new.graph.weights.get(lengths.index)
        if array is None:
            return self._is_constant(lengths)
        return bool((array == self.node.operands[0].shape[0]).all())

    def _is_constant(self, value: Value) -> bool:
        return self._new.graph.is_weight(value)

    def _symbol(self, value: Value) -> str:
        return self._new.graph.constants[value.index]

    def _wide(self, value: Value, name: str) -> Value:
        return self._cast(value, self._work, name)

    def _cast(self, value: Value, dtype: str, name: str) -> Value:
        if value.dtype == dtype:
            return value
        return self.op("cast", [value], f"{self.node.name}.{name}", dtype=dtype)

    def _constant(self, name: str, array: Array) -> Value:
        symbol = f"{self.node.name}.{name}"
        if self._new.shape_only:
            dtype = next(name for name, held in DTYPES.items() if held == array.dtype)
            return self._new.builder.shape_of_weight(symbol, array.shape, dtype)
        return self._new.builder.weight(symbol, array)
