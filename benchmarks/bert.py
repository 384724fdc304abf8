"""BERT-base as a PyTorch exporter writes it: normalisations, GELU and attention in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.module import Module

# Devlin et al., "BERT", NAACL 2019, section 3: the base model
LAYERS, WIDTH, HEADS, INNER = 12, 768, 12, 3072
VOCABULARY, POSITIONS = 30522, 512
TOKENS = 128

Store = Callable[[str, tuple[int, ...]], Array]
PLAIN: dict[str, Attribute] = {"activation": "none"}


@dataclass(frozen=True)
class _Network:
    """A model under construction; `store` gives each parameter's array."""

    build: ModuleBuilder
    store: Store

    def op(self, kind: str, *operands: Value, **attributes: Attribute) -> Value:
        return self.build.op(f"nn.{kind}", operands, attributes)

    def weight(self, symbol: str, *shape: int) -> Value:
        return self.build.weight(symbol, self.store(symbol, shape))

    def number(self, value: float) -> Value:
        return self.build.weight("number", np.array(value, np.float32))

    def linear(self, x: Value, name: str, columns: int) -> Value:
        product = self.op("matmul", x, self.weight(f"{name}.w", x.shape[-1], columns), **PLAIN)
        return self.op("add", self.weight(f"{name}.b", columns), product)

    def norm(self, x: Value, name: str) -> Value:
        centred = self.op("sub", x, self.op("reduce_mean", x, axes=(-1,), keepdims=1))
        square = self.op("pow", centred, self.number(2.0))
        power = self.op("reduce_mean", square, axes=(-1,), keepdims=1)
        root = self.op("sqrt", self.op("add", power, self.number(1e-12)))
        scaled = self.op(
            "mul", self.op("div", centred, root), self.weight(f"{name}.scale", WIDTH)
        )
        return self.op("add", scaled, self.weight(f"{name}.shift", WIDTH))

    def heads(self, x: Value, perm: tuple[int, ...]) -> Value:
        split = self.op("reshape", x, shape=(1, TOKENS, HEADS, WIDTH // HEADS))
        return self.op("transpose", split, perm=perm)

    def attention(self, x: Value, mask: Value, name: str) -> Value:
        q = self.heads(self.linear(x, f"{name}.q", WIDTH), (0, 2, 1, 3))
        k = self.heads(self.linear(x, f"{name}.k", WIDTH), (0, 2, 3, 1))
        v = self.heads(self.linear(x, f"{name}.v", WIDTH), (0, 2, 1, 3))
        scores = self.op("matmul", q, k, **PLAIN)
        scores = self.op("div", scores, self.number(sqrt(WIDTH // HEADS)))
        weights = self.op("softmax", self.op("add", scores, mask), axis=-1)
        mixed = self.op("transpose", self.op("matmul", weights, v, **PLAIN), perm=(0, 2, 1, 3))
        return self.linear(
            self.op("reshape", mixed, shape=(1, TOKENS, WIDTH)), f"{name}.o", WIDTH
        )

    def gelu(self, x: Value) -> Value:
        error = self.op("erf", self.op("div", x, self.number(sqrt(2))))
        product = self.op("mul", x, self.op("add", error, self.number(1.0)))
        return self.op("mul", product, self.number(0.5))

    def layer(self, x: Value, mask: Value, name: str) -> Value:
        x = self.norm(self.op("add", self.attention(x, mask, name), x), f"{name}.norm1")
        inner = self.gelu(self.linear(x, f"{name}.up", INNER))
        return self.norm(
            self.op("add", self.linear(inner, f"{name}.down", WIDTH), x), f"{name}.norm2"
        )


def bert(store: Store, layers: int = LAYERS) -> Module:
    """The encoder on one sequence: token and segment indices and a mask in, states out.

    Args:
        store: from a parameter's symbol and shape to its float32 array.
        layers: 12 of the base model.
    """
    build = ModuleBuilder("bert")
    net = _Network(build, store)
    tokens, segments = (build.input(name, (1, TOKENS), "i64") for name in ("ids", "segments"))
    kept = build.input("mask", (1, 1, 1, TOKENS))
    x = net.op("gather", net.weight("words", VOCABULARY, WIDTH), tokens, axis=0)
    x = net.op("add", x, net.op("gather", net.weight("types", 2, WIDTH), segments, axis=0))
    places = net.op(
        "slice",
        net.weight("positions", POSITIONS, WIDTH),
        starts=(0, 0),
        sizes=(TOKENS, WIDTH),
        steps=(1, 1),
    )
    x = net.norm(net.op("add", x, places), "norm")
    mask = net.op("mul", net.op("sub", net.number(1.0), kept), net.number(-10000.0))
    for i in range(layers):
        x = net.layer(x, mask, f"layer{i}")
    build.output("states", x)
    return build.finish()


def drawn(seed: int = 0) -> Store:
    """Parameters of small normal numbers; the same seed gives the same ones."""
    draw = np.random.default_rng(seed)

    def array(symbol: str, shape: tuple[int, ...]) -> Array:
        del symbol
        found: Array = draw.standard_normal(shape, np.float32) * np.float32(0.02)
        return found

    return array
