"""Calibration: the ranges that real data gives, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import METHODS, ranges


def _relu(size: int = 2) -> Module:
    build = ModuleBuilder("relu")
    # input and node share a name on purpose: their ranges must not
    build.output("y", build.op("nn.relu", [build.input("x", (size,))], name="x"))
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


def _interval(values: Array, method: str, levels: int = 255) -> tuple[float, float]:
    """Of one invocation that holds all of the values."""
    data = {"x": values.astype(np.float32)[None]}
    return ranges(_relu(values.size), data, method, levels=levels).input("x")


def _outlier(rng: np.random.Generator) -> Array:
    """100,000 values evenly in 0..1 and one of 10."""
    return np.append(rng.uniform(0, 1, 100_000), 10)


def test_the_least_squared_error_gives_an_outlier_up_in_part(rng: np.random.Generator) -> None:
    # cut at t: (10 - t)^2 of clipping and 10^5 (t / 255)^2 / 12 of rounding, least at
    # t = 10 / 1.128 = 8.86; the shares tried are 0.25 apart
    low, high = _interval(_outlier(rng), "mse")
    assert low == pytest.approx(0, abs=1e-3)
    assert high == pytest.approx(8.86, abs=0.25)


def test_finer_steps_leave_nothing_to_cut(rng: np.random.Generator) -> None:
    assert _interval(_outlier(rng), "mse", 2**16 - 1)[1] == pytest.approx(10, abs=10 / 2048)


def test_entropy_cuts_a_long_tail_and_keeps_an_even_spread(rng: np.random.Generator) -> None:
    assert _interval(rng.uniform(0, 1, 100_000), "entropy")[1] > 0.9
    assert _interval(np.append(rng.normal(0, 1, 100_000), 50), "entropy")[1] < 25


def test_zeros_of_a_relu_do_not_move_its_threshold(rng: np.random.Generator) -> None:
    some = np.append(np.abs(rng.normal(0, 1, 100_000)), 0)
    padded = np.append(some, np.zeros(1_000_000))
    assert _interval(some, "entropy") == _interval(padded, "entropy")


@pytest.mark.parametrize("shift", [-1, 20, -20])
@pytest.mark.parametrize("method", METHODS)
def test_no_method_leaves_the_extremes(
    method: str, shift: int, rng: np.random.Generator
) -> None:
    data = {"x": (rng.standard_normal((100, 2)) ** 3 + shift).astype(np.float32)}
    whole, found = ranges(_relu(), data), ranges(_relu(), data, method)
    for outer, inner in ((whole.inputs, found.inputs), (whole.nodes, found.nodes)):
        (least, most), (low, high) = outer["x"], inner["x"]
        slack = 1e-6 * (most - least)  # a cut is a sum of float64 bins
        assert least - slack <= low <= high <= most + slack


@pytest.mark.parametrize(("method", "sweeps"), [("minmax", 1), ("entropy", 2), ("mse", 2)])
def test_progress_is_told_of_each_invocation_of_each_sweep(method: str, sweeps: int) -> None:
    told: list[int] = []
    ranges(_relu(), _data((-1, 2), (-3, 0.5), (0, 1)), method, progress=told.append)
    assert told == [1] * 3 * sweeps


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
        ranges(build.finish(), _data((3e38, 0))).node("double")
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
