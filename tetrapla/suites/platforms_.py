"""Platforms that read NIR: each one's rule on its own recorded input, spikes and voltages.

A recorded voltage is in the platform's own unit, so it is compared up to one factor for the
whole trace, the best one. Rows count numbers that are farther off than a bound, a share of the
largest voltage: 1e-6 of NIR's stored traces, 2e-6 of those that were recorded in float32 from
the tools themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, log
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.importer import imported
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import preset
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.op import OPS
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.loihi import LAVA, Neuron, State
from tetrapla.suites.tables_ import arrays
from tetrapla.validation import Row

_TOOLS = "{}; tetrapla/data/golden/neuro/README.md"
_STORED = "NIR's repository, paper/01_lif/lif_{}.csv; tetrapla/data/golden/neuro/README.md"
_STORED_BOUND, _FLOAT32_BOUND = 1e-6, 2e-6

_DT_S = 1e-4
_LIF = {"tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
_CUBA = {"tau_syn": 1.2e-3, "tau_mem": 4e-3, "r": 40.0, "v_leak": 0.0, "v_threshold": 4.0}
_TAU = 25  # timesteps of _LIF's time constant
_THRESHOLD = 0.1
# Lava's importer in fixed point: decays in 4096ths, the threshold in 512ths of 2^17
_FIXED = Neuron(4095, int(0.04 * 4095), int(0.1 * 131071) >> 9)
_FIXED_WEIGHT = 10  # a spike's charge, in the unit of the threshold

# by trace of NIR's repository: the preset, and timesteps that a voltage is written early
_RULES: Mapping[str, tuple[str, int]] = {
    "norse": ("norse", 0),
    "snntorch": ("snntorch", 0),
    "spinnaker2": ("spinnaker2", 0),
    "lava_cpu_float": ("lava", 0),
    "nengo": ("nengo", 0),
    "sinabs": ("sinabs", 0),
    "rockpool": ("rockpool", 0),
    "spyx": ("spyx", 1),
}


class Recorded(NamedTuple):
    """A layer that a tool ran: its neuron in NIR, the preset, and names of its arrays."""

    kind: str
    rule: str
    spikes: str
    voltage: str | None
    tool: str


_RECORDED = (
    Recorded("LIF", "norse", "norse_s", None, "norse 1.1.0"),
    Recorded("LIF", "snntorch", "snntorch_lif_s", "snntorch_lif_v", "snntorch 1.0.0"),
    Recorded(
        "CubaLIF", "snntorch", "snntorch_cubalif_s", "snntorch_cubalif_v", "snntorch 1.0.0"
    ),
    Recorded("LIF", "sinabs", "sinabs_s", "sinabs_v", "sinabs 3.1.3"),
)


def rows(golden: Path) -> Iterator[Row]:
    """Layers that the tools ran, then the traces that NIR's authors published, where given."""
    held = arrays(golden / "neuro" / "nir_presets.npz")
    for each in _RECORDED:
        name, source = f"nir {each.kind}, {each.rule}", _TOOLS.format(each.tool)
        yield _spikes(name, _imported(held, each.kind, each.rule), held[each.spikes], source)
        if each.voltage is not None:
            ours = _layer_voltage(held, each.kind, each.rule)
            yield from _voltages(name, ours, held[each.voltage], _FLOAT32_BOUND, source)
    spikes, ours = _held_if(held)
    name, source = "nir IF as snntorch imports it", _TOOLS.format("snntorch 1.0.0")
    yield _spikes(name, spikes, held["snntorch_if_s"], source)
    yield from _voltages(name, ours, held["snntorch_if_v"], _FLOAT32_BOUND, source)
    path = golden / "neuro" / "nir_lif.npz"
    yield from _stored(arrays(path)) if path.exists() else _absent()


def _absent() -> Iterator[Row]:
    """Rows without figures: the traces are their authors' and no part of the project."""
    why = "ours is null: nir_lif.npz is not part of the project; give a folder by --golden"
    for name in (*_RULES, "exact", "lava_cpu_fixed", "lava_loihi_fixed"):
        case, source = f"nir trace, {name}", f"{_STORED.format(name)}; {why}"
        yield Row("spiking", case, "spike_mismatches", "numbers", 0.0, None, None, source)


def _stored(held: Mapping[str, Array]) -> Iterator[Row]:
    """One LIF neuron on ten platforms and in closed form."""
    train = held["S_in"].astype(np.float64)
    found = {name: _preset(train, rule) for name, (rule, _) in _RULES.items()}
    found["exact"] = _exact(train)
    for name, (spikes, voltage) in found.items():
        case, source = f"nir trace, {name}", _STORED.format(name)
        yield _spikes(case, spikes, held[f"{name}_s"], source)
        early = _RULES[name][1] if name in _RULES else 0
        theirs = held[f"{name}_v"]
        pair = (voltage[early:], theirs[: len(theirs) - early])
        yield from _voltages(case, *pair, _STORED_BOUND, source)
    fired, voltage = _fixed(held["S_in"])
    for name in ("lava_cpu_fixed", "lava_loihi_fixed"):
        case, source = f"nir trace, {name}", _STORED.format(name)
        yield _spikes(case, fired, held[f"{name}_s"], source)
        # where it spikes the chip's probe shows a constant of its own
        seen = ~fired if name == "lava_loihi_fixed" else np.ones(len(fired), np.bool_)
        wrong = int(np.count_nonzero(voltage[seen] != held[f"{name}_v"][seen]))
        yield _count(case, "voltage_mismatches", wrong, source)


def _count(case: str, quantity: str, wrong: int, source: str) -> Row:
    return Row("spiking", case, quantity, "numbers", 0.0, float(wrong), 0.0, source)


def _spikes(case: str, ours: Array, theirs: Array, source: str) -> Row:
    return _count(case, "spike_mismatches", int(np.count_nonzero(ours != theirs)), source)


def _voltages(
    case: str, ours: Array, theirs: Array, bound: float, source: str
) -> Iterator[Row]:
    """How many are off by more than the bound, and how far the farthest is."""
    flat_ours, flat_theirs = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
    factor = float(flat_theirs @ flat_ours / (flat_ours @ flat_ours))
    off = np.abs(factor * flat_ours - flat_theirs) / np.abs(flat_theirs).max()
    yield _count(case, f"voltages_off_{bound:g}", int(np.count_nonzero(off > bound)), source)
    error = float(off.max())
    yield Row("spiking", case, "voltage_error", "of the largest", None, error, None, source)


def _imported(held: Mapping[str, Array], kind: str, rule: str) -> Array:
    """Spikes of an affine layer and a neuron, imported with the platform's rule."""
    fields = _LIF if kind == "LIF" else _CUBA
    steps, sources = held["S_in"].shape
    nodes = {
        "in": Node("Input", {"shape": np.array([sources])}),
        "fc": Node("Affine", {"weight": held["W"], "bias": held["b"]}),
        "n": Node(kind, {name: np.array(value) for name, value in fields.items()}),
        "out": Node("Output", {}),
    }
    edges = (("in", "fc"), ("fc", "n"), ("n", "out"))
    module = imported(flat(Network(nodes, edges)), "net", preset(rule), _DT_S, steps, 1)
    x = held["S_in"][None].astype(np.float32)
    return np.asarray(evaluate(module, {"in": x})["out"][0])


def _layer_voltage(held: Mapping[str, Array], kind: str, rule: str) -> Array:
    """Voltages [T, n] of the same layer, by the operator that the importer makes."""
    names = (
        ("tau_syn", "tau_mem", "r", "v_leak") if kind == "CubaLIF" else ("tau", "r", "v_leak")
    )
    fields = _CUBA if kind == "CubaLIF" else _LIF
    given = [fields[n] / _DT_S if n.startswith("tau") else fields[n] for n in names]
    if kind == "CubaLIF":
        given.append(1.0)  # w_in
    operator = "spike.cuba_lif" if kind == "CubaLIF" else "spike.lif"
    given.append(fields["v_threshold"])
    return _run(operator, _current(held), given, rule)[1]


def _current(held: Mapping[str, Array]) -> Array:
    weighted: Array = held["S_in"].astype(np.float32) @ held["W"].T + held["b"]
    return weighted


def _run(operator: str, current: Array, given: list[float], rule: str) -> tuple[Array, Array]:
    """Spikes and voltages [T, n] of a current [T, n], in its type."""
    made = preset(rule)
    if made.reset == "to_value":
        given = [*given, 0.0]
    words: dict[str, Attribute] = {"method": made.method, **made.firing()}
    return _evaluated(operator, current, given, words)


def _evaluated(
    operator: str, current: Array, given: list[float], words: Mapping[str, Attribute]
) -> tuple[Array, Array]:
    start = [np.array(each, current.dtype) for each in (0.0, *given)]
    spikes, voltage, *_ = OPS[operator].evaluate(current[:, None], *start, **words)
    return np.asarray(spikes)[:, 0], np.asarray(voltage)[:, 0]


def _held_if(held: Mapping[str, Array]) -> tuple[Array, Array]:
    """``v = 0.9 v + I``, held at a threshold of 2: what snntorch's importer makes of an IF."""
    words: dict[str, Attribute] = {
        "method": "euler",
        "reset": "subtract",
        "reset_time": "held",
        "compare": "gt",
        "spikes": "one",
    }
    given = [10.0, 10.0, 0.0, float(held["snntorch_if_threshold"])]
    return _evaluated("spike.lif", _current(held), given, words)


def _preset(train: Array, rule: str) -> tuple[Array, Array]:
    """Of one neuron, [T] each."""
    delay = preset(rule).input_delay
    late = np.concatenate([np.zeros(delay), train])[: len(train)]
    given = [float(_TAU), 1.0, 0.0, _THRESHOLD]
    spikes, voltage = _run("spike.lif", late[:, None], given, rule)
    return spikes[:, 0], voltage[:, 0]


def _fixed(train: Array) -> tuple[Array, Array]:
    """Of Lava's fixed-point neuron, which hears a spike a timestep later."""
    state, late = State.zeros(1), np.concatenate([[0], train.astype(np.int64)])[: len(train)]
    fired, voltage = list[bool](), list[int]()
    for charge in late * _FIXED_WEIGHT:
        done = loihi.step(LAVA, _FIXED, state, loihi.charge(LAVA, np.array([charge]), 0))
        fired.append(bool(done[0]))
        voltage.append(int(state.v[0]))
    return np.array(fired), np.array(voltage)


def _exact(train: Array) -> tuple[Array, Array]:
    """The continuous equation; a spike takes the threshold off when it is met.

    ``v(t) = I + (v(0) - I) exp(-t / tau)``, so it is met at ``tau log((v - I) / (theta - I))``.
    """
    v, spikes, voltage = 0.0, np.zeros(len(train)), np.zeros(len(train))
    for step, current in enumerate(train.tolist()):
        left = 1.0
        while current > _THRESHOLD:
            meets = _TAU * log((v - current) / (_THRESHOLD - current))
            if meets >= left:
                break
            v, left = 0.0, left - meets
            spikes[step] += 1
        v = current + (v - current) * exp(-left / _TAU)
        voltage[step] = v
    return spikes, voltage
