"""A small network of each family, quantised as the zoo's are, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, chip, verdict
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.frontend.builder import Builder, Layers
from tetrapla.frontend.builder import functions as nn
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program

Write = Callable[[Layers], None]

_BORDER = {"nn.reshape", "nn.slice", "nn.transpose", "qnn.dequantize", "qnn.quantize"}


def _transformer(net: Layers) -> None:
    x = net.builder.input("x", (2, 6, 16))
    q, k, v = (net.linear(x, 16, name=name) for name in "qkv")
    heads = [t.reshape((2, 6, 4, 4)).transpose((0, 2, 1, 3)) for t in (q, k, v)]
    mixed = nn.attention(*heads).transpose((0, 2, 1, 3)).reshape((2, 6, 16))
    y = net.layer_norm(x + net.linear(mixed, 16, name="out"))
    y = net.layer_norm(y + net.linear(nn.gelu(net.linear(y, 32, name="up")), 16, name="down"))
    net.builder.output("y", y)


def _grouped_queries(net: Layers) -> None:
    x = net.builder.input("x", (1, 5, 16))
    q = net.linear(net.rms_norm(x), 16, name="q").reshape((1, 5, 4, 4)).transpose((0, 2, 1, 3))
    k, v = (
        net.linear(x, 8, name=name).reshape((1, 5, 2, 4)).transpose((0, 2, 1, 3))
        for name in "kv"
    )
    y = nn.attention(q, k, v, causal=True).transpose((0, 2, 1, 3)).reshape((1, 5, 16))
    gate = nn.silu(net.linear(y, 24, name="gate")) * net.linear(y, 24, name="up")
    net.builder.output("y", x + net.linear(gate, 16, name="down"))


def _embedding(net: Layers) -> None:
    tokens = net.builder.input("tokens", (2, 5), "i64")
    places = net.embedding(net.builder.input("places", (2, 5), "i32"), 7, 8, name="places")
    x = net.layer_norm(net.embedding(tokens, 9, 8, name="words") + places)
    net.builder.output("y", nn.softmax(net.linear(x, 9)))


def _lstm(net: Layers) -> None:
    x = net.builder.input("x", (4, 2, 6))
    w, r = net.parameter((1, 32, 6), "w", fan_in=6), net.parameter((1, 32, 8), "r", fan_in=8)
    y = nn.lstm(x, w, r)[0]
    net.builder.output("y", net.linear(y.reshape((4, 2, 8)), 3))


def _squeeze_excitation(net: Layers) -> None:
    x = net.builder.input("x", (2, 3, 6, 5))
    y = nn.hard_swish(net.batch_norm(net.conv2d(x, 8, 3, pads=1, name="expand")))
    y = nn.clip(net.conv2d(y, 8, 3, pads=1, groups=8, name="depthwise"), 0, 6)
    squeezed = nn.relu(net.conv2d(nn.global_average_pool(y), 2, 1, name="squeeze"))
    y = y * nn.sigmoid(net.conv2d(squeezed, 8, 1, name="excite"))
    net.builder.output("y", net.conv2d(y, 3, 1, name="project") + x)


def _dense(net: Layers) -> None:
    y = net.builder.input("x", (1, 4, 6, 6))
    for number in range(3):
        new = nn.relu(net.batch_norm(y, name=f"bn{number}"))
        y = nn.concat([y, net.conv2d(new, 3, 3, pads=1, name=f"conv{number}")], 1)
    net.builder.output("y", nn.average_pool2d(nn.relu(net.batch_norm(y)), 2))


def _shuffle(net: Layers) -> None:
    x = net.builder.input("x", (1, 8, 4, 4))
    left, right = nn.split(x, 2, 1)
    right = nn.relu(net.conv2d(right, 4, 3, pads=1))
    y = nn.concat([left, right], 1).reshape((1, 2, 4, 4, 4)).transpose((0, 2, 1, 3, 4))
    left, right = nn.split(y.reshape((1, 8, 4, 4)), 2, 1)
    net.builder.output("y", nn.concat([left, net.conv2d(right, 4, 1, name="last")], 1))


def _inception(net: Layers) -> None:
    x = net.builder.input("x", (2, 4, 6, 6))
    parts = [
        nn.relu(net.conv2d(x, 3, 1, name="one")),
        nn.relu(net.conv2d(x, 5, 3, pads=1, name="three")),
        nn.max_pool2d(x, 3, strides=1, pads=1),
    ]
    y = nn.concat(parts, 1)
    y = nn.concat([nn.relu(net.conv2d(y, 4, 1, name="four")), nn.max_pool2d(y, 1)], 1)
    net.builder.output("y", net.linear(nn.global_average_pool(y).flatten(), 3))


def _unet(net: Layers) -> None:
    x = net.builder.input("x", (1, 2, 8, 8))
    high = nn.silu(net.group_norm(net.conv2d(x, 4, 3, pads=1, name="down"), 2))
    low = nn.relu(net.conv2d(nn.max_pool2d(high, 2), 8, 3, pads=1, name="low"))
    up = net.conv_transpose2d(low, 4, 2, strides=2, name="up")
    smooth = nn.resize(low, (8, 8), mode="linear")
    y = nn.concat([high, up, smooth], 1)
    net.builder.output("y", nn.leaky_relu(net.conv2d(y, 2, 3, pads=1, name="last")))


def _detection(net: Layers) -> None:
    x = net.builder.input("x", (1, 3, 4, 4))
    y = nn.relu(net.conv2d(x, 6, 3, pads=1))
    boxes, scores = (
        net.conv2d(y, 2 * size, 1, name=name).transpose((0, 2, 3, 1)).reshape((1, 32, size))
        for name, size in (("boxes", 4), ("scores", 3))
    )
    best, places = nn.top_k(nn.reduce_max(nn.softmax(scores), (2,), keepdims=False), 5)
    chosen = nn.gather(boxes.reshape((32, 4)), places.reshape((5,)))
    net.builder.output("scores", best)
    net.builder.output("boxes", nn.exp(nn.clip(chosen, -4.0, 4.0)))
    net.builder.output("places", places)


def _moves(net: Layers) -> None:
    x = net.builder.input("x", (1, 4, 4, 6))
    y = nn.pad(net.conv2d(x, 4, 1), (0, 0, 1, 0, 0, 0, 0, 1), value=0.5)
    y = nn.space_to_depth(y[:, :, ::-1, 1:], 1)
    y = nn.cumulative_sum(nn.where(y > 0, y, y * y), 2)
    net.builder.output("y", net.linear(nn.expand(y[:, :, :, :1], (1, 4, 5, 6)), 3))


FAMILIES: dict[str, Write] = {
    "transformer": _transformer,
    "grouped queries": _grouped_queries,
    "embedding": _embedding,
    "lstm": _lstm,
    "squeeze-excitation": _squeeze_excitation,
    "dense": _dense,
    "shuffle": _shuffle,
    "inception": _inception,
    "u-net": _unet,
    "detection": _detection,
    "moves": _moves,
}


def _array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    real = DTYPES[dtype].kind == "f"
    array = rng.standard_normal((3, *shape)) if real else rng.integers(-2, 7, (3, *shape))
    return array.astype(DTYPES[dtype])


def _held_exact(write: Write, rng: np.random.Generator, *settings: str) -> Program:
    net = Layers(Builder("net"), seed=1)
    write(net)
    module = net.builder.build()
    inputs = {n: _array(rng, v.shape, v.dtype) for n, v in module.inputs.items()}
    spec = chip(16, 16, 4096, 4, *settings)
    lowered = TARGET.lower(module, spec, inputs, Options())
    result = run(lowered.program, spec, inputs, KEY)
    assert verdict(lowered, spec, inputs, result) == EXACT
    return lowered.program


# what a strip of each needs and little more, so that values go to DRAM and back
SMALL = {
    "transformer": 400,
    "grouped queries": 400,
    "embedding": 300,
    "lstm": 900,
    "squeeze-excitation": 1024,
    "shuffle": 300,
    "inception": 700,
    "detection": 300,
}


@pytest.mark.parametrize("family", SMALL)
def test_it_is_exact_in_strips(rng: np.random.Generator, family: str) -> None:
    whole = _held_exact(FAMILIES[family], rng).unified_buffer_bytes
    least = SMALL[family]
    program = _held_exact(FAMILIES[family], rng, f"memories.unified_buffer={least} B")
    assert program.unified_buffer_bytes <= least < whole


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_exact(rng: np.random.Generator, family: str) -> None:
    program = _held_exact(FAMILIES[family], rng)
    assert {step.kind for step in program.before} <= _BORDER
    assert {step.kind for step in program.after} <= _BORDER
