"""A recurrent layer as one kernel, which holds the loop over the steps.

A program instance takes some sequences of one direction through all steps. What the input
gives the gates is a product of all steps before it (`given`); here each step multiplies the
last state by the recurrent matrix, tile by tile, and lets the gates act on it. The state is
read from where the step before has stored it, an LSTM's cell from a scratch buffer, and a
barrier of the program stands between two steps. Instances share nothing, so none waits for
another: a launch of ordinary kernels has no barrier for all of them. That is also the limit: as
many multiprocessors work as there are tiles of sequences and directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.gpu.formats import multiplied
from tetrapla.simulators.gpu.kernels import Kernel

GATES: Mapping[str, int] = MappingProxyType({"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4})
# activations of a direction, in the operator's order
FUNCTIONS: Mapping[str, int] = MappingProxyType({"nn.rnn": 1, "nn.gru": 2, "nn.lstm": 3})


@dataclass(frozen=True)
class Recurrent(Kernel):
    """``nn.rnn``, ``nn.gru`` or ``nn.lstm`` by `op`, behind the product with its input.

    Attributes:
        operand: the type that enters the multipliers.
        kept: that of the output's buffer, which the next step reads.
        given: [steps, batch, directions, gates H], float32.
        r: the recurrent matrices [directions, gates H, H].
        b: both biases [directions, 2 gates H]; these three may be absent ("").
        h0, c0: the first states [directions, batch, H].
        p: the peepholes [directions, 3 H].
        scratch: float32 [planes, directions, batch, H]: an LSTM's cell; a GRU's update gate
            and what its reset leaves of the state, where that comes before the product.
        length: steps.
        batch: sequences.
        hidden: H.
        directions: 1 or 2.
        reverse: whether the first direction goes backwards.
        activations: of all directions: sigmoid, tanh or relu.
        clip: limit of what an activation is given; 0: none.
        flag: an LSTM's input_forget, a GRU's linear_before_reset.
        tile_batch, tile_hidden, tile_k: rows and columns of a product's tile, and its depth.
    """

    operand: str
    kept: str
    given: str
    r: str
    b: str
    h0: str
    c0: str
    p: str
    scratch: str
    length: int
    batch: int
    hidden: int
    directions: int
    reverse: bool
    activations: tuple[str, ...]
    clip: float
    flag: bool
    tile_batch: int
    tile_hidden: int
    tile_k: int

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(n for n in (self.given, self.r, self.b, self.h0, self.c0, self.p) if n)

    @property
    def writes(self) -> tuple[str, ...]:
        return (self.output, self.scratch) if self.scratch else (self.output,)

    @property
    def gates(self) -> int:
        """Of the cell."""
        return GATES[self.op]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Program instances: tiles of sequences, directions."""
        return -(-self.batch // self.tile_batch), self.directions, 1

    @property
    def macs(self) -> int:
        return self.length * self.batch * self.directions * self.gates * self.hidden**2

    def functions(self, direction: int) -> tuple[str, ...]:
        """The activations of a direction."""
        count = FUNCTIONS[self.op]
        return self.activations[direction * count : (direction + 1) * count]

    def backwards(self, direction: int) -> bool:
        """Whether a direction goes from the last step to the first."""
        return self.reverse or direction == 1


def scratch_planes(op: str, flag: bool) -> int:
    """Planes of the scratch buffer that a cell needs."""
    if op == "nn.lstm":
        return 1
    return 2 if op == "nn.gru" and not flag else 0


def sigmoid(x: Array) -> Array:
    """``1 / (1 + e^-x)``."""
    return np.asarray(1 / (1 + np.exp(-x)))


def tanh(x: Array) -> Array:
    """By the exponential of what is not positive."""
    power = np.exp(np.abs(x) * x.dtype.type(-2))
    return np.asarray(np.copysign((1 - power) / (1 + power), x))


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return np.asarray(np.maximum(x, x.dtype.type(0)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"sigmoid": sigmoid, "tanh": tanh, "relu": relu}
)


def recurred(kernel: Recurrent, flat: Mapping[str, Array]) -> Array:
    """What the kernel stores: y[steps, directions, batch, H], flat, float32.

    Args:
        kernel: the layer.
        flat: buffers by name, (invocations or 1, elements).
    """
    count = max(len(flat[name]) for name in kernel.sources)
    shape = count, kernel.length, kernel.directions, kernel.batch, kernel.hidden
    y = np.full(shape, np.nan, np.float32)
    order = range(kernel.length)
    for way in range(kernel.directions):
        step = _Cell(kernel, flat, way)
        for t in reversed(order) if kernel.backwards(way) else order:
            y[:, t, way] = step(t)
    return y.reshape(count, -1)


class _Cell:
    """One direction on its way through the steps."""

    def __init__(self, kernel: Recurrent, flat: Mapping[str, Array], way: int) -> None:
        n, d = kernel.hidden, kernel.directions
        rows = kernel.gates * n
        self.kernel = kernel
        given = flat[kernel.given].reshape(-1, kernel.length, kernel.batch, d, rows)
        self.given = given[:, :, :, way]
        r = flat[kernel.r].reshape(-1, d, kernel.gates, n, n)[:, way]
        self.r = multiplied(r, kernel.operand)
        self.h = self._first(flat, kernel.h0, way, narrow=True)
        self.c = self._first(flat, kernel.c0, way, narrow=False)
        both = np.zeros((1, 2, kernel.gates, 1, n), np.float32)
        if kernel.b:
            own = flat[kernel.b].reshape(-1, d, 2, kernel.gates, n)[:, way]
            both = own.astype(np.float32)[..., None, :]
        self.from_x, self.from_h = both[:, 0], both[:, 1]
        peep = np.zeros((1, 3, 1, n), np.float32)
        if kernel.p:
            peep = flat[kernel.p].reshape(-1, d, 3, n)[:, way].astype(np.float32)[..., None, :]
        self.peep = peep
        self.functions = [ACTIVATIONS[name] for name in kernel.functions(way)]

    def __call__(self, t: int) -> Array:
        """The state after step t, [invocations, batch, H]; the buffer rounds it."""
        n = self.kernel.hidden
        given = self.given[:, t].reshape(len(self.given), -1, self.kernel.gates, n)
        x = [given[:, :, gate] for gate in range(self.kernel.gates)]
        y = {"nn.rnn": self._rnn, "nn.gru": self._gru, "nn.lstm": self._lstm}[self.kernel.op](x)
        self.h = y.astype(DTYPES[self.kernel.kept]).astype(np.float32)
        return y

    def _rnn(self, x: Sequence[Array]) -> Array:
        (f,) = self.functions
        return f(self._limited(self._sum(x, 0)))

    def _lstm(self, x: Sequence[Array]) -> Array:
        f, g, last = self.functions
        pi, po, pf = (self.peep[:, i] for i in range(3))
        sums = [self._sum(x, gate) for gate in range(4)]
        put = f(self._limited(self._seen(sums[0], pi, self.c)))
        if self.kernel.flag:
            keep = np.float32(1) - put
        else:
            keep = f(self._limited(self._seen(sums[2], pf, self.c)))
        self.c = keep * self.c + put * g(self._limited(sums[3]))
        return np.asarray(f(self._limited(self._seen(sums[1], po, self.c))) * last(self.c))

    def _gru(self, x: Sequence[Array]) -> Array:
        f, g = self.functions
        update, reset = (f(self._limited(self._sum(x, gate))) for gate in range(2))
        if self.kernel.flag:
            kept = reset * (self._product(self.h, 2) + self.from_h[:, 2])
            new = kept + (x[2] + self.from_x[:, 2])
        else:
            seen = reset * self.h
            new = self._product(seen, 2) + (x[2] + (self.from_x[:, 2] + self.from_h[:, 2]))
        made = g(self._limited(new))
        return np.asarray((np.float32(1) - update) * made + update * self.h)

    def _sum(self, x: Sequence[Array], gate: int) -> Array:
        """What a gate is given but for a peephole."""
        bias = self.from_x[:, gate] + self.from_h[:, gate]
        return np.asarray(self._product(self.h, gate) + (x[gate] + bias))

    def _product(self, h: Array, gate: int) -> Array:
        """A state by a gate's matrix, k tile by k tile."""
        held = multiplied(h, self.kernel.operand)
        total = np.zeros((1, 1, self.kernel.hidden), np.float32)
        for start in range(0, self.kernel.hidden, self.kernel.tile_k):
            some = slice(start, start + self.kernel.tile_k)
            w = self.r[:, gate, :, some].swapaxes(-1, -2)
            total = total + np.matmul(held[..., some], w)
        return total

    def _seen(self, sums: Array, weight: Array, c: Array) -> Array:
        return np.asarray(sums + weight * c) if self.kernel.p else sums

    def _limited(self, x: Array) -> Array:
        limit = np.float32(self.kernel.clip)
        return np.clip(x, -limit, limit) if limit else x

    def _first(self, flat: Mapping[str, Array], name: str, way: int, narrow: bool) -> Array:
        kernel = self.kernel
        if not name:
            return np.zeros((1, kernel.batch, kernel.hidden), np.float32)
        shape = -1, kernel.directions, kernel.batch, kernel.hidden
        held = flat[name].reshape(shape)[:, way].astype(np.float32)
        # a state is as narrow as what products take, whatever holds the first one
        return multiplied(held, kernel.operand) if narrow else held
