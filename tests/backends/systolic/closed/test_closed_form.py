"""The closed form beside the compiled program: what it counts, and how far its time is off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tetrapla.backends.systolic import closed_form, lower
from tetrapla.backends.systolic.array.slots import Slots
from tetrapla.backends.systolic.closed.network import ProductShape
from tetrapla.backends.systolic.closed.tiles import Designs, tiles_of
from tetrapla.backends.target_ import Options
from tetrapla.designs import design
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.models import load_for
from tetrapla.settings import Settings
from tetrapla.simulators.price_ import summed
from tetrapla.simulators.systolic.counts import actions
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

BOUND = 0.10
"""Of cycles and bytes; 115 random designs of ResNets were off by 5 % at most (0022)."""
MEAN = 0.02


def shapes(model: str) -> Module:
    module = load_for(model, Settings())
    return Module.parse(module.text(), {}, module.name)


@pytest.fixture(scope="module")
def resnet18() -> Module:
    return shapes("zoo:resnet18")


def both(module: Module, overrides: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Cycles and actions of the program and of the formulas."""
    spec: SystolicSpec = design("tpu-v1", overrides).chip.spec
    program = lower(module, spec, None, Options()).program
    exact = {"cycles": schedule(program, spec).cycles, **summed(actions(program))}
    form, columns = closed_form(module, spec, Options()), dict[str, np.ndarray]()
    for path in form.fields:
        value = spec.model_dump()
        for name in path.split("."):
            value = value[name]
        columns[path] = np.array([value], np.float64)
    found = form(columns)
    counts = {name: float(count[0]) for name, count in found.actions.items()}
    return exact, {"cycles": float(found.cycles[0]), **counts}


def test_random_designs_lie_within_the_stated_bound(resnet18: Module) -> None:
    """Designs that no formula was fitted to; large arrays, whose programs are short."""
    rng, errors = np.random.default_rng(1022), list[float]()
    for _ in range(5):
        rows, cols = (round(2 ** rng.uniform(6.5, 9)) for _ in range(2))
        sums, tiles = 2 ** int(rng.integers(8, 15)), int(rng.integers(2, 17))
        clock, bandwidth = (round(2 ** rng.uniform(*each)) for each in ((8, 11), (2, 10)))
        exact, found = both(
            resnet18,
            (
                f"array.rows={rows}",
                f"array.cols={cols}",
                f"memories.accumulator_rows={sums}",
                f"memories.weight_tiles={tiles}",
                f"clock={clock}MHz",
                f"dram.bandwidth={bandwidth}GB/s",
                f"dram.latency={int(rng.integers(50, 500))}ns",
                f"vector.lanes={2 ** int(rng.integers(4, 11))}",
            ),
        )
        errors.append(found["cycles"] / exact["cycles"] - 1)
        for name in ("dram.read_byte", "array.shift_byte", "accumulator.read_byte"):
            assert abs(found[name] / exact[name] - 1) <= BOUND, name
    assert np.abs(errors).max() <= BOUND
    assert np.abs(errors).mean() <= MEAN


def test_what_no_choice_of_the_compiler_changes_is_counted_exactly(resnet18: Module) -> None:
    exact, found = both(resnet18, ("array.rows=100", "array.cols=60"))
    names = ("mac.int8", "mac.idle", "accumulator.add", "requantize.op", "vector.op")
    names += ("host_link.byte", "accumulator.write_byte", "unified_buffer.write_byte")
    assert {n: found[n] for n in names} == {n: exact[n] for n in names}
    assert {n for n, count in exact.items() if count} == {n for n, c in found.items() if c}


@pytest.mark.parametrize(("slots", "down", "passes"), [(2, 3, 7), (8, 9, 13), (16, 18, 4)])
def test_loads_are_those_of_the_rule_that_the_compiler_follows(
    slots: int, down: int, passes: int
) -> None:
    """Belady's rule on a cycle of tiles, of which the next ones must stay."""
    sequence, made, taken = list(range(down)) * passes, 0, 0
    rule = Slots(slots, sequence)
    for shifted in range(len(sequence)):
        for place in range(taken, min(shifted + slots - 1, len(sequence))):
            made += not rule.take(place, shifted)[1]
            taken = place + 1
    one = np.ones(1)
    rows = 8.0
    sums, four = one * 2 * 10, one * 4  # half of them hold a pass of ten rows
    rest = one, one, one, one, one
    machine = Designs(one * rows, four, sums, one * slots, *rest, {"int8": one})
    shape = ProductShape(10 * passes, 8 * down, 4, (1,), "int8", 1, 1, 1, 4)
    found = tiles_of(shape, machine)
    assert (found.down[0], found.passes[0]) == (down, passes)
    assert found.loads[0] == pytest.approx(made, abs=2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("array.units=2",),
            "--closed-form must have array.units 1, not 2, for which there is no formula; "
            "leave --closed-form out",
        ),
        (
            ("array.dataflow=output_stationary",),
            "--closed-form must have array.dataflow weight_stationary, not output_stationary, "
            "for which there is no formula; leave --closed-form out",
        ),
        (
            ("memories.unified_buffer=1MiB",),
            "--closed-form must have a memories.unified_buffer that holds every value from its "
            "birth to its last use, 1154048 bytes, not 1048576; enlarge it, or leave "
            "--closed-form out",
        ),
    ],
)
def test_what_has_no_formula_is_refused_by_name(
    resnet18: Module, overrides: Sequence[str], message: str
) -> None:
    with pytest.raises(UnsupportedError) as refused:
        closed_form(resnet18, design("tpu-v1", overrides).chip.spec, Options())
    assert str(refused.value) == message
