"""Synaptic events per second of one core: nets A, B4k and B10k, in floats and in integers.

``python benchmarks/bench_spiking.py``

A is 784-1024-1024-10, all-to-all, 10 % of the inputs firing; B4k and B10k are sparse recurrent
nets with 400 and 1000 targets a neuron. A synaptic event is one weight added for one spike.
The networks are drawn from one seed; that the floats' spikes have the total that other engines
find on them is checked before anything is timed. `int8` has 8-bit weights and Loihi's neuron;
`counted` is the whole machine, with counters of every core, energy and time. CPU seconds, the
best of `ROUNDS`. Peers that are installed (Brian2, snnTorch, SANA-FE) run the same nets; a
ratio is ours over theirs: in float32, and for SANA-FE, which counts too, `counted`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import Any

import numpy as np
from spiking_peers import peers

from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.machine import simulate
from tetrapla.simulators.spiking.program import Feed

ROUNDS = 7
TOTALS = {"A": 7055, "B4k": 36905, "B10k": 72227}
_KEPT = 0.9  # of a voltage, in a timestep
_SIZES = (784, 1024, 1024, 10)
_NONE = np.zeros(1, np.float32)


@dataclass(frozen=True)
class Net:
    """A program, its input, and the spikes that it must make in all."""

    name: str
    program: Program
    inputs: dict[str, Array]

    def events(self, trains: dict[str, Any]) -> int:
        """Synaptic events of a run, without those of the inputs that are currents."""
        total = 0
        for p in self.program.populations:
            for s in p.synapses:
                if s.kind == "scale":
                    continue
                each = int(np.count_nonzero(trains[s.source].train))
                fan = s.weight.shape[1] if s.kind == "matmul" else len(s.weight) // p.neurons
                total += each * fan
        return total


def nets() -> Iterator[Net]:
    """The three, from one generator in this order: A, B10k, B4k."""
    rng = np.random.default_rng(1)
    weights = [
        rng.normal(-0.002, sigma, shape).astype(np.float32)
        for *shape, sigma in zip(_SIZES, _SIZES[1:], (0.055, 0.075, 0.12), strict=False)
    ]
    yield _layered(weights, rng.random((200, 784)) < 0.10)
    for name, neurons, targets in (("B10k", 10_000, 1000), ("B4k", 4000, 400)):
        yield _recurrent(name, neurons, targets, rng)


def _layered(weights: list[Array], spikes: Array) -> Net:
    feed = Feed("x", 1.0, 0, 1, "time_first")
    populations = [Population("x", "input", "input", (784,), 0, (), _NONE, _NONE, feed=feed)]
    for i, weight in enumerate(weights):
        size = weight.shape[1]
        synapses = Synapses("matmul", populations[-1].name, weight.shape[:1], None, weight)
        populations.append(_leaky(f"l{i}", size, i + 1, (synapses,)))
    x = spikes.astype(np.int8)[None, :, None]
    return Net("A", _program("A", populations, len(spikes)), {"x": x})


def _recurrent(name: str, neurons: int, targets: int, rng: np.random.Generator) -> Net:
    scale = 0.5 / np.sqrt(targets)
    target = np.empty((neurons, targets), np.int32)
    for n in range(neurons):
        target[n] = np.sort(rng.choice(neurons, targets, replace=False))
    excite = int(0.8 * neurons)
    weight = np.empty((neurons, targets), np.float32)
    weight[:excite] = rng.uniform(0.5, 1.5, (excite, targets)) * scale / 2
    weight[excite:] = -5 * rng.uniform(0.5, 1.5, (neurons - excite, targets)) * scale / 2
    current = rng.normal(0.10, 0.20, (250, neurons)).astype(np.float32)
    source = np.repeat(np.arange(neurons, dtype=np.int32), targets)
    frame, lag = (neurons,), np.ones(1, np.int32)
    ends = np.stack([source, target.ravel()])
    feed = Feed("x", 1.0, 0, 0, "time_first", payload="f32")
    own = Synapses("sparse", "net", frame, None, weight.ravel(), ends=ends, lags=lag)
    given = Synapses("scale", "x", frame, None, np.ones(1, np.float32))
    populations = [
        Population("x", "input", "input", frame, 0, (), _NONE, _NONE, feed=feed),
        _leaky("net", neurons, 1, (given, own)),
    ]
    return Net(name, _program(name, populations, 250), {"x": current[None, :, None]})


def _leaky(name: str, size: int, depth: int, synapses: tuple[Synapses, ...]) -> Population:
    """``v = 0.9 v + current``, a spike above 1, then 0."""
    tau = -1 / np.log(_KEPT)
    given = {"tau": tau, "r": tau, "v_leak": 0, "v_threshold": 1}
    words = {"method": "exponential", "reset": "to_zero", "reset_time": "same"}
    return Population(
        name,
        "spike.matmul",
        "spike.lif",
        (size,),
        depth,
        synapses,
        _NONE,
        _NONE,
        parameters={
            "start": np.zeros((1, size), np.float32),
            **{key: np.array([value], np.float32) for key, value in given.items()},
        },
        words={**words, "compare": "gt", "spikes": "one"},
    )


def _program(name: str, populations: list[Population], timesteps: int) -> Program:
    """On cores of 1024 neurons, one after the other."""
    cores: list[Core] = []
    sizes = {p.name: p.neurons for p in populations}
    for p in populations[1:]:
        everyone = tuple(np.arange(sizes[s.source]) for s in p.synapses)
        for first in range(0, p.neurons, 1024):
            here = np.arange(first, min(first + 1024, p.neurons))
            heard = tuple(
                here if s.kind == "scale" else axons
                for s, axons in zip(p.synapses, everyone, strict=True)
            )
            cores.append(Core(len(cores), p.name, here, heard))
    return Program(name, timesteps, 1, ("x",), (), tuple(populations), tuple(cores), ())


def in_integers(net: Net) -> Net:
    """The net with 8-bit weights and Loihi's neuron: as fast as it goes, with other spikes."""
    largest = max(np.abs(s.weight).max() for p in net.program.populations for s in p.synapses)

    def weights(s: Synapses) -> Synapses:
        if s.kind == "scale":  # a current of the input's own, in the same unit
            return replace(s, weight=np.ones(1, np.int8))
        return replace(s, weight=np.rint(s.weight * (127 / largest)).astype(np.int8))

    def neurons(p: Population) -> Population:
        if p.feed is not None:
            counts = replace(
                p.feed, payload="i8", scale=float(largest / 127), low=-127, high=127
            )
            return replace(p, feed=counts) if p.feed.payload == "f32" else p
        given: dict[str, Array] = {
            "start": np.zeros((3, p.neurons), np.int64),
            "current_decay": np.array([4095], np.int32),
            "voltage_decay": np.array([round(4096 * (1 - _KEPT))], np.int32),
            "threshold": np.array([round(127 / largest)], np.int32),
            "bias": np.array([0], np.int32),
        }
        words: dict[str, Attribute] = {"policy": "loihi.lava", "exponent": 0, "refractory": 1}
        return replace(
            p,
            model="spike.loihi",
            bias=np.zeros(1, np.int32),
            parameters=given,
            words={**words, "lowest": 1 - 2**23, "highest": 2**23 - 1},
            synapses=tuple(map(weights, p.synapses)),
        )

    made = tuple(map(neurons, net.program.populations))
    return replace(net, program=replace(net.program, populations=made))


def main() -> None:
    """Print the rates of each net."""
    spec = load_spec("loihi", SpikingSpec, ["core.compartments_per_neuron=1"]).spec
    for net in nets():
        rates: dict[str, float] = {}
        for label, each in ((net.name, net), (f"{net.name}_int8", in_integers(net))):
            made = engine(each.program, 1, fast=True)
            flat = {"x": np.moveaxis(each.inputs["x"], 1, 2).reshape(1, -1)}
            done = made.run(flat)
            spikes = sum(int(d.train.sum()) for name, d in done.items() if name != "x")
            if each is net and spikes != TOTALS[net.name]:
                raise SystemExit(f"{net.name}: {spikes} spikes, not {TOTALS[net.name]}")
            events = each.events(done)
            rate = events / _best(partial(made.run, flat))
            print(f"spiking_{label}_synaptic_events_per_s {rate:.4g}")
            if each is net:
                rates[""] = rate
        print(f"spiking_{net.name}_spikes {TOTALS[net.name]}")
        start = process_time()
        made = engine(net.program, 1, fast=True)
        tables = made.wired
        print(f"spiking_{net.name}_build_s {process_time() - start:.3g}")
        del tables
        done = made.run({"x": np.moveaxis(net.inputs["x"], 1, 2).reshape(1, -1)})
        print(f"spiking_{net.name}_build_and_first_run_s {process_time() - start:.3g}")
        events = net.events(done)
        whole = _best(partial(simulate, made, spec, net.inputs))
        rates["counted"] = events / whole
        print(f"spiking_{net.name}_counted_synaptic_events_per_s {rates['counted']:.4g}")
        _compare(net, events, rates)


def _compare(net: Net, events: int, rates: dict[str, float]) -> None:
    """Print the rates of the peers that are there, and ours over theirs."""
    for name, done in peers(net.program, net.inputs["x"][0, :, 0]):
        rate = (done.events or events) / done.seconds
        ours = rates["counted" if name == "sanafe" else ""]
        if name != "sanafe" and done.spikes != TOTALS[net.name]:
            raise SystemExit(f"{net.name}: {name} found {done.spikes} spikes")
        print(f"spiking_{net.name}_{name}_synaptic_events_per_s {rate:.4g}")
        print(f"spiking_{net.name}_over_{name}_ratio {ours / rate:.3g}")


def _best(call: Callable[[], object]) -> float:
    seconds: list[float] = []
    for _ in range(ROUNDS):
        start = process_time()
        call()
        seconds.append(process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
