r"""How far a recurrent layer's kernel may be from its exact result.

Step by step, with u = 2^-24: what a gate is given is a product of K = I and one of K = H terms
(`rules`), with three sums; a sigmoid of float32 is within 8 u of the exact one, a hyperbolic
tangent within 32 u (the exponential within ``(8 + 3 |x|) u`` relative, which its own smallness
makes up for; divisions within 4 u), and both hand an error on as far as they move within it;
products and sums add u of their results. Where a kernel is judged by what it has stored, each
step begins with the state that the step before has stored, as a kernel begins with what the
kernels before it stored: then only an LSTM's cell carries errors from step to step, each time
multiplied by the forget gate. Otherwise states carry them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.gpu.bounds.rules import U32, Rounding, Tracked, gamma, tracked
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.op import OPS
from tetrapla.simulators.gpu.recurrent import ACTIVATIONS, FUNCTIONS, GATES

# of the functions in float32, in units of u
ABSOLUTE = {"sigmoid": 8, "tanh": 32, "relu": 0}


@dataclass(frozen=True)
class _Near:
    """Exact values, and bounds on the machine's errors."""

    v: Array
    d: Array

    def __add__(self, other: _Near) -> _Near:
        return _rounded(self.v + other.v, self.d + other.d)

    def __mul__(self, other: _Near) -> _Near:
        d = np.abs(self.v) * other.d + self.d * (np.abs(other.v) + other.d)
        return _rounded(self.v * other.v, d)

    def rest(self) -> _Near:
        """One less it."""
        return _rounded(1 - self.v, self.d)


def _rounded(v: Array, d: Array) -> _Near:
    return _Near(v, d + U32 * (np.abs(v) + d) + 2.0**-126)


def exact(node: Node, operands: Sequence[Array], states: Array | None) -> Array:
    """Y by the operator's own definition, in the operands' types, of all invocations.

    Args:
        node: the layer.
        operands: (invocations or 1, *shape).
        states: y as a machine has stored it: then every step begins with that.
    """
    count = max(len(array) for array in operands)
    if states is not None:
        count = max(count, len(states))
    rows = [np.broadcast_to(array, (count, *array.shape[1:])) for array in operands]
    return np.stack(
        [
            _exact(node, [array[i] for array in rows], None if states is None else states[i])
            for i in range(count)
        ]
    )


def _exact(node: Node, operands: list[Array], states: Array | None) -> Array:
    evaluate = OPS[node.kind].evaluate
    if states is None:
        return np.asarray(evaluate(*operands, **node.attributes)[0])
    x, w, r = operands[:3]
    steps, count = len(x), len(w)
    zero = np.zeros((count, x.shape[1], r.shape[2]), x.dtype)
    full = [*operands, *(None for _ in range(8 - len(operands)))]
    lstm = node.kind == "nn.lstm"
    h0 = zero if full[4] is None else full[4]
    c = (zero if full[5] is None else full[5]) if lstm else zero
    peepholes = [full[7]] if lstm and full[7] is not None else []
    b = np.zeros((count, 2 * w.shape[1]), x.dtype) if full[3] is None else full[3]
    y = np.empty((steps, *zero.shape), x.dtype)
    for number in range(steps):
        cells = []
        for way in range(count):
            back = way == 1 or node.str("direction") == "reverse"
            t = steps - 1 - number if back else number
            before = t + 1 if back else t - 1
            h = h0[way] if number == 0 else states[before, way].astype(x.dtype)
            own = _one_way(node, way)
            some = slice(way, way + 1)
            given = [x[t : t + 1], w[some], r[some], b[some], h[None]]
            if lstm:
                given.append(c[some])
            if peepholes:
                given += [np.ones(x.shape[1], np.int64), peepholes[0][some]]
            made = evaluate(*given, **own)
            y[t, way] = made[0][0, 0]
            cells.append(made[-1][0])
        if lstm:
            c = np.stack(cells)
    return y


def _one_way(node: Node, way: int) -> dict[str, object]:
    """The attributes of one direction by itself, forward."""
    count = FUNCTIONS[node.kind]
    own = node.str("activations").split(",")[way * count : (way + 1) * count]
    return {**node.attributes, "direction": "forward", "activations": ",".join(own)}


def recurrent(
    node: Node,
    operands: Sequence[Tracked],
    states: Array | None,
    kept: Callable[[Tracked], Tracked],
    entered: Rounding | None,
    narrow: bool,
) -> Tracked:
    """The rule of a recurrent layer's y.

    Args:
        node: the layer.
        operands: as the kernel reads them.
        states: y as it is stored, (invocations, steps, directions, B, H), or None.
        kept: the rounding of what is stored, which the next step reads.
        entered: what products round their operands to.
        narrow: whether what is stored is as narrow as that.
    """
    layer = _Layer(node, operands, states, kept, entered, narrow)
    ways = [layer.direction(way) for way in range(node.operands[1].shape[0])]
    v, d = (np.stack([getattr(w, part) for w in ways], axis=2) for part in ("v", "d"))
    return tracked(v, d)


def _of(x: _Near, way: int) -> _Near:
    """An operand's part of a direction."""
    return _Near(x.v[:, way], x.d[:, way])


class _Layer:
    """The operands of a layer, laid out by gates."""

    def __init__(
        self,
        node: Node,
        operands: Sequence[Tracked],
        states: Array | None,
        kept: Callable[[Tracked], Tracked],
        entered: Rounding | None,
        narrow: bool,
    ) -> None:
        self.node, self.states, self.kept, self.entered = node, states, kept, entered
        self.narrow = narrow
        self.near = [_Near(x.v, x.d) for x in operands]
        self.hidden, self.gates = node.operands[2].shape[2], GATES[node.kind]
        self.flag = 1 in (
            node.attributes.get("input_forget"),
            node.attributes.get("linear_before_reset"),
        )

    def direction(self, way: int) -> _Near:
        """[invocations, steps, B, H]."""
        node, steps = self.node, self.node.operands[0].shape[0]
        x, w = self.near[0], _of(self.near[1], way)
        given = _product(x, w, node.operands[0].shape[2])
        h, c = self._first(4, way), self._first(5, way)
        count, back = FUNCTIONS[node.kind], way == 1 or node.str("direction") == "reverse"
        names = node.str("activations").split(",")[way * count : (way + 1) * count]
        cell = _Cell(self, way, names)
        rows: dict[int, _Near] = {}
        for t in reversed(range(steps)) if back else range(steps):
            now = _Near(given.v[:, t], given.d[:, t])
            rows[t], c = cell.step(now, h, c)
            h = self._next(rows[t], t, way)
        size = max(len(row.v) for row in rows.values())
        shape = (size, *rows[0].v.shape[1:])
        v, d = (
            np.stack([np.broadcast_to(getattr(rows[t], part), shape) for t in range(steps)], 1)
            for part in ("v", "d")
        )
        return _Near(v, d)

    def _next(self, made: _Near, t: int, way: int) -> _Near:
        """The state that the next step begins with."""
        if self.states is not None:
            held = self.states[:, t, way].astype(np.float64)
            return _Near(held, np.zeros_like(held))
        stored = self.kept(tracked(made.v, made.d))
        return _Near(stored.v, stored.d)

    def _first(self, at: int, way: int) -> _Near:
        lstm = self.node.kind == "nn.lstm"
        if len(self.near) > at and (at == 4 or lstm):
            return _of(self.near[at], way)
        shape = (1, self.node.operands[0].shape[1], self.hidden)
        return _Near(np.zeros(shape), np.zeros(shape))

    def vector(self, at: int, way: int, start: int) -> _Near:
        """H numbers of an operand [directions, ...], laid along the state; zeros if absent."""
        if len(self.near) <= at:
            return _Near(np.zeros((1, 1, self.hidden)), np.zeros((1, 1, self.hidden)))
        x = _of(self.near[at], way)
        some = slice(start, start + self.hidden)
        return _Near(x.v[:, None, some], x.d[:, None, some])

    def entering(self, h: _Near, narrow: bool) -> _Near:
        """A state as a product reads it; `narrow`: it is kept in a type as narrow."""
        if self.entered is None or narrow:
            return h
        away = self.entered.unit * (np.abs(h.v) + h.d) + self.entered.tiny
        return _Near(h.v, h.d + away)


class _Cell:
    """A step of one direction."""

    def __init__(self, layer: _Layer, way: int, names: Sequence[str]) -> None:
        self.layer, self.way, self.names = layer, way, names
        self.r = _of(layer.near[2], way)

    def step(self, given: _Near, h: _Near, c: _Near) -> tuple[_Near, _Near]:
        """The states after it."""
        match self.layer.node.kind:
            case "nn.rnn":
                return self._act(0, self._sum(given, h, 0)), c
            case "nn.gru":
                return self._gru(given, h), c
            case _:
                return self._lstm(given, h, c)

    def _lstm(self, given: _Near, h: _Near, c: _Near) -> tuple[_Near, _Near]:
        sums = [self._sum(given, h, gate) for gate in range(4)]
        put = self._act(0, self._seen(sums[0], 0, c))
        keep = put.rest() if self.layer.flag else self._act(0, self._seen(sums[2], 2, c))
        c = keep * c + put * self._act(1, sums[3])
        shown = self._act(2, c, limited=False)
        return self._act(0, self._seen(sums[1], 1, c)) * shown, c

    def _gru(self, given: _Near, h: _Near) -> _Near:
        n = self.layer.hidden
        update, reset = (self._act(0, self._sum(given, h, gate)) for gate in range(2))
        rows = 3 * n
        own, late = (self.layer.vector(3, self.way, 2 * n + part) for part in (0, rows))
        fresh = self._part(given, 2)
        if self.layer.flag:
            new = reset * (self._product(h, 2) + late) + (fresh + own)
        else:
            new = self._product(reset * h, 2, seen=True) + (fresh + (own + late))
        made = self._act(1, new)
        return update.rest() * made + update * h

    def _sum(self, given: _Near, h: _Near, gate: int) -> _Near:
        n, rows = self.layer.hidden, self.layer.gates * self.layer.hidden
        parts = (self.layer.vector(3, self.way, gate * n + start) for start in (0, rows))
        own, other = parts
        return self._product(h, gate) + (self._part(given, gate) + (own + other))

    def _part(self, x: _Near, gate: int) -> _Near:
        some = slice(gate * self.layer.hidden, (gate + 1) * self.layer.hidden)
        return _Near(x.v[..., some], x.d[..., some])

    def _product(self, h: _Near, gate: int, *, seen: bool = False) -> _Near:
        n = self.layer.hidden
        some = slice(gate * n, (gate + 1) * n)
        r = _Near(self.r.v[:, some], self.r.d[:, some])
        return _product(self.layer.entering(h, self.layer.narrow and not seen), r, n)

    def _seen(self, sums: _Near, place: int, c: _Near) -> _Near:
        if len(self.layer.near) <= 7:
            return sums
        weight = self.layer.vector(7, self.way, place * self.layer.hidden)
        return sums + weight * c

    def _act(self, place: int, x: _Near, *, limited: bool = True) -> _Near:
        name, clip = self.names[place], float(np.float32(self.layer.node.float("clip")))
        f = ACTIVATIONS[name]
        low, v, high = x.v - x.d, x.v, x.v + x.d
        if clip and limited:
            low, v, high = (np.clip(each, -clip, clip) for each in (low, v, high))
        made = f(v)
        moved = np.maximum(f(high) - made, made - f(low))
        return _Near(made, moved + ABSOLUTE[name] * U32 + 2.0**-50 * np.abs(made))


def _product(x: _Near, w: _Near, k: int) -> _Near:
    """``x wT`` of x[n, ..., B, K] and w[n, rows, K]."""
    turned = w.v.swapaxes(-1, -2), w.d.swapaxes(-1, -2)
    wv, wd = (t.reshape(len(t), *(1,) * (x.v.ndim - 3), *t.shape[1:]) for t in turned)
    v = np.matmul(x.v, wv)
    d = gamma(k) * np.matmul(np.abs(x.v) + x.d, np.abs(wv) + wd)
    if x.d.any():
        d = d + np.matmul(x.d, np.abs(wv) + wd)
    if w.d.any():
        d = d + np.matmul(np.abs(x.v), wd)
    return _Near(v, d)
