"""The learning layer: rules by hand, who fires, what a key decides, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.plasticity import Draw, Rule, State, Trace, learn, note, products
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spiking.learning import Layer, Learner

PAIR = "2^-2*y0*x1 - 2^-2*x0*y1"
SURE = loihi.Neuron(4095, 0, 0)  # fires at any charge


def layer(text: str = PAIR, epoch: int = 1, **changes: Any) -> Layer:
    kinds = {"x1": Trace(16, 4), "y1": Trace(16, 4)}
    made = Layer(Rule(products(text), kinds, epoch, "exc"), SURE, 0, 0, 0, 0)
    return replace(made, **changes)


def train(*rows: list[int]) -> Array:
    return np.array(rows) > 0


def by_hand(text: str, pre: list[int], post: list[int], kinds: dict[str, Trace]) -> list[int]:
    """The weight behind each timestep of one synapse; epochs of one, all draws are 0.999."""
    rule = Rule(products(text), kinds, 1, "mixed")
    state, found = State.rest(rule, np.array([[0]])), list[int]()
    draws = dict.fromkeys(kinds, Draw(0.999, 126))
    for t, (x, y) in enumerate(zip(pre, post, strict=True), 1):
        note(rule, state, (np.array([x > 0]), np.array([y > 0])), 1, draws)
        learn(rule, state, t, draws, 0.999)
        found.append(int(state.w[0, 0]))
    return found


def test_triplets_strengthen_a_neuron_that_fires_often() -> None:
    """dw = x1 (A + B y2) where the neuron fires, y2 of before it (Pfister, Gerstner 2006).

    y2 of the chip's rule counts the spike itself, 48, which the third product takes off.
    Traces stay: tau is 1e9. y0 x1 y2 has 1 + 7 + 7 bits and 4 of its scale, 4 more than a
    sum holds, so it counts a 16th.
    """
    kinds = {"x1": Trace(32, 1e9), "y2": Trace(48, 1e9)}
    text = "2^-3*y0*x1 + 2^-3*y0*x1*y2 - 3*2^-3*y0*x1"
    found = by_hand(text, [1, 0, 0, 0], [0, 1, 0, 1], kinds)
    # first spike, y2 = 48: 32/8 + 32 48/16/8 - 3 32/8 = 4 + 12 - 12
    # second spike, y2 = 96: 4 + 24 - 12
    assert found == [0, 4, 4, 4 + 16]


def test_triplets_weaken_by_a_source_that_sends_often() -> None:
    """dw = -y1 (A + B x2) where the source sends, x2 of before it."""
    kinds = {"x2": Trace(48, 1e9), "y1": Trace(32, 1e9)}
    text = "-1*2^-3*x0*y1 - 2^-3*x0*y1*x2 + 3*2^-3*x0*y1"
    found = by_hand(text, [0, 1, 0, 1], [1, 0, 0, 0], kinds)
    assert found == [0, -4, -4, -4 - 16]


def test_a_source_before_its_neuron_is_learned() -> None:
    made = Learner.fresh(layer(), np.array([[10, 10]]), Key(0))
    # source 0 makes the neuron fire in its own timestep: x1 = y1 = 16 and both gates are open
    out = made.learn(train([1, 0], [0, 0]))
    assert out.tolist() == [[True], [False]]
    assert made.synapses.w.tolist() == [[10, 10]]
    # source 1 sends behind the spike: it fires the neuron too, y1 was 16 and decays to 12 or 13
    made.learn(train([1, 0], [0, 1]))
    # source 0: + x1 / 4 of 12 or 13; source 1: + 16 / 4 - y1 / 4 of 28 or 29
    ((first, second),) = made.synapses.w.tolist()
    assert first in (13, 14)
    assert second in (10 + 4 - 7, 10 + 4 - 8)
    counts = made.counts
    assert (counts.timesteps, counts.epochs, counts.spikes_in, counts.spikes_out) == (
        4,
        4,
        3,
        3,
    )
    assert counts.synaptic_events == 3
    assert counts.weights_changed == 2


def test_the_neuron_farthest_above_its_threshold_fires_and_holds_the_others_back() -> None:
    made = Learner.fresh(layer(inhibition=40), np.array([[30], [31]]), Key(0))
    out = made.respond(train([1], [0], [0])[:, None])
    # neuron 1 fires; neuron 0 keeps 30 and loses 40; both below the threshold after that
    assert out[:, 0].tolist() == [[False, True], [False, False], [False, False]]
    free = Learner.fresh(layer(), np.array([[30], [31]]), Key(0))
    # without inhibition it fires a timestep later, by what it kept
    assert free.respond(train([1], [0], [0])[:, None])[:, 0].tolist() == [
        [False, True],
        [True, False],
        [False, False],
    ]


def test_thresholds_rise_with_each_spike_and_fall_by_their_share() -> None:
    made = Learner.fresh(layer(rise=40, fall=1024), np.array([[100]]), Key(0))
    found = []
    for _ in range(3):
        made.learn(train([1]))
        found.append(int(made.threshold[0]))
    # 40, then 3/4 of what is there and 40 more, in 256ths
    assert found == [40, 70, 92]
    made.respond(train([1])[:, None])
    assert made.threshold.tolist() == [92]


def test_a_key_decides_the_weights(rng: np.random.Generator) -> None:
    spikes = rng.random((32, 6)) < 0.5

    def learned(seed: int) -> Array:
        made = Learner.fresh(layer("2^-4*y0*x1 - 2^-4*y0*w", 4), np.full((3, 6), 90), Key(seed))
        made.learn(spikes)
        return made.synapses.w

    assert np.array_equal(learned(1), learned(1))
    assert not np.array_equal(learned(1), learned(2))


def test_trains_side_by_side_do_not_meet(rng: np.random.Generator) -> None:
    made = Learner.fresh(layer(inhibition=50), rng.integers(0, 90, (4, 5)), Key(0))
    trains = rng.random((12, 3, 5)) < 0.4
    together = made.respond(trains)
    for b in range(3):
        assert np.array_equal(together[:, b], made.respond(trains[:, b : b + 1])[:, 0])


def refused(message: str, action: Any) -> None:
    with pytest.raises(ModelError) as caught:
        action()
    assert str(caught.value) == message


def test_what_has_no_bits_or_no_meaning_is_refused() -> None:
    made = Learner.fresh(layer(epoch=4), np.array([[10, 10]]), Key(0))
    refused(
        "a train must have a multiple of the epoch's 4 timesteps to be learned from, not 3; "
        "append silent ones",
        lambda: made.learn(np.zeros((3, 2), np.bool_)),
    )
    refused(
        "a train must be bool [T, sources] with 2 sources, not int64 of shape [4, 3]",
        lambda: made.learn(np.zeros((4, 3), np.int64)),
    )
    refused(
        "a train must be bool [T, B, sources] with 2 sources, not bool of shape [4, 2]",
        lambda: made.respond(np.zeros((4, 2), np.bool_)),
    )
    refused(
        "weights of a learning layer must fit 8 bits of sign 'exc', not 256; clip them first",
        lambda: Learner.fresh(layer(), np.array([[256]]), Key(0)),
    )
    refused(
        "weights of a learning layer must be integers [neurons, sources], not float64 of shape "
        "[2]",
        lambda: Learner.fresh(layer(), np.zeros(2), Key(0)),
    )
    refused(
        "inhibition of a learning layer must be 0 to 131071, not -1; scale weights and "
        "threshold together",
        lambda: layer(inhibition=-1),
    )
