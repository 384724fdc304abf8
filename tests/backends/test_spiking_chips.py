"""Spiking chips beyond Loihi: a crossbar's weights, prices by hand, and what is refused."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.spiking import lower
from tetrapla.backends.spiking.capacity import share
from tetrapla.backends.spiking.crossbar import Synapses, fitted
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.builder import Builder
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.price_ import energy_range, price, summed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import Loaded, chips, family_of, load_spec
from tetrapla.simulators.spiking import Program, SpikingSpec, run
from tetrapla.simulators.spiking.axons import axons_of, copies, output_slots

SPIKING = [name for name in sorted(chips()) if family_of(name) == "spiking"]
# chips of which a price that every run needs is not public
UNPRICED = ("akida", "loihi2", "speck", "spinnaker2")


@cache
def chip(name: str) -> Loaded[SpikingSpec]:
    return load_spec(name, SpikingSpec)


def network(sources: int = 16, filters: int = 6) -> Module:
    rng = np.random.default_rng(5)
    b = Builder("net")
    x = b.input("x", (1, sources))
    y = b.matmul(x, rng.normal(size=(sources, filters)), rng.normal(size=filters) / 4).relu()
    b.output("y", b.matmul(y, rng.normal(size=(filters, 3)), np.zeros(3)))
    return b.build()


def data(sources: int = 16, count: int = 8) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {"x": rng.uniform(size=(count, 1, sources)).astype(np.float32)}


def lowered(name: str, **more: Any) -> Lowered[Program]:
    return lower(network(), chip(name).spec, data(), Options(timesteps=8, **more))


@pytest.mark.parametrize(
    ("sources", "singles", "axons"),
    [
        # 256 axons of 4 types: 4 each up to 64 sources, then as many as there is room for
        ([(64, 1)], 0, (4, 0)),
        ([(65, 1)], 0, (3, 61)),
        ([(100, 1)], 0, (2, 56)),
        ([(128, 1)], 0, (2, 0)),
        ([(256, 1)], 0, (1, 0)),
        ([(16, 9)], 0, (1, 12)),  # 256 - 144 axons are 12 channels of 9 taps
        ([(16, 1), (8, 9)], 0, (2, 23)),
        ([(64, 1)], 1, (3, 0)),  # a shortcut has a type and an axon of its own
        ([(300, 1)], 0, (1, 0)),  # too many: place refuses it
    ],
)
def test_axons_of_a_source_by_hand(
    sources: list[tuple[int, int]], singles: int, axons: tuple[int, int]
) -> None:
    assert chip("truenorth").spec.core.axons_per_source(sources, singles) == axons


def test_a_chip_without_a_crossbar_has_one_axon_for_a_source() -> None:
    assert chip("loihi").spec.core.axons_per_source([(16, 9)]) == (1, 0)


def test_weights_that_a_crossbar_has_stay_as_they_are() -> None:
    core = chip("truenorth").spec.core
    rng = np.random.default_rng(0)
    # of each neuron any sum of 4 weights: 16 sources have room for 4 axons each
    bits = rng.integers(0, 2, (16, 4))
    own = np.array([[-64, 60], [32, -28], [16, 16], [8, 9]])
    weight = (bits @ own).astype(np.int8)
    found = fitted([Synapses("matmul", weight)], core)
    assert found.axons == 4
    assert found.loss_frac == 0
    assert np.array_equal(found.weights[0], weight)


def test_one_axon_is_one_weight_for_each_type() -> None:
    core = chip("truenorth").spec.core
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (256, 3)).astype(np.int8)
    found = fitted([Synapses("matmul", weight)], core)
    assert found.axons == 1
    for column in found.weights[0].T:
        assert len(set(column.tolist()) - {0}) <= 4
    lost = ((weight.astype(float) - found.weights[0]) ** 2).sum()
    assert found.loss_frac == pytest.approx((lost / (weight.astype(float) ** 2).sum()) ** 0.5)
    assert 0 < found.loss_frac < 1


def test_a_channel_has_as_many_weights_as_its_axons_make() -> None:
    weight = np.random.default_rng(2).integers(-127, 128, (5, 16, 3, 3)).astype(np.int8)
    found = fitted([Synapses("conv2d", weight)], chip("truenorth").spec.core)
    # 256 axons: 12 channels of 9 taps have two each, so three sums, and four have one
    for channels in found.weights[0]:
        for c, taps in enumerate(channels):
            assert len(set(taps.ravel().tolist()) - {0}) <= (3 if c < 12 else 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 100), st.sampled_from(["matmul", "conv2d"]))
def test_fitted_weights_have_their_shape_and_fit_a_mantissa(
    seed: int, sources: int, kind: str
) -> None:
    core = chip("truenorth").spec.core
    rng = np.random.default_rng(seed)
    shape = (3, sources % 12 + 1, 3, 3) if kind == "conv2d" else (sources, 3)
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    found = fitted([Synapses(kind, weight)], core)
    (made,) = found.weights
    assert made.shape == weight.shape
    assert made.dtype == np.int8
    assert made.min() >= -127
    rows = made.reshape(3, -1).T if kind == "conv2d" else made
    for column in rows.T:
        assert len(set(column.tolist())) <= 16  # 4 types make no more sums


def test_what_truenorth_loses_is_said_layer_by_layer() -> None:
    said = [text for text in lowered("truenorth").warnings if "axon types" in text]
    assert [text.split(":")[0] for text in said] == ["layer matmul", "layer matmul_2"]
    assert all("of 4 axon types, at least 4 for a source, and are " in text for text in said)
    assert not [text for text in lowered("loihi").warnings if "axon types" in text]


def test_copies_of_a_neuron_are_counted_on_its_core() -> None:
    program = lowered("truenorth").program
    core = chip("truenorth").spec.core
    listener = program.populations[1]
    (synapses,) = listener.synapses
    (heard,) = share(listener, np.arange(listener.neurons)).axons
    assert axons_of(listener, synapses, heard, core).tolist() == [4] * 16
    assert output_slots(listener, synapses, heard, core).tolist() == [4] * 16


def test_copies_of_a_neuron_hear_update_and_fire() -> None:
    """By hand: 16 of the input on 4 axons each, and 6 on 4 each, so there are 4 of them.

    The chip's events are those of a chip without copies, times four where they are the
    neurons', and one packet goes to each axon.
    """
    made, spec = lowered("truenorth"), chip("truenorth").spec
    free = spec.model_copy(
        update={"core": spec.core.model_copy(update={"axons_per_neuron": None})}
    )
    first, layer, last = made.program.populations
    assert {n: c.tolist() for n, c in copies(made.program, spec).items()} == {
        first.name: [4] * 16,
        layer.name: [4] * 6,
        last.name: [1] * 3,  # nobody hears it
    }
    counted, alone = (run(made.program, s, data(), Key(0)).layers for s in (spec, free))
    for each, one, many in zip(counted, alone, (4, 4, 1), strict=True):
        spikes = one.actions["soma.fire"]
        assert each.actions["soma.access"] == many * one.actions["soma.access"]
        assert each.actions["soma.update"] == many * one.actions["soma.update"]
        assert each.actions["soma.fire"] == many * spikes
        # one core hears it, on four axons
        assert each.actions["network.packet_out"] == (4 * spikes if many > 1 else 0)
        if one.name != first.name:
            dense = one.actions["synapse.dense"]
            assert each.actions["synapse.dense"] == many * dense
    assert counted[1].actions["network.packet_in"] == 4 * alone[0].actions["soma.fire"]
    assert counted[1].utilization_frac == 24 / 256


def test_a_neuron_with_more_sources_than_a_core_has_axons_is_refused() -> None:
    with pytest.raises(UnsupportedError) as refused:
        lower(network(300), chip("truenorth").spec, data(300), Options(timesteps=8))
    assert "300 input axons exceed 256 per core" in str(refused.value)


@pytest.mark.parametrize("name", SPIKING)
def test_energy_by_hand(name: str) -> None:
    loaded, made = chip(name), lowered(name)
    done = run(made.program, loaded.spec, data(), Key(0))
    actions = summed([*(layer.actions for layer in done.layers), done.actions])
    energy = price(actions, loaded.spec.prices)
    if name in UNPRICED:
        assert energy.total_pj is None
        (said,) = energy.warnings
        assert said.startswith("the energy total is null: no source gives the price of ")
        return
    events = sum(n for action, n in actions.items() if action.startswith("synapse."))
    steps = made.program.chip_timesteps
    neurons = sum(p.neurons for p in made.program.populations)
    by_hand = {
        # 2.5 pJ an event, 63.1 mW for a tick of 1 ms
        "truenorth": events * 2.5 + steps * 63.1e6,
        # 13.3 nJ an event, 26 nJ a neuron and timestep, 17.6 W for 1 ms
        "spinnaker": events * 13.3e3 + steps * (neurons * 26e3 + 17.6e9),
    }
    if name in by_hand:
        assert energy.total_pj == pytest.approx(by_hand[name], rel=1e-12)
    found = energy_range(actions, loaded.spec.prices, loaded.ranges)
    ends = {
        "truenorth": (steps * 56.3e6, events * 2.5 + steps * 72e6),
        "spinnaker": (
            events * 8e3 + steps * neurons * 26e3,
            events * 45e3 + steps * (neurons * 26e3 + 27.1e9),
        ),
    }
    assert found == (pytest.approx(ends[name], rel=1e-12) if name in ends else None)


def test_truenorths_power_is_the_published_identity() -> None:
    spec = chip("truenorth").spec
    events_hz = 2**20 * 20 * 128
    event_pj = spec.prices["synapse.dense"]
    assert event_pj is not None
    assert spec.chip.static_power_w is not None
    power_w = spec.chip.static_power_w + events_hz * event_pj * 1e-12
    # 26 pJ for each event, to the three digits of the static power
    assert power_w == pytest.approx(events_hz * 26e-12, abs=0.05e-3)


def test_spinnakers_idle_power_follows_from_its_busy_board() -> None:
    spec = chip("spinnaker").spec
    ((low, high),) = [
        ends for key, ends in chip("spinnaker").ranges.items() if key[:6] == "static"
    ]
    neurons_w = 250_000 * 1000 * 26e-9
    assert spec.chip.static_power_w == pytest.approx(48 - 1.8e9 * 13.3e-9 - neurons_w, abs=0.05)
    assert high * 1e-12 == pytest.approx(48 - 1.8e9 * 8e-9 - neurons_w, abs=0.05)
    assert low == 0
    assert 48 - 1.8e9 * 45e-9 < 0


@pytest.mark.parametrize("name", SPIKING)
def test_a_chip_does_the_codes_that_it_says(name: str) -> None:
    codes = ("rate", "sequential", "radix", "ttfs", "graded")
    assert set(chip(name).spec.core.codes) <= set(codes)
    for code in codes:
        options = Options(timesteps=1 if code == "graded" else 4, code=code)
        if code in chip(name).spec.core.codes:
            assert lower(network(), chip(name).spec, data(), options).notes["code"] == code
            continue
        with pytest.raises(ModelError, match=f"neurons of {name} can do"):
            lower(network(), chip(name).spec, data(), options)


def test_a_code_that_a_chip_cannot_do_is_refused_with_chips_that_can() -> None:
    with pytest.raises(ModelError) as refused:
        lowered("loihi", code="radix")
    assert str(refused.value) == (
        "--code must be one that neurons of loihi can do, rate, sequential, not radix; use "
        "--target loihi2 or spinnaker or spinnaker2, or set core.codes"
    )


def spiking(kind: str, weight: Array) -> Module:
    """A network that spikes already: neurons of `kind` behind integer weights."""
    b = ModuleBuilder("native")
    x = b.input("x", (4, 1, len(weight)), "i8")
    held = b.weight("w", weight.astype(np.int8))
    current = b.op("spike.matmul", [x, held], {"exponent": 0}, "fc")
    words: dict[str, Any] = {"reset": "subtract"}
    own, states = {"leak": -1, "threshold": 5, "floor": 100}, 1
    if kind == "spike.loihi":
        words = {"policy": "loihi.lava", "exponent": 0, "refractory": 1}
        words |= {"lowest": 1 - 2**23, "highest": 2**23 - 1}
        own, states = {"du": 4095, "dv": 0, "threshold": 5, "bias": 0}, 3
    start = b.weight("start", np.zeros((states, 1, 1), np.int64))
    parts = [b.weight(name, np.array([n], np.int32)) for name, n in own.items()]
    b.output("y", b.ops(kind, [current, start, *parts], words, "n1")[0])
    return b.finish()


TWO = np.array([[9], [-3]])


def test_neurons_that_a_chip_does_not_have_are_refused() -> None:
    held = {"x": np.ones((2, 4, 1, 2), np.int8)}
    module = spiking("spike.loihi", TWO)
    for name in ("loihi", "loihi2", "spinnaker"):
        assert lower(module, chip(name).spec, held, Options()).program.cores
    for name, known in (
        ("speck", "spike.neuron"),
        ("truenorth", "spike.neuron, spike.truenorth"),
    ):
        with pytest.raises(UnsupportedError) as refused:
            lower(module, chip(name).spec, held, Options())
        assert str(refused.value) == (
            f"spiking: neurons on {name} must be {known}, not n1 = spike.loihi; use a chip "
            "whose neurons are programmed: --target loihi2 or spinnaker"
        )


def test_truenorths_own_network_runs_as_it_is() -> None:
    module, spec = spiking("spike.truenorth", TWO), chip("truenorth").spec
    held = {"x": np.array([[1, 0], [1, 1], [0, 1], [1, 0]], np.int8).reshape(1, 4, 1, 2)}
    program = lower(module, spec, held, Options()).program
    done = run(program, spec, held, Key(0))
    # v: 9 - 1 fires and leaves 3, + 9 - 3 - 1 = 8 fires and leaves 3, - 3 - 1 = -1, + 8 = 7
    assert done.outputs["y"].ravel().tolist() == [1, 1, 0, 1]
    events = sum(layer.actions.get("synapse.dense", 0) for layer in done.layers)
    assert events == 5


def test_weights_that_a_crossbar_does_not_have_are_refused() -> None:
    weight = np.random.default_rng(0).integers(-127, 128, (128, 3))
    held = {"x": np.ones((2, 4, 1, 128), np.int8)}
    module, spec = spiking("spike.truenorth", weight), chip("truenorth").spec
    loss = fitted([Synapses("matmul", weight.astype(np.int8))], spec.core).loss_frac
    with pytest.raises(UnsupportedError) as refused:
        lower(module, spec, held, Options())
    assert str(refused.value) == (
        "spiking: weights of n1 must be sums of weights that truenorth's 4 axon types have, "
        f"and the nearest found are {loss:.1%} off; give a network of ReLUs, whose weights are "
        "fitted, or use --target loihi"
    )


def test_a_file_that_does_not_say_what_its_neurons_do_has_loihis(tmp_path: Path) -> None:
    lines = chip("loihi").text.splitlines()
    held = [line for line in lines if not line.startswith(("  codes:", "  neurons:"))]
    assert len(held) == len(lines) - 2
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(held), "utf-8")
    assert load_spec(path, SpikingSpec).spec.core == chip("loihi").spec.core
