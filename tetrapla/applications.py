"""The applications of the TPU v1 paper as programs of our machine, and what they spend time on.

[paper]: N. P. Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit",
ISCA 2017, arXiv 1704.04760. It publishes how many layers of each kind an application has, its
weights in all and its batch, and no shape. Assumed here: the weights of an application are
equal square fully connected layers, one behind the other; vector layers follow the first of
them, sigmoid and tanh in turn, of the same width. The LSTMs' activations have 16 bits, which
[paper] does not say: its share of array-active cycles is twice what 8 bits would take
(derived).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import numpy as np

from tetrapla.backends.target_ import Options, find
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule, schedule

CHIP = "tpu-v1"
HALF_SPEED = "canonical,quantize{bits=16,weights=i8}"
SHARES = ("array_active", "useful", "weight_stall", "weight_shift", "non_matrix")


@dataclass(frozen=True)
class Time:
    """How an invocation spends its cycles.

    Attributes:
        tops: 2 x MACs per second of the layers, the transfers from and to the host left out:
            [paper] gives the host's share apart, in table 5.
        tops_with_host: the same of the whole invocation.
        shares: by name of `SHARES`, per cent of the layers' cycles; `useful` is the part of
            `array_active` that multiplies elements of the layers.
    """

    tops: float
    tops_with_host: float
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Application:
    """One column of [paper] table 1.

    Attributes:
        name: [paper]'s.
        layers: fully connected layers; 0 where shapes would be needed.
        vectors: element-wise layers.
        weights: of all layers.
        batch: of one invocation.
    """

    name: str
    layers: int
    vectors: int
    weights: int
    batch: int

    @property
    def width(self) -> int:
        """Of a square layer: the nearest whole number."""
        share = self.weights / self.layers
        below = isqrt(int(share))
        return min((below, below + 1), key=lambda side: abs(side * side - share))

    @property
    def cycles_per_row(self) -> int:
        """Of a row of activations in the array: [paper] section 2, half speed for 16 bits."""
        return 2 if self.is_recurrent else 1

    @property
    def is_recurrent(self) -> bool:
        """Whether it has vector layers, as the LSTMs alone have."""
        return self.vectors > 0

    def module(self) -> Module:
        """The layers without weights."""
        builder = ModuleBuilder(self.name)
        x = builder.input("x", (self.batch, self.width))
        activation = {"activation": "none" if self.is_recurrent else "relu"}
        each, more = divmod(self.vectors, self.layers)
        for number in range(self.layers):
            w = builder.shape_of_weight(f"w{number}", (self.width, self.width), "f32")
            x = builder.op("nn.matmul", [x, w], activation, f"fc{number}")
            for turn in range(each + (number < more)):
                kind = ("nn.sigmoid", "nn.tanh")[(number + turn) % 2]
                x = builder.op(kind, [x], {}, f"vector{number}_{turn}")
        builder.output("y", x)
        return builder.finish()

    def compiled(self, *overrides: str) -> tuple[Program, SystolicSpec]:
        """Its program on the chip, with fields of the chip replaced."""
        target, chip = find(CHIP, overrides)
        spec: SystolicSpec = chip.spec
        quant = HALF_SPEED if self.is_recurrent else "int8"
        lowered = target.lower(self.module(), spec, None, Options(quant))
        program: Program = lowered.program
        return program, spec

    def timed(self, program: Program, spec: SystolicSpec) -> Time:
        """The program's timing on a design that it fits."""
        return timed(program, spec, self.cycles_per_row)


def timed(program: Program, spec: SystolicSpec, cycles_per_row: int = 1) -> Time:
    """The program's timing; `cycles_per_row` is of its number format."""
    plan = schedule(program, spec)
    marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
    first, last = (plan.events[marks[n]].dispatch for n in (1, -1))
    operations = 2 * sum(layer.macs for layer in program.layers)
    rate = operations * spec.clock_hz * 1e-12
    shares = _shares(program, plan, first, last)
    places = spec.array.rows * spec.array.cols
    shares["useful"] = 50 * operations * cycles_per_row / ((last - first) * places)
    return Time(rate / (last - first), rate / plan.cycles, shares)


def _shares(program: Program, plan: Schedule, first: int, last: int) -> dict[str, float]:
    """Per cent of the cycles from `first` to `last`, each counted once.

    A cycle in which the array takes a row is active; of the others, one in which a tile is
    shifted into it is shift, one in which weights come from DRAM is stall, the rest is other
    work. The order is [paper] table 3's, which adds up to 100.
    """
    length = plan.cycles + 1
    busy = {name: np.zeros(length, np.bool_) for name in ("MM", "LW", "LDW")}
    for instruction, event in zip(program.instructions, plan.events, strict=True):
        name = instruction.op if instruction.op == "LDW" else instruction.engine
        if name in busy:
            busy[name][event.dispatch + 1 : event.free + 1] = True
    window = slice(first + 1, last + 1)
    active, shift, fetch = (busy[name][window] for name in ("MM", "LW", "LDW"))
    shift, fetch = shift & ~active, fetch & ~active & ~shift
    found = [100 * float(np.mean(each)) for each in (active, fetch, shift)]
    names = ("array_active", "weight_stall", "weight_shift")
    return {**dict(zip(names, found, strict=True)), "non_matrix": 100 - sum(found)}
