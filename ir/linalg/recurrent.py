"""Recurrent layers: a loop over time that carries the states, one direction after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.elementwise import clipped, parameter
from tetrapla.ir.linalg.gate import Activation, activations_of
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, tensor_of
from tetrapla.ir.op import Tensor

Absent: TypeAlias = Held | None


class Layer(NamedTuple):
    """One direction of a layer, in float32 for the narrower floats."""

    node: Node
    number: int  # of the direction
    functions: Sequence[Activation]
    operands: Sequence[Absent]  # x, w, r, b, the peepholes of an LSTM

    @property
    def hidden(self) -> int:
        """H, the size of a state."""
        return self.node.operands[2].shape[2]

    @property
    def work(self) -> str:
        """What it computes in."""
        return work_type(self.node.operands[0].dtype)

    def weight(self, b: Body, operand: int, *at: Scalar) -> Scalar:
        """A number of a weight of this direction, 0 where the operand is absent."""
        held = self.operands[operand]
        if held is None:
            return b.number(0, self.work)
        return b.cast(b.at(held, [b.number(self.number, "index"), *at]), self.work)

    def limited(self, b: Body, x: Scalar) -> Scalar:
        """What an activation is given."""
        limit = parameter(self.node, "clip")
        return clipped(b, x, -limit, limit) if limit else x


# the states after a step, from what x gives the gates, [B, gates H], and the states before
Step: TypeAlias = Callable[[Writer, Layer, Held, list[Held]], list[Held]]


def lower_rnn(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, ...]:
    """``h = f(x wT + h rT + b)``."""
    x, w, r, b, h0, lengths = _slots(operands, 6)
    return _unrolled(writer, node, (x, w, r, b), [h0], lengths, _rnn_step)


def lower_gru(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, ...]:
    """Gates in the order update, reset, new."""
    x, w, r, b, h0, lengths = _slots(operands, 6)
    return _unrolled(writer, node, (x, w, r, b), [h0], lengths, _gru_step)


def lower_lstm(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, ...]:
    """Gates in the order input, output, forget, cell."""
    x, w, r, b, h0, c0, lengths, p = _slots(operands, 8)
    return _unrolled(writer, node, (x, w, r, b, p), [h0, c0], lengths, _lstm_step)


def _slots(operands: list[Held], count: int) -> list[Absent]:
    return [*operands, *[None] * (count - len(operands))]


def _unrolled(
    writer: Writer,
    node: Node,
    operands: Sequence[Absent],
    firsts: Sequence[Absent],
    lengths: Absent,
    step: Step,
) -> tuple[Held, ...]:
    """The result [T, directions, B, H] and the last states [directions, B, H]."""
    y, last = (tensor_of(value) for value in node.results[:2])
    work = work_type(y.dtype)
    if lengths is not None:
        writer.must_lie(lengths, 0, y.shape[0], f"{node.kind} lengths")
    functions = activations_of(node.str("activations"))
    each = len(functions) // y.shape[1]
    rows = writer.filled(0, y._replace(dtype=work))
    lasts = [writer.filled(0, last._replace(dtype=work)) for _ in firsts]
    for i in range(y.shape[1]):
        layer = Layer(node, i, functions[i * each : (i + 1) * each], operands)
        given = _given(writer, layer)
        starts = [_first(writer, layer, first) for first in firsts]

        def over(
            t: Scalar, held: list[Held], layer: Layer = layer, given: Held = given
        ) -> list[Held]:
            return _over(writer, layer, t, given, held, lengths, step)

        rows, *states = writer.repeated(y.shape[0], [rows, *starts], over)
        lasts = [
            _placed(writer, into, state, i) for into, state in zip(lasts, states, strict=True)
        ]
    return tuple(writer.cast(each, y.dtype) for each in (rows, *lasts))


def _given(writer: Writer, layer: Layer) -> Held:
    """What x gives the gates at every step, [T, B, gates H], biases included."""
    x, w = layer.operands[0], layer.operands[1]
    assert x is not None
    assert w is not None
    steps, batch, _ = x.type.shape
    rows, work = w.type.shape[1], layer.work
    late = _late(layer)

    def bias(b: Body, at: Sequence[Scalar]) -> Scalar:
        row = at[2]
        beside_x = layer.weight(b, 3, row)
        beside_h = layer.weight(b, 3, b.affine(f"d0 + {rows}", row))
        both = b.add(beside_x, beside_h)
        if not late:
            return both
        return b.select(b.compare("lt", row, b.number(late, "index")), both, beside_x)

    start = writer.gathered(Tensor((steps, batch, rows), work), bias)

    def term(b: Body, a: Scalar, weight: Scalar, total: Scalar) -> Scalar:
        return b.add(total, b.mul(b.cast(a, work), b.cast(weight, work)))

    placed = [(x, ["d0", "d1", "d3"]), (w, [str(layer.number), "d2", "d3"])]
    return writer.generic(placed, start, ["d0", "d1", "d2"], 4, term)


def _late(layer: Layer) -> int:
    """From which row on the bias beside h comes after the product with it; 0: nowhere."""
    return 2 * layer.hidden if layer.node.attributes.get("linear_before_reset") else 0


def _first(writer: Writer, layer: Layer, first: Absent) -> Held:
    batch = layer.node.operands[0].shape[1]
    type_ = Tensor((batch, layer.hidden), layer.work)
    if first is None:
        return writer.filled(0, type_)
    return writer.gathered(
        type_,
        lambda b, at: b.cast(b.at(first, [b.number(layer.number, "index"), *at]), layer.work),
    )


def _over(
    writer: Writer,
    layer: Layer,
    t: Scalar,
    given: Held,
    held: list[Held],
    lengths: Absent,
    step: Step,
) -> list[Held]:
    """One step: a sequence that is over keeps its state and gives zeros."""
    rows, *states = held
    steps, batch, gates = given.type.shape

    def source(b: Body, sequence: Scalar) -> Scalar:
        direction = layer.node.str("direction")
        if direction == "forward" or (direction == "bidirectional" and layer.number == 0):
            return t
        back = b.sub(b.sub(_length(b, lengths, sequence, steps), b.number(1, "index")), t)
        return b.select(b.compare("lt", back, b.number(0, "index")), t, back)

    now = writer.gathered(
        Tensor((batch, gates), layer.work),
        lambda b, at: b.at(given, [source(b, at[0]), *at]),
    )
    after = step(writer, layer, now, states)

    def live(b: Body, sequence: Scalar) -> Scalar:
        return b.compare("lt", t, _length(b, lengths, sequence, steps))

    def put(b: Body, number: Scalar, _: Held) -> tuple[list[Scalar], Scalar]:
        sequence = b.affine(f"d0 floordiv {layer.hidden}", number)
        unit = b.affine(f"d0 mod {layer.hidden}", number)
        value = b.at(after[0], [sequence, unit])
        value = b.select(live(b, sequence), value, b.like(0, value))
        place = [source(b, sequence), b.number(layer.number, "index"), sequence, unit]
        return place, value

    rows = writer.updated(rows, batch * layer.hidden, put)

    def kept(b: Body, new: Scalar, old: Scalar) -> Scalar:
        return b.select(live(b, b.index(0)), new, old)

    # written over the states before, which a loop must hand on in one place
    dims = ["d0", "d1"]
    pairs = zip(after, states, strict=True)
    return [rows, *(writer.generic([(new, dims)], old, dims, 2, kept) for new, old in pairs)]


def _length(b: Body, lengths: Absent, sequence: Scalar, steps: int) -> Scalar:
    if lengths is None:
        return b.number(steps, "index")
    return b.cast(b.cast(b.at(lengths, [sequence]), "i64"), "index")


def _placed(writer: Writer, into: Held, state: Held, number: int) -> Held:
    """The state of a direction among those of all."""
    return writer.gathered(
        into.type,
        lambda b, at: b.select(
            b.compare("eq", at[0], b.number(number, "index")),
            b.at(state, at[1:]),
            b.at(into, at),
        ),
    )


def _products(writer: Writer, layer: Layer, start: Held, h: Held, first: int) -> Held:
    """``start + h rT`` for as many gates' rows as start has, from one on."""

    def term(b: Body, a: Scalar, total: Scalar) -> Scalar:
        row = b.affine(f"d0 + {first}", b.index(1))
        return b.add(total, b.mul(a, layer.weight(b, 2, row, b.index(2))))

    return writer.generic([(h, ["d0", "d2"])], start, ["d0", "d1"], 3, term)


def _rnn_step(writer: Writer, layer: Layer, given: Held, states: list[Held]) -> list[Held]:
    total = _products(writer, layer, given, states[0], 0)
    (f,) = layer.functions
    return [writer.elementwise(total.type, lambda b, a: f(b, layer.limited(b, a)), total)]


def _gru_step(writer: Writer, layer: Layer, given: Held, states: list[Held]) -> list[Held]:
    (h,), (f, g), n = states, layer.functions, layer.hidden
    both_type = Tensor((h.type.shape[0], 2 * n), layer.work)
    both = writer.gathered(both_type, lambda b, at: b.at(given, at))
    both = _products(writer, layer, both, h, 0)
    both = writer.elementwise(both_type, lambda b, a: f(b, layer.limited(b, a)), both)

    def reset(b: Body, at: Sequence[Scalar]) -> Scalar:
        return b.at(both, [at[0], b.affine(f"d0 + {n}", at[1])])

    def new(b: Body, at: Sequence[Scalar]) -> Scalar:
        return b.at(given, [at[0], b.affine(f"d0 + {2 * n}", at[1])])

    def late(b: Body, at: Sequence[Scalar]) -> Scalar:
        return layer.weight(b, 3, b.affine(f"d0 + {5 * n}", at[1]))

    if _late(layer):
        kept = _products(writer, layer, writer.gathered(h.type, late), h, 2 * n)
        total = writer.gathered(
            h.type, lambda b, at: b.add(new(b, at), b.mul(reset(b, at), b.at(kept, at)))
        )
    else:
        kept = writer.gathered(h.type, lambda b, at: b.mul(reset(b, at), b.at(h, at)))
        total = _products(writer, layer, writer.gathered(h.type, new), kept, 2 * n)

    def mixed(b: Body, at: Sequence[Scalar]) -> Scalar:
        update, made = b.at(both, at), g(b, layer.limited(b, b.at(total, at)))
        rest = b.sub(b.like(1, update), update)
        return b.add(b.mul(rest, made), b.mul(update, b.at(h, at)))

    return [writer.gathered(h.type, mixed)]


def _lstm_step(writer: Writer, layer: Layer, given: Held, states: list[Held]) -> list[Held]:
    (h, c), (f, g, last), n = states, layer.functions, layer.hidden
    total = _products(writer, layer, given, h, 0)

    def gate(b: Body, at: Sequence[Scalar], number: int, peephole: int, cell: Held) -> Scalar:
        own = b.at(total, [at[0], b.affine(f"d0 + {number * n}", at[1])])
        peep = layer.weight(b, 4, b.affine(f"d0 + {peephole * n}", at[1]))
        return f(b, layer.limited(b, b.add(own, b.mul(peep, b.at(cell, at)))))

    def cell(b: Body, at: Sequence[Scalar]) -> Scalar:
        put = gate(b, at, 0, 0, c)
        if layer.node.int("input_forget"):
            keep = b.sub(b.like(1, put), put)
        else:
            keep = gate(b, at, 2, 2, c)
        raw = b.at(total, [at[0], b.affine(f"d0 + {3 * n}", at[1])])
        new = g(b, layer.limited(b, raw))
        return b.add(b.mul(keep, b.at(c, at)), b.mul(put, new))

    now = writer.gathered(c.type, cell)

    def output(b: Body, at: Sequence[Scalar]) -> Scalar:
        return b.mul(gate(b, at, 1, 1, now), last(b, b.at(now, at)))

    return [writer.gathered(h.type, output), now]
