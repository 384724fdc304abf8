"""The machine: spikes travel from core to core, in integers.

Populations run in order of depth, each core for all timesteps and many inferences at once: a
core multiplies the spikes that its axons carry with its synapse memory, and its neurons
integrate and fire. The network has no loops, so this equals the step-by-step order; a
population of depth d is d timesteps behind the input, which counts in cycles and time.
Sums of weights are exact: in float32 up to 2**24, in float64 beyond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import evaluated
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, standing
from tetrapla.simulators.spiking.membrane import Activity, integrate, maximum
from tetrapla.simulators.spiking.meter import FORMATS, Events, Meter
from tetrapla.simulators.spiking.program import Core, Encoder, Population, Program, Readout
from tetrapla.simulators.spiking.spec import SpikingSpec
from tetrapla.simulators.spiking.tally import Tally
from tetrapla.simulators.spiking.traffic import Fanout, fanouts
from tetrapla.simulators.spiking.wiring import Connections, connections

# spikes held at once: timesteps x inferences x neurons, one byte each
_HELD_SPIKES = 2**25
# every integer up to here is a float32, so 0/1 spikes times weights are summed without error
_EXACT_IN_FLOAT32 = 2**24


def run(program: Program, spec: SpikingSpec, inputs: Mapping[str, Array], key: Key) -> Run:
    """Simulate; the machine is deterministic and ignores `key`.

    Args:
        program: placed on cores.
        spec: of the chip that it was placed for.
        inputs: float32 arrays of shape (invocations, batch, ...) by input name.
        key: unused; every family's machine takes one.

    Raises:
        ModelError: an input is missing, or the invocations differ.
    """
    del key
    flat, invocations = _inferences(program, inputs)
    tally = Tally(program, spec)
    states: dict[str, list[Array]] = {r.name: [] for r in program.readouts}
    fanout = fanouts(program, spec)
    for part in _chunks(program, invocations * program.batch):
        # chunks keep memory bounded; the results do not depend on them
        chunk = {name: array[part] for name, array in flat.items()}
        for readout, array in _simulate(program, spec, chunk, fanout, tally):
            states[readout.name].append(array)
    values = {
        r.name: np.concatenate(states[r.name]).reshape(invocations, *r.shape)
        for r in program.readouts
    }
    outputs = _host(program, values, invocations)
    return Run(
        outputs=outputs,
        layers=tuple(_layer(program, p, tally) for p in program.populations),
        cycles=float(program.chip_timesteps * program.batch),
        time_s=tally.time_s * program.batch,
        actions=standing(spec.cost, tally.time_s * program.batch),
        warnings=tally.warnings(),
    )


def _simulate(
    program: Program,
    spec: SpikingSpec,
    inputs: Mapping[str, Array],
    fanout: Mapping[str, Fanout],
    tally: Tally,
) -> Iterator[tuple[Readout, Array]]:
    batch = len(next(iter(inputs.values())))
    meter = Meter(spec, program.chip_timesteps, batch)
    depth = {p.name: p.depth for p in program.populations}
    trains: dict[str, Array] = {}
    for p in program.populations:
        steps = program.timesteps if p.model != "readout" else 1
        dtype = np.int8 if p.model != "readout" else np.int32
        train = np.zeros((steps, batch, p.neurons), dtype)
        for core in (c for c in program.cores if c.population == p.name):
            heard = Heard(p, core, trains, (program.timesteps, batch))
            done = _fire(p, core, heard, inputs)
            train[:, :, core.neurons] = done.train
            events = core_events(p, core, done, fanout[p.name], heard, depth)
            tally.add(p, core, events, done, fanout[p.name], meter.add(p.depth, events))
        trains[p.name] = train
    tally.finish(meter)
    for r in program.readouts:
        train = trains[r.population]
        state = train.sum(axis=0, dtype=np.int32) if r.counts_spikes else train[0]
        if r.wiring is not None:
            state = state[:, r.wiring.ravel()]
        yield r, state.astype(np.float32) * np.float32(r.scale)


class Heard:
    """What one core's axons carry: per synapse group the spikes [T, B, axons] it hears.

    `fan` counts, per axon, the synapses that a spike of it reaches on the core.
    """

    def __init__(
        self,
        population: Population,
        core: Core,
        trains: Mapping[str, Array],
        extent: tuple[int, int],
    ) -> None:
        self.extent = extent
        self.lists: list[Connections] = []
        self.spikes: list[Array] = []
        self.fan: list[Array] = []
        for synapses, heard in zip(population.synapses, core.axons, strict=True):
            listed = connections(synapses, population.shape, core.neurons)
            at = np.searchsorted(heard, listed.source)
            at = np.minimum(at, max(len(heard) - 1, 0))
            # a spike that no axon carries never arrives
            kept = heard[at] == listed.source if len(heard) else np.zeros(len(at), np.bool_)
            self.lists.append(Connections(listed.target[kept], at[kept], listed.weight[kept]))
            self.spikes.append(trains[synapses.source][:, :, heard])
            self.fan.append(np.bincount(at[kept], minlength=len(heard)))

    def current(self, group: int, neurons: int) -> Array:
        """The current of one synapse group, i32 [T, B, neurons], before its exponent."""
        target, source, weight = self.lists[group]
        spikes = self.spikes[group]
        block = np.zeros((spikes.shape[2], neurons), np.int32)
        np.add.at(block, (source, target), weight)
        largest = np.abs(block).sum(axis=0, dtype=np.int64).max(initial=0)
        exact = np.float32 if largest <= _EXACT_IN_FLOAT32 else np.float64
        # -1 would not do: a core that hears only padding has no axons
        rows = spikes.reshape(prod(self.extent), spikes.shape[2]).astype(exact)
        product: Array = (rows @ block.astype(exact)).astype(np.int32)
        return product.reshape(*self.extent, neurons)


def _fire(p: Population, core: Core, heard: Heard, inputs: Mapping[str, Array]) -> Activity:
    n = len(core.neurons)
    if p.model == "maximum":
        target, source, _ = heard.lists[0]
        fed, starts = np.unique(target, return_index=True)
        return maximum(heard.spikes[0][:, :, source], starts, fed, n)
    constant = np.broadcast_to(p.bias, (p.neurons,))[core.neurons]
    bias = np.broadcast_to(constant, (heard.extent[1], n))
    for encoder in p.encoders:
        bias = bias + _encoded(encoder, inputs[encoder.input])[:, core.neurons]
    current = np.repeat(bias[None].astype(np.int32), heard.extent[0], axis=0)
    for group, synapses in enumerate(p.synapses):
        current += heard.current(group, n) << synapses.exponent
    threshold = None
    if p.model == "integrate_and_fire":
        threshold = np.broadcast_to(p.threshold, (p.neurons,))[core.neurons].astype(np.int32)
    return integrate(
        current,
        bias != 0,
        threshold,
        initial=p.initial,
        reset=p.reset,
        compare=p.compare,
        state_bits=p.state_bits,
    )


def core_events(
    p: Population,
    core: Core,
    done: Activity,
    fanout: Fanout,
    heard: Heard,
    depth: Mapping[str, int],
) -> Events:
    """What one core does and hears: spikes, packets and synaptic events by timestep."""
    silent = p.model == "readout"
    fired = np.zeros_like(done.updated) if silent else done.train.sum(axis=2, dtype=np.int64)
    packets = np.zeros_like(fired)
    if not silent:
        packets = _weighted(done.train, fanout.packets[core.neurons])
    events = Events(len(core.neurons), done.updated, fired, packets)
    for synapses, spikes, fan in zip(p.synapses, heard.spikes, heard.fan, strict=True):
        arriving = spikes.sum(axis=2, dtype=np.int64)
        synops = _weighted(spikes, fan)
        events.arrivals.append(
            (depth[synapses.source], FORMATS[synapses.kind], arriving, synops)
        )
    return events


def _weighted(train: Array, weight: Array) -> Array:
    """Sum of the integer weights of the neurons that fired, [T, B]; exact in float64."""
    rows = train.reshape(prod(train.shape[:2]), train.shape[2]).astype(np.float64)
    return np.rint(rows @ weight.astype(np.float64)).astype(np.int64).reshape(train.shape[:2])


def _encoded(encoder: Encoder, x: Array) -> Array:
    level = np.rint(x / np.float32(encoder.scale))
    bias: Array = np.clip(level, 0, encoder.high).astype(np.int32)
    return bias.reshape(len(x), -1)


def _layer(program: Program, p: Population, tally: Tally) -> LayerRun:
    return LayerRun(
        name=p.name,
        op=p.op,
        cycles=float(program.timesteps * program.batch),
        macs=p.macs * program.batch,
        utilization_frac=tally.utilization_frac(p),
        bound_by=tally.bound_by(p),
        actions={k: n * program.batch for k, n in tally.actions(p).items()},
    )


def _host(program: Program, values: Mapping[str, Array], invocations: int) -> dict[str, Array]:
    held = dict(values)
    for step in program.host:
        rows = [
            evaluated(step.kind, [held[step.operand][i]], step.attributes)
            for i in range(invocations)
        ]
        held[step.name] = np.stack(rows)
    return {name: held[step] for name, step in program.outputs}


def _inferences(program: Program, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    if set(inputs) != set(program.inputs):
        raise ModelError(f"inputs must be named {list(program.inputs)}, not {sorted(inputs)}")
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1 or 0 in counts:
        raise ModelError(
            f"inputs must hold one equal, positive number of invocations, not {sorted(counts)}"
        )
    for name, array in inputs.items():
        if np.isnan(array).any():
            raise ModelError(f"input '{name}' must hold numbers, not NaN; mend the data")
    (invocations,) = counts
    total = invocations * program.batch
    return {k: np.asarray(a).reshape(total, -1) for k, a in inputs.items()}, invocations


def _chunks(program: Program, inferences: int) -> Iterator[slice]:
    neurons = sum(p.neurons for p in program.populations)
    size = max(1, _HELD_SPIKES // max(1, program.timesteps * neurons))
    for start in range(0, inferences, size):
        yield slice(start, min(start + size, inferences))
