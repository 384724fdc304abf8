"""The LIF core: every state and spike is the policy's, in the cycles that its law states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.ir.test_loihi import SIGNS, case, cases
from tests.rtl.cores import (
    AXONS,
    COUNT_W,
    DESIGN,
    EVENT,
    GROUPS,
    NEURONS,
    SIZES,
    TICK,
    WRITE,
    Group,
    Network,
    Played,
    operations,
    played,
)
from tests.rtl.mutants import Mutant, mutated
from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import LAVA, STATE_LIMIT, Neuron, Sign, State, mantissas
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import lint


@pytest.fixture(scope="module")
def core() -> Iterator[Model]:
    with Model(DESIGN) as model:
        yield model


def group(rng: np.random.Generator) -> Group:
    """Parameters of any size, the extremes often."""

    def drawn(*extremes: int) -> int:
        low, high = extremes[0], extremes[-1]
        return int(rng.choice(extremes) if rng.random() < 0.4 else rng.integers(low, high + 1))

    threshold = int(rng.integers(0, 2 ** int(rng.integers(1, 18))))
    refractory = drawn(1, 2, 64) if rng.random() < 0.5 else 1
    neuron = Neuron(drawn(0, 1, 4095), drawn(0, 1, 4095), threshold, 0, refractory)
    return Group(neuron, drawn(-8, -1, 0, 7), drawn(0, 7))


def edges(rng: np.random.Generator, limit: int, *extremes: int) -> Array:
    """Integers of every size below a limit, and the extremes."""
    x = rng.integers(-limit, limit, NEURONS) >> rng.integers(0, 24, NEURONS)
    return np.where(rng.random(NEURONS) < 0.2, rng.choice(extremes, NEURONS), x)


def drawn_state(rng: np.random.Generator) -> tuple[State, Array]:
    """A state and sums that reach the edges of their bits."""
    top = STATE_LIMIT - 1
    u = edges(rng, top, STATE_LIMIT, top, -top, 0, 1, -1)
    v = edges(rng, top, top, -top, 0, 1, -1)
    waiting = rng.integers(0, 64, NEURONS) * (rng.random(NEURONS) < 0.2)
    high = 2 ** (SIZES["SUM_W"] - 1)
    return State(u, v, waiting), edges(rng, high, high - 1, -high, -1, 0)


def lists(rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Lists of any length, an empty one among them; the same neuron often twice in a row."""
    found = []
    for axon in range(AXONS):
        count = int(rng.integers(1, SIZES["SYNAPSES"] // AXONS + 1)) if axon else 0
        neurons = np.repeat(rng.integers(0, NEURONS, count), rng.integers(1, 4, count))[:count]
        found.append((neurons, rng.integers(-256, 256, count)))
    return found


def network(rng: np.random.Generator, lists: list[tuple[Array, Array]]) -> Network:
    """Neurons of random parameters."""
    return Network(
        lists,
        [group(rng) for _ in range(GROUPS)],
        rng.integers(0, GROUPS, NEURONS),
        rng.integers(-4096, 4096, NEURONS),
    )


def differs(model: Model, rng: np.random.Generator, timesteps: int) -> str:
    """What differs first between policy, law and RTL, of a random network; else empty."""
    held = network(rng, lists(rng))
    ready = (rng.random(2 ** SIZES["LOG_READY"]) < rng.choice([0.2, 0.9, 1.0])).astype(np.uint8)
    state, heard = State.zeros(NEURONS), []
    fired: list[Array] = []
    states: list[tuple[Array, Array, Array]] = []
    for _ in range(timesteps):
        axons = rng.integers(0, AXONS, int(rng.integers(0, 20))).tolist()
        if fired:  # neurons are sources too
            axons += np.flatnonzero(fired[-1]).tolist()
        heard.append(axons)
        fired.append(held.tick(state, held.sums(axons)))
        states.append((state.u.copy(), state.v.copy(), state.waiting.copy()))
    pauses = rng.choice([0, 0, 1, 2, 9], 99).tolist()
    done = operations(held, heard, pauses)
    return difference(held, played(model, done, ready), done, ready, fired, states)


def difference(
    held: Network,
    found: Played,
    done: Array,
    ready: Array,
    fired: list[Array],
    states: list[tuple[Array, Array, Array]],
) -> str:
    neurons = np.concatenate([np.flatnonzero(f) for f in fired])
    if not np.array_equal(found.spikes[:, 1], neurons):
        return "spikes"
    for name, parts in zip(("u", "v", "waiting"), zip(*states, strict=True), strict=True):
        if not np.array_equal(getattr(found, name), np.array(parts)):
            return name
    taken, sent = held.cycles(np.vstack((done, [TICK, 0, 0])), ready, [*fired, np.zeros(0)])
    if not np.array_equal(found.taken, taken) or not np.array_equal(found.spikes[:, 0], sent):
        return "cycles"
    return "error" if found.error else ""


def test_random_networks_compute_the_policy_in_the_stated_cycles(
    core: Model, rng: np.random.Generator
) -> None:
    for _ in range(8):
        assert differs(core, rng, 12) == ""


def differing_steps(model: Model, rng: np.random.Generator, rounds: int) -> tuple[int, int]:
    """Single ticks of neurons in random states: those that differ, and the spikes."""
    wrong = spikes = 0
    for _ in range(rounds):
        held = network(rng, [])
        state, sums = drawn_state(rng)
        found = played(
            model, operations(held, [[]]), start=(State(state.u, state.v, state.waiting), sums)
        )
        fired = held.tick(state, sums)
        spiked = np.zeros(NEURONS, np.bool_)
        spiked[found.spikes[:, 1]] = True
        wrong += int(
            np.count_nonzero(
                (found.u[0] != state.u)
                | (found.v[0] != state.v)
                | (found.waiting[0] != state.waiting)
                | (spiked != fired)
            )
        )
        spikes += int(fired.sum())
    return wrong, spikes


def test_a_hundred_thousand_steps_from_any_state_are_the_policys(
    core: Model, rng: np.random.Generator
) -> None:
    wrong, spikes = differing_steps(core, rng, 100_000 // NEURONS)
    assert wrong == 0
    assert spikes > 10_000


@pytest.mark.parametrize("name", cases("lava_dense_lif.npz"))
def test_the_core_is_lavas_model_at_every_timestep(core: Model, name: str) -> None:
    c = case("lava_dense_lif.npz", name)
    du, dv, threshold, bias_exponent, exponent, bits = c["params"].tolist()
    sign: Sign = next(word for word in SIGNS.values() if word == str(c["sign_mode"]))
    weights = mantissas(LAVA, c["W"], bits, sign)
    n = len(weights)
    bias = np.zeros(NEURONS, np.int64)
    bias[:n] = c["bias_mant"]
    held = Network(
        [(np.arange(n), column) for column in weights.T],
        [Group(Neuron(du, dv, threshold), exponent, bias_exponent)],
        bias=bias,
    )
    heard = [[], *(np.flatnonzero(s).tolist() for s in c["S_in"][:-1])]
    found = played(core, operations(held, heard))
    assert np.array_equal(found.u[:, :n], c["u"])
    assert np.array_equal(found.v[:, :n], c["v"])
    raster = np.zeros((len(heard), NEURONS), np.int64)
    # the tick of a spike is the last one taken before it
    ticks = found.taken[:-1][operations(held, heard)[:, 0] == TICK]
    raster[np.searchsorted(ticks, found.spikes[:, 0]) - 1, found.spikes[:, 1]] = 1
    assert np.array_equal(raster[:, :n], c["s"])


def stepped(core: Model, group: Group, bias: int = 0, **start: int) -> tuple[int, int, int]:
    """u and v of a neuron after a tick, and whether it spiked."""
    state = State.zeros(NEURONS)
    for name in ("u", "v", "waiting"):
        getattr(state, name)[7] = start.get(name, 0)
    sums = np.zeros(NEURONS, np.int64)
    sums[7] = start.get("sum", 0)
    biases = np.zeros(NEURONS, np.int64)
    biases[7] = bias
    found = played(
        core, operations(Network((), [group], bias=biases), [[]]), start=(state, sums)
    )
    return int(found.u[0, 7]), int(found.v[0, 7]), len(found.spikes)


QUIET = Neuron(0, 0, 2**17 - 1)
TOP = STATE_LIMIT - 1


@pytest.mark.parametrize(
    ("group", "start", "after"),
    [
        # -1 x 4095 / 4096 is -0.9998: toward zero
        (Group(QUIET), {"u": -1}, (0, 0, 0)),
        # a voltage that does not decay is kept to the bit
        (Group(QUIET), {"v": -TOP}, (0, -TOP, 0)),
        # (-1 >> 1) << 6 = -64: the exponent rounds down
        (Group(QUIET, -1), {"sum": -1}, (-64, -64, 0)),
        (Group(QUIET, -1), {"sum": 1}, (0, 0, 0)),
        # 2^17 << 6 = 2^23 stays, and the voltage clips below it; it is above 2^23 - 64
        (Group(QUIET), {"sum": 2**17}, (2**23, 0, 1)),
        # -2^17 << 6 = -2^23 is 2^23 in Lava
        (Group(QUIET), {"sum": -(2**17)}, (2**23, 0, 1)),
        # 8388607 x 4095 / 4096 = 8386559.0002
        (Group(QUIET), {"v": -TOP, "u": -TOP}, (-8386559, -TOP, 0)),
        # the threshold itself is no spike, one above is
        (Group(Neuron(0, 0, 3)), {"v": 192}, (0, 192, 0)),
        (Group(Neuron(0, 0, 3)), {"v": 193}, (0, 0, 1)),
        # silent while it waits, although the current goes on
        (Group(Neuron(0, 0, 0)), {"v": 999, "sum": 5, "waiting": 1}, (320, 0, 0)),
    ],
)
def test_the_edges_of_a_timestep(
    core: Model, group: Group, start: dict[str, int], after: tuple[int, int, int]
) -> None:
    assert stepped(core, group, **start) == after


def test_a_bias_of_every_bit_reaches_the_voltage_alone(core: Model) -> None:
    assert stepped(core, Group(QUIET, 0, 7), -4096) == (0, -(2**19), 0)


def test_a_sum_that_leaves_its_bits_is_reported(core: Model) -> None:
    # 2048 spikes of -256 in a timestep are -2^19, the lowest of 20 bits; 64 more are not there
    lists = [(np.full(64, 3), np.full(64, -256))]
    held = Network(lists, [Group(Neuron(0, 0, 0), -8)])
    found = played(core, operations(held, [[0] * 32]))
    assert (found.error, found.u[0, 3]) == (0, -(2**19) >> 8 << 6)
    assert played(core, operations(held, [[0] * 33])).error == 4


def wrong_word(core: Model, held: Network, *words: tuple[int, int, int]) -> tuple[int, int]:
    """The error, and the sum of neuron 5 behind an event of axon 1."""
    done = np.array([*held.writes(), *words, (EVENT, 1, 0), (TICK, 0, 0)])
    found = played(core, done)
    return found.error, int(found.u[0, 5])


def test_what_does_not_exist_is_reported_and_left_out(core: Model) -> None:
    one = np.array([5]), np.array([9])
    held = Network([one, one], [Group(QUIET)])
    assert wrong_word(core, held) == (0, 9 << 6)
    assert wrong_word(core, held, (EVENT, AXONS, 0)) == (1, 9 << 6)
    behind = (WRITE, 2, (SIZES["SYNAPSES"] - 1) << COUNT_W | 2)
    assert wrong_word(core, held, behind, (EVENT, 2, 0)) == (2, 9 << 6)
    nobody = (WRITE + 1, 0, NEURONS << 9 | 7)
    assert wrong_word(core, held, nobody, (EVENT, 0, 0)) == (3, 9 << 6)


@pytest.mark.parametrize("neurons", [64, 1000])
def test_the_core_is_lint_clean(neurons: int) -> None:
    assert lint(replace(DESIGN, parameters={**SIZES, "NEURONS": neurons})) == ""


MUTANTS = (
    # rounding: of decays, of negative exponents
    Mutant("lif.sv", "if (x < 0) kept = -kept;", "if (x < 0) kept = ~kept;"),
    Mutant("lif.sv", "x >>> 4'(-exponent)", "-((-x) >>> 4'(-exponent))"),
    # the edges of the state
    Mutant("lif.sv", "if (v_n < -LIMIT) v_n = -LIMIT;", "if (v_n < -LIMIT) v_n = -LIMIT - 1;"),
    Mutant("lif.sv", "code == 24'h800000 ? 25'sh0800000", "code == 24'h800000 ? -25'sh0800000"),
    # the threshold, two synapses of one neuron behind each other, and a tick's cycles
    Mutant("lif.sv", "fired = v_n > $signed", "fired = v_n >= $signed"),
    Mutant("lif.sv", "wrote && wrote_to == added_to", "wrote && wrote_to != added_to"),
    Mutant("lif.sv", "settled <= phase == TICK && !ends;", "settled <= tick_taken || settled;"),
)
MORE = (
    Mutant("lif.sv", "= event_ready_o && !event_valid_i;", "= event_ready_o;"),
    Mutant("lif.sv", "13'd4095 - 13'(group[11:0])", "13'd4096 - 13'(group[11:0])"),
    Mutant("lif.sv", "LIMIT = 27'sd8388607;", "LIMIT = 27'sd8388606;"),
    Mutant("lif.sv", "charge = 24'(x << 6);", "charge = 24'(x << 5);"),
    Mutant("lif.sv", "fired ? period : silent == 0", "fired ? period + 6'd1 : silent == 0"),
    Mutant("lif.sv", "neuron[12:0])) <<< group", "neuron[12:0])) << 1 <<< group"),
)


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *(pytest.param(m, marks=pytest.mark.slow) for m in MORE)],
    ids=str,
)
def test_an_error_in_the_core_is_caught(
    tmp_path: Path, rng: np.random.Generator, mutant: Mutant
) -> None:
    with Model(mutated(DESIGN, mutant, tmp_path)) as model:
        assert differs(model, rng, 8) or differing_steps(model, rng, 20)[0]
