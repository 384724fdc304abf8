"""The machine: spikes travel from core to core, in integers or in float32.

The engine says which neurons fire when; counting and timing follow from the spikes. A
population of depth d is d timesteps behind the input, which counts in cycles and time, and
the values are those of the step-by-step order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import evaluated
from tetrapla.ir.spike.phase import gathered
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, standing
from tetrapla.simulators.spiking.axons import Reach, reaches
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import core_events
from tetrapla.simulators.spiking.detailed import Detailed
from tetrapla.simulators.spiking.engine import Engine, engine
from tetrapla.simulators.spiking.meter import Meter
from tetrapla.simulators.spiking.program import Feed, Population, Program, Readout
from tetrapla.simulators.spiking.scene import SpikingScene
from tetrapla.simulators.spiking.spec import SpikingSpec
from tetrapla.simulators.spiking.tally import Tally
from tetrapla.simulators.spiking.traffic import Fanout, fanouts

# spikes held at once: timesteps x inferences x neurons, one byte each
_HELD_SPIKES = 2**25


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
    count = len(next(iter(inputs.values()), ())) * program.batch
    return simulate(engine(program, count), spec, inputs)


def simulate(made: Engine, spec: SpikingSpec, inputs: Mapping[str, Array]) -> Run:
    """`run` on an engine, whose tables are kept from run to run."""
    program = made.program
    flat, invocations = inferences(program, inputs)
    tally = Tally(program, spec)
    states: dict[str, list[Array]] = {r.name: [] for r in program.readouts}
    spread = (fanouts(program, spec), reaches(program, spec, made.wired))
    for part in _chunks(program, invocations * program.batch):
        # chunks keep memory bounded; the results do not depend on them
        chunk = {name: array[part] for name, array in flat.items()}
        for readout, array in _chunk(made, spec, chunk, spread, tally):
            states[readout.name].append(array)
    values = {r.name: _invoked(r, states[r.name], invocations) for r in program.readouts}
    outputs = _host(program, values, invocations)
    return Run(
        outputs=outputs,
        layers=tuple(_layer(program, p, tally) for p in program.populations),
        cycles=float(program.chip_timesteps * program.batch),
        time_s=tally.time_s * program.batch,
        actions=standing(spec.cost, tally.time_s * program.batch),
        warnings=tally.warnings(),
        scene=SpikingScene(program, spec, {k: a[:1].copy() for k, a in flat.items()}),
    )


def _chunk(
    made: Engine,
    spec: SpikingSpec,
    inputs: Mapping[str, Array],
    spread: tuple[Mapping[str, Fanout], Mapping[str, Reach]],
    tally: Tally,
) -> Iterator[tuple[Readout, Array]]:
    program, (fanout, reach) = made.program, spread
    batch = len(next(iter(inputs.values())))
    meter = Meter(spec, program.chip_timesteps, batch)
    done = made.run(inputs)
    for p in program.populations:
        held = (reach[p.name], fanout[p.name])
        for core, events in core_events(program, p, done, *held):
            tally.add(p, core, events, meter.add(p.depth, events))
        tally.travelled(p, done[p.name], fanout[p.name])
    detailed = spec.noc.model != "simple"
    tally.finish(meter, Detailed(program, spec, made.wired).seconds(done) if detailed else None)
    held_by = {p.name: p for p in program.populations}
    for r in program.readouts:
        yield r, _read(r, held_by[r.population], done[r.population])


def _read(r: Readout, p: Population, done: Activity) -> Array:
    """What the host makes of a readout: [B, n], or [T, B, n] of a train or a voltage."""
    if r.of in ("train", "voltage"):
        whole = done.train if r.of == "train" else done.voltage
        return whole if r.wiring is None else whole[:, :, r.wiring.ravel()]
    match r.of:
        case "count":
            state = done.train.sum(axis=0, dtype=np.int32)
        case "level":
            state = gathered(done.train, str(p.words["code"]), 2**31 - 1)
        case _:
            state = done.train[0]
    if r.wiring is not None:
        state = state[:, r.wiring.ravel()]
    scaled: Array = state.astype(np.float32) * np.float32(r.scale)
    return scaled


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


def _invoked(r: Readout, parts: list[Array], invocations: int) -> Array:
    """The chunks of a readout as (invocations, *shape)."""
    if r.of not in ("train", "voltage"):
        return np.concatenate(parts).reshape(invocations, *r.shape)
    whole = np.concatenate(parts, axis=1)
    by_time = whole.reshape(r.shape[0], invocations, *r.shape[1:])
    return np.moveaxis(by_time, 1, 0)


def _host(program: Program, values: Mapping[str, Array], invocations: int) -> dict[str, Array]:
    held = dict(values)
    for step in program.host:
        rows = [
            evaluated(
                step.kind,
                [held[each][i] if isinstance(each, str) else each for each in step.operands],
                step.attributes,
            )
            for i in range(invocations)
        ]
        held[step.name] = np.stack(rows)
    return {name: held[step] for name, step in program.outputs}


def inferences(program: Program, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """The inputs as the engine takes them, [inferences, elements], and how many invocations.

    Raises:
        ModelError: an input is missing or not numbers, or the invocations differ.
    """
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
    feeds = {p.feed.input: p.feed for p in program.populations if p.feed is not None}
    flat = {
        name: _rows(array, feeds.get(name)).reshape(total, -1) for name, array in inputs.items()
    }
    return flat, invocations


def _rows(array: Array, feed: Feed | None) -> Array:
    """The inferences in front; (invocations, T, batch, ...) has time in between."""
    if feed is not None and feed.axes == "time_first":
        return np.ascontiguousarray(np.moveaxis(array, 1, 2))
    return np.asarray(array)


def _chunks(program: Program, inferences: int) -> Iterator[slice]:
    neurons = sum(p.neurons for p in program.populations)
    size = max(1, _HELD_SPIKES // max(1, program.timesteps * neurons))
    for start in range(0, inferences, size):
        yield slice(start, min(start + size, inferences))
