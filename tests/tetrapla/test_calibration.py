"""`calibrate gpu`: constants from timings, what they are worth, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.calibration import (
    PRIOR,
    Timing,
    calibrate,
    calibrated_yaml,
    fitted_s,
    shipped_s,
    timings,
)
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.gpu.spec import GpuSpec, Product
from tetrapla.simulators.spec_ import load_spec, unsourced

Cli = Any  # the fixtures', see conftest
Refused = Callable[..., None]
H100 = load_spec("h100", GpuSpec)
L4 = load_spec("l4", GpuSpec)
HEAD = "m,n,k,format,time_s"


def made(product: Product, spec: GpuSpec = H100.spec, count: int = 20) -> list[Timing]:
    """Timings that a GPU of these constants would give."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(16, 8192, (count, 3)).tolist()
    rows = [Timing(m, n, k, "fp16", 1.0) for m, n, k in sizes]
    times = fitted_s(rows, spec, product)
    return [
        Timing(row.m, row.n, row.k, "fp16", float(t))
        for row, t in zip(rows, times, strict=True)
    ]


def written(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def csv_of(folder: Path, rows: list[Timing]) -> Path:
    lines = [f"{r.m},{r.n},{r.k},{r.number_format},{r.time_s!r}" for r in rows]
    return written(folder, HEAD, *lines)


def test_level_1_by_hand() -> None:
    # an H100 at full efficiency: 2 * 4096^3 / 989.43e12 = 138.907 us of arithmetic and
    # 3 * 4096^2 * 2 / 3.35e12 = 30.05 us of memory: 138.907 (1 + 0.21632^4)^(1/4) = 138.983
    full = Product(compute_efficiency=1.0, dram_efficiency=1.0, launch=5e-6)
    (found,) = fitted_s([Timing(4096, 4096, 4096, "fp16", 1.0)], H100.spec, full)
    assert found == pytest.approx(143.983e-6, rel=1e-5)


def test_timings_of_the_prior_leave_it_as_it_is() -> None:
    found = calibrate(made(PRIOR), H100.spec)
    assert found.product.compute_efficiency_frac == pytest.approx(0.72, rel=1e-6)
    assert found.product.dram_efficiency_frac == pytest.approx(0.80, rel=1e-6)
    assert found.product.launch_s == pytest.approx(9e-6, rel=1e-6)
    assert found.error < 1e-6
    assert found.prior == PRIOR


def test_a_fit_moves_towards_what_was_measured() -> None:
    truth = Product(compute_efficiency=0.55, dram_efficiency=0.65, launch=25e-6)
    found = calibrate(made(truth), H100.spec)
    assert found.rows == 20
    assert 0.55 < found.product.compute_efficiency_frac < 0.60
    assert 0.65 < found.product.dram_efficiency_frac < 0.80
    assert 20e-6 < found.product.launch_s < 27e-6
    assert found.error < found.shipped_error / 3


def test_few_timings_stay_nearer_to_the_prior() -> None:
    truth = Product(compute_efficiency=0.5, dram_efficiency=0.8, launch=9e-6)
    few, many = (calibrate(made(truth, count=n), H100.spec).product for n in (3, 30))
    assert 0.5 < many.compute_efficiency_frac < few.compute_efficiency_frac < 0.72


def test_the_prior_of_a_chip_of_level_1_is_its_own() -> None:
    changed = load_spec("l4", GpuSpec, ["timing.product.launch=30 us"]).spec
    assert calibrate(made(PRIOR, L4.spec), changed).prior.launch_s == 30e-6


def test_a_host_that_waits_stays_a_constant_of_its_own() -> None:
    waiting = load_spec("h100", GpuSpec, ["timing.context=host-sync"]).spec
    rows = made(PRIOR, waiting)
    small = Timing(16, 16, 16, "fp16", 1.0)
    assert fitted_s([small], waiting, PRIOR)[0] == pytest.approx(31e-6, rel=1e-3)
    assert calibrate(rows, waiting).product.launch_s == pytest.approx(9e-6, rel=1e-5)


def test_shipped_times_are_the_chips_own() -> None:
    rows = [Timing(512, 512, 512, "int8", 1.0), Timing(512, 512, 512, "fp16", 1.0)]
    both = shipped_s(rows, H100.spec)
    assert both.tolist() == [float(shipped_s([row], H100.spec)[0]) for row in rows]
    assert both[0] < both[1]


def test_the_calibrated_chip_is_a_chip_with_its_source(tmp_path: Path) -> None:
    found = calibrate(made(PRIOR), H100.spec)
    path = tmp_path / "my.yaml"
    path.write_text(calibrated_yaml(H100, found, "mine.csv"), "utf-8")
    loaded = load_spec(path, GpuSpec)
    assert (loaded.spec.name, loaded.spec.level) == ("h100-calibrated", 1)
    assert loaded.spec.timing.product.launch_s == pytest.approx(9e-6, rel=1e-3)
    assert loaded.spec.timing.addition == H100.spec.timing.addition
    assert loaded.spec.cost == H100.spec.cost
    assert unsourced(path) == []
    origins = {e.field: (e.source, e.grade) for e in loaded.provenance}
    for name in ("compute_efficiency", "dram_efficiency", "launch"):
        assert origins[f"timing.product.{name}"] == (
            "calibrated from mine.csv (20 rows)",
            "measured",
        )


def test_a_calibrated_chip_can_be_calibrated_again(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(calibrated_yaml(L4, calibrate(made(PRIOR, L4.spec), L4.spec), 'a"b.csv'))
    again = load_spec(path, GpuSpec)
    text = calibrated_yaml(again, calibrate(made(PRIOR, again.spec), again.spec), "c.csv")
    assert "name: l4-calibrated-calibrated" in text
    assert 'a\\"b.csv' not in text


def test_the_command_prints_both_errors_and_writes_the_chip(cli: Cli, tmp_path: Path) -> None:
    truth = Product(compute_efficiency=0.6, dram_efficiency=0.7, launch=20e-6)
    path, output = csv_of(tmp_path, made(truth)), tmp_path / "my.yaml"
    done = cli("calibrate", "gpu", "--measurements", path, "--target", "h100", "-o", output)
    assert (done.status, done.err) == (0, "")
    assert "h100, level 1, 20 timings" in done.out
    assert "mean error (after: each timing left out once)" in done.out
    assert "note:" not in done.out
    assert load_spec(output, GpuSpec).spec.name == "h100-calibrated"


def test_a_fit_that_helps_nobody_is_noted(cli: Cli, tmp_path: Path) -> None:
    rows = made(PRIOR)
    # the chip's own times: level 1 cannot come nearer than the model that made them
    times = shipped_s(rows, H100.spec).tolist()
    rows = [Timing(r.m, r.n, r.k, "fp16", t) for r, t in zip(rows, times, strict=True)]
    done = cli("calibrate", "gpu", "--measurements", csv_of(tmp_path, rows))
    assert done.status == 0
    assert "note: the chip as it was comes as near to these timings" in done.out


def test_few_timings_are_noted(cli: Cli, tmp_path: Path) -> None:
    done = cli("calibrate", "gpu", "--measurements", csv_of(tmp_path, made(PRIOR, count=4)))
    assert done.status == 0
    assert "note: 4 timings are few; 20, small and large, are better" in done.out


GOOD = "512,512,512,fp16,1e-5"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,512,512,fp16,1e-5", "m must be a whole number in 1..1048576, not '0'"),
        ("512,x,512,fp16,1e-5", "n must be a whole number in 1..1048576, not 'x'"),
        ("512,512,,fp16,1e-5", "k must be a whole number in 1..1048576, not ''"),
        (
            "512,512,512,fp4,1e-5",
            "format must be one that h100 multiplies, fp32, tf32, fp16, bf16, int8, fp8, "
            "not 'fp4'",
        ),
        ("512,512,512,fp16,fast", "time_s must be a positive number of seconds, not 'fast'"),
        ("512,512,512,fp16,-1", "time_s must be a positive number of seconds, not '-1'"),
        ("512,512,512,fp16,nan", "time_s must be a positive number of seconds, not 'nan'"),
        ("512,512", "k must be a whole number in 1..1048576, not ''"),
        (
            # 8192^3 / 989.43e12, half of the least that the datasheet allows
            "8192,8192,8192,fp16,1e-4",
            "time_s must be at least 0.000556, which is twice h100's fp16 peak, not 1e-4; "
            "give seconds",
        ),
    ],
)
def test_a_bad_row_is_refused_at_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, HEAD, GOOD, GOOD, line)
    with pytest.raises(ModelError) as refused:
        timings(path, H100.spec)
    assert str(refused.value) == f"{path}:4: {message}"


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    row = "1e-5,fp16,cublas,64,32,16"
    path = written(tmp_path, "time_s, format, note, k, n, m", row, row, row)
    assert timings(path, H100.spec) == [Timing(16, 32, 64, "fp16", 1e-5)] * 3


def test_what_is_no_table_of_timings_is_refused(
    refused: Refused, tmp_path: Path, mlp: str
) -> None:
    command = ("calibrate", "gpu", "--measurements")
    absent = tmp_path / "no.csv"
    rule = "--measurements must be a readable CSV file"
    refused(f"{rule}, not '{absent}'", *command, absent)
    refused(f"{rule}, not '{mlp}'", *command, mlp)
    path = written(tmp_path, "m,n,k,time", "1,2,3,4")
    refused(f"{path}:1: the columns must be m, n, k, format, time_s, not m, n, k, time",
            *command, path)  # fmt: skip
    path = written(tmp_path, "")
    refused(f"{path}:1: the columns must be m, n, k, format, time_s, not none", *command, path)
    path = written(tmp_path, HEAD, GOOD, GOOD)
    refused(
        f"{path}: there must be at least 3 timings, not 2; measure 20 products, small and "
        "large",
        *command,
        path,
    )
    refused(
        "--target must be a GPU, not 'tpu-v1' of family systolic",
        *(*command, path, "--target", "tpu-v1"),
    )


def test_a_chip_in_braces_cannot_be_rewritten(tmp_path: Path) -> None:
    text = H100.text
    flow = "{compute_efficiency: 0.7, dram_efficiency: 0.8, launch: 9 us}"
    rest = text[text.index("\ncost:") :]
    stream = "{dram_efficiency: 0.5, launch: 1 us}"
    timing = (
        f"timing: {{context: device, synchronize: 22 us, product: {flow}, "
        f"activation: {stream}, normalization: {stream}, addition: {stream}}}\n"
    )
    path = tmp_path / "flow.yaml"
    path.write_text(text[: text.index("\ntiming:") + 1] + timing + rest, "utf-8")
    loaded = load_spec(path, GpuSpec)
    with pytest.raises(ModelError) as refused:
        calibrated_yaml(loaded, calibrate(made(PRIOR), loaded.spec), "mine.csv")
    assert str(refused.value) == (
        "target 'h100' must write timing.product in lines of its own, not in braces; spread it "
        "over lines"
    )
