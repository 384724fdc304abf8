"""Real-valued layers on their way to spikes, and the operators they become.

A `Rate` is a tensor as spike trains: ``value = full * (level of positive - of negative) / L``,
where a rate code's level counts spikes and L is T; `phases` has the codes of whole phases.
A `Current` is a linear expression of rates that no neuron has seen yet; what unit it is
counted in is decided when it meets neurons, because weights of every term share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tetrapla.backends.spiking.crossbar import Synapses, fitted
from tetrapla.backends.spiking.quantise import (
    Scaling,
    biases,
    neuron_scaling,
    readout_scaling,
    weights,
)
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.simulators.spiking.spec import CoreSection

# input currents have this many steps to rate 1; a bias mantissa of 13 bits holds them
INPUT_LEVELS = 2048


@dataclass(frozen=True)
class Train:
    """One spike train; `sign` is that of the real value it stands for."""

    value: Value
    sign: int = 1


@dataclass(frozen=True)
class Rate:
    """A tensor as one train, or as a positive and a negative one."""

    trains: tuple[Train, ...]
    full: float

    @property
    def signed(self) -> bool:
        """Whether it may be negative."""
        return any(train.sign < 0 for train in self.trains)


@dataclass(frozen=True)
class Term:
    """Synapses with real weights: `kind` matmul, conv2d or scale (one number)."""

    kind: str
    train: Train
    full: float
    weight: Array
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])

    @property
    def real(self) -> Array:
        """What one spike per timestep contributes."""
        return self.weight.astype(np.float64) * (self.full * self.train.sign)

    @property
    def peak(self) -> float:
        """The largest magnitude in `real`."""
        return float(np.abs(self.real).max(initial=0.0))


@dataclass(frozen=True)
class Current:
    """``sum of terms + bias``; `views` are reshapes and transposes of what comes of it."""

    name: str
    terms: tuple[Term, ...]
    bias: Array | None
    views: tuple[tuple[str, Mapping[str, Attribute]], ...] = ()

    def negated(self) -> Current:
        """The same expression with the other sign."""
        terms = tuple(replace(t, weight=-t.weight) for t in self.terms)
        return replace(self, terms=terms, bias=None if self.bias is None else -self.bias)


class Emitter:
    """Writes spike operators into a builder: a rate code's.

    Attributes:
        levels: L, of which a tensor's values are shares.
        maximum: the operator that follows the largest of its inputs.
    """

    maximum = "spike.max_pool2d"

    def __init__(self, builder: ModuleBuilder, core: CoreSection, timesteps: int) -> None:
        self.builder = builder
        self.core = core
        self.timesteps = timesteps
        self.levels = timesteps
        self.warnings: list[str] = []
        self.thresholds: dict[str, int] = {}

    def arrive(self, x: Value, full: float, name: str) -> Value:
        """An input as a train; a negative `full` is of its negative part."""
        levels = min(INPUT_LEVELS, self.core.bias_max)
        current = self.builder.op(
            "spike.encode",
            [x],
            {"timesteps": self.timesteps, "scale": full / levels, "high": levels},
            name=f"{name}.current",
        )
        return self.fire(current, np.array([levels], np.int32), name)

    def neurons(self, current: Current, full: float, suffix: str = "") -> Value:
        """A train of the current's positive part, rate 1 for `full`."""
        scaling = neuron_scaling([t.peak for t in current.terms], full, self.core)
        name = current.name + suffix
        total = self.total(replace(current, name=name), scaling)
        self.thresholds[name] = scaling.theta
        train = self.fire(total, np.array([scaling.theta], np.int32), name)
        for kind, attributes in current.views:
            train = self.view(train, kind, attributes)
        return train

    def fire(self, current: Value, theta: Array, name: str) -> Value:
        """Integrate-and-fire neurons on an integer current."""
        return self.builder.op(
            "spike.neuron",
            [current, self.builder.weight(f"{name}.theta", theta)],
            {
                "initial": "half",
                "reset": "subtract",
                "compare": "ge",
                "state_bits": self.core.state_bits,
            },
            name=name,
        )

    def readout(self, current: Current, largest: float) -> Value:
        """The current gathered over all timesteps, as f32."""
        peaks = [t.peak for t in current.terms]
        scaling = readout_scaling(peaks, largest, self.timesteps, self.core)
        total = self.total(current, scaling)
        value = self.decode(total, scaling.unit / self.levels, current.name)
        for kind, attributes in current.views:
            value = self.builder.op(kind, [value], attributes)
        return value

    def decode(self, gathered: Value, scale: float, name: str) -> Value:
        """A membrane or a count of spikes, as f32."""
        attributes: dict[str, Attribute] = {
            "scale": float(scale),
            "state_bits": self.core.state_bits,
        }
        return self.builder.op("spike.decode", [gathered], attributes, name=name)

    def view(self, train: Value, kind: str, attributes: Mapping[str, Attribute]) -> Value:
        """A reshape or transpose of every timestep."""
        held = dict(attributes)
        if kind == "nn.reshape":
            held["shape"] = (self.timesteps, *_ints(held["shape"]))
        else:
            held["perm"] = (0, *(axis + 1 for axis in _ints(held["perm"])))
        return self.builder.op(kind, [train], held)

    def total(self, current: Current, scaling: Scaling) -> Value:
        """All of a current in integers of the scaling's unit."""
        bias = self.constant(current, scaling)
        total: Value | None = None
        held = self._weights(current, scaling)
        for i, term in enumerate(current.terms):
            label = f"{current.name}.synapses" + (f"{i + 1}" if i else "")
            taken = bias if total is None and _takes(term, bias) else None
            part = self._term(term, held[i], label, taken)
            if taken is not None:
                bias = None
            total = part if total is None else self.builder.op("spike.add", [total, part])
        assert total is not None, f"{current.name} has no term"
        if bias is not None:
            constant = self.builder.weight(f"{current.name}.bias", bias[None])
            total = self.builder.op("spike.add", [total, constant])
        return total

    def _weights(self, current: Current, scaling: Scaling) -> list[tuple[Array, int]]:
        """Mantissas and exponent of every term; on a crossbar those that it has."""
        held = [weights(t.real, scaling.unit, self.core) for t in current.terms]
        if not self.core.axon_types:
            return held
        # types are shared, so the terms' weights are counted in one unit
        exponent = max(shift for _, shift in held)
        held = [weights(t.real, scaling.unit, self.core, exponent) for t in current.terms]
        wide = [i for i, t in enumerate(current.terms) if t.kind != "scale"]
        groups = [Synapses(current.terms[i].kind, held[i][0]) for i in wide]
        made = fitted(groups, self.core, len(held) - len(wide))
        for i, weight in zip(wide, made.weights, strict=True):
            held[i] = (weight, exponent)
        if wide:
            self.warnings.append(
                f"layer {current.name}: its weights are made of {self.core.axon_types} axon "
                f"types, at least {made.axons} for a source, and are {made.loss_frac:.1%} off "
                "(root mean square)"
            )
        return held

    def _term(
        self, term: Term, held: tuple[Array, int], label: str, bias: Array | None
    ) -> Value:
        mantissa, exponent = held
        if term.kind == "scale":
            return self.builder.op(
                "spike.scale",
                [term.train.value],
                {"weight": int(mantissa.ravel()[0]), "exponent": exponent},
                name=label,
            )
        operands = [term.train.value, self.builder.weight(f"{label}.weight", mantissa)]
        if bias is not None:
            flat = bias.reshape(-1) if bias.size == len(bias) else bias
            operands.append(self.builder.weight(f"{label}.bias", flat))
        attributes = {**term.attributes, "exponent": exponent}
        return self.builder.op(f"spike.{term.kind}", operands, attributes, name=label)

    def constant(self, current: Current, scaling: Scaling) -> Array | None:
        """The current's bias in integers."""
        if current.bias is None:
            return None
        bias, clipped = biases(current.bias.astype(np.float64), scaling.unit, self.core)
        if clipped:
            self.warnings.append(f"layer {current.name}: biases are clipped to what cores hold")
        return bias


def _takes(term: Term, bias: Array | None) -> bool:
    """Whether the bias is one that the term's operator has: one number per filter or column."""
    if bias is None:
        return False
    if term.kind == "conv2d":
        return bias.shape == (term.weight.shape[0], 1, 1)
    return term.kind == "matmul" and bias.shape == (term.weight.shape[1],)


def _ints(value: Attribute) -> tuple[int, ...]:
    assert isinstance(value, tuple), f"{value!r} is not a tuple"
    return value
