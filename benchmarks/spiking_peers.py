"""Nets of bench_spiking on snnTorch, Brian2 and SANA-FE, as far as they are installed.

CPU seconds of a run on the same network and input, without building and compiling, and the
synaptic events that it makes. Brian2 writes C++ (`cpp_standalone`); its layers are a timestep
apart, so a layered net runs two silent ones more. SANA-FE runs a layered net on its packaged
Loihi with its own neuron, whose spikes are others, and is given its own events; it is alone in
counting events by core, energy and time, as `counted` of ours does. Lava has no release for
Python 3.11 and later, so it is not here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from resource import RUSAGE_CHILDREN, getrusage
from time import process_time
from typing import Any, NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking import Program

_KEPT = 0.9  # of a voltage, in a timestep
_SANAFE_STEPS = 50  # of 200


class Run(NamedTuple):
    """CPU seconds, spikes, and synaptic events where the tool says; else they are ours."""

    seconds: float
    spikes: int
    events: int | None = None


def peers(program: Program, inputs: Array) -> Iterator[tuple[str, Run]]:
    """Name and run of every installed tool that the net is written for.

    Args:
        program: of bench_spiking: layers that are all-to-all, or one recurrent population.
        inputs: [T, n], spikes of a layered net or currents of a recurrent one.
    """
    layered = program.populations[1].synapses[0].kind == "matmul"
    found: dict[str, Callable[[Program, Array], Run]] = {
        "brian2": _brian2_layers if layered else _brian2_recurrent
    }
    if layered:
        found |= {"snntorch": _snntorch, "sanafe": _sanafe}
    for name, call in found.items():
        if find_spec(name) is not None:
            yield name, call(program, inputs)


def _layers(program: Program) -> list[Array]:
    return [p.synapses[0].weight for p in program.populations[1:]]


def _snntorch(program: Program, inputs: Array) -> Run:
    snntorch, torch = import_module("snntorch"), import_module("torch")
    torch.set_num_threads(1)
    weights = [torch.from_numpy(weight) for weight in _layers(program)]
    rule: Any = {"reset_mechanism": "zero", "reset_delay": False}
    cells = [snntorch.Leaky(beta=_KEPT, threshold=1.0, **rule) for _ in weights]
    spikes = torch.from_numpy(inputs.astype(np.float32))

    def once() -> int:
        total = 0.0
        with torch.no_grad():
            states = [cell.init_leaky() for cell in cells]
            for now in spikes:
                value = now[None]
                for i, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
                    value, states[i] = cell(value @ weight, states[i])
                    total += float(value.sum())
        return round(total)

    count, seconds = once(), list[float]()
    for _ in range(3):
        start = process_time()
        once()
        seconds.append(process_time() - start)
    return Run(min(seconds), count)


_EQUATION = "v : 1\ng : 1"
_ARRIVE = "g_post += w"


def _brian2_layers(program: Program, inputs: Array) -> Run:
    b = import_module("brian2")
    _begin(b)
    step = 1 * b.ms
    when, who = np.nonzero(inputs)
    parts: list[Any] = [b.SpikeGeneratorGroup(inputs.shape[1], who, when * step, sorted=True)]
    monitors: list[Any] = []
    for weight in _layers(program):
        group = b.NeuronGroup(weight.shape[1], _EQUATION, threshold="v > 1", reset="v = 0")
        group.run_regularly("v = 0.9*v + g\ng = 0", when="groups")
        synapses = b.Synapses(parts[-1], group, "w : 1", on_pre=_ARRIVE)
        synapses.connect()
        synapses.w = weight.ravel()
        monitors.append(b.SpikeMonitor(group, record=False))
        parts += [synapses, group]
    return _finish(b, [*parts, *monitors], monitors, len(inputs) + len(monitors))


def _brian2_recurrent(program: Program, inputs: Array) -> Run:
    b = import_module("brian2")
    _begin(b)
    own = program.populations[1].synapses[1]
    given = b.TimedArray(inputs, dt=1 * b.ms)
    size = inputs.shape[1]
    space = {"given": given}
    group = b.NeuronGroup(size, _EQUATION, threshold="v > 1", reset="v = 0", namespace=space)
    group.run_regularly("v = 0.9*v + g + given(t, i)\ng = 0", when="groups")
    synapses = b.Synapses(group, group, "w : 1", on_pre=_ARRIVE)
    synapses.connect(i=own.ends[0], j=own.ends[1])
    synapses.w = own.weight
    monitor = b.SpikeMonitor(group, record=False)
    return _finish(b, [group, synapses, monitor], [monitor], len(inputs))


def _begin(b: Any) -> None:
    b.device.reinit()
    b.set_device("cpp_standalone", build_on_run=False)
    b.prefs.core.default_float_dtype = np.float32
    b.prefs.codegen.cpp.extra_compile_args_gcc = ["-O3", "-march=native", "-ffast-math"]
    b.defaultclock.dt = 1 * b.ms


def _finish(b: Any, parts: list[Any], monitors: list[Any], steps: int) -> Run:
    """Build and run: seconds of its loop, or CPU seconds of the whole if they are fewer."""
    seconds: list[float] = []
    net = b.Network(*parts)
    net.run(steps * b.ms)
    with tempfile.TemporaryDirectory() as folder:
        b.device.build(directory=folder, compile=True, run=False, with_output=False)
        for _ in range(3):
            before = getrusage(RUSAGE_CHILDREN).ru_utime
            b.device.run(folder, with_output=False, run_args=[])
            loop = float(b.device._last_run_time)
            seconds.append(min(loop, getrusage(RUSAGE_CHILDREN).ru_utime - before))
        spikes = sum(int(monitor.num_spikes) for monitor in monitors)
    return Run(min(seconds), spikes)


def _sanafe(program: Program, inputs: Array) -> Run:
    sanafe = import_module("sanafe")
    net, arch = sanafe.Network(), sanafe.load_loihi()
    chip = sanafe.SpikingChip(arch)
    cores = [core for tile in arch.tiles for core in tile.cores]
    soma = {"threshold": 1.0, "leak_decay": _KEPT}
    before = net.create_neuron_group("x", inputs.shape[1])
    groups = [before]
    for i, train in enumerate(inputs.T[:, :_SANAFE_STEPS].astype(int).tolist()):
        given = {"soma_hw_name": f"loihi_inputs[{i}]", "model_attributes": {"spikes": train}}
        before.neurons[i].set_attributes(**given)
    for i, weight in enumerate(_layers(program)):
        size = weight.shape[1]
        group = net.create_neuron_group(f"l{i}", size, soma, soma_hw_name="loihi_lif")
        before.connect_neurons_dense(group, {"weight": weight.ravel().astype(float).tolist()})
        before = group
        groups.append(group)
    for group, core in zip(groups, cores, strict=False):
        for neuron in group.neurons:
            neuron.map_to_core(core)
    chip.load(net)
    start = process_time()
    done = chip.sim(_SANAFE_STEPS, timing_model="simple")
    seconds = process_time() - start
    return Run(seconds, int(done["neurons_fired"]), int(done["spikes"]))
