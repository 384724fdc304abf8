"""`validate gpu`: what is compared, and that a worse model would fail."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.validation import GOLDEN, Row, validate

Cli = Any  # the fixture's, see conftest

# the quantity, its points, the bound of their mean
CLAIMS = [
    ("a100_product", 68, 0.12),
    ("h100_product", 68, 0.12),
    ("a40_product", 68, 0.12),
    ("a100_product_prior", 68, 0.12),
    ("h100_product_prior", 68, 0.12),
    ("a40_product_prior", 68, 0.12),
    ("a100_product_host_sync", 20, None),
    ("a100_product_host_sync_refitted", 20, 0.06),
    ("v100_convolution", 84, 0.15),
    ("t4_convolution", 84, 0.15),
    ("h100_attention_fa3", 30, 0.08),
    ("h100_attention_fa2", 30, None),
    ("h100_attention_cudnn", 30, None),
    ("h100_attention_unfused", 5, None),
]


@cache
def rows() -> tuple[Row, ...]:
    return tuple(validate(["gpu"]))


@pytest.mark.parametrize(("quantity", "count", "bound"), CLAIMS)
def test_a_mean_is_that_of_its_points_and_within_its_bound(
    quantity: str, count: int, bound: float | None
) -> None:
    points = [row for row in rows() if row.quantity == quantity]
    (mean,) = [row for row in rows() if row.quantity == f"{quantity}_error"]
    assert (len(points), mean.case, mean.bound) == (count, "mean", bound)
    errors = [abs(row.rel_error or 0) for row in points]
    assert mean.rel_error == pytest.approx(sum(errors) / count, rel=1e-9)
    assert all(row.bound is None and row.unit == "us" for row in points)
    assert mean.passed is (None if bound is None else True)


def test_what_is_in_sample_says_so() -> None:
    for row in rows():
        fitted = "convolution" in row.quantity or "refitted" in row.quantity
        fitted = fitted or row.quantity.removesuffix("_error") in (
            *("h100_attention_fa3", "h100_attention_fa2", "h100_attention_cudnn"),
        )
        assert ("in-sample" in row.source) == fitted, row


def test_what_cannot_be_computed_is_null_and_says_why() -> None:
    (row,) = [row for row in rows() if row.ours is None]
    assert row.published == 51.61
    assert "ours is null: the plan has no kernel for" in row.source


def test_a_published_point_is_the_tables() -> None:
    # 625 TFLOP/s of 4 * 2048^2 * 128 * 16 * 8 = 274.878e9 operations: 439.8 us
    (row,) = [
        row
        for row in rows()
        if row.quantity == "h100_attention_fa3" and row.case == "d 128, 2048 tokens"
    ]
    assert row.published == pytest.approx(439.805, rel=1e-5)
    assert row.ours == pytest.approx(486.08, rel=1e-4)


@pytest.mark.parametrize(
    ("table", "column", "quantity"),
    [
        ("attention.csv", 3, "h100_attention_fa3_error"),
        ("convolutions.csv", 9, "v100_convolution_error"),
        ("products.csv", 5, "a100_product_error"),
    ],
)
def test_other_measurements_break_the_bound(
    cli: Cli, tmp_path: Path, table: str, column: int, quantity: str
) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / "gpu", folder / "gpu")
    path = folder / "gpu" / table
    head, *lines = path.read_text("utf-8").splitlines()
    changed: list[str] = []
    for line in lines:
        cells = line.split(",")
        cells[column] = str(20 * float(cells[column]))
        changed.append(",".join(cells))
    path.write_text("\n".join([head, *changed]) + "\n", "utf-8")
    output = tmp_path / "v.json"
    assert cli("validate", "gpu", "--golden", folder, "--json", output).status == 1
    found = json.loads(output.read_text("utf-8"))["rows"]
    assert quantity in [row["quantity"] for row in found if row["passed"] is False]


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("products.csv", "a100,160,", "a100,0,", "m must be a whole number in 1..1048575"),
        ("attention.csv", "FA3,64,0,333", "FA3,64,2,333", "causal must be a whole number"),
        ("convolutions.csv", ",102,193", ",fast,193", "v100_us must be a finite number"),
    ],
)
def test_a_broken_table_is_refused_at_its_line(
    tmp_path: Path, table: str, old: str, new: str, message: str
) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / "gpu", folder / "gpu")
    path = folder / "gpu" / table
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ModelError) as refused:
        validate(["gpu"], folder)
    assert str(refused.value).startswith(f"{path}:2: {message}")
