"""A datasheet's time and energy by hand, as a law, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.roofline import lower
from tetrapla.backends.target_ import Options, find
from tetrapla.frontend.builder import Builder
from tetrapla.frontend.builder.moves import gather
from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run, assemble
from tetrapla.simulators.roofline import RooflineSpec, least_cycles, run
from tetrapla.simulators.spec_ import load_spec

CHIP = """\
name: sheet
family: roofline
peak: {int8: 2 Top/s, fp16: 1 TFLOP/s}
memory: {capacity: 10 kB, bandwidth: 1 GB/s}
clock: 2 GHz
cost: {chip.nanosecond: 5 nJ}
chip: {area: null, tdp: 5 W, default_format: int8}
"""
SIZES = st.integers(1, 40)


def sheet(folder: Path, text: str = CHIP) -> RooflineSpec:
    (folder / "sheet.yaml").write_text(text, "utf-8")
    return load_spec(folder / "sheet.yaml", RooflineSpec).spec


def product(m: int, k: int, n: int) -> Module:
    b = Builder("product")
    x = b.input("x", (m, k))
    b.output("y", b.matmul(x, np.ones((k, n), np.float32)))
    return b.build()


def ran(module: Module, spec: RooflineSpec, quant: str | None = None) -> Run:
    return run(lower(module, spec, None, Options(quant=quant)).program, spec, {}, Key(0))


def test_a_product_bound_by_memory(tmp_path: Path) -> None:
    # 2 x 30 and 30 x 10 in, 2 x 10 out: 380 bytes at 1 a nanosecond; 600 MACs take 0.6 ns
    (row,) = ran(product(2, 30, 10), sheet(tmp_path)).layers
    assert (row.macs, row.bound_by) == (600, "memory")
    assert row.cycles == pytest.approx(2 * 380)
    assert row.utilization_frac == pytest.approx(0.6 / 380)
    assert row.actions == {"chip.nanosecond": pytest.approx(380)}


def test_a_product_bound_by_its_macs(tmp_path: Path) -> None:
    fast = sheet(tmp_path, CHIP.replace("1 GB/s", "1 TB/s"))
    (row,) = ran(product(20, 30, 10), fast).layers
    assert row.bound_by == "compute"
    assert row.cycles == pytest.approx(2 * 2 * 6000 / 2000)
    assert row.utilization_frac == 1.0


def test_a_layer_takes_a_cycle_at_least(tmp_path: Path) -> None:
    fast = sheet(tmp_path, CHIP.replace("1 GB/s", "1 TB/s"))
    (row,) = ran(product(1, 2, 1), fast).layers
    assert (row.cycles, row.bound_by) == (1, "clock")
    assert row.utilization_frac == pytest.approx(2 * 2 / 2e12 * 2e9)


def test_fp16_takes_its_own_peak_and_two_bytes(tmp_path: Path) -> None:
    spec = sheet(tmp_path)
    for quant in ("none", "fp16"):
        (row,) = ran(product(2, 30, 10), spec, quant).layers
        assert row.cycles == pytest.approx(2 * 2 * 380)


def test_power_times_time_is_the_energy_and_no_warning(tmp_path: Path) -> None:
    spec = sheet(tmp_path)
    done = ran(product(2, 30, 10), spec)
    report = assemble(
        done,
        model="m",
        target="t",
        family="roofline",
        command="c",
        cost=spec.cost,
        tdp_w=spec.chip.tdp_w,
        macs=600,
        least_cycles=least_cycles(
            lower(product(2, 30, 10), spec, None, Options()).program, spec
        ),
    )
    assert report.energy.total_pj == pytest.approx(5000 * 380)  # 5 W for 380 ns
    assert done.time_s == pytest.approx(380e-9)
    assert not any("tdp" in text for text in report.warnings)
    assert report.cross_check is None


@settings(max_examples=12, deadline=None)
@given(SIZES, SIZES, SIZES)
def test_more_of_anything_is_never_slower(m: int, k: int, n: int) -> None:
    spec = find("groq-tsp")[1].spec
    before = ran(product(m, k, n), spec)
    assert ran(product(m + 1, k, n), spec).time_s >= before.time_s
    assert ran(product(m, k, n + 1), spec).time_s >= before.time_s
    faster = spec.model_copy(update={"peak": {k: 2 * v for k, v in spec.peak.items()}})
    assert ran(product(m, k, n), faster).time_s <= before.time_s


def test_a_reshape_moves_nothing_and_a_shape_only_model_is_timed(tmp_path: Path) -> None:
    b = Builder("shapes")
    y = b.input("x", (4, 6)).relu().reshape((24,))
    b.output("y", y)
    module = b.build()
    relu, reshape = ran(module, sheet(tmp_path)).layers
    assert relu.cycles == pytest.approx(2 * 48)
    assert reshape.cycles == 0
    whole = product(2, 30, 10)
    bare = Module(whole.mlir, {}, "bare")
    assert bare.shape_only
    spec = sheet(tmp_path)
    assert ran(bare, spec).layers == ran(whole, spec).layers


def test_a_gather_reads_the_rows_that_it_takes(tmp_path: Path) -> None:
    b = Builder("embedding")
    table = b.input("table", (1000, 8))
    b.output("y", gather(table, np.array([3, 5])))
    (row,) = ran(b.build(), sheet(tmp_path)).layers
    assert row.cycles == pytest.approx(2 * (16 + 16))


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    spec = sheet(tmp_path, CHIP.replace("clock: 2 GHz\n", ""))
    done = ran(product(100, 100, 100), spec)
    assert done.cycles == pytest.approx(done.time_s * 1e9)
    assert done.warnings == (
        "sheet is a datasheet roofline: time is the longer of MACs at the peak and bytes at "
        "the full bandwidth, a bound from below; energy is the chip's power x time; outputs "
        "are the interpreter's, so there is no cross-check",
        "no clock of sheet is published: a cycle here is a nanosecond",
        "weights and activations take 30000 bytes, more than the 10000 of sheet's memory: it "
        "would be slower",
    )
    lowered = lower(product(2, 2, 2), spec, None, Options())
    assert lowered.warnings == (
        "the float model is timed in int8 without being quantised; accuracy is that of the "
        "float model",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "int8: 2 Top/s",
            "int7: 2 Top/s",
            "sheet.yaml:3:8: peak.int7 must be one of int8, bf16, fp16, fp32, not int7; did "
            "you mean 'int8'?",
        ),
        (
            "int8: 2 Top/s",
            "int8: 0 op/s",
            "sheet.yaml:3:8: peak.int8 must be greater than 0 op/s, not 0; leave a format out "
            "that the chip lacks",
        ),
        (
            "default_format: int8",
            "default_format: bf16",
            "sheet.yaml:7:30: chip.default_format must be one of peak, int8, fp16, not bf16; "
            "add its peak",
        ),
    ],
)
def test_a_wrong_datasheet_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        sheet(tmp_path, CHIP.replace(old, new))
    assert str(caught.value).replace(f"{tmp_path}/", "") == message


def test_a_format_without_a_peak_is_refused(tmp_path: Path) -> None:
    spec = sheet(tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        ran(product(2, 2, 2), spec, "int4")
    assert str(caught.value) == (
        "sheet: --quant must be none or a format with a published peak, int8, fp16, not int4"
    )
    other = replace(lower(product(2, 2, 2), spec, None, Options()).program, format="bf16")
    with pytest.raises(SpecError) as refused:
        run(other, spec, {}, Key(0))
    assert str(refused.value) == (
        "peak must have the program's format bf16, not only int8, fp16; compile the model for "
        "this chip"
    )
