"""Loihi's integer neuron against the traces of the tools that each policy is named after."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.loihi import BRIAN2, LAVA, NENGO, Neuron, Policy, Sign, State
from tetrapla.validation import GOLDEN

TRACES = GOLDEN / "neuro"
SIGNS: dict[int, Sign] = {1: "mixed", 2: "exc", 3: "inh"}


def cases(file: str) -> list[str]:
    with np.load(TRACES / file) as held:
        return [str(held[f"c{k}_name"]) for k in range(sum("_name" in n for n in held.files))]


def case(file: str, name: str) -> dict[str, Array]:
    """Arrays of a case, integers as i64."""
    number = cases(file).index(name)
    with np.load(TRACES / file) as held:
        arrays = {
            n.split("_", 1)[1]: held[n] for n in held.files if n.startswith(f"c{number}_")
        }
    return {n: a.astype(np.int64) if a.dtype.kind in "iu" else a for n, a in arrays.items()}


def replayed(
    policy: Policy, neuron: Neuron, weights: Array, exponent: int, spikes: Array, delay: int
) -> tuple[Array, Array, Array]:
    """Currents, voltages and spikes [T, n] of sources that spike as in [T, i]."""
    state = State.zeros(len(weights))
    heard = np.vstack((np.zeros((delay, spikes.shape[1]), np.int64), spikes))
    found = []
    for arriving in heard[: len(spikes)]:
        sums = arriving @ weights.T
        fired = loihi.step(policy, neuron, state, loihi.charge(policy, sums, exponent))
        found.append((state.u.copy(), state.v.copy(), fired))
    u, v, s = (np.array(trace) for trace in zip(*found, strict=True))
    return u, v, s


@pytest.mark.parametrize("name", cases("lava_dense_lif.npz"))
def test_the_lava_policy_is_lavas_fixed_point_model(name: str) -> None:
    c = case("lava_dense_lif.npz", name)
    du, dv, threshold, bias_exponent, exponent, bits = c["params"].tolist()
    sign: Sign = next(word for word in SIGNS.values() if word == str(c["sign_mode"]))
    neuron = Neuron(du, dv, threshold, loihi.shifted(c["bias_mant"], bias_exponent))
    held = loihi.mantissas(LAVA, c["W"], bits, sign)
    weights = loihi.per_spike(LAVA, held, exponent)
    u, v, s = replayed(LAVA, neuron, weights, exponent, c["S_in"], 1)
    assert np.array_equal(u, c["u"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


@pytest.mark.parametrize("name", cases("brian2loihi.npz"))
def test_the_brian2_policy_is_brian2loihis(name: str) -> None:
    c = case("brian2loihi.npz", name)
    decay, dv, threshold, refractory, delay, exponent, bits, sign = c["params"].tolist()
    neuron = Neuron(decay - 1, dv, threshold, 0, refractory, None, None)
    held = loihi.mantissas(BRIAN2, c["W"], bits, SIGNS[sign])
    weights = loihi.per_spike(BRIAN2, held, exponent)
    assert np.array_equal(weights, c["w_act"])
    u, v, s = replayed(BRIAN2, neuron, weights, exponent, c["S_in"], delay)
    assert np.array_equal(u, c["I"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


@pytest.mark.parametrize("name", cases("nengo_loihi.npz"))
def test_the_nengo_policy_is_nengo_loihis_emulator(name: str) -> None:
    c = case("nengo_loihi.npz", name)
    du, dv, threshold, refractory, lowest, highest = c["params"].tolist()
    neuron = Neuron(du, dv, threshold, c["bias"], refractory, lowest, highest)
    u, v, s = replayed(NENGO, neuron, c["w_eff"], 0, c["S_in"], 1)
    assert np.array_equal(u, c["u"])
    assert np.array_equal(v, c["v"])
    assert np.array_equal(s, c["s"])


def test_a_decay_rounds_toward_zero() -> None:
    x = np.array([5, -5, 4095, -4095, 0])
    # 5 x 4000 / 4096 = 4.88, 4095 x 4000 / 4096 = 3999.02
    assert loihi.kept(x, 96).tolist() == [4, -4, 3999, -3999, 0]


@pytest.mark.parametrize(
    ("policy", "held"),
    [(LAVA, [-256, -4, 0, 4, 252]), (BRIAN2, [-252, 0, 0, 4, 252])],
    ids=lambda p: getattr(p, "name", ""),
)
def test_weights_off_their_grid_round_as_the_policy_says(
    policy: Policy, held: list[int]
) -> None:
    given = np.array([-255, -3, 3, 7, 255])
    assert loihi.mantissas(policy, given, 7, "mixed").tolist() == held


@pytest.mark.parametrize(
    ("policy", "edge", "current"),
    [(LAVA, 2**23, 2**23), (LAVA, -(2**23), 2**23), (NENGO, 2**23, -(2**23))],
    ids=["lava high", "lava low", "nengo"],
)
def test_the_current_wraps_at_the_edge_that_the_policy_has(
    policy: Policy, edge: int, current: int
) -> None:
    state = State.zeros(1)
    loihi.step(policy, Neuron(0, 0, 0), state, np.array([edge]))
    assert state.u.tolist() == [current]


def test_a_parameter_without_bits_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        Neuron(4096, 0, 1)
    assert str(caught.value) == (
        "current_decay of a Loihi neuron must be 0 to 4095, not 4096; scale weights and "
        "threshold together, or choose another neuron"
    )
