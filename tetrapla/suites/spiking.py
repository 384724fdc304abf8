"""Neurons and learning against the tools that they are named after: mismatches, all of them 0.

Each row counts the numbers of a trace that differ; traces are small networks run by the tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.loihi import BRIAN2, LAVA, NENGO, Neuron, Policy, Sign, State
from tetrapla.validation import Row

FOLDER = "neuro"
_SIGNS: Mapping[int, Sign] = {1: "mixed", 2: "exc", 3: "inh"}
_SOURCE = "{}; tetrapla/data/golden/README.md"
_LAVA = "lava-nc 0.10.0, Dense and LIF, fixed point"
_BRIAN2 = "brian2-loihi 0.5.2"
_NENGO = "nengo-loihi 1.1.0, emulator"

Case = Mapping[str, Array]
Traces = tuple[Array, Array, Array]


def rows(golden: Path) -> Iterator[Row]:
    """Currents, voltages and spikes of every case.

    Raises:
        ModelError: a file is missing or broken.
    """
    for file, tool, run in (
        ("lava_dense_lif.npz", _LAVA, _lava),
        ("brian2loihi.npz", _BRIAN2, _brian2),
        ("nengo_loihi.npz", _NENGO, _nengo),
    ):
        for name, case in _cases(golden / FOLDER / file):
            expected = (case["I"] if "I" in case else case["u"], case["v"], case["s"])
            found = run(case)
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


def _lava(c: Case) -> Traces:
    du, dv, threshold, bias_exponent, exponent, bits = c["params"].tolist()
    sign: Sign = next(word for word in _SIGNS.values() if word == str(c["sign_mode"]))
    neuron = Neuron(du, dv, threshold, loihi.shifted(c["bias_mant"], bias_exponent))
    return _run(LAVA, neuron, loihi.mantissas(LAVA, c["W"], bits, sign), exponent, c["S_in"], 1)


def _brian2(c: Case) -> Traces:
    decay, dv, threshold, refractory, delay, exponent, bits, sign = c["params"].tolist()
    neuron = Neuron(decay - 1, dv, threshold, 0, refractory, None, None)
    held = loihi.mantissas(BRIAN2, c["W"], bits, _SIGNS[sign])
    weights = loihi.per_spike(BRIAN2, held, exponent)
    return _run(BRIAN2, neuron, weights, exponent, c["S_in"], delay)


def _nengo(c: Case) -> Traces:
    du, dv, threshold, refractory, lowest, highest = c["params"].tolist()
    neuron = Neuron(du, dv, threshold, c["bias"], refractory, lowest, highest)
    return _run(NENGO, neuron, c["w_eff"], 0, c["S_in"], 1)


def _run(
    policy: Policy, neuron: Neuron, weights: Array, exponent: int, spikes: Array, delay: int
) -> Traces:
    state = State.zeros(len(weights))
    late = np.vstack((np.zeros((delay, spikes.shape[1]), np.int64), spikes))
    u, v, s = list[Array](), list[Array](), list[Array]()
    for arriving in late[: len(spikes)]:
        charged = loihi.charge(policy, arriving @ weights.T, exponent)
        s.append(loihi.step(policy, neuron, state, charged))
        u.append(state.u.copy())
        v.append(state.v.copy())
    return np.array(u), np.array(v), np.array(s)
