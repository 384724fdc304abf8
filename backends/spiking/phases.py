"""Codes that take a layer's whole phase: what is written where rate code has a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from tetrapla.backends.spiking.emit import Current, Emitter
from tetrapla.backends.spiking.quantise import Scaling, neuron_scaling, readout_scaling
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.spike.phase import MOST_BITS, most_levels
from tetrapla.simulators.spiking.spec import CoreSection

RATE = "rate"
# what a person calls a code, and what the dialect calls it
PHASES: Final[Mapping[str, str]] = MappingProxyType(
    {"sequential": "count", "radix": "binary", "graded": "graded", "ttfs": "first"}
)
CODES: Final = (RATE, *PHASES)
_HEADROOM = 2  # times the largest level: a membrane holds twice what the calibration fills


def emitter(code: str) -> Callable[[ModuleBuilder, CoreSection, int], Emitter]:
    """What writes a network in a code."""
    return Emitter if code == RATE else partial(PhaseEmitter, code=PHASES[code])


def default_timesteps(code: str, chip: int) -> int:
    """T of a code where nobody asks for one.

    A radix code's 6 bits are 63 levels, beyond which a membrane of 18 bits leaves weights less
    than their 8 (assumed); a graded spike takes one timestep.
    """
    return {"radix": 6, "graded": 1}.get(code, chip)


def most_timesteps(code: str) -> int:
    """The longest phase of a code."""
    return {"radix": MOST_BITS, "graded": 1}.get(code, 2**31 - 1)


class PhaseEmitter(Emitter):
    """Neurons gather a phase and fire in the next one; see `tetrapla.ir.spike.phase`."""

    def __init__(
        self, builder: ModuleBuilder, core: CoreSection, timesteps: int, code: str
    ) -> None:
        super().__init__(builder, core, timesteps)
        self.code = code
        self.levels = most_levels(code, timesteps)
        if code == "binary":
            self.maximum = "spike.max_binary2d"

    def arrive(self, x: Value, full: float, name: str) -> Value:
        """As `Emitter`: a level of L at once, without neurons."""
        scale = full / self.levels
        held: dict[str, Attribute] = {"timesteps": self.timesteps, "scale": scale}
        return self.builder.op("spike.encode_phase", [x], {**held, **self._words()}, name)

    def neurons(self, current: Current, full: float, suffix: str = "") -> Value:
        """As `Emitter`; the bias is in the membrane before the phase."""
        headroom = _HEADROOM * self.levels
        scaling = neuron_scaling([t.peak for t in current.terms], full, self.core, headroom)
        name = current.name + suffix
        self.thresholds[name] = scaling.theta
        named = replace(current, name=name)
        total = self.total(replace(named, bias=None), scaling)
        start = self._start(named, scaling) + (scaling.theta >> 1)
        train = self._fire(total, start, np.array([scaling.theta], np.int32), name)
        for kind, attributes in current.views:
            train = self.view(train, kind, attributes)
        return train

    def fire(self, current: Value, theta: Array, name: str) -> Value:
        """As `Emitter`."""
        return self._fire(current, theta >> 1, theta, name)

    def readout(self, current: Current, largest: float) -> Value:
        """As `Emitter`."""
        peaks = [t.peak for t in current.terms]
        scaling = readout_scaling(peaks, largest, self.levels, self.core)
        total = self.total(replace(current, bias=None), scaling)
        start = self._start(current, scaling)
        value = self._decode(total, scaling.unit / self.levels, current.name, start)
        for kind, attributes in current.views:
            value = self.builder.op(kind, [value], attributes)
        return value

    def decode(self, gathered: Value, scale: float, name: str) -> Value:
        """As `Emitter`."""
        return self._decode(gathered, scale, name, None)

    def _words(self) -> dict[str, Attribute]:
        return {"code": self.code, "levels": self.levels}

    def _start(self, current: Current, scaling: Scaling) -> Array:
        """The bias of a whole phase, i32 with the batch axis, within what a membrane holds."""
        limit = 2 ** (self.core.state_bits - 1) - 1
        bias = np.zeros(1) if current.bias is None else current.bias
        whole = np.rint(bias.astype(np.float64) * (self.levels / scaling.unit))
        if np.abs(whole).max(initial=0) > limit:
            self.warnings.append(f"layer {current.name}: biases are clipped to what cores hold")
        held: Array = np.clip(whole, -limit, limit).astype(np.int32)
        return held if held.size == 1 else held[None]

    def _fire(self, current: Value, start: Array, theta: Array, name: str) -> Value:
        held: dict[str, Attribute] = {**self._words(), "state_bits": self.core.state_bits}
        operands = [
            current,
            self.builder.weight(f"{name}.start", start.astype(np.int32)),
            self.builder.weight(f"{name}.theta", theta),
        ]
        return self.builder.op("spike.phase", operands, held, name=name)

    def _decode(self, x: Value, scale: float, name: str, start: Array | None) -> Value:
        held: dict[str, Attribute] = {
            "code": self.code,
            "scale": float(scale),
            "state_bits": self.core.state_bits,
        }
        operands = [x]
        if start is not None:
            operands.append(self.builder.weight(f"{name}.start", start))
        return self.builder.op("spike.decode_phase", operands, held, name=name)
