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

# what the shipped tables hold: the quantity, its points, the bound of their mean
CLAIMS = [
    ("h100_attention_fa3", 30, 0.08),
    ("h100_attention_fa2", 30, None),
    ("h100_attention_cudnn", 30, None),
    ("h100_attention_unfused", 5, None),
]
# the tables that others have, here with invented times of 1 us: their columns, a row, its means
TABLES: dict[str, tuple[str, str, dict[str, float | None]]] = {
    "products": (
        "gpu,m,n,k,format,time_us,network",
        "a100,4096,4096,4096,fp16,1,invented",
        {"a100_product": 0.12, "a100_product_prior": 0.12},
    ),
    "fp32": ("gpu,m,n,k,format,time_us", "l4,512,960,960,fp32,1", {"l4_product_fp32": None}),
    "host_sync": (
        "gpu,m,n,k,format,time_us",
        "\n".join(f"a100,{m},4096,4096,fp16,1" for m in (64, 512, 4096)),
        {"a100_product_host_sync": None, "a100_product_host_sync_refitted": 0.06},
    ),
    "convolutions": (
        "n,c,h,w,filters,r,s,out_h,out_w,v100_us,t4_us",
        "8,64,56,56,64,3,3,56,56,1,1",
        {"v100_convolution": 0.15, "t4_convolution": 0.15},
    ),
}


@cache
def rows() -> tuple[Row, ...]:
    return tuple(validate(["gpu"]))


def without_networks(folder: Path) -> Path:
    """The shipped tables, but for the one that takes seconds."""
    shutil.copytree(GOLDEN / "gpu", folder / "gpu")
    path = folder / "gpu" / "networks.csv"
    path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    return folder


def with_table(folder: Path, name: str, lines: str) -> Path:
    without_networks(folder)
    head = TABLES[name][0]
    (folder / "gpu" / f"{name}.csv").write_text(f"{head}\n{lines}\n", "utf-8")
    return folder


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


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_given_is_held_and_one_that_is_not_is_null(
    tmp_path: Path, name: str
) -> None:
    _, lines, means = TABLES[name]
    found = {row.quantity: row for row in validate(["gpu"], with_table(tmp_path, name, lines))}
    for quantity, bound in means.items():
        mean = found[f"{quantity}_error"]
        assert (mean.case, mean.bound) == ("mean", bound)
        # no such product takes a microsecond, and no fit near the prior finds one
        assert mean.passed is (None if bound is None else False), quantity
    absent = [row for row in rows() if row.quantity.removesuffix("_error") in means]
    assert absent
    assert all(row.ours is None and row.passed is None for row in absent)
    assert all(
        f"ours is null: {name}.csv is not part of the project; give a folder that has it as "
        "--golden" in row.source
        for row in absent
    )


def test_a_table_of_our_own_times_has_no_error(tmp_path: Path) -> None:
    lines = "a100,4096,4096,4096,fp16,1,invented"
    (row,) = [
        row
        for row in validate(["gpu"], with_table(tmp_path / "one", "products", lines))
        if row.quantity == "a100_product"
    ]
    again = lines.replace(",1,", f",{row.ours!r},")
    (mean,) = [
        row
        for row in validate(["gpu"], with_table(tmp_path / "two", "products", again))
        if row.quantity == "a100_product_error"
    ]
    assert mean.ours == pytest.approx(1.0, abs=1e-12)
    assert mean.passed is True


def test_what_is_in_sample_says_so() -> None:
    attention = [f"h100_attention_{kernel}" for kernel in ("fa3", "fa2", "cudnn")]
    fitted = {*attention, "mi300x_product_rate", "mi300x_product_power"}
    found = {r.quantity.removesuffix("_error") for r in rows() if "in-sample" in r.source}
    assert found == fitted


def test_the_best_products_are_within_the_bound_without_a_fit() -> None:
    points = [r for r in rows() if r.quantity.endswith("_product_rate")]
    assert len(points) == 8
    held = [abs(r.rel_error or 0) for r in points if not r.quantity.startswith("mi300x")]
    (mean,) = [row for row in rows() if row.quantity == "product_rate_error"]
    assert (mean.bound, mean.passed) == (0.12, True)
    assert mean.rel_error == pytest.approx(sum(held) / 7, rel=1e-9)


def test_no_chip_draws_more_than_its_limit() -> None:
    powers = [row for row in rows() if row.quantity.endswith("_product_power")]
    assert len(powers) == 4
    assert all(r.ours and r.published and r.ours <= r.published * 1.0000001 for r in powers)


def test_bert_on_an_a100_is_within_the_bound() -> None:
    points = [r for r in rows() if r.quantity == "a100_network" and r.case.startswith("bert")]
    assert len(points) == 15
    (mean,) = [row for row in rows() if row.quantity == "a100_bert_error"]
    assert (mean.bound, mean.passed) == (0.10, True)
    errors = [abs(row.rel_error or 0) for row in points]
    assert mean.rel_error == pytest.approx(sum(errors) / 15, rel=1e-9)


def test_a_network_that_is_unknown_is_null_and_says_so(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "gpu", tmp_path / "gpu")
    path = tmp_path / "gpu" / "networks.csv"
    head = path.read_text("utf-8").splitlines()[0]
    path.write_text(f"{head}\na100,gpt-9,128,1,fp16,ms,1\n", "utf-8")
    (row,) = [r for r in validate(["gpu"], tmp_path) if r.quantity == "a100_network"]
    assert (row.published, row.ours, row.passed) == (1.0, None, None)
    assert row.source == f"{path}:2; ours is null: the suite has no such network"


def test_a_published_point_is_the_tables() -> None:
    # 625 TFLOP/s of 4 * 2048^2 * 128 * 16 * 8 = 274.878e9 operations: 439.8 us
    (row,) = [
        row
        for row in rows()
        if row.quantity == "h100_attention_fa3" and row.case == "d 128, 2048 tokens"
    ]
    assert row.published == pytest.approx(439.805, rel=1e-5)
    assert row.ours == pytest.approx(486.08, rel=1e-4)


def test_other_measurements_break_the_bound(cli: Cli, tmp_path: Path) -> None:
    folder = without_networks(tmp_path / "golden")
    path = folder / "gpu" / "attention.csv"
    head, *lines = path.read_text("utf-8").splitlines()
    changed: list[str] = []
    for line in lines:
        cells = line.split(",")
        cells[3] = str(20 * float(cells[3]))
        changed.append(",".join(cells))
    path.write_text("\n".join([head, *changed]) + "\n", "utf-8")
    output = tmp_path / "v.json"
    assert cli("validate", "gpu", "--golden", folder, "--json", output).status == 1
    found = json.loads(output.read_text("utf-8"))["rows"]
    failed = [row["quantity"] for row in found if row["passed"] is False]
    assert failed == ["h100_attention_fa3_error"]


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        (
            "products",
            "a100,0,8,8,fp16,1,invented",
            "m must be a whole number in 1..1048575, not '0'",
        ),
        (
            "convolutions",
            "8,64,56,56,64,3,3,56,56,fast,1",
            "v100_us must be a finite number",
        ),
    ],
)
def test_a_broken_table_is_refused_at_its_line(
    tmp_path: Path, table: str, lines: str, message: str
) -> None:
    with pytest.raises(ModelError) as refused:
        validate(["gpu"], with_table(tmp_path, table, lines))
    path = tmp_path / "gpu" / f"{table}.csv"
    assert str(refused.value).startswith(f"{path}:2: {message}")


def test_a_broken_curve_is_refused_at_its_line(tmp_path: Path) -> None:
    without_networks(tmp_path)
    path = tmp_path / "gpu" / "attention.csv"
    text = path.read_text("utf-8")
    path.write_text(text.replace("FA3,64,0,333", "FA3,64,2,333", 1), "utf-8")
    with pytest.raises(ModelError) as refused:
        validate(["gpu"], tmp_path)
    assert str(refused.value).startswith(f"{path}:2: causal must be a whole number")
