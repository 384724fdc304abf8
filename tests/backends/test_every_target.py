"""What holds of every chip of the catalogue, on a small trained network."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.target_ import AnyTarget, Lowered, Options, families, find, target
from tetrapla.frontend.builder import Builder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.price_ import price, summed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run, check_invariants
from tetrapla.simulators.spec_ import Spec, chips, family_of, load_spec

CHIPS = sorted(chips())
# a datasheet computes no values of its own: its outputs are the interpreter's
COMPUTING = [chip for chip in CHIPS if family_of(chip) != "roofline"]
OPTIONS = Options(timesteps=8)


ONE_LAYER = ("mark1-perceptron",)  # the whole machine is one array of weights


@cache
def network(chip: str = "") -> Module:
    """Convolution, ReLU, pool and product; the product alone where nothing else fits."""
    rng = np.random.default_rng(0)
    b = Builder("small")
    x = b.input("x", (2, 3, 6, 6))
    if chip in ONE_LAYER:
        b.output("scores", b.matmul(x.flatten(), rng.normal(size=(108, 5)) / 6, np.ones(5)))
        return b.build()
    y = b.conv2d(x, rng.normal(size=(4, 3, 3, 3)) / 5, rng.normal(size=4) / 5, pads=1).relu()
    flat = y.max_pool2d(2).flatten()
    b.output("scores", b.matmul(flat, rng.normal(size=(36, 5)) / 6, rng.normal(size=5)))
    return b.build()


def data(seed: int, invocations: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(invocations, 2, 3, 6, 6)).astype(np.float32)}


@cache
def compiled(chip: str) -> tuple[AnyTarget, Any, Lowered[Any]]:
    family, loaded = find(chip)
    return family, loaded.spec, family.lower(network(chip), loaded.spec, data(1, 16), OPTIONS)


def ran(chip: str, seed: int = 0, invocations: int = 3) -> Run:
    family, spec, lowered = compiled(chip)
    return family.run(lowered.program, spec, data(2, invocations), Key(seed))


def test_every_family_has_a_chip() -> None:
    assert {family_of(chips()[chip]) for chip in CHIPS} == set(families())


@pytest.mark.parametrize("chip", CHIPS)
def test_every_chip_loads_in_its_family(chip: str) -> None:
    spec_type = target(family_of(chip)).spec_type
    loaded = load_spec(chip, spec_type)
    assert issubclass(spec_type, Spec)
    assert loaded.name == chip
    assert all(entry.grade != "user" for entry in loaded.provenance)
    assert loaded.spec.ideal().name == chip


@pytest.mark.parametrize("family", families())
def test_every_default_chip_is_of_its_family(family: str) -> None:
    assert family_of(target(family).default_chip) == family


@pytest.mark.parametrize("chip", COMPUTING)
def test_a_machine_agrees_with_the_interpreter(chip: str) -> None:
    family, spec, lowered = compiled(chip)
    reference = evaluate_many(lowered.module, data(2))
    check = family.cross_check(lowered, spec, data(2), ran(chip), reference)
    assert check is not None
    assert check.passed, check


@pytest.mark.parametrize("chip", sorted(set(CHIPS) - set(COMPUTING)))
def test_a_machine_without_values_gives_the_interpreters_and_says_so(chip: str) -> None:
    family, spec, lowered = compiled(chip)
    reference = evaluate_many(lowered.module, data(2))
    run = ran(chip)
    assert family.cross_check(lowered, spec, data(2), run, reference) is None
    assert np.array_equal(run.outputs["scores"], reference["scores"])
    assert any("there is no cross-check" in text for text in run.warnings)


@pytest.mark.parametrize("chip", COMPUTING)
def test_a_wrong_output_fails_the_check(chip: str) -> None:
    family, spec, lowered = compiled(chip)
    reference = evaluate_many(lowered.module, data(2))
    run = ran(chip)
    # one class of one sample says what another one should
    wrong = run.outputs["scores"].copy()
    wrong[0, 0] = np.roll(wrong[0, 0], 1) + 2 * np.abs(wrong).max()
    broken = replace(run, outputs={"scores": wrong})
    check = family.cross_check(lowered, spec, data(2), broken, reference)
    assert check is not None
    assert not check.passed


@pytest.mark.parametrize("chip", CHIPS)
def test_a_run_keeps_the_invariants_and_every_action_has_a_price(chip: str) -> None:
    _, spec, _ = compiled(chip)
    run = ran(chip)
    energy = price(summed([*(layer.actions for layer in run.layers), run.actions]), spec.prices)
    check_invariants(run, energy=energy)
    assert energy.total_pj is None or energy.total_pj > 0
    assert run.time_s > 0
    assert run.layers


@pytest.mark.parametrize("chip", CHIPS)
def test_the_same_key_gives_the_same_run(chip: str) -> None:
    one, two = ran(chip, 7), ran(chip, 7)
    assert one.outputs["scores"].tobytes() == two.outputs["scores"].tobytes()
    assert one.layers == two.layers
    assert (one.cycles, one.time_s, one.actions) == (two.cycles, two.time_s, two.actions)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_sample_does_not_know_its_neighbours(chip: str) -> None:
    # the first of three invocations is the one of one
    assert np.array_equal(ran(chip).outputs["scores"][:1], ran(chip, 0, 1).outputs["scores"])


@pytest.mark.parametrize("chip", CHIPS)
def test_inputs_stay_untouched(chip: str) -> None:
    family, spec, lowered = compiled(chip)
    inputs = data(2)
    before = inputs["x"].tobytes()
    family.run(lowered.program, spec, inputs, Key(0))
    assert inputs["x"].tobytes() == before


@pytest.mark.parametrize("chip", CHIPS)
def test_a_program_prints_and_survives_json(chip: str) -> None:
    family, spec, lowered = compiled(chip)
    program = lowered.program
    plain = program.to_dict()
    assert plain["schema"].startswith(f"tetrapla.{family.family}/")
    again = type(program).from_dict(json.loads(json.dumps(plain, allow_nan=False)))
    assert again.text() == program.text()
    assert len(program.text().splitlines()) > 1
    assert again.to_dict() == plain
    run = family.run(again, spec, data(2), Key(0))
    assert run.outputs["scores"].tobytes() == ran(chip).outputs["scores"].tobytes()
    assert run.layers == ran(chip).layers


@pytest.mark.parametrize("chip", CHIPS)
def test_a_program_that_lacks_a_part_is_refused(chip: str) -> None:
    program = compiled(chip)[2].program
    plain = program.to_dict()
    del plain["inputs"]
    with pytest.raises(ModelError) as caught:
        type(program).from_dict(plain)
    # a part is missed where it is looked up, or where the program is made
    assert "'inputs'" in str(caught.value)
    assert str(caught.value).endswith("; compile it again")
    with pytest.raises(ModelError) as caught:
        type(program).from_dict({**plain, "schema": "tetrapla.other/1"})
    assert str(caught.value) == (
        f"a program's schema must be {plain['schema']}, not tetrapla.other/1"
    )


@pytest.mark.parametrize("chip", CHIPS)
def test_the_lowered_module_verifies_and_keeps_the_interface(chip: str) -> None:
    _, _, lowered = compiled(chip)
    lowered.module.verify()
    for mine, given in (
        (lowered.module.inputs, network(chip).inputs),
        (lowered.module.outputs, network(chip).outputs),
    ):
        assert {name: (value.shape, value.dtype) for name, value in mine.items()} == {
            name: (value.shape, value.dtype) for name, value in given.items()
        }


@pytest.mark.parametrize("chip", CHIPS)
def test_an_ideal_machine_has_no_chance_in_it(chip: str) -> None:
    family, spec, _ = compiled(chip)
    options = Options(timesteps=8, ideal=True)
    assert not family.stochastic(spec.ideal(), options)
    lowered = family.lower(network(chip), spec.ideal(), data(1, 16), options)
    runs = [family.run(lowered.program, spec.ideal(), data(2), Key(seed)) for seed in (0, 1)]
    assert runs[0].outputs["scores"].tobytes() == runs[1].outputs["scores"].tobytes()
