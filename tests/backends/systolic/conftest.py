"""What the tests of the systolic compiler share: chips, random quantised nets, one check."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, Run, assemble
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

KEY = Key(0)
EXACT = CrossCheck("bit_exact", 0, None, None, True)


@lru_cache
def chip(
    rows: int, cols: int, accumulators: int = 4096, tiles: int = 4, *settings: str
) -> SystolicSpec:
    """TPU v1 with another array and other memories."""
    own = (
        f"array.rows={rows}",
        f"array.cols={cols}",
        f"memories.accumulator_rows={accumulators}",
        f"memories.weight_tiles={tiles}",
    )
    return load_spec("tpu-v1", SystolicSpec, (*own, *settings)).spec


class Net:
    """Builds quantised modules with random weights."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "i8"):
        self.rng = rng
        self.builder = ModuleBuilder("net")
        self.dtype = dtype
        self.x = self.builder.input("x", shape, dtype)

    def weights(self, shape: tuple[int, ...], name: str) -> Value:
        array = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.builder.weight(name, array)

    def requantize(self, acc: Value, axis: int, name: str, zero_point: int = -9) -> Value:
        size = acc.shape[axis]
        scale = (self.rng.random(size) * 0.004 + 0.0005).astype(np.float32)
        low, high = (-128, 127) if self.dtype == "i8" else (0, 255)
        attributes: dict[str, Attribute] = {
            "zero_point": zero_point,
            "low": low,
            "high": high,
            "axis": axis,
        }
        return self.builder.op(
            "qnn.requantize",
            [acc, self.builder.weight(f"{name}.scale", scale)],
            {**attributes, "dtype": self.dtype},
            name=f"{name}.requantize",
        )

    def conv(
        self, x: Value, filters: int, kernel: tuple[int, int], name: str, **own: Any
    ) -> Value:
        groups = own.get("groups", 1)
        w = self.weights((filters, x.shape[1] // groups, *kernel), f"{name}.w")
        bias = self.rng.integers(-3000, 3000, filters).astype(np.int32)
        attributes: dict[str, Attribute] = {
            "strides": (1, 1),
            "pads": (0, 0, 0, 0),
            "dilations": (1, 1),
            "groups": 1,
            "x_zero_point": 5,
            "w_zero_point": 0,
        }
        operands = [x, w, self.builder.weight(f"{name}.bias", bias)]
        acc = self.builder.op("qnn.conv2d", operands, {**attributes, **own}, name=name)
        return self.requantize(acc, 1, name, zero_point=5)

    def product(self, x: Value, outputs: int, name: str) -> Value:
        w = self.weights((x.shape[-1], outputs), f"{name}.w")
        zeros = {"x_zero_point": 5, "w_zero_point": 0}
        acc = self.builder.op("qnn.matmul", [x, w], zeros, name=name)
        return self.requantize(acc, len(acc.shape) - 1, name, zero_point=5)

    def finish(self, *values: Value) -> Module:
        for number, value in enumerate(values):
            self.builder.output(f"y{number}", value)
        return self.builder.finish()

    def inputs(self, count: int = 3) -> dict[str, Array]:
        low, high = (-128, 128) if self.dtype == "i8" else (0, 256)
        array = self.rng.integers(low, high, (count, *self.x.shape))
        return {"x": array.astype(np.int8 if self.dtype == "i8" else np.uint8)}


def lower(module: Module, spec: SystolicSpec) -> Lowered[Program]:
    """Compile a module that is already quantised."""
    return TARGET.lower(module, spec, None, Options())


def verdict(
    lowered: Lowered[Program], spec: SystolicSpec, inputs: dict[str, Array], result: Run
) -> CrossCheck:
    """Hold a run against the reference."""
    reference = evaluate_many(lowered.module, inputs)
    found = TARGET.cross_check(lowered, spec, inputs, result, reference)
    assert found is not None, "this family computes values"
    return found


def check(module: Module, spec: SystolicSpec, inputs: dict[str, Array]) -> tuple[Run, Program]:
    """Compile, run, and hold against the reference and the invariants of every run."""
    lowered = lower(module, spec)
    result = run(lowered.program, spec, inputs, KEY)
    assert verdict(lowered, spec, inputs, result) == EXACT
    macs = sum(layer.macs for layer in lowered.program.layers)
    assemble(
        result,
        model="net",
        target="chip",
        family="systolic",
        command="",
        cost=spec.prices,
        macs=macs,
        least_cycles=TARGET.least_cycles(lowered.program, spec),
    )
    assert sum(layer.cycles for layer in result.layers) == result.cycles
    return result, lowered.program


def gemm(m: int, k: int, n: int) -> Module:
    """A shape-only matrix product: no weights, no values."""
    b = ModuleBuilder("gemm")
    x, w = b.input("x", (m, k), "i8"), b.shape_of_weight("w", (k, n), "i8")
    acc = b.op("qnn.matmul", [x, w], {"x_zero_point": 0, "w_zero_point": 0}, name="gemm")
    scale = b.shape_of_weight("s", (1,), "f32")
    clamp: dict[str, Attribute] = {
        "zero_point": 0,
        "low": -128,
        "high": 127,
        "axis": 1,
        "dtype": "i8",
    }
    b.output("y", b.op("qnn.requantize", [acc, scale], clamp, name="requantize"))
    return b.finish()


def digits(rng: np.random.Generator) -> Module:
    """A float CNN of the size of the digits example."""
    b = ModuleBuilder("digits")
    window: dict[str, Attribute] = {
        "dilations": (1, 1),
        "groups": 1,
        "activation": "relu",
        "pads": (1, 1, 1, 1),
    }

    def conv(x: Value, filters: int, name: str) -> Value:
        w = rng.standard_normal((filters, x.shape[1], 3, 3)).astype(np.float32) * 0.3
        operands = [x, b.weight(f"{name}.w", w)]
        return b.op("nn.conv2d", operands, {**window, "strides": (1, 1)}, name=name)

    pool: dict[str, Attribute] = {
        "kernel": (2, 2),
        "strides": (2, 2),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
    }
    y = conv(b.input("x", (1, 1, 8, 8)), 16, "conv1")
    y = b.op("nn.max_pool2d", [conv(y, 32, "conv2")], pool, name="pool")
    y = b.op("nn.reshape", [y], {"shape": (1, 512)}, name="flat")
    w = rng.standard_normal((512, 10)).astype(np.float32) * 0.1
    y = b.op("nn.matmul", [y, b.weight("fc.w", w)], {"activation": "none"}, name="fc")
    b.output("y", b.op("nn.softmax", [y], {"axis": -1}, name="softmax"))
    return b.finish()
