"""The first inference of a spiking machine, timestep by timestep, for a trace.

Neurons and synapses of a core are its two halves; a timestep lasts until the slowest of all
halves is done, and then comes the barrier. Under a detailed model of the network a timestep is
what that model says, and the halves are what the cores do in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.recording_ import Counter, Recording, Stretch
from tetrapla.simulators.report import Run
from tetrapla.simulators.spiking.axons import reaches
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import core_events, sent
from tetrapla.simulators.spiking.detailed import Detailed
from tetrapla.simulators.spiking.engine import Engine
from tetrapla.simulators.spiking.meter import Meter
from tetrapla.simulators.spiking.program import Program
from tetrapla.simulators.spiking.scene import SpikingScene
from tetrapla.simulators.spiking.spec import SpikingSpec
from tetrapla.simulators.spiking.traffic import fanouts

MOST: Final = 50_000  # slices of cores; more are told by layer, the slowest core's


def recorded(program: Program, spec: SpikingSpec, run: Run) -> Recording:
    """Which core was busy in which timestep, and how many spikes there were."""
    scene = run.scene
    assert isinstance(scene, SpikingScene), "a spiking run can be looked at"
    made = Engine(program, None, frozenset())
    done = made.run(scene.inputs)
    steps = program.chip_timesteps
    halves = _halves(program, spec, made, done)
    step_s = _steps(program, spec, made, done, halves)
    starts = np.concatenate([[0.0], np.cumsum(step_s)])
    by_core = 2 * steps * len(halves) <= MOST
    shown = halves if by_core else _by_layer(halves)
    found = [
        Stretch("timesteps", f"timestep {t}", float(starts[t]), float(starts[t + 1]))
        for t in range(steps)
    ]
    for name, (layer, neurons, synapses, _) in shown.items():
        for what, busy in (("neurons", neurons), ("synapses", synapses)):
            for t in np.nonzero(busy)[0].tolist():
                start = float(starts[t])
                end = min(start + float(busy[t]), float(starts[t + 1]))
                found.append(Stretch(f"{name} {what}", layer, start, end, {"timestep": t}))
    of = "the first inference, by core" if by_core else "the first inference, slowest cores"
    return Recording(tuple(found), _counters(program, done, halves, starts), of)


def layers_busy(
    program: Program, spec: SpikingSpec, made: Engine, done: Mapping[str, Activity]
) -> list[tuple[str, float, float]]:
    """By layer and timestep, from when to when its slowest core is busy, in seconds.

    The halves of a core act side by side, so it is busy as long as the slower one.
    """
    halves = _halves(program, spec, made, done)
    step_s = _steps(program, spec, made, done, halves)
    ends = np.cumsum(step_s)
    found: list[tuple[str, float, float]] = []
    for layer, neurons, synapses, _ in _by_layer(halves).values():
        busy = np.maximum(neurons, synapses)
        for t in np.nonzero(busy)[0].tolist():
            start = float(ends[t] - step_s[t])
            found.append((layer, start, min(start + float(busy[t]), float(ends[t]))))
    return found


_Half = tuple[str, Array, Array, Array]  # layer; seconds of both halves, synaptic events [T]


def _halves(
    program: Program, spec: SpikingSpec, made: Engine, done: Mapping[str, Activity]
) -> dict[str, _Half]:
    """By core: its layer, and by timestep its busy seconds and synaptic events."""
    fanout, reach = fanouts(program, spec), reaches(program, spec, made.wired)
    steps, found = program.chip_timesteps, dict[str, _Half]()
    for p in program.populations:
        for core, events in core_events(program, p, done, reach[p.name], fanout[p.name]):
            meter = Meter(spec, steps, 1)
            meter.add(p.depth, events)
            synops = np.zeros(steps, np.int64)
            for start, _, _, each in events.arrivals:
                synops[start : start + len(each)] += each[:, 0]
            neurons, synapses = (half[:, 0] for half in meter.halves_s)
            name = f"core {core.index}"
            if name in found:  # two populations share it
                _, other, others, more = found[name]
                neurons, synapses, synops = neurons + other, synapses + others, synops + more
            found[name] = (p.name, neurons, synapses, synops)
    return found


def _by_layer(halves: Mapping[str, _Half]) -> dict[str, _Half]:
    found: dict[str, _Half] = {}
    for layer, neurons, synapses, synops in halves.values():
        if layer in found:
            _, other, others, more = found[layer]
            neurons, synapses = np.maximum(neurons, other), np.maximum(synapses, others)
            synops = synops + more
        found[layer] = (layer, neurons, synapses, synops)
    return found


def _steps(
    program: Program,
    spec: SpikingSpec,
    made: Engine,
    done: Mapping[str, Activity],
    halves: Mapping[str, _Half],
) -> Array:
    """Seconds of every timestep."""
    if spec.noc.model != "simple":
        found: Array = Detailed(program, spec, made.wired).seconds(done)[:, 0]
        return found
    slowest = np.zeros(program.chip_timesteps)
    for _, neurons, synapses, _ in halves.values():
        slowest = np.maximum(slowest, np.maximum(neurons, synapses))
    tiles = len({core.index // spec.mesh.cores_per_tile for core in program.cores})
    return np.asarray(slowest + spec.barrier.seconds(tiles))


def _counters(
    program: Program, done: Mapping[str, Activity], halves: Mapping[str, _Half], starts: Array
) -> tuple[Counter, ...]:
    """Spikes by population and synaptic events of all cores, from timestep to timestep."""
    steps, found = program.chip_timesteps, list[Counter]()

    def counter(name: str, values: Array) -> None:
        points = zip([*starts.tolist()], [*values.tolist(), 0], strict=True)
        found.append(Counter(name, tuple((float(s), float(v)) for s, v in points)))

    for p in program.populations:
        if p.fires:
            spikes = sent(p, done[p.name].train)[:, 0].sum(axis=1, dtype=np.int64)
            values, first = np.zeros(steps, np.int64), p.depth + p.latency
            values[first : first + len(spikes)] += spikes[: steps - first]
            counter(f"spikes of {p.name}", values)
    counter("synaptic events", sum((h[3] for h in halves.values()), np.zeros(steps, np.int64)))
    return tuple(found)
