"""Neurons and the machine against the tools and chips that they are named after.

Rows of mismatches count the numbers of a trace that differ; traces are small networks run by
the tools. Then SANA-FE's runs with energy and time, and published power of chips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.loihi import BRIAN2, LAVA, NENGO, Neuron, Policy, Sign, State
from tetrapla.simulators.spiking import Core, Population, Program, Synapses
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.program import Feed
from tetrapla.suites import mnist_, platforms_, sanafe_, silicon_, traces_
from tetrapla.validation import Row

FOLDER = "neuro"
_SIGNS: Mapping[int, Sign] = {1: "mixed", 2: "exc", 3: "inh"}
_SOURCE = "{}; tetrapla/data/golden/README.md"
_LAVA = "lava-nc 0.10.0, Dense and LIF, fixed point"
_BRIAN2 = "brian2-loihi 0.5.2"
_NENGO = "nengo-loihi 1.1.0, emulator"

Case = Mapping[str, Array]
Traces = tuple[Array, Array, Array]


class Setting(NamedTuple):
    """A case's neurons, its weights [n, i] as a spike adds them, their exponent, its delay."""

    policy: Policy
    neuron: Neuron
    weights: Array
    exponent: int
    delay: int


def rows(golden: Path) -> Iterator[Row]:
    """Currents, voltages and spikes of every case.

    Raises:
        ModelError: a file is missing or broken.
    """
    for file, tool, setting in _FILES:
        for name, case in _cases(golden / FOLDER / file):
            expected = (case["I"] if "I" in case else case["u"], case["v"], case["s"])
            found = _traces(case, setting(case))
            for what, ours, theirs in zip(
                ("current", "voltage", "spike"), found, expected, strict=True
            ):
                wrong = int(np.count_nonzero(ours != theirs))
                yield Row(
                    "spiking",
                    f"{file.removesuffix('.npz')} {name}",
                    f"{what}_mismatches",
                    "numbers",
                    0.0,
                    float(wrong),
                    0.0,
                    _SOURCE.format(tool),
                )

    for name, count in machine_mismatches(golden):
        yield Row(
            "spiking",
            f"the machine: {name}",
            "spike_mismatches",
            "numbers",
            0.0,
            float(count),
            0.0,
            "the same traces",
        )
    yield from traces_.rows(golden)
    yield from platforms_.rows(golden)
    yield from sanafe_.rows(golden)
    yield from silicon_.rows()
    yield from mnist_.rows()


def machine_mismatches(golden: Path, *, fast: bool | None = None) -> Iterator[tuple[str, int]]:
    """By case: the spikes of the machine that are not the tool's.

    Args:
        golden: the folder.
        fast: as of `tetrapla.simulators.spiking.engine`.
    """
    for file, _, setting in _FILES:
        for name, case in _cases(golden / FOLDER / file):
            program = _program(case, setting(case))
            given = case["S_in"].astype(np.int8).reshape(1, -1)
            done = engine(program, 1, fast=fast).run({"x": given})["net"]
            yield name, int(np.count_nonzero(done.train[:, 0] != case["s"]))


def _cases(path: Path) -> Iterator[tuple[str, Case]]:
    try:
        with np.load(path) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: must be a readable archive; see --golden") from error
    for k in range(sum(name.endswith("_name") for name in arrays)):
        own = {n.split("_", 1)[1]: a for n, a in arrays.items() if n.startswith(f"c{k}_")}
        whole = {n: a.astype(np.int64) for n, a in own.items() if a.dtype.kind in "iu"}
        yield str(own["name"]), {**own, **whole}


def _lava(c: Case) -> Setting:
    du, dv, threshold, bias_exponent, exponent, bits = c["params"].tolist()
    sign: Sign = next(word for word in _SIGNS.values() if word == str(c["sign_mode"]))
    neuron = Neuron(du, dv, threshold, loihi.shifted(c["bias_mant"], bias_exponent))
    return Setting(LAVA, neuron, loihi.mantissas(LAVA, c["W"], bits, sign), exponent, 1)


def _brian2(c: Case) -> Setting:
    decay, dv, threshold, refractory, delay, exponent, bits, sign = c["params"].tolist()
    neuron = Neuron(decay - 1, dv, threshold, 0, refractory, None, None)
    held = loihi.mantissas(BRIAN2, c["W"], bits, _SIGNS[sign])
    return Setting(BRIAN2, neuron, loihi.per_spike(BRIAN2, held, exponent), exponent, delay)


def _nengo(c: Case) -> Setting:
    du, dv, threshold, refractory, lowest, highest = c["params"].tolist()
    neuron = Neuron(du, dv, threshold, c["bias"], refractory, lowest, highest)
    return Setting(NENGO, neuron, c["w_eff"], 0, 1)


def _traces(case: Case, setting: Setting) -> Traces:
    policy, neuron, weights, exponent, delay = setting
    spikes = case["S_in"]
    state = State.zeros(len(weights))
    late = np.vstack((np.zeros((delay, spikes.shape[1]), np.int64), spikes))
    u, v, s = list[Array](), list[Array](), list[Array]()
    for arriving in late[: len(spikes)]:
        charged = loihi.charge(policy, arriving @ weights.T, exponent)
        s.append(loihi.step(policy, neuron, state, charged))
        u.append(state.u.copy())
        v.append(state.v.copy())
    return np.array(u), np.array(v), np.array(s)


def _program(case: Case, setting: Setting) -> Program:
    """The case on one core of the machine; weights of BRIAN2 and NENGO come in 64ths."""
    policy, neuron, weights, exponent, delay = setting
    whole = weights if policy is LAVA else weights >> loihi.FRACTION_BITS
    steps, sources = case["S_in"].shape
    lag, none = np.array([delay], np.int32), np.zeros(1, np.int32)
    narrow = np.ascontiguousarray(whole.T.astype(np.int32))
    synapses = Synapses("matmul", "x", (sources,), None, narrow, lags=lag)
    feed = Feed("x", 1.0, 0, 1, "time_first")
    size = len(weights)
    free = neuron.lowest is None
    words: dict[str, Attribute] = {
        "policy": policy.name,
        "exponent": exponent if policy is LAVA else 0,
        "refractory": neuron.refractory,
        "lowest": 0 if free else int(neuron.lowest or 0),
        "highest": 0 if free else int(neuron.highest or 0),
    }
    each = {
        name: np.broadcast_to(getattr(neuron, name), (size,)).astype(np.int32)
        for name in ("current_decay", "voltage_decay", "threshold", "bias")
    }
    given: dict[str, Array] = {"start": np.zeros((3, size), np.int64), **each}
    populations = (
        Population("x", "input", "input", (sources,), 0, (), none, none, feed=feed),
        Population(
            "net",
            "spike.matmul",
            "spike.loihi",
            (size,),
            1,
            (synapses,),
            none,
            none,
            parameters=given,
            words=words,
        ),
    )
    core = Core(0, "net", np.arange(size), (np.arange(sources),))
    return Program("golden", steps, 1, ("x",), (), populations, (core,), ())


_FILES: Sequence[tuple[str, str, Callable[[Case], Setting]]] = (
    ("lava_dense_lif.npz", _LAVA, _lava),
    ("brian2loihi.npz", _BRIAN2, _brian2),
    ("nengo_loihi.npz", _NENGO, _nengo),
)
