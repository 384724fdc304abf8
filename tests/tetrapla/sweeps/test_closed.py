"""Sweeps in closed form: estimates of every point, and the machine's word on their front."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tetrapla
from tetrapla.designs import Design, design
from tetrapla.ir.errors import UnsupportedError
from tetrapla.models import load_for
from tetrapla.pareto import front
from tetrapla.settings import Settings
from tetrapla.sweeps.closed import best, estimates
from tetrapla.sweeps.columns import Grid, columns
from tetrapla.sweeps.grid import swept
from tetrapla.sweeps.points import Points
from tetrapla.sweeps.ranges import parse_grid

Cli = Callable[..., Any]
Refused = Callable[..., None]


@given(
    st.lists(st.tuples(*(st.integers(0, 4) for _ in range(3))), max_size=30),
)
def test_the_front_is_that_of_any_sweep(rows: list[tuple[int, ...]]) -> None:
    found = best(np.array(rows, np.float64).reshape(-1, 3))
    assert found.tolist() == [i for i, on in enumerate(front(rows)) if on]


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
def test_scalesim_s_formulas_are_its_compatibility_mode(cnn: str, dataflow: str) -> None:
    rng = np.random.default_rng(22)
    rows, cols = (",".join(map(str, rng.choice(600, 4, replace=False) + 1)) for _ in range(2))
    grid = parse_grid([f"array.rows={rows}", f"array.cols={cols}", "clock=100MHz,1GHz"])
    settings = Settings(compat="scalesim", overrides=(f"array.dataflow={dataflow}",))
    points = Points(partial(load_for, cnn), cnn, "tpu-v1", settings)
    exact = [point.report for point in swept(points, grid).points]
    found = estimates(points, Grid(grid))
    assert found.cycles.tolist() == [report.cycles for report in exact]
    assert found.time_s.tolist() == [report.time_s for report in exact]
    assert found.energy_pj is None
    assert found.area_mm2 is not None
    assert set(found.area_mm2.tolist()) == {report.area_mm2 for report in exact}


def test_the_front_is_simulated_and_all_points_are_columns(
    cli: Cli, cnn: str, tmp_path: Path
) -> None:
    words = ["sweep", cnn, "--target", "tpu-v1", "--closed-form", "--samples", 2]
    words += ["--set", "array.rows=64,128,256", "--set", "clock=400MHz,700MHz", "--json"]
    done = cli(*words, tmp_path / "1.json")
    assert done.status == 0
    assert "6 points by formula, " in done.out
    data = json.loads((tmp_path / "1.json").read_text("utf-8"))
    held = data["closed_form"]
    assert held["axes"] == {"array.rows": ["64", "128", "256"], "clock": ["400MHz", "700MHz"]}
    assert {name: len(column) for name, column in held["columns"].items()} == dict.fromkeys(
        ("cycles", "time_s", "energy_pj", "area_mm2"), 6
    )
    assert held["simulated"] == held["front"]
    assert len(data["points"]) == len(held["simulated"])
    for number, point in zip(held["simulated"], data["points"], strict=True):
        rows, clock = held["axes"]["array.rows"][number // 2], ["400MHz", "700MHz"][number % 2]
        assert point["settings"] == {"array.rows": rows, "clock": clock}
        assert point["report"]["cross_check"]["passed"]
        time_s = held["columns"]["time_s"][number]
        place = held["simulated"].index(number)
        error = time_s / point["report"]["time_s"] - 1
        assert held["time_errors"][place] == pytest.approx(error)
    cli(*words, tmp_path / "2.json")
    assert (tmp_path / "2.json").read_bytes() == (tmp_path / "1.json").read_bytes()


def test_prices_power_and_area_are_those_of_the_yaml(cnn: str) -> None:
    def found(*texts: str) -> Any:
        points = Points(partial(load_for, cnn), cnn, "tpu-v1", Settings())
        return estimates(points, Grid(parse_grid(texts)))

    power = found("chip.static_power=0W,10W")
    assert power.energy_pj[1] - power.energy_pj[0] == pytest.approx(10e12 * power.time_s[0])
    price = found("cost.requantize.op=0pJ,1pJ,null")
    assert price.energy_pj is None
    area = found("chip.area=100mm2,200mm2")
    assert area.area_mm2.tolist() == [100.0, 200.0]
    formats = found("quant.weights=i8,i4", "array.rows=64,128")
    assert formats.cycles[:2].tolist() == formats.cycles[2:].tolist()


@pytest.mark.parametrize(
    ("message", "flags"),
    [
        (
            "--set dram.capacity must have an influence in closed form, and has none; leave it "
            "or --closed-form out",
            ["--set", "dram.capacity=8GiB,16GiB"],
        ),
        (
            "--set chip.tdp must have an influence in closed form, and has none; leave it or "
            "--closed-form out",
            ["--set", "chip.tdp=75W,80W"],
        ),
        (
            "--set array.units must be of array.rows, array.cols, clock, "
            "memories.accumulator_rows, memories.weight_tiles, vector.lanes, dram.bandwidth, "
            "dram.latency, host.bandwidth, host.latency, array.formats.int8, a price, the "
            "static power or the area with --closed-form, which has no formula for it; leave "
            "it or --closed-form out",
            ["--set", "array.units=1,2"],
        ),
        (
            "--closed-form must have memories.weight_tiles of at least 2, not 1; take more, or "
            "leave --closed-form out",
            ["--set", "memories.weight_tiles=1:4"],
        ),
        (
            "--objective must be latency, energy, area with --closed-form, not accuracy, for "
            "which there is no formula; leave one of them out",
            ["--set", "clock=1GHz,2GHz", "--objective", "accuracy"],
        ),
        (
            "--closed-form must come without --trials, not with it; drop one",
            ["--set", "clock=1GHz,2GHz", "--trials", 5],
        ),
    ],
)
def test_what_no_formula_can_say_is_refused(
    refused: Refused, cnn: str, message: str, flags: list[Any]
) -> None:
    refused(message, "sweep", cnn, "--target", "tpu-v1", "--closed-form", *flags)


def test_a_target_without_formulas_is_refused(refused: Refused, cnn: str) -> None:
    refused(
        "--closed-form must have a target that has formulas, not isaac of the family analog; "
        "leave it out",
        *("sweep", cnn, "--target", "isaac", "--closed-form", "--set", "adc.bits=6bit,8bit"),
    )


def test_designs_that_no_file_could_be_are_refused_as_anywhere(
    refused: Refused, cnn: str
) -> None:
    refused(
        "--set memories.unified_buffer must hold one row in and one row out, 12000 bytes, "
        "not 9000 bytes; enlarge it or shrink the array",
        *("sweep", cnn, "--target", "tpu-v1", "--closed-form"),
        *("--set", "memories.unified_buffer=9000B"),
        *("--set", "array.rows=256,4000", "--set", "array.cols=64,4000"),
    )


def test_an_area_that_several_fields_make_is_read_for_each_combination() -> None:
    grid = Grid(parse_grid(["array.rows=8,16,32", "clock=1GHz,2GHz", "array.cols=16,64"]))
    wanted = {"array.rows": "array.rows", "array.cols": "array.cols", "clock_hz": "clock"}

    def read(point: Mapping[str, str]) -> Design:
        return design("gemmini", [f"{name}={value}" for name, value in point.items()])

    found: Any = columns(grid, read, wanted).values
    exact = [read(grid.settings(number)).chip.spec for number in range(len(grid))]
    assert found["area_mm2"].tolist() == [spec.area_mm2 for spec in exact]
    assert found["clock_hz"].tolist() == [spec.clock_hz for spec in exact]
    assert found["array.rows"].tolist() == [spec.array.rows for spec in exact]
    assert found["price.mac.int8"] == exact[0].prices["mac.int8"]
    many = Grid(parse_grid(["array.rows=8:57", "array.cols=8:57"]))
    with pytest.raises(UnsupportedError) as refused:
        columns(many, read, wanted)
    assert str(refused.value) == (
        "--closed-form must have at most 2000 combinations of array.rows, array.cols, which "
        "together change area_mm2, not 2500; give fewer values, or a number in the chip's YAML"
    )


def test_scalesim_s_stalls_have_no_formula(refused: Refused, cnn: str, tmp_path: Path) -> None:
    path = tmp_path / "c.cfg"
    sizes = "".join(f"{name}SramSzkB: 64\n" for name in ("Ifmap", "Filter", "Ofmap"))
    path.write_text(
        f"[architecture_presets]\nArrayHeight: 8\nArrayWidth: 8\n{sizes}Dataflow: ws\n"
        "Bandwidth: 10\n[layout]\nIfmapSRAMBankBandwidth: 10\nFilterSRAMBankBandwidth: 10\n"
        "[sparsity]\nSparsitySupport: false\n[run_presets]\nInterfaceBandwidth: USER\n",
        "utf-8",
    )
    refused(
        "--closed-form must have InterfaceBandwidth CALC in the .cfg, not USER, whose stalls "
        "have no formula; leave --closed-form out",
        *("sweep", cnn, "--target", path, "--compat", "scalesim", "--closed-form"),
        *("--set", "array.rows=8,16"),
    )


def test_python_sweeps_in_closed_form_as_the_command_does(
    cli: Cli, cnn: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    words = ["--set", "array.rows=64,128", "--samples", "1", "--closed-form", "--json", path]
    assert cli("sweep", cnn, "--target", "tpu-v1", *words).status == 0
    found = tetrapla.sweep_closed_form(cnn, "tpu-v1", {"array.rows": [64, 128]}, samples=1)
    ours, theirs = found.to_dict(), json.loads(path.read_text("utf-8"))
    for each in (*ours["points"], *theirs["points"]):
        each["report"].pop("command")  # Python has none
    assert json.loads(json.dumps(ours)) == theirs
