"""Steps with loops, branches, recurrent layers and rare convolutions on [5, 2, 8] tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tetrapla.ir.graph import Attribute, Value

if TYPE_CHECKING:
    from tests.passes.random_graphs import Draft

Step = Callable[["Draft", Value], Value]
# gates of a unit, and activations of a direction
UNITS = {"rnn": (1, "tanh"), "gru": (3, "sigmoid,tanh"), "lstm": (4, "sigmoid,tanh,tanh")}


def recurrent(kind: str) -> Step:
    """A layer of 8 units of one direction, or of 4 of both."""

    def step(draft: Draft, x: Value) -> Value:
        direction = draft.pick(("forward", "reverse", "bidirectional"))
        count = 2 if direction == "bidirectional" else 1
        gates, activations = UNITS[kind]
        hidden = 8 // count
        rows = gates * hidden
        operands = [x, *(_small(draft, count, rows, n) for n in (8, hidden))]
        operands += [_small(draft, count, 2 * rows)] if draft.draw.integers(2) else []
        held: dict[str, Attribute] = {"direction": direction, "clip": 0.0}
        held["activations"] = ",".join([activations] * count)
        held |= {"lstm": {"input_forget": 0}, "gru": {"linear_before_reset": 1}}.get(kind, {})
        y, *_ = draft.build.ops(f"nn.{kind}", operands, held)
        y = draft.op("transpose", y, perm=(0, 2, 1, 3))
        return draft.op("reshape", y, shape=x.shape)

    return step


def scan(draft: Draft, x: Value) -> Value:
    """Running averages of the rows, stacked."""
    body = draft.build.body()
    state, row = body.input("state", x.shape[1:]), body.input("row", x.shape[1:])
    half = body.weight("half", np.full(8, 0.5, np.float32))
    made = body.op("nn.mul", [body.op("nn.add", [state, row]), half], {}, "average")
    body.output("state", made)
    body.output("row", made)
    start = draft.normal("start", *x.shape[1:])
    counts = {"carried": 1, "scanned": 1, "trips": x.shape[0]}
    _, rows = draft.build.ops("nn.scan", [start, x], counts, "scan", [body.graph()])
    return rows


def counted(draft: Draft, x: Value) -> Value:
    """A loop that a counter ends after three rounds."""
    condition, body = draft.build.body(), draft.build.body()
    at, _ = condition.input("at", (), "i32"), condition.input("x", x.shape)
    bound = condition.weight("bound", np.array(3, np.int32))
    condition.output("truth", condition.op("nn.less", [at, bound]))
    at, inner = body.input("at", (), "i32"), body.input("x", x.shape)
    body.output("at", body.op("nn.add", [at, body.weight("one", np.array(1, np.int32))]))
    body.output("x", body.op("nn.tanh", [inner]))
    start = draft.build.weight("start", np.array(0, np.int32))
    counts = {"carried": 2, "most": 10}
    bodies = [condition.graph(), body.graph()]
    _, made = draft.build.ops("nn.while", [start, x], counts, "while", bodies)
    return made


def decided(draft: Draft, x: Value) -> Value:
    """A branch whose truth is a constant."""
    bodies = [draft.build.body() for _ in range(2)]
    for body, kind in zip(bodies, ("nn.relu", "nn.neg"), strict=True):
        body.output("y", body.op(kind, [body.input("x", x.shape)]))
    truth = draft.build.weight("truth", np.array(bool(draft.draw.integers(2))))
    graphs = [body.graph() for body in bodies]
    (made,) = draft.build.ops("nn.if", [truth, x], {}, "if", graphs)
    return made


def transposed(draft: Draft, x: Value) -> Value:
    """Every number becomes two, and one of them stays."""
    image = draft.op("reshape", x, shape=(1, *x.shape))
    weights = draft.scaled("w", x.shape[0], x.shape[0], 1, 2)
    window: dict[str, Attribute] = {"strides": (1, 2), "pads": (0, 0, 0, 0), "groups": 1}
    window |= {"dilations": (1, 1), "output_padding": (0, 0)}
    y = draft.op("conv_transpose2d", image, weights, **window)
    start = int(draft.draw.integers(2))
    cut: dict[str, Attribute] = {"starts": (0, 0, 0, start), "sizes": image.shape}
    return draft.op("reshape", draft.op("slice", y, **cut, steps=(1, 1, 1, 2)), shape=x.shape)


def volume(draft: Draft, x: Value) -> Value:
    """A convolution over all three axes."""
    y = draft.op("reshape", x, shape=(1, 1, *x.shape))
    window: dict[str, Attribute] = {"strides": (1, 1, 1), "pads": (1, 0, 1, 1, 0, 1)}
    window |= {"dilations": (1, 1, 1), "groups": 1}
    y = draft.op("conv3d", y, draft.scaled("w", 1, 1, 3, 1, 3), **window)
    return draft.op("reshape", y, shape=x.shape)


def _small(draft: Draft, *shape: int) -> Value:
    array = draft.draw.standard_normal(shape) / 4
    return draft.build.weight("r", array.astype(np.float32))


STEPS: dict[str, Step] = {
    **{kind: recurrent(kind) for kind in UNITS},
    "scan": scan,
    "counted": counted,
    "decided": decided,
    "transposed": transposed,
    "volume": volume,
    "relu": lambda draft, x: draft.op("relu", x),
    "residual": lambda draft, x: draft.op("add", x, draft.other(x)),
}
