"""Neurons through timesteps: from currents to spikes, a state that goes on, and who was busy.

Arrays are [T, B, n]: timesteps, inferences side by side, neurons. `fast` has the commonest
ones compiled; the others, and all without numba, are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.phase import charges, told, written
from tetrapla.simulators.spiking.program import Population


class Activity(NamedTuple):
    """What neurons did.

    Attributes:
        train: the spikes i8, or as its only row a readout's membrane.
        updated: bool; whether a neuron had a charge or an input. A code's neurons go on for a
            phase while they fire.
        saturated: how often a membrane met its limit.
        voltage: the first state behind every timestep; empty where nobody asked for it.
    """

    train: Array
    updated: Array
    saturated: int
    voltage: Array


class Cells(Protocol):
    """A population's neurons; `advance` may be called with one timestep at a time."""

    def advance(self, current: Array) -> Activity:
        """Go through the timesteps of a current."""
        ...


def cells(
    p: Population, driven: Array, fast: ModuleType | None, *, voltage: bool = False
) -> Cells:
    """The population's neurons at rest.

    Args:
        p: the population.
        driven: bool [B, n], whether a neuron has a constant input.
        fast: the compiled kernels, or None for NumPy's.
        voltage: whether to keep the first state of every timestep.
    """
    if p.model in ("integrate_and_fire", "readout"):
        return _Integrating(p, driven, None if voltage else fast, voltage)
    if p.model == "spike.phase":
        return _Phased(p, driven)
    kind = _COMPILED.get(p.model, _Stepping)
    return kind(p, driven, fast, voltage)


class _Integrating:
    """Without leak, in 32 bits, saturating; a readout gathers and never fires."""

    def __init__(
        self, p: Population, driven: Array, fast: ModuleType | None, voltage: bool
    ) -> None:
        self._p, self._driven, self._fast, self._keeps = p, driven, fast, voltage
        self._limit = 2 ** (p.state_bits - 1) - 1
        self._theta = np.broadcast_to(p.threshold, (p.neurons,)).astype(np.int32)
        self._v = np.zeros(driven.shape, np.int32)
        if p.model != "readout" and p.initial == "half":
            self._v += self._theta >> 1

    def advance(self, current: Array) -> Activity:
        """As `Cells`."""
        train: Array = np.zeros(current.shape, np.int8)
        updated = np.empty(current.shape, np.bool_)
        voltage = np.zeros((len(current) if self._keeps else 0, *self._v.shape), np.int32)
        if self._fast is not None and self._p.model != "readout":
            rule = (self._p.reset == "subtract", self._p.compare == "gt")
            held = (self._v, self._theta, rule, self._limit, train, updated)
            met = self._fast.integrate(current, self._driven, *held)
            return Activity(train, updated, met, voltage)
        met = 0
        for t, now in enumerate(current):
            updated[t] = (self._v != 0) | (now != 0) | self._driven
            self._v += now
            met += self._clamp()
            if self._p.model != "readout":
                train[t] = self._fire()
            if self._keeps:
                voltage[t] = self._v
        if self._p.model == "readout":
            train = self._v[None].copy()
        return Activity(train, updated, met, voltage)

    def _fire(self) -> Array:
        strict = self._p.compare == "gt"
        fired: Array = self._v > self._theta if strict else self._v >= self._theta
        if self._p.reset == "subtract":
            self._v -= fired * self._theta
        else:
            self._v[fired] = 0
        return fired

    def _clamp(self) -> int:
        over = int(np.count_nonzero(np.abs(self._v) > self._limit))
        if over:
            np.clip(self._v, -self._limit, self._limit, out=self._v)
        return over


class _Phased:
    """Gathers all timesteps that it is given, then fires for as many."""

    def __init__(self, p: Population, driven: Array) -> None:
        self._p, self._driven = p, driven
        words: Mapping[str, Any] = p.words
        self._code, self._levels = str(words["code"]), int(words["levels"])
        self._limit = 2 ** (p.state_bits - 1) - 1

    def advance(self, current: Array) -> Activity:
        """As `Cells`."""
        steps = len(current)
        reads = not self._p.fires
        updated = np.zeros((steps * (1 if reads else 2), *current.shape[1:]), np.bool_)
        before = np.zeros(current.shape[1:], np.int64)
        met = 0
        for t, (charge, over) in enumerate(charges(current, self._code, self._limit)):
            updated[t] = (before != 0) | (current[t] != 0) | self._driven
            before, met = charge.copy(), met + over
        start = self._p.parameters["start"]
        none = np.zeros((0, *current.shape[1:]), np.int32)
        if reads:
            total = np.clip(before + start, -self._limit, self._limit)
            return Activity(total[None].astype(np.int32), updated, met, none)
        updated[steps:] = before + start != 0
        held = (self._p.parameters["theta"], self._levels, self._limit)
        level = told(before, start, *held)
        return Activity(written(level, steps, self._code), updated, met, none)


class _Stepping:
    """Any neuron of the dialect, by its operator's own `step`, or by a kernel of `fast`."""

    kernel = ""

    def __init__(
        self, p: Population, driven: Array, fast: ModuleType | None, voltage: bool
    ) -> None:
        self._voltage, self._driven = voltage, driven
        self._compiled: Any = None
        op: Any = OPS[p.model]
        self._op = op
        self._words: dict[str, Any] = dict(p.words)
        self._given = {name: a for name, a in p.parameters.items() if name != "start"}
        start = p.parameters["start"]
        # how many states a program has is not its operator's, but what it starts from
        states = max(self._op.states, len(start) if start.ndim else 1)
        self._state = np.empty((states, *driven.shape), start.dtype)
        self._state[...] = (
            start.reshape(len(start), -1, start.shape[-1]) if start.ndim else start
        )

        if self.kernel and fast is not None:
            self._compiled = getattr(fast, self.kernel)
            self._held = self._rule()

    def advance(self, current: Array) -> Activity:
        """As `Cells`."""
        train = np.empty(current.shape, np.int8)
        updated = np.empty(current.shape, np.bool_)
        voltage = self._kept_voltages(len(current))
        if self._compiled is not None:
            out = (*self._held, train, updated, voltage)
            self._compiled(current, self._driven, self._state, *out)
            return Activity(train, updated, 0, voltage)
        with np.errstate(all="ignore"):  # infinity and NaN are values
            for t, now in enumerate(current):
                updated[t] = (self._state != 0).any(axis=0) | (now != 0) | self._driven
                train[t] = self._op.step(self._state, now, **self._given, **self._words)
                if len(voltage):
                    voltage[t] = self._state[0]
        return Activity(train, updated, 0, voltage)

    def _kept_voltages(self, steps: int) -> Array:
        shape = (steps if self._voltage else 0, *self._driven.shape)
        return np.empty(shape, self._state.dtype)

    def _each(self, name: str, default: float = 0) -> Array:
        """A parameter of every neuron, contiguous, in the state's type."""
        n = self._driven.shape[1]
        given = self._given.get(name, np.asarray(default))
        flat = np.broadcast_to(given, (n,)).astype(self._state.dtype)
        return np.ascontiguousarray(flat)

    def _rule(self) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        """The kernel's parameters and rule."""
        raise NotImplementedError


class _LoihiCells(_Stepping):
    """`spike.loihi`; the rule of the kernel is the policy's, in numbers."""

    kernel = "loihi"

    def _rule(self) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        words = self._words
        policy = loihi.POLICIES[words["policy"]]
        names = ("current_decay", "voltage_decay", "threshold", "bias")
        rule = (
            words["exponent"] if policy.exponent == "sum" else 0,
            policy.sum_bits or 0,
            policy.current != "keep",
            int(policy.current == "wrap_low"),
            policy.bias == "current",
            words["refractory"],
            (0, -1) if policy is loihi.BRIAN2 else (words["lowest"], words["highest"]),
        )
        return tuple(self._each(name) for name in names), rule


class _LeakyCells(_Stepping):
    """`spike.if`, `spike.lif` and `spike.cuba_lif`; exponentials are NumPy's in both twins."""

    kernel = "leaky"

    def _rule(self) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        words = self._words
        slow = "tau_mem" in self._given
        tau = self._each("tau_mem" if slow else "tau", 1)
        tau_i = self._each("tau_syn", 1)
        with np.errstate(all="ignore"):
            kept, kept_i = np.exp(-1 / tau), np.exp(-1 / tau_i)
        reset = "v_reset" if words["reset"] == "to_value" else ""
        parameters = (
            *(tau, kept, self._each("r"), self._each("v_leak"), self._each("v_threshold")),
            *(self._each(reset), tau_i, kept_i, self._each("w_in")),
        )
        method = ("euler", "zoh", "exponential").index(str(words.get("method", "euler"))) + 1
        firing = (
            words["reset"] == "subtract",
            words["reset_time"] == "next",
            words["reset_time"] == "held",
            words["compare"] == "gt",
            words["spikes"] == "many",
        )
        return parameters, (method if "method" in words else 0, firing)


_COMPILED: Mapping[str, type[_Stepping]] = {
    "spike.loihi": _LoihiCells,
    "spike.if": _LeakyCells,
    "spike.lif": _LeakyCells,
    "spike.cuba_lif": _LeakyCells,
}


def maximum(arriving: Array, starts: Array, fed: Array, neurons: int) -> Activity:
    """Fire as often as the most active input of each neuron.

    Args:
        arriving: i8 [T, B, synapses], the spike at each synapse, target by target.
        starts: first synapse of each fed neuron.
        fed: the neurons that have synapses.
        neurons: how many there are.
    """
    steps, batch, _ = arriving.shape
    counts = np.zeros(arriving.shape[1:], np.int32)
    most = np.zeros((batch, neurons), np.int32)
    train = np.zeros((steps, batch, neurons), np.int8)
    updated = np.zeros((steps, batch, neurons), np.bool_)
    for t in range(steps):
        if not len(fed):
            break
        counts += arriving[t]
        now = most.copy()
        now[:, fed] = np.maximum.reduceat(counts, starts, axis=1)
        updated[t, :, fed] = (np.add.reduceat(counts, starts, axis=1) != 0).T
        train[t] = now - most
        most = now
    return Activity(train, updated, 0, np.zeros((0, batch, neurons), np.int32))


def maximum_binary(arriving: Array, starts: Array, fed: Array, neurons: int) -> Activity:
    """Fire the bits of the largest input, the highest first; arguments as of `maximum`."""
    steps, batch, synapses = arriving.shape
    sizes = np.diff(np.append(starts, synapses))
    left = np.ones((batch, synapses), np.bool_)
    train = np.zeros((steps, batch, neurons), np.int8)
    updated = np.zeros((steps, batch, neurons), np.bool_)
    for t in range(steps):
        if not len(fed):
            break
        bits = arriving[t] != 0
        most = np.logical_or.reduceat(bits & left, starts, axis=1)
        left &= bits == np.repeat(most, sizes, axis=1)
        train[t, :, fed] = most.T
        updated[t, :, fed] = np.logical_or.reduceat(bits, starts, axis=1).T
    return Activity(train, updated, 0, np.zeros((0, batch, neurons), np.int32))
