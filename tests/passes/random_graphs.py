"""Small random networks for what is said of every pass: steps drawn from wide tables.

A step adds the forms that exporters write, so that every pass finds something to rewrite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.passes.exporter_forms import (
    attention,
    gelu,
    group_norm,
    hard_swish,
    layer_norm,
    lrn,
    rms_norm,
    silu,
)
from tests.passes.sequential_forms import STEPS as SEQUENTIAL
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.epilogue import ACTIVATIONS

PLAIN: dict[str, Attribute] = {"activation": "none"}


@dataclass
class Draft:
    """A module under construction, with the choices drawn from one seed."""

    build: ModuleBuilder
    draw: np.random.Generator
    values: list[Value] = field(default_factory=list[Value])

    def normal(self, symbol: str, *shape: int) -> Value:
        """A weight of standard normals."""
        array = np.asarray(self.draw.standard_normal(shape), np.float32)
        return self.build.weight(symbol, array)

    def scaled(self, symbol: str, *shape: int) -> Value:
        """A weight that keeps the size of what it multiplies: [K, N] or [O, C, kh, kw]."""
        taps = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        array = self.draw.standard_normal(shape) / np.sqrt(taps)
        return self.build.weight(symbol, array.astype(np.float32))

    def number(self, value: float) -> Value:
        """A weight of one number."""
        return self.build.weight("number", np.array(value, np.float32))

    def op(self, kind: str, /, *operands: Value, **attributes: Attribute) -> Value:
        """An operator of the dialect nn."""
        return self.build.op(f"nn.{kind}", operands, attributes)

    def layer(self, name: str, kind: str, /, *operands: Value, **held: Attribute) -> Value:
        """An operator with a name."""
        return self.build.op(f"nn.{kind}", operands, held, name)

    def pick(self, choices: Sequence[str]) -> str:
        """One of them."""
        return choices[int(self.draw.integers(len(choices)))]

    def other(self, x: Value) -> Value:
        """An earlier value of the same shape."""
        same = [value for value in self.values if value.shape == x.shape]
        return same[int(self.draw.integers(len(same)))]


Step = Callable[[Draft, Value], Value]


def convolutional(steps: Sequence[str], seed: int) -> Module:
    """The steps on [1, 4, 6, 6] tensors, then a two-layer head."""
    draft = Draft(ModuleBuilder("convolutional"), np.random.default_rng(seed))
    x = _walk(draft, draft.build.input("x", (1, 4, 6, 6)), steps, CONVOLUTIONAL)
    count = x.elements
    x = draft.layer("flatten", "reshape", x, shape=(1, count))
    turned = draft.op("transpose", draft.scaled("w1", 5, count), perm=(1, 0))
    x = draft.layer("hidden", "matmul", x, turned, **PLAIN)
    x = draft.op("relu", draft.op("add", x, draft.normal("b1", 5)))
    last = draft.scaled("w2", 5, 3), draft.normal("b2", 3)
    return _head(draft, draft.layer("logits", "matmul", x, *last, **PLAIN))


def transformer(steps: Sequence[str], seed: int) -> Module:
    """The steps on [2, 5, 8] tensors, then a head."""
    draft = Draft(ModuleBuilder("transformer"), np.random.default_rng(seed))
    x = _walk(draft, draft.build.input("x", (2, 5, 8)), steps, TRANSFORMER)
    return _head(draft, draft.layer("logits", "matmul", x, draft.scaled("w", 8, 3), **PLAIN))


def sequential(steps: Sequence[str], seed: int) -> Module:
    """The steps on [5, 2, 8] tensors, time first, then a head."""
    draft = Draft(ModuleBuilder("sequential"), np.random.default_rng(seed))
    x = _walk(draft, draft.build.input("x", (5, 2, 8)), steps, SEQUENTIAL)
    return _head(draft, draft.layer("logits", "matmul", x, draft.scaled("w", 8, 3), **PLAIN))


def _head(draft: Draft, logits: Value) -> Module:
    draft.build.output("y", draft.op("softmax", logits, axis=-1))
    draft.build.output("logits", logits)
    return draft.build.finish()


def _walk(draft: Draft, x: Value, steps: Sequence[str], table: dict[str, Step]) -> Value:
    draft.values.append(x)
    for step in steps:
        x = table[step](draft, x)
        draft.values.append(x)
    return x


def sampled(module: Module, seed: int, count: int = 2) -> dict[str, Array]:
    """Standard normal inputs of so many invocations, and their signs for truths."""
    draw = np.random.default_rng(seed)
    normal = {
        name: draw.standard_normal((count, *value.shape))
        for name, value in module.inputs.items()
    }
    truths = {name for name, value in module.inputs.items() if value.dtype == "i1"}
    return {
        name: array > 0 if name in truths else array.astype(np.float32)
        for name, array in normal.items()
    }


def in_a_branch(module: Module) -> Module:
    """The network as either body of a branch."""
    build = ModuleBuilder("branch")
    build.reserve(module.weights)
    graph = module.graph
    inputs = [build.input(name, value.shape) for name, value in graph.inputs]
    condition = build.input("condition", (), "i1")
    values = build.ops("nn.if", [condition, *inputs], {}, "if", [graph, graph])
    for (name, _), value in zip(graph.outputs, values, strict=True):
        build.output(name, value)
    return build.finish()


def _convolution(draft: Draft, x: Value, groups: int = 1, name: str = "conv") -> Value:
    channels = x.shape[1]
    operands = [x, draft.scaled("w", channels, channels // groups, 3, 3)]
    operands += [draft.normal("b", channels)] if draft.draw.integers(2) else []
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (1, 1, 1, 1)}
    window |= {"dilations": (1, 1), "groups": groups}
    return draft.layer(name, "conv2d", *operands, **window, **PLAIN)


def _channel_bias(draft: Draft, x: Value) -> Value:
    shape = [(4, 1, 1), (1, 4, 1, 1), (1, 1, 1), ()][draft.draw.integers(4)]
    return draft.op("add", *[x, draft.normal("c", *shape)][:: draft.draw.choice([1, -1])])


def _batch_norm(draft: Draft, x: Value) -> Value:
    positive = draft.build.weight("v", draft.draw.uniform(0.5, 2, 4).astype(np.float32))
    parameters = [draft.normal("s", 4), draft.normal("t", 4), draft.normal("m", 4)]
    return draft.op("batch_norm", x, *parameters, positive, epsilon=1e-5)


def _pool(kind: str) -> Step:
    def step(draft: Draft, x: Value) -> Value:
        window: dict[str, Attribute] = {"kernel": (3, 3), "strides": (1, 1)}
        window["pads"] = (1, 1, 1, 1)
        if kind == "max_pool2d":
            return draft.op(kind, x, **window, dilations=(1, 1))
        return draft.op(kind, x, **window, count_include_pad=0)

    return step


def _pooled_convolution(draft: Draft, x: Value) -> Value:
    if x.shape[2] < 4:
        return x
    window: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}
    x = _convolution(draft, x)
    return draft.op("average_pool2d", x, **window, count_include_pad=0)


def _epilogue(draft: Draft, x: Value) -> Value:
    """A layer that holds all that a layer may."""
    activation = draft.pick(ACTIVATIONS)
    if len(x.shape) == 3:
        operands = [x, draft.scaled("w", 8, 8), draft.normal("b", 8), draft.other(x)]
        return draft.layer("epilogue", "matmul", *operands, activation=activation)
    operands = [
        x,
        draft.scaled("w", x.shape[1], x.shape[1], 1, 1),
        draft.normal("b", x.shape[1]),
    ]
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0)}
    window |= {"dilations": (1, 1), "groups": 1, "activation": activation}
    return draft.layer("epilogue", "conv2d", *operands, draft.other(x), **window)


def _residual_convolution(draft: Draft, x: Value) -> Value:
    """As in a ResNet, with or without the bias."""
    y = draft.op("add", *[_convolution(draft, x), x][:: draft.draw.choice([1, -1])])
    return draft.op("relu", y)


def _sibling_convolutions(draft: Draft, x: Value) -> Value:
    both = [_convolution(draft, x, name=f"branch{i}") for i in range(2)]
    return draft.op("add", *both)


def _pixels(draft: Draft, x: Value) -> Value:
    """A layer of single pixels on channels-last values."""
    y = draft.op("transpose", x, perm=(0, 2, 3, 1))
    y = draft.op("matmul", y, draft.scaled("w", 4, 4), **PLAIN)
    return draft.op("transpose", draft.op("tanh", y), perm=(0, 3, 1, 2))


def _gate(draft: Draft, x: Value) -> Value:
    keep = int(draft.draw.integers(2))
    y = draft.op("reduce_mean", x, axes=(2, 3), keepdims=keep)
    y = y if keep else draft.op("reshape", y, shape=(*x.shape[:2], 1, 1))
    return draft.op("mul", x, draft.op("sigmoid", y))


def _folded(draft: Draft, x: Value) -> Value:
    made = draft.op("relu", draft.normal("k", *x.shape[1:]))
    twice = draft.op("add", draft.normal("l"), draft.normal("l"))
    return draft.op("add", draft.op("add", made, draft.op("relu", twice)), x)


def _repeat(draft: Draft, x: Value) -> Value:
    return draft.op("add", *(draft.op("relu", x) for _ in range(2)))


def _dead(draft: Draft, x: Value) -> Value:
    draft.op("softmax", x, axis=1)
    return x


def _output(draft: Draft, x: Value) -> Value:
    draft.build.output(f"at_{len(draft.values)}", x)
    return x


def _channels_last(draft: Draft, x: Value) -> Value:
    """A bias and a ReLU in another layout than the layers around them."""
    x = draft.op("transpose", x, perm=(0, 2, 3, 1))
    x = draft.op("relu", draft.op("add", x, draft.normal("b", x.shape[-1])))
    return draft.op("transpose", x, perm=(0, 3, 1, 2))


def _scales(draft: Draft, x: Value) -> Value:
    x = draft.op("mul", draft.op("mul", x, draft.number(1.7)), draft.normal("s", x.shape[-1]))
    return draft.op("div", x, draft.number(0.7))


def _neutral(draft: Draft, x: Value) -> Value:
    x = draft.op("mul", x, draft.number(1.0))
    return draft.op("neg", draft.op("neg", x))


def _linear(draft: Draft, x: Value) -> Value:
    x = draft.layer("linear", "matmul", x, draft.scaled("w", 8, 8), **PLAIN)
    return draft.op("relu", draft.op("add", x, draft.normal("b", 8)))


def _scaled_linear(draft: Draft, x: Value) -> Value:
    x = draft.op("mul", x, draft.number(0.8))
    x = draft.op("matmul", x, draft.scaled("w", 8, 8), draft.normal("b", 8), **PLAIN)
    return draft.op("div", x, draft.number(1.3))


def _flat(draft: Draft, x: Value) -> Value:
    """A layer on the tokens of all sequences, as GPT-2's."""
    y = draft.op("reshape", x, shape=(10, 8))
    y = draft.op("add", draft.op("relu", y), draft.normal("b", 8))
    return draft.op("reshape", y, shape=x.shape)


def _turned(draft: Draft, x: Value) -> Value:
    y = draft.op("transpose", x, perm=(0, 2, 1))
    y = draft.op("tanh", draft.op("mul", y, draft.normal("s", 8, 1)))
    return draft.op("transpose", y, perm=(0, 2, 1))


def _row(draft: Draft, x: Value) -> Value:
    """What the first token holds, added to every one."""
    first = draft.op("gather", x, draft.build.weight("first", np.array(0)), axis=1)
    return draft.op("add", x, draft.op("reshape", first, shape=(2, 1, 8)))


def _branches(draft: Draft, x: Value) -> Value:
    made = [draft.op("matmul", x, draft.scaled("w", 8, 8), **PLAIN) for _ in range(2)]
    return draft.op("add", *made)


def _attention(draft: Draft, x: Value) -> Value:
    attributes: dict[str, Attribute] = {"scale": 0.5, "causal": 1, "causal_offset": 0}
    attributes |= {"masked_rows": "nan", "block": 0}
    y = draft.op("reshape", x, shape=(2, 1, 5, 8))
    y = draft.op("attention", y, y, y, **attributes)
    return draft.op("reshape", y, shape=x.shape)


def _residual(draft: Draft, x: Value) -> Value:
    return draft.op("add", x, draft.other(x))


CONVOLUTIONAL: dict[str, Step] = {
    "conv": _convolution,
    "grouped_conv": lambda draft, x: _convolution(draft, x, 2, "grouped_conv"),
    "pooled_conv": _pooled_convolution,
    "residual_conv": _residual_convolution,
    "epilogue": _epilogue,
    "sibling_convs": _sibling_convolutions,
    "channel_bias": _channel_bias,
    "batch_norm": _batch_norm,
    "normalised_conv": lambda draft, x: _batch_norm(draft, _convolution(draft, x)),
    "group_norm": group_norm,
    "lrn": lrn,
    "relu": lambda draft, x: draft.op("relu", x),
    "residual": _residual,
    "self_add": lambda draft, x: draft.op("add", x, x),
    "max_pool": _pool("max_pool2d"),
    "average_pool": _pool("average_pool2d"),
    "transpose": lambda draft, x: draft.op("transpose", x, perm=(0, 1, 3, 2)),
    "channels_last": _channels_last,
    "pixels": _pixels,
    "gate": _gate,
    "silu": silu,
    "hard_swish": hard_swish,
    "clip": lambda draft, x: draft.op("clip", x, low=0.0, high=6.0),
    "scales": _scales,
    "constant": _folded,
    "neutral": _neutral,
    "repeat": _repeat,
    "dead": _dead,
    "output": _output,
}
TRANSFORMER: dict[str, Step] = {
    "attention": attention,
    "fused_attention": _attention,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "gelu": gelu,
    "silu": silu,
    "linear": _linear,
    "epilogue": _epilogue,
    "scaled_linear": _scaled_linear,
    "flat": _flat,
    "turned": _turned,
    "row": _row,
    "branches": _branches,
    "scales": _scales,
    "residual": _residual,
    "constant": _folded,
    "neutral": _neutral,
    "repeat": _repeat,
    "dead": _dead,
    "output": _output,
}
FAMILIES: dict[str, tuple[Callable[[Sequence[str], int], Module], tuple[str, ...]]] = {
    "convolutional": (convolutional, tuple(CONVOLUTIONAL)),
    "sequential": (sequential, tuple(SEQUENTIAL)),
    "transformer": (transformer, tuple(TRANSFORMER)),
}
