"""Neurons of the dialect against traces of the tools whose arithmetic they name."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.op import OPS
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.loihi import BRIAN2, FRACTION_BITS, LAVA, STATE_LIMIT, Policy, Sign
from tetrapla.validation import GOLDEN

TRACES = GOLDEN / "neuro"
SIGNS: dict[int, Sign] = {1: "mixed", 2: "exc", 3: "inh"}
FULL: dict[str, Attribute] = {"lowest": 1 - STATE_LIMIT, "highest": STATE_LIMIT - 1}
# its README states it: relative to the largest voltage
VOLTAGE_BOUND = 2e-6


def cases(file: str) -> list[str]:
    with np.load(TRACES / file) as held:
        return [str(held[f"c{k}_name"]) for k in range(sum("_name" in n for n in held.files))]


def case(file: str, name: str) -> dict[str, Array]:
    number = cases(file).index(name)
    with np.load(TRACES / file) as held:
        own = (n for n in held.files if n.startswith(f"c{number}_"))
        return {n.split("_", 1)[1]: held[n] for n in own}


def computed(kind: str, operands: list[Array], **attributes: Attribute) -> tuple[Array, ...]:
    """An operator's results, its types checked."""
    types = [_type(each) for each in operands]
    OPS[kind].infer(*types, **attributes)
    made = OPS[kind].evaluate(*operands, **attributes)
    return made if isinstance(made, tuple) else (made,)


def _type(array: Array) -> object:
    from tetrapla.ir.graph import DTYPES
    from tetrapla.ir.op import Tensor

    name = next(name for name, held in DTYPES.items() if held == array.dtype)
    return Tensor(array.shape, name)


def i32(*numbers: int) -> list[Array]:
    return [np.array(number, np.int32) for number in numbers]


def network(
    spikes: Array, weights: Array, delay: int, parameters: list[Array], **rule: Attribute
) -> tuple[Array, Array, Array]:
    """Spikes [T, i] through delay, synapses and neurons: u, v and spikes [T, n].

    The neurons are run one timestep at a time, each from the state that the last one left.
    """
    train = spikes[:, None].astype(np.int8)
    (late,) = computed("spike.delay", [train, *i32(delay)])
    held = weights.T.astype(np.int16)
    assert np.array_equal(held, weights.T), "weights of 16 bits"
    (current,) = computed("spike.matmul", [late, held], exponent=0)
    state = np.zeros((3, 1, len(weights)), np.int64)
    u, v, s = [], [], []
    for arriving in current:
        step = computed("spike.loihi", [arriving[None], state, *parameters], **rule)
        state = step[2]
        s.append(step[0][0, 0])
        v.append(step[1][0, 0])
        u.append(state[1, 0])
    whole = computed("spike.loihi", [current, np.array(0), *parameters], **rule)
    assert np.array_equal(whole[0][:, 0], np.array(s))
    assert np.array_equal(whole[1][:, 0], np.array(v))
    return np.array(u), np.array(v), np.array(s)


@pytest.mark.parametrize("name", cases("lava_dense_lif.npz"))
def test_loihi_lava_is_lavas_dense_and_lif(name: str) -> None:
    c = case("lava_dense_lif.npz", name)
    du, dv, threshold, bias_exponent, exponent, bits = c["params"].tolist()
    sign: Sign = next(word for word in SIGNS.values() if word == str(c["sign_mode"]))
    bias = loihi.shifted(c["bias_mant"].astype(np.int32), bias_exponent)
    weights = loihi.mantissas(LAVA, c["W"], bits, sign)
    u, v, s = network(
        c["S_in"],
        weights,
        1,
        [*i32(du, dv, threshold), bias],
        policy="loihi.lava",
        exponent=exponent,
        refractory=1,
        **FULL,
    )
    assert np.array_equal(u, c["u"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


@pytest.mark.parametrize("name", cases("brian2loihi.npz"))
def test_loihi_brian2_is_brian2loihi(name: str) -> None:
    c = case("brian2loihi.npz", name)
    decay, dv, threshold, refractory, delay, exponent, bits, sign = c["params"].tolist()
    weights = whole(BRIAN2, loihi.mantissas(BRIAN2, c["W"], bits, SIGNS[sign]), exponent)
    u, v, s = network(
        c["S_in"],
        weights,
        delay,
        i32(decay - 1, dv, threshold, 0),
        policy="loihi.brian2",
        exponent=0,
        refractory=refractory,
        lowest=0,
        highest=0,
    )
    assert np.array_equal(u, c["I"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


@pytest.mark.parametrize("name", cases("nengo_loihi.npz"))
def test_loihi_nengo_is_nengo_loihis_emulator(name: str) -> None:
    c = case("nengo_loihi.npz", name)
    du, dv, threshold, refractory, lowest, highest = c["params"].tolist()
    u, v, s = network(
        c["S_in"],
        c["w_eff"] >> FRACTION_BITS,
        1,
        [*i32(du, dv, threshold), c["bias"]],
        policy="loihi.nengo",
        exponent=0,
        refractory=refractory,
        lowest=lowest,
        highest=highest,
    )
    assert np.array_equal(u, c["u"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


def whole(policy: Policy, held: Array, exponent: int) -> Array:
    """What a spike adds, in units of the operator's current; nothing is below one."""
    charges = loihi.per_spike(policy, held, exponent)
    assert not (charges & (1 << FRACTION_BITS) - 1).any()
    return charges >> FRACTION_BITS


class Layer:
    """The one layer of nir_presets.npz: a current of W s + b, and its time constants."""

    def __init__(self) -> None:
        with np.load(TRACES / "nir_presets.npz") as held:
            self.held = {name: held[name] for name in held.files}
        train = self.held["S_in"][:, None].astype(np.int8)
        weights = [self.held["W"].T.copy(), self.held["b"]]
        (self.current,) = computed("spike.matmul", [train, *weights], exponent=0)

    def number(self, name: str) -> float:
        return float(self.held[name])

    def steps(self, name: str) -> float:
        return self.number(name) / self.number("dt_s")

    def run(self, kind: str, parameters: list[float], **rule: Attribute) -> tuple[Array, Array]:
        given = [np.array(each, np.float32) for each in (0, *parameters)]
        s, v, _ = computed(kind, [self.current, *given], **rule)
        return s[:, 0], v[:, 0]

    def off(self, v: Array, name: str) -> float:
        """The largest difference of voltages, relative to the largest one."""
        expected = self.held[name]
        return float(np.abs(v - expected).max() / np.abs(expected).max())


PLAIN: dict[str, Attribute] = {"reset_time": "same", "compare": "gt", "spikes": "one"}


def test_norse_and_snntorch_are_eulers_method_with_reset_to_zero() -> None:
    layer = Layer()
    tau = layer.steps("tau_s")
    parameters = [tau, 1, 0, layer.number("v_threshold")]
    s, v = layer.run("spike.lif", parameters, method="euler", reset="to_zero", **PLAIN)
    assert np.array_equal(s, layer.held["norse_s"])
    assert np.array_equal(s, layer.held["snntorch_lif_s"])
    assert layer.off(v * tau, "snntorch_lif_v") <= VOLTAGE_BOUND


def test_snntorchs_cuba_lif_is_eulers_method() -> None:
    layer = Layer()
    synapse, membrane = layer.steps("tau_syn_s"), layer.steps("tau_mem_s")
    # its importer leaves w_in / tau_syn out of the current and puts it into the threshold
    threshold = layer.number("snntorch_cubalif_threshold") / synapse
    parameters = [synapse, membrane, membrane, 0, 1, threshold]
    s, v = layer.run("spike.cuba_lif", parameters, method="euler", reset="to_zero", **PLAIN)
    assert np.array_equal(s, layer.held["snntorch_cubalif_s"])
    assert layer.off(v * synapse, "snntorch_cubalif_v") <= VOLTAGE_BOUND


def test_what_snntorch_makes_of_an_if_is_a_leaky_neuron_that_is_held() -> None:
    layer = Layer()
    # 0.9 v + I is Euler's method with tau = 10 timesteps and r = 10
    parameters = [10, 10, 0, layer.number("snntorch_if_threshold")]
    rule: dict[str, Attribute] = {**PLAIN, "reset_time": "held"}
    s, v = layer.run("spike.lif", parameters, method="euler", reset="subtract", **rule)
    assert np.array_equal(s, layer.held["snntorch_if_s"])
    assert layer.off(v, "snntorch_if_v") <= VOLTAGE_BOUND
    plain, _ = layer.run("spike.lif", parameters, method="euler", reset="subtract", **PLAIN)
    assert not np.array_equal(plain, s)  # so that the trap is one


def test_sinabs_decays_exponentially_and_spikes_several_times() -> None:
    layer = Layer()
    parameters = [layer.steps("tau_s"), 1, 0, layer.number("v_threshold")]
    rule: dict[str, Attribute] = {**PLAIN, "spikes": "many"}
    s, v = layer.run("spike.lif", parameters, method="exponential", reset="subtract", **rule)
    assert s.max() > 1
    assert np.array_equal(s, layer.held["sinabs_s"])
    assert layer.off(v, "sinabs_v") <= VOLTAGE_BOUND
