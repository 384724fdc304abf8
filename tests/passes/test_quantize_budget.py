"""Mixed precision: which layers give way first when a module must become cheaper."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.choose_precision_ import choose
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.quantize import Quantize

NONE: dict[str, Attribute] = {"activation": "none"}


def _weight_bits(module: Module) -> float:
    """What the layers' weights take: 8 or 4 bits each."""
    return float(
        sum(
            int(value.dtype[1:]) * value.elements
            for node in module.graph.nodes
            if node.kind == "qnn.matmul"
            for value in node.operands[1:2]
        )
    )


def _chain(arrays: list[Array]) -> Module:
    build = ModuleBuilder("chain")
    x = build.input("x", (4, len(arrays[0])))
    for i, array in enumerate(arrays):
        w = build.weight(f"w{i}", array.astype(np.float32))
        x = build.op("nn.matmul", [x, w], NONE, name=f"layer{i}")
    build.output("y", x)
    return build.finish()


def _random(rng: np.random.Generator, layers: int = 4) -> Module:
    return _chain([rng.standard_normal((8, 8)) / np.sqrt(8) for _ in range(layers)])


def _data(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.standard_normal((10, 4, 8)).astype(np.float32)}


def test_a_budget_that_is_met_leaves_every_layer_as_it_is(rng: np.random.Generator) -> None:
    found = choose(_random(rng), _data(rng), _weight_bits, 4 * 64 * 8)
    assert set(found.layers.values()) == {"i8"}
    assert found.cost == 4 * 64 * 8


def test_the_tightest_budget_takes_every_layer_down(rng: np.random.Generator) -> None:
    found = choose(_random(rng), _data(rng), _weight_bits, 4 * 64 * 4)
    assert set(found.layers.values()) == {"i4"}


def test_a_layer_that_four_bits_hold_exactly_gives_way_first(rng: np.random.Generator) -> None:
    # weights of -7..7 are the same in four bits as in eight; all other layers lose by it
    exact = rng.integers(-7, 8, (8, 8)) / 7.0
    exact[0] = 1
    arrays = [rng.standard_normal((8, 8)), exact, rng.standard_normal((8, 8))]
    found = choose(_chain(arrays), _data(rng), _weight_bits, 64 * (8 + 8 + 4))
    assert found.layers == {"layer0": "i8", "layer1": "i4", "layer2": "i8"}


def test_half_the_layers_are_chosen_better_than_most_halves(rng: np.random.Generator) -> None:
    module, data = _random(rng), _data(rng)
    budget = 64 * (8 + 8 + 4 + 4)
    found = choose(module, data, _weight_bits, budget)
    assert found.cost <= budget
    # every way of taking exactly two layers down
    errors = [
        _rel_error(module, data, {f"layer{i}": name for i, name in enumerate(formats)})
        for formats in product(("i8", "i4"), repeat=4)
        if formats.count("i4") == 2
    ]
    assert len(errors) == 6
    assert found.rel_error in [pytest.approx(error, rel=1e-6) for error in errors]
    assert found.rel_error <= np.median(errors)


def _rel_error(module: Module, data: dict[str, Array], layers: dict[str, str]) -> float:
    wanted = evaluate_many(module, data)["y"]
    made = run(module, [Quantize(layers=layers)], Context(data))
    lost = evaluate_many(made, data)["y"].astype(np.float64) - wanted
    return float(np.sqrt((lost**2).sum() / (wanted.astype(np.float64) ** 2).sum()))


def test_a_third_format_is_reached_through_the_second(rng: np.random.Generator) -> None:
    def cost(module: Module) -> float:
        sizes = {"f32": 32, "i8": 8, "i4": 4}
        found = [node for node in module.graph.nodes if node.kind.endswith(".matmul")]
        return float(sum(sizes[node.operands[1].dtype] for node in found))

    formats = ("f32", "i8", "i4")
    costs = [
        choose(_random(rng, 2), _data(rng), cost, budget, formats).cost
        for budget in (64, 63, 16, 15, 8)
    ]
    assert costs == [64, 40, 16, 12, 8]


def test_progress_is_told_of_each_module_that_is_tried(rng: np.random.Generator) -> None:
    told: list[int] = []
    choose(_random(rng), _data(rng), _weight_bits, 64 * 20, progress=told.append)
    # all in eight bits, each of four layers in four bits, and the one that is chosen
    assert told == [1] * 6


def test_a_budget_below_the_cheapest_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as caught:
        choose(_random(rng), _data(rng), _weight_bits, 1000)
    assert str(caught.value) == (
        "a budget must be at least 1024, which all layers in i4 cost, not 1000; "
        "allow more or offer a cheaper format"
    )


def test_an_unknown_format_names_the_nearest(rng: np.random.Generator) -> None:
    with pytest.raises(RegistryError, match=r"^no weight format 'int4'"):
        choose(_random(rng), _data(rng), _weight_bits, np.inf, ("i8", "int4"))
