"""Arrays that a run reads for several products are programmed once, and hold the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.analog import cells, kept, machine
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

PCM = ("array.rows=16", "device.model=pcm_like", "device.g_max=25 uS")


def twice(*overrides: str) -> tuple[Any, AnalogSpec, dict[str, Array]]:
    """One matrix of two tiles, multiplied with two inputs, and another one."""
    rng = np.random.default_rng(5)
    b = ModuleBuilder("net")
    v = b.weight("v", rng.integers(-127, 128, (32, 6)).astype(np.int8))
    w = b.weight("w", rng.integers(-127, 128, (8, 6)).astype(np.int8))
    points: dict[str, Attribute] = {"x_zero_point": 0, "w_zero_point": 0}
    data: dict[str, Array] = {}
    for name, rows, weight in (("a", 32, v), ("b", 32, v), ("c", 8, w)):
        x = b.input(name, (2, rows), "i8")
        b.output(f"y{name}", b.op("qnn.matmul", [x, weight], points, f"fc{name}"))
        data[name] = rng.integers(-128, 128, (20, 2, rows)).astype(np.int8)
    spec = load_spec("isaac", AnalogSpec, (*PCM, *overrides)).spec
    return TARGET.lower(b.finish(), spec, data, Options()), spec, data


@pytest.mark.parametrize("outputs", ["none", "reestimated"])
def test_shared_arrays_are_programmed_once(
    outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered, spec, data = twice(f"recovery.outputs={outputs}")
    right, calls = cells.programmed, Counter[tuple[int, int]]()

    def programmed(product: Any, number: int, *rest: Any) -> cells.Cells:
        calls[product.number, number] += 1
        return right(product, number, *rest)

    monkeypatch.setattr(cells, "programmed", programmed)
    run = machine.run(lowered.program, spec, data, Key(1))
    # with a trial, the arrays of one product are read twice as well
    assert calls == {(0, 0): 1, (0, 1): 1, (1, 0): 1}
    # what is not kept gives the same
    monkeypatch.setattr(kept, "_MOST", 0)
    again = machine.run(lowered.program, spec, data, Key(1))
    assert calls[0, 0] > 2
    for name, array in run.outputs.items():
        assert np.array_equal(array, again.outputs[name])
    reference = evaluate_many(lowered.module, data)
    assert cross_check(lowered, spec, data, run, reference).passed
