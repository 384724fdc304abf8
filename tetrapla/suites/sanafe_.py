"""SANA-FE's stored runs on the spiking machine: spikes, events, energy and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import price, summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses, run
from tetrapla.simulators.spiking.program import Feed, Readout
from tetrapla.validation import Row

SETTINGS = ("core.compartments_per_neuron=1",)  # as the tool counts neurons


def cases(golden: Path) -> list[Mapping[str, Array]]:
    """The runs, by what the tool called its numbers.

    Raises:
        ModelError: the file is missing or broken.
    """
    path = golden / "neuro" / "sanafe.npz"
    try:
        with np.load(path) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: must be a readable archive; see --golden") from error
    return [
        {name[3:]: a for name, a in arrays.items() if name.startswith(f"c{case}_")}
        for case in range(sum(name.endswith("_raster") for name in arrays))
    ]


def form(stored: Mapping[str, Array]) -> str:
    """How the run's synapses were stored: dense or sparse."""
    return "sparse" if "sparse" in str(stored["synapse"]) else "dense"


def ready(
    stored: Mapping[str, Array], spec: SpikingSpec
) -> tuple[Program, SpikingSpec, dict[str, Array]]:
    """A run's network on its own cores, the chip, and an input that says nothing."""
    steps, neurons = stored["raster"].shape
    core, source = stored["core"].astype(np.int64), stored["src"].astype(np.int64)
    target, weight = stored["dst"].astype(np.int64), stored["w"].astype(np.float32)
    frame, lag, none = (neurons,), np.ones(1, np.int32), np.zeros(1, np.float32)
    ends = np.stack([source, target]).astype(np.int32)
    held = form(stored)  # a dense one lists the pairs that there are, too
    own = Synapses("sparse", "net", frame, None, weight, ends=ends, lags=lag, form=held)
    given = {
        "start": np.zeros((1, neurons)),
        "leak": np.array([float(stored["leak"])]),
        "bias": stored["bias"].astype(np.float64),
        "v_threshold": np.ones(1),
    }
    net = Population(
        "net", "spike.sparse", "spike.sanafe", frame, 0, (own,), none, none, parameters=given
    )
    cores = tuple(
        Core(int(i), "net", np.flatnonzero(core == i), (np.unique(source[core[target] == i]),))
        for i in np.unique(core)
    )
    readout = Readout("spikes", "net", None, (steps, 1, neurons), 1.0, "train")
    feed = Feed("silence", 1.0, 0, 1, "time_first")
    quiet = Population("silence", "input", "input", (1,), 0, (), none, none, feed=feed)
    program = Program(
        "sanafe",
        steps,
        1,
        ("silence",),
        (("spikes", "spikes"),),
        (quiet, net),
        cores,
        (readout,),
    )
    return program, spec, {"silence": np.zeros((1, steps, 1, 1), np.int8)}


_SOURCE = "sanafe 2.2.9 on its Loihi architecture; tetrapla/data/golden/neuro/README.md"
_EXACT = 1e-9  # floats in another order of additions


def rows(golden: Path) -> Iterator[Row]:
    """What the tool wrote beside what the machine does, under its price table."""
    for stored in cases(golden):
        name = f"sanafe {form(stored)}"
        done = {
            model: run(*ready(stored, _chip(f"noc.model={model}")), Key(0))
            for model in ("simple", "detailed")
        }
        spikes = done["simple"].outputs["spikes"][0, :, 0]
        wrong = float(np.count_nonzero(spikes != stored["raster"]))
        yield _row(name, "spike_mismatches", "numbers", 0.0, wrong, 0.0)
        actions = summed([layer.actions for layer in done["simple"].layers])
        hops = actions["network.hop_east_west"] + actions["network.hop_north_south"]
        for what, key, ours in (
            ("spikes", "neurons_fired", actions["soma.fire"]),
            ("updates", "neurons_updated", actions["soma.update"]),
            ("synaptic_events", "spikes", actions[f"synapse.{form(stored)}"]),
            ("packets", "packets_sent", actions["network.packet_out"]),
            ("hops", "perf_simple_hops", hops),
        ):
            yield _row(name, what, "numbers", float(stored[key].sum()), ours, 0.0)
        energy = price(actions, _chip().cost)
        for unit in ("synapse", "soma", "network"):
            published = float(stored[f"energy_j_{unit}"]) * 1e12
            yield _row(name, f"energy_{unit}", "pJ", published, energy.by_unit[unit], _EXACT)
        published = float(stored["energy_j_total"]) * 1e12
        yield _row(name, "energy", "pJ", published, energy.total_pj, _EXACT)
        for model, each in done.items():
            published = float(stored[f"sim_time_s_{model}"]) * 1e6
            yield _row(name, f"time_{model}", "us", published, each.time_s * 1e6, _EXACT)


def _chip(*more: str) -> SpikingSpec:
    return load_spec("loihi", SpikingSpec, [*SETTINGS, *more]).spec


def _row(
    case: str, what: str, unit: str, published: float, ours: float | None, bound: float
) -> Row:
    return Row("spiking", case, what, unit, published, ours, bound, _SOURCE)
