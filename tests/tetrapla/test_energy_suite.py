"""The published powers and energies beside ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tetrapla.validation import Row


@pytest.fixture(scope="module")
def rows(shipped: Callable[[str], list[Row]]) -> dict[tuple[str, str], Row]:
    return {(row.case, row.quantity): row for row in shipped("energy")}


def test_every_row_informs_and_names_its_source(rows: dict[tuple[str, str], Row]) -> None:
    assert len(rows) == 8
    for row in rows.values():
        assert row.bound is None
        assert row.passed is None
        assert row.source
    (absent,) = [row for row in rows.values() if row.ours is None]
    assert "ours is null: the layer's shape is not in its report" in absent.source


def test_a_busy_tpu_v4_lies_between_its_measured_powers(
    rows: dict[tuple[str, str], Row],
) -> None:
    # 90 W idle and 192 W the most: cloud.google.com/tpu/docs/v4
    for number_format in ("int8", "bf16"):
        ours = rows[f"tpu-v4 {number_format}", "busy_power"].ours
        assert ours is not None
        assert 90 < ours < 192


def test_a_product_takes_at_least_its_macs_at_the_peak(
    rows: dict[tuple[str, str], Row],
) -> None:
    # 4096^3 MACs on 4 x 128 x 128 PEs at 1050 MHz: 0.99864 ms
    ours = rows["tpu-v4i matmul 4096", "time"].ours
    assert ours is not None
    assert ours >= 4096**3 / (4 * 128 * 128 * 1050e6) * 1e3
    # and MACs alone are 4096^3 of 0.1 pJ
    energy = rows["tpu-v4i matmul 4096", "energy"].ours
    assert energy is not None
    assert energy > 4096**3 * 0.1 * 1e-9


def test_a_datasheet_bounds_what_was_measured_of_it(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["groq-tsp resnet50", "inferences"]
    assert row.ours is not None
    assert row.published is not None
    assert row.ours >= row.published
