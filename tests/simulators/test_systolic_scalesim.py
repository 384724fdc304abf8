"""SCALE-Sim's closed form: numbers by hand, and laws that the golden table cannot show."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.systolic.scalesim.closed_form import (
    DATAFLOWS,
    Dataflow,
    Layers,
    cycles,
    folded,
    totals,
)
from tetrapla.simulators.systolic.scalesim.demand import Windows
from tetrapla.simulators.systolic.scalesim.memory import traffic
from tetrapla.simulators.systolic.scalesim.stalls import stall_free
from tetrapla.simulators.systolic.scalesim.traffic import Scratchpads

MORE = Path(__file__).parent / "scalesim" / "scalesim3_more.csv"
USER = MORE.with_name("scalesim3_user.csv")


def layers(*sizes: tuple[int, int, int]) -> Layers:
    m, n, k = np.array(sizes, np.int64).T
    return Layers(m, n, k)


@pytest.mark.parametrize(("dataflow", "expected"), [("os", 10), ("ws", 14), ("is", 14)])
def test_the_smallest_example(dataflow: Dataflow, expected: int) -> None:
    """4x4x4 on 4x4: 4 products and a skew of 3 + 3; what stays is loaded in 4 cycles more."""
    assert cycles(layers((4, 4, 4)), 4, 4, dataflow).tolist() == [expected]


def test_a_convolution_is_its_matrix_product() -> None:
    # 224x224 of 3 channels, 96 filters of 11x11, stride 4: 54.25 outputs, rounded up
    found = Layers.of_convolutions(np.array([[224, 224, 11, 11, 3, 96, 4]]))
    assert [int(each[0]) for each in (found.m, found.n, found.k)] == [55 * 55, 96, 363]


def test_a_layer_in_a_list_is_the_layer_alone() -> None:
    sizes = [(3025, 96, 363), (1, 1, 1), (17, 33, 65)]
    for dataflow in DATAFLOWS:
        together = cycles(layers(*sizes), 8, 16, dataflow)
        alone = [int(cycles(layers(each), 8, 16, dataflow)[0]) for each in sizes]
        assert together.tolist() == alone


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_no_array_does_more_than_it_can(dataflow: Dataflow) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        m, n, k = (int(size) for size in rng.integers(1, 200, 3))
        rows, cols = (int(size) for size in rng.integers(1, 40, 2))
        found = folded(layers((m, n, k)), rows, cols, dataflow)
        assert int(found.cycles[0]) * rows * cols >= m * n * k
        assert 0 < float(found.mapping_pct[0]) <= 100
        # every operand is read once at least, every result written once at least
        assert int(found.ifmap_reads[0]) >= m * k
        assert int(found.filter_reads[0]) >= k * n
        assert int(found.ofmap_writes[0]) >= m * n


def test_an_array_that_cannot_be_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        cycles(layers((1, 1, 1)), 0, 4, "os")
    assert str(caught.value) == "an array must have at least one row and column, not 0 x 4"
    with pytest.raises(SpecError) as caught:
        cycles(layers((1, 1, 1)), 4, 4, "rs")  # type: ignore[arg-type]
    assert str(caught.value) == "dataflow must be one of os, ws, is, not 'rs'"


def of_row(row: dict[str, str]) -> Layers:
    sizes = np.array([[int(size) for size in row["sizes"].split("x")]])
    if row["kind"] == "conv" and "DP" in row["layer"]:
        sizes[:, 4] = 1  # the table holds one channel of a depthwise layer
    found = Layers.of_convolutions(sizes) if row["kind"] == "conv" else Layers(*sizes.T)
    kept, of = (np.array([int(n)]) for n in row["sparsity"].split(":"))
    return Layers(found.m, found.n, found.k, 1, kept, of)


def test_scalesim_reported_these_numbers() -> None:
    """Strides with a rest, depthwise rows, N:M sparsity, arrays of one row and of 12 x 14."""
    with MORE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 276
    for row in rows:
        down, across = int(row["array_rows"]), int(row["array_cols"])
        flow: Dataflow = next(known for known in DATAFLOWS if known == row["dataflow"])
        found = folded(of_row(row), down, across, flow)
        assert found.cycles_reported[0] == int(row["cycles"])
        assert found.filter_reads[0] == int(row["filter_reads"])
        assert found.ofmap_writes_reported[0] == int(row["ofmap_writes"])
        # SCALE-Sim adds a fold's share to the others' before it divides: a rounding a fold
        folds = int(found.cycles[0])
        for name, ours in (
            ("ifmap_reads", found.ifmap_reads),
            ("overall_util_pct", found.utilization_pct),
            ("mapping_eff_pct", found.mapping_pct),
            ("compute_util_pct", found.compute_pct),
        ):
            assert abs(float(ours[0]) / float(row[name]) - 1) <= (folds + 8) * 2.0**-53


def test_the_stalls_are_those_of_scalesim() -> None:
    """Scratchpads too small for the operands, of any bandwidth; a stall-free layer has none."""
    stalled = free = 0
    with USER.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            windows = Windows(*(int(size) for size in row["sizes"].split("x")))
            flow: Dataflow = next(known for known in DATAFLOWS if known == row["dataflow"])
            down, across = int(row["array_rows"]), int(row["array_cols"])
            words = [1024 * int(row[f"{name}_kb"]) for name in ("ifmap", "filter", "ofmap")]
            ports = [int(row[f"{name}_bandwidth"]) for name in ("ifmap", "filter", "ofmap")]
            stalls = int(row["stall_cycles"])
            moved = traffic(windows, down, across, flow, Scratchpads(*words, *ports))
            assert moved is not None
            assert (moved.stall_cycles, moved.cycles) == (stalls, int(row["cycles"]))
            held = windows.layers()
            found = folded(held, down, across, flow)
            assert found.cycles_reported[0] + stalls == int(row["cycles"])
            surely = bool(stall_free(held, found, words[0], words[1], words[2])[0])
            assert not (surely and stalls)
            stalled, free = stalled + (stalls > 0), free + surely
    assert min(stalled, free) >= 15


def test_a_layer_with_too_many_addresses_is_left() -> None:
    windows, pads = Windows(2**13, 2**12, 1, 2**12, 1, 1, 1), Scratchpads(*[1024] * 6)
    assert traffic(windows, 8, 8, "os", pads) is None


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_many_arrays_at_once_are_each_alone(dataflow: Dataflow) -> None:
    rng = np.random.default_rng(1)
    m, n, k, count = rng.integers(1, 300, (4, 12))
    held = Layers(m, n, k, count, rng.integers(1, 3, 12), rng.integers(2, 5, 12))
    grid = [(rows, cols) for rows in range(1, 12) for cols in range(1, 12)]
    apart = [(int(rows), int(cols)) for rows, cols in rng.integers(1, 5000, (200, 2))]
    for arrays in (grid, apart):  # a table of rows by columns, and pairs that share none
        rows, cols = np.array(arrays, np.int64).T
        alone = [int(cycles(held, *array, dataflow).sum()) for array in arrays]
        assert totals(held, rows, cols, dataflow).tolist() == alone


def test_a_depthwise_layer_is_a_layer_for_each_channel() -> None:
    one = layers((36, 2, 9))
    six = Layers(one.m, one.n, one.k, np.array([6]))
    for dataflow in DATAFLOWS:
        a, b = folded(one, 8, 16, dataflow), folded(six, 8, 16, dataflow)
        assert b.cycles_reported[0] == 6 * a.cycles_reported[0]
        assert b.ofmap_writes_reported[0] == 6 * a.ofmap_writes_reported[0]
        assert b.utilization_pct[0] == a.utilization_pct[0]


def test_sums_that_float64_cannot_hold_are_refused() -> None:
    huge = np.array([2**40])
    with pytest.raises(SpecError) as caught:
        totals(Layers(huge, huge, huge), np.array([8]), np.array([8]), "os")
    # 2^37 * 2^37 folds of 2^40 + 14 cycles each
    assert str(caught.value) == (
        "the cycles of all layers must stay below 2^53, not reach 2.08e+34; "
        "sum fewer layers at a time"
    )


def test_a_layer_of_no_cycles_is_reported_without_one() -> None:
    # one product on one PE takes one cycle; SCALE-Sim reports 0 and divides by it
    found = folded(layers((1, 1, 1)), 1, 1, "os")
    assert (found.cycles[0], found.cycles_reported[0]) == (1, 0)
    assert not np.isfinite(found.utilization_pct[0])
