"""Calibration: the ranges that real data gives, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import ranges


def _relu() -> Module:
    build = ModuleBuilder("relu")
    # input and node share a name on purpose: their ranges must not
    build.output("y", build.op("nn.relu", [build.input("x", (2,))], name="x"))
    return build.finish()


def _data(*rows: tuple[float, float]) -> dict[str, Array]:
    return {"x": np.array(rows, np.float32)}


def test_minmax_spans_all_invocations() -> None:
    found = ranges(_relu(), _data((-1, 2), (-3, 0.5)))
    assert (found.inputs, found.nodes) == ({"x": (-3.0, 2.0)}, {"x": (0.0, 2.0)})


def test_a_percentile_cuts_both_tails() -> None:
    # 1000 values evenly over 0..999: 98 % leaves 1 % on either side, to within a bin
    data = {"x": np.arange(1000, dtype=np.float32).reshape(500, 2)}
    low, high = ranges(_relu(), data, "percentile", percentile_pct=98).input("x")
    bin_ = 999 / 2048
    assert low == pytest.approx(10, abs=2 * bin_)
    assert high == pytest.approx(989, abs=2 * bin_)


def test_the_hundredth_percentile_is_minmax(rng: np.random.Generator) -> None:
    data = {"x": rng.standard_normal((50, 2)).astype(np.float32)}
    assert ranges(_relu(), data, "percentile", percentile_pct=100) == ranges(_relu(), data)


def test_a_constant_value_has_an_empty_interval_and_is_not_cut() -> None:
    data = _data((2, 2), (2, 2))
    assert ranges(_relu(), data, "percentile").node("x") == (2.0, 2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            _data((0, 1), (np.nan, 1)),
            "calibration data of input 'x' must be finite, not nan in sample 1; "
            "drop or mend that sample",
        ),
        (
            _data((0, -np.inf)),
            "calibration data of input 'x' must be finite, not -inf in sample 0; "
            "drop or mend that sample",
        ),
        (
            {"x": np.zeros((4, 3), np.float32)},
            "calibration data of input 'x' must have shape (invocations, 2), not (4, 3)",
        ),
        (
            {"x": np.zeros((), np.float32)},
            "calibration data of input 'x' must have shape (invocations, 2), not ()",
        ),
        ({"z": np.zeros((4, 2), np.float32)}, "inputs must be named ['x'], not ['z']"),
        (
            {"x": np.zeros((0, 2), np.float32)},
            "inputs must hold one equal, positive number of invocations, not {'x': 0}",
        ),
    ],
)
def test_unusable_data_is_refused(data: dict[str, Array], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        ranges(_relu(), data)
    assert str(caught.value) == message


def test_a_layer_that_overflows_is_named() -> None:
    build = ModuleBuilder("sum")
    x = build.input("x", (2,))
    build.output("y", build.op("nn.add", [x, x], name="double"))
    with pytest.raises(ModelError) as caught:
        ranges(build.finish(), _data((3e38, 0)))
    assert str(caught.value) == (
        "double: calibrated values must be finite, not 0.0..inf; "
        "mend the model's weights or the data"
    )


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(RegistryError) as caught:
        ranges(_relu(), _data((0, 1)), "percentil")
    assert str(caught.value) == (
        "no calibration method 'percentil'; did you mean 'percentile'?; "
        "there are: minmax, percentile, entropy, mse"
    )


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        ranges(_relu(), _data((0, 1)), "percentile", percentile_pct=0)
    assert str(caught.value) == "a calibration percentile must lie in (0, 100], not 0"
