"""SANA-FE's stored runs as programs of the spiking machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses
from tetrapla.simulators.spiking.program import Feed, Readout

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
