"""Chips with any array, and random products in any format, held against the reference."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tests.backends.systolic.conftest import EXACT, KEY, chip
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.check import cross_check
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.report import Run, assemble
from tetrapla.simulators.systolic.counts import ACTIONS
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import ArraySection, SystolicSpec

DATAFLOWS = ("weight_stationary", "output_stationary", "input_stationary")
ALL = {"int8": 1, "int4": 1, "int16x8": 2, "int16": 4, "bf16": 1, "fp16": 1}
# by format, the element types of activations and weights
TYPES = {
    "int8": ("i8", "i8"),
    "int4": ("i8", "i4"),
    "int16x8": ("i16", "i8"),
    "int16": ("i16", "i16"),
    "bf16": ("bf16", "bf16"),
    "fp16": ("f16", "f16"),
}


@lru_cache
def _base(rows: int, cols: int, accumulators: int, tiles: int) -> SystolicSpec:
    return chip(rows, cols, accumulators, tiles)


def design(
    rows: int, cols: int, accumulators: int = 64, tiles: int = 8, **array: Any
) -> SystolicSpec:
    """TPU v1 with another array, which takes every format unless `array` says otherwise."""
    own = ArraySection.model_validate({"rows": rows, "cols": cols, "formats": ALL, **array})
    return _base(rows, cols, accumulators, tiles).model_copy(update={"array": own})


def held(module: Module, spec: SystolicSpec, inputs: dict[str, Array]) -> tuple[Run, Program]:
    """Compile, run, and hold against the reference and the invariants of every run."""
    lowered = Lowered(module, compile_graph(module.graph, spec, module.name))
    result = run(lowered.program, spec, inputs, KEY)
    found = cross_check(lowered, spec, inputs, result, evaluate_many(module, inputs))
    assert found.passed, found
    assert found == EXACT or found.kind == "tolerance"
    assemble(
        result,
        model=module.name,
        target="chip",
        family="systolic",
        command="",
        cost=dict.fromkeys((*ACTIONS, STATIC)),
        macs=sum(layer.macs for layer in lowered.program.layers),
        least_cycles=TARGET.least_cycles(lowered.program, spec),
    )
    return result, lowered.program


def cycles(module: Module, spec: SystolicSpec) -> int:
    """What a module takes."""
    result = run(compile_graph(module.graph, spec, module.name), spec, {}, KEY)
    return int(result.cycles)


class Products:
    """Builds chains of products in one format, with random weights."""

    def __init__(self, rng: np.random.Generator, form: str, shape: tuple[int, ...]) -> None:
        self.rng = rng
        self.form = form
        self.dtype, self.weight_dtype = TYPES[form]
        self.builder = ModuleBuilder("products")
        self.x = self.builder.input("x", shape, self.dtype)

    @property
    def real(self) -> bool:
        return self.form in ("bf16", "fp16")

    def numbers(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Over the whole range of a type."""
        if self.real:
            return self.rng.standard_normal(shape).astype(DTYPES[dtype])
        half = 2 ** (int(dtype.lstrip("i")) - 1)
        return self.rng.integers(-half, half, shape).astype(DTYPES[dtype])

    def conv(
        self, x: Value, filters: int, kernel: tuple[int, int], name: str, **own: Any
    ) -> Value:
        per_group = x.shape[1] // own.get("groups", 1)
        window: dict[str, Attribute] = {
            "strides": (1, 1),
            "pads": (0, 0, 0, 0),
            "dilations": (1, 1),
            "groups": 1,
        }
        shape = (filters, per_group, *kernel)
        w = self.weight(f"{name}.w", self.numbers(shape, self.weight_dtype))
        return self._product("conv2d", x, w, filters, name, {**window, **own}, 1)

    def matmul(self, x: Value, outputs: int, name: str, weights: Array | None = None) -> Value:
        if weights is None:
            weights = self.numbers((x.shape[-1], outputs), self.weight_dtype)
        w = self.weight(f"{name}.w", weights)
        return self._product("matmul", x, w, outputs, name, {}, len(x.shape) - 1)

    def weight(self, name: str, array: Array) -> Value:
        return self.builder.weight(name, array)

    def _product(
        self,
        kind: str,
        x: Value,
        w: Value,
        outputs: int,
        name: str,
        attributes: dict[str, Attribute],
        axis: int,
    ) -> Value:
        if self.real:
            activation = str(self.rng.choice(["none", "relu", "relu6"]))
            offsets = self.weight(f"{name}.bias", self.numbers((outputs,), self.dtype))
            own: dict[str, Attribute] = {**attributes, "activation": activation}
            return self.builder.op(f"nn.{kind}", [x, w, offsets], own, name=name)
        sums = "i64" if self.dtype == "i16" else "i32"
        bias = self.rng.integers(-3000, 3000, outputs).astype(DTYPES[sums])
        zeros: dict[str, Attribute] = {"x_zero_point": 5, "w_zero_point": 0}
        operands = [x, w, self.weight(f"{name}.bias", bias)]
        acc = self.builder.op(f"qnn.{kind}", operands, {**attributes, **zeros}, name=name)
        return self._requantized(acc, axis, name)

    def _requantized(self, acc: Value, axis: int, name: str) -> Value:
        bits = int(self.dtype.lstrip("i")) + int(self.weight_dtype.lstrip("i"))
        scale = (self.rng.random(acc.shape[axis]) + 0.1) * 2.0 ** (int(self.dtype[1:]) - bits)
        half = 2 ** (int(self.dtype[1:]) - 1)
        clamp: dict[str, Attribute] = {
            "zero_point": 5,
            "low": -half,
            "high": half - 1,
            "axis": axis,
            "dtype": self.dtype,
        }
        operands = [acc, self.weight(f"{name}.scale", scale.astype(np.float32))]
        return self.builder.op("qnn.requantize", operands, clamp, name=f"{name}.requantize")

    def finish(self, *values: Value) -> Module:
        for number, value in enumerate(values):
            self.builder.output(f"y{number}", value)
        return self.builder.finish()

    def inputs(self, count: int = 2) -> dict[str, Array]:
        return {"x": self.numbers((count, *self.x.shape), self.dtype)}
