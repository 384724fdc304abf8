"""One inference again, with everything kept that a picture of it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import FRACTION_BITS
from tetrapla.simulators.scene_ import Load, Membrane, Raster, Sight, Slice
from tetrapla.simulators.spiking.axons import reaches
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import core_events
from tetrapla.simulators.spiking.engine import Engine
from tetrapla.simulators.spiking.meter import Meter
from tetrapla.simulators.spiking.program import Population, Program
from tetrapla.simulators.spiking.spec import SpikingSpec
from tetrapla.simulators.spiking.traffic import fanouts

ROWS: Final = 64  # neurons of a population in a raster
LINES: Final = 3  # neurons of a population whose voltages are drawn
STEPS: Final = 512  # timesteps of a train that are kept for a picture
_KEPT_VOLTAGES = 2**24  # timesteps times neurons above which none are kept: 64 MiB


@dataclass(frozen=True)
class SpikingScene:
    """The first inference of a run.

    Attributes:
        program: that ran.
        spec: of its chip.
        inputs: [1, elements] by name.
    """

    program: Program
    spec: SpikingSpec
    inputs: Mapping[str, Array]

    def look(self) -> Sight:
        """Run it once more, in NumPy; the spikes are the same, bit for bit."""
        program = self.program
        firing = [p for p in program.populations if p.fires]
        kept = sum(p.neurons for p in firing) * program.timesteps
        watched = frozenset(p.name for p in firing) if kept <= _KEPT_VOLTAGES else frozenset()
        made = Engine(program, None, watched)
        done = made.run(self.inputs)
        membranes = [_membrane(p, done[p.name]) for p in firing if p.name in watched]
        return Sight(
            timesteps=program.chip_timesteps,
            rasters=tuple(_raster(p, done[p.name].train) for p in firing),
            membranes=tuple(each for each in membranes if each is not None),
            slots=self.spec.mesh.cores_per_tile,
            loads=self._loads(made, done),
            busy=self._busy(made, done),
        )

    def _busy(self, made: Engine, done: Mapping[str, Activity]) -> tuple[Slice, ...]:
        # that file's recording is of a run, whose scene this is
        from tetrapla.simulators.spiking.recorded import layers_busy

        found = layers_busy(self.program, self.spec, made, done)
        return tuple(Slice(layer, layer, start, end) for layer, start, end in found)

    def _loads(self, made: Engine, done: Mapping[str, Activity]) -> tuple[Load, ...]:
        program, spec = self.program, self.spec
        meter = Meter(spec, program.chip_timesteps, 1)
        fanout, reach = fanouts(program, spec), reaches(program, spec, made.wired)
        found: list[Load] = []
        for p in program.populations:
            held = (reach[p.name], fanout[p.name])
            for core, events in core_events(program, p, done, *held):
                x, y = spec.position(core.index)
                busy = sum(meter.add(p.depth, events).values())
                fired = int(events.fired.sum())
                synops = sum(int(each.sum()) for *_, each in events.arrivals)
                slot = core.index % spec.mesh.cores_per_tile
                found.append(Load(core.index, x, y, slot, p.name, busy, fired, synops))
        return tuple(found)


def _raster(p: Population, train: Array) -> Raster:
    """Of neurons at equal distances."""
    count = min(ROWS, p.neurons)
    shown = np.arange(count) * p.neurons // max(1, count)
    spikes: Array = train[:STEPS, 0][:, shown] != 0
    return Raster(p.name, p.neurons, tuple(shown.tolist()), p.depth + p.latency, spikes)


def _membrane(p: Population, done: Activity) -> Membrane | None:
    """Of the neurons that fire most, of equals the first; None where a code has no voltage."""
    if not len(done.voltage) or p.feed is not None:
        return None
    spikes = np.abs(done.train[:, 0].astype(np.int64)).sum(axis=0)
    shown = np.argsort(-spikes, kind="stable")[:LINES]
    threshold = _threshold(p)
    limits = None if threshold is None else tuple(float(threshold[n]) for n in shown)
    voltage = done.voltage[:STEPS, 0][:, shown].astype(np.float64)
    return Membrane(p.name, tuple(shown.tolist()), p.depth, voltage, limits)


def _threshold(p: Population) -> Array | None:
    """By neuron, in the unit of its voltage."""
    if p.model == "integrate_and_fire":
        found = p.threshold
    elif "v_threshold" in p.parameters:
        found = p.parameters["v_threshold"]
    elif p.model == "spike.loihi" and "threshold" in p.parameters:
        found = p.parameters["threshold"].astype(np.int64) << FRACTION_BITS
    else:
        return None
    return np.broadcast_to(found, (p.neurons,))
