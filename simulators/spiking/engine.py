"""Spikes of all populations: whole trains at once, step by step where the network has a cycle.

Populations are computed in the program's order. Those that an edge leads back over are computed
together, one timestep after the other; all others for all timesteps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike.phase import encoded, written
from tetrapla.simulators.spiking import sums
from tetrapla.simulators.spiking.cells import Activity, Cells, cells, maximum, maximum_binary
from tetrapla.simulators.spiking.layout import Table, Wired, wired
from tetrapla.simulators.spiking.program import Encoder, Feed, Population, Program
from tetrapla.simulators.spiking.wiring import by_source, connections

# synapses times timesteps below which NumPy is done before compiled code is loaded, assumed
_WORTH_COMPILING = 2**26


@dataclass(frozen=True)
class Engine:
    """A program ready to run.

    Attributes:
        program: what runs.
        fast: the compiled kernels, or None for NumPy's.
        watched: populations whose voltages are kept for a picture.
    """

    program: Program
    fast: ModuleType | None
    watched: frozenset[str] = frozenset()

    @cached_property
    def wired(self) -> Mapping[str, Wired]:
        """What reaches each population."""
        sizes = {p.name: p.neurons for p in self.program.populations}
        sort = self.fast.by_source if self.fast else by_source
        return {
            p.name: wired(
                p, [c for c in self.program.cores if c.population == p.name], sizes, sort
            )
            for p in self.program.populations
        }

    @cached_property
    def voltages(self) -> frozenset[str]:
        """The populations whose voltages somebody reads."""
        read = frozenset(r.population for r in self.program.readouts if r.of == "voltage")
        return read | self.watched

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Activity]:
        """What every population does.

        Args:
            inputs: [B, elements] by name.

        Raises:
            ModelError: an input that must be spikes does not fit its axes.
        """
        found: dict[str, Activity] = {}
        for group in groups(self.program):
            if len(group) == 1 and not _loops(group[0]):
                (p,) = group
                found[p.name] = self._whole(p, inputs, found)
            else:
                found |= self._by_step(group, inputs, found)
        return found

    def _whole(
        self, p: Population, inputs: Mapping[str, Array], found: Mapping[str, Activity]
    ) -> Activity:
        if p.feed is not None:
            return _fed(p, p.feed, inputs[p.feed.input], self.program.timesteps)
        trains = {name: done.train for name, done in found.items()}
        batch = _batch(inputs)
        if p.model.startswith("maximum"):
            return self._maximum(p, trains)
        bias = _bias(p, inputs, batch)
        current = np.empty((self.program.timesteps, batch, p.neurons), bias.dtype)
        current[: p.bias_from] = 0
        current[p.bias_from :] = 0 if bias.dtype.kind == "f" else bias
        for table in self.wired[p.name].tables:
            self._add(_late(trains[table.source], table.lag), table, current)
        if bias.dtype.kind == "f":  # the sum comes first: floats round
            current[p.bias_from :] += bias
        keeps = p.name in self.voltages
        return cells(p, driven(p, bias), self.fast, voltage=keeps).advance(current)

    def _maximum(self, p: Population, trains: Mapping[str, Array]) -> Activity:
        (synapses,) = p.synapses
        (heard,) = self.wired[p.name].heard
        target, source, _, _ = connections(synapses, p.shape, np.arange(p.neurons))
        here = np.empty(p.neurons, np.int64)
        for place, core in enumerate(c for c in self.program.cores if c.population == p.name):
            here[core.neurons] = place
        kept = heard[source, here[target]]
        fed, starts = np.unique(target[kept], return_index=True)
        follow = maximum if p.model == "maximum" else maximum_binary
        return follow(trains[synapses.source][:, :, source[kept]], starts, fed, p.neurons)

    def _by_step(
        self,
        group: tuple[Population, ...],
        inputs: Mapping[str, Array],
        found: Mapping[str, Activity],
    ) -> dict[str, Activity]:
        """A group with cycles, one timestep after the other."""
        steps, batch = self.program.timesteps, _batch(inputs)
        made = {p.name: _Made(p, _bias(p, inputs, batch), steps, self) for p in group}
        trains = {name: done.train for name, done in found.items()}
        trains |= {name: each.train for name, each in made.items()}
        for t in range(steps):
            for p in group:
                each = made[p.name]
                current = each.start(t)
                for table in self.wired[p.name].tables:
                    if t >= table.lag:
                        self._add(trains[table.source][t - table.lag, None], table, current)
                each.advance(t, current)
        return {name: each.done() for name, each in made.items()}

    def _add(self, train: Array, table: Table, current: Array) -> None:
        rows = train.shape[0] * train.shape[1]
        spikes = train.reshape(rows, train.shape[2])
        into = current.reshape(rows, current.shape[2])
        if self.fast is None:
            sums.add(spikes, table, into)
        else:
            self.fast.add(spikes, table, into)


class _Made:
    """One population of a group with cycles, as far as it is computed."""

    def __init__(self, p: Population, bias: Array, steps: int, engine: Engine) -> None:
        shape = (steps, *bias.shape)
        self._p, self._bias = p, bias
        keeps = p.name in engine.voltages
        self._cells: Cells = cells(p, driven(p, bias), engine.fast, voltage=keeps)
        self._busy = np.empty(shape, np.bool_)
        self._voltage: list[Array] = []
        self._met = 0
        self.train = np.zeros(shape, np.int8)

    def start(self, t: int) -> Array:
        """The current of a timestep, [1, B, n], before any spike."""
        integers = self._bias.dtype.kind != "f"
        whole = integers and t >= self._p.bias_from
        held: Array = (self._bias if whole else np.zeros_like(self._bias))[None].copy()
        return held

    def advance(self, t: int, current: Array) -> None:
        """Take a timestep's current."""
        if self._bias.dtype.kind == "f" and t >= self._p.bias_from:
            current += self._bias
        done = self._cells.advance(current)
        self.train[t], self._busy[t] = done.train[0], done.updated[0]
        self._met += done.saturated
        self._voltage.append(done.voltage)

    def done(self) -> Activity:
        """All timesteps."""
        return Activity(self.train, self._busy, self._met, np.concatenate(self._voltage))


def engine(program: Program, inferences: int, *, fast: bool | None = None) -> Engine:
    """The engine of a program.

    Args:
        program: placed on cores.
        inferences: how many will run.
        fast: whether to use compiled kernels (extra `fast`); None where they are there and
            the work is worth it. Spikes do not depend on it.
    """
    if fast is None:
        synapses = sum(
            int(np.prod(s.weight.shape)) for p in program.populations for s in p.synapses
        )
        work = synapses * program.timesteps * inferences
        fast = work >= _WORTH_COMPILING and find_spec("numba") is not None
    if not fast:
        return Engine(program, None)
    from tetrapla.simulators.spiking import fast as compiled

    return Engine(program, compiled)


def groups(program: Program) -> Iterator[tuple[Population, ...]]:
    """The populations in order; those that a cycle leads over together."""
    place = {p.name: i for i, p in enumerate(program.populations)}
    last = list(range(len(place)))
    for i, p in enumerate(program.populations):
        for s in p.synapses:
            last[i] = max(last[i], place[s.source])
            if place[s.source] >= i and s.least_lag < 1:
                raise ModelError(
                    f"population {p.name}: spikes of {s.source}, which is computed later, must "
                    f"wait at least 1 timestep, not {s.least_lag}; compile the model again"
                )
    first = 0
    while first < len(last):
        end = first
        at = first
        while at <= end:
            end = max(end, last[at])
            at += 1
        yield program.populations[first : end + 1]
        first = end + 1


def driven(p: Population, bias: Array) -> Array:
    """Bool [B, n]: whether a neuron has an input in every timestep."""
    found: Array = bias != 0
    for name in ("bias", "v_leak"):
        if name in p.parameters:
            found = found | (np.broadcast_to(p.parameters[name], (p.neurons,)) != 0)
    return found


def _loops(p: Population) -> bool:
    return any(s.source == p.name for s in p.synapses)


def _batch(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))


def _bias(p: Population, inputs: Mapping[str, Array], batch: int) -> Array:
    """The constant current [B, n], with what encoders make of the inputs."""
    constant = np.broadcast_to(p.bias, (p.neurons,))
    bias = np.broadcast_to(constant, (batch, p.neurons))
    for encoder in p.encoders:
        bias = bias + _encoded(encoder, inputs[encoder.input])
    return bias


def _encoded(encoder: Encoder, x: Array) -> Array:
    level = np.rint(x / np.float32(encoder.scale))
    bias: Array = np.clip(level, 0, encoder.high).astype(np.int32)
    return bias.reshape(len(x), -1)


def _fed(p: Population, feed: Feed, x: Array, timesteps: int) -> Activity:
    """Spikes that the host sends, [T, B, n]."""
    batch = len(x)
    none = np.zeros((0, batch, p.neurons), np.int32)
    if feed.code:
        train = written(encoded(x, feed.scale, feed.high), timesteps, feed.code)
    else:
        train = x.reshape(batch, timesteps, p.neurons).transpose(1, 0, 2)
        if feed.payload == "i8":
            level = np.rint(train / np.float32(feed.scale))
            train = np.clip(level, feed.low, feed.high).astype(np.int8)
        train = np.ascontiguousarray(train)
    return Activity(train, np.zeros(train.shape, np.bool_), 0, none)


def _late(train: Array, lag: int) -> Array:
    """The train, `lag` timesteps later."""
    if not lag:
        return train
    moved = np.zeros_like(train)
    moved[lag:] = train[: len(train) - lag]
    return moved
