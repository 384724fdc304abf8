"""`validate`: golden numbers beside ours, and a status that says when a bound is broken."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.validation import GOLDEN, Row, suites, validate

Cli = Any  # the fixture's, see conftest
TABLE = Path("scalesim", "scalesim3_measured.csv")


def copied(tmp_path: Path, column: str, text: str) -> Path:
    """The golden data with one cell of the first layer changed."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    lines = (folder / TABLE).read_text("utf-8").splitlines()
    names, first = next(csv.reader(lines[:1])), next(csv.reader(lines[1:2]))
    first[names.index(column)] = text
    lines[1] = ",".join(first)
    (folder / TABLE).write_text("\n".join(lines), "utf-8")
    return folder


def test_every_number_of_scalesim_is_ours(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    assert cli("validate", "scalesim", "--json", path).status == 0
    found = json.loads(path.read_text("utf-8"))
    assert found["schema"] == "tetrapla.validate/1"
    counts = [row for row in found["rows"] if row["unit"] in ("cycles", "words")]
    assert len(counts) == 9 * (259 + 47)  # 47 runs with stalls
    means = [row for row in found["rows"] if row["unit"] == "words/cycle"]
    assert len(means) == 6 * (259 + 47)
    assert all(row["bound"] == 0 and row["ours"] == row["published"] for row in counts + means)
    assert all(row["passed"] for row in found["rows"])
    assert set(found["rows"][0]) == {
        *("suite", "case", "quantity", "unit", "published", "ours", "rel_error", "bound"),
        *("passed", "source"),
    }


def test_resnet50_takes_the_cycles_that_were_measured_in_all(
    shipped: Callable[[str], list[Row]],
) -> None:
    """54 layers on an output-stationary array of 128 x 128: the reports' sum is 611,561."""
    rows = [
        row
        for row in shipped("scalesim")
        if row.case.startswith("Resnet50.csv ") and row.case.endswith(" os 128x128")
        if row.quantity == "cycles_reported"
    ]
    assert len(rows) == 54
    assert sum(row.ours or 0 for row in rows) == 611_561


def test_one_cycle_more_breaks_the_bound(cli: Cli, tmp_path: Path) -> None:
    folder = copied(tmp_path, "reported_total_cycles", "14808")
    path = tmp_path / "v.json"
    done = cli("validate", "scalesim", "--golden", folder, "--json", path)
    assert done.status == 1
    assert "1 rows break their bound" in done.out
    rows = json.loads(path.read_text("utf-8"))["rows"]
    (broken,) = [row for row in rows if not row["passed"]]
    assert broken["case"] == "alexnet.csv Conv1 os 128x128"
    assert (broken["published"], broken["ours"]) == (14808, 14807)


@pytest.mark.parametrize(
    ("column", "text", "rule"),
    [
        ("M", "0", "M must be a whole number in 1..1048575, not '0'"),
        ("K", "9" * 30, f"K must be a whole number in 1..1048575, not '{'9' * 30}'"),
        ("array_rows", "", "array_rows must be a whole number in 1..1048575, not ''"),
        ("dataflow", "rs", "dataflow must be one of os, ws, is, not 'rs'"),
        ("sram_ifmap_reads", "nan", "sram_ifmap_reads must be a finite number, not 'nan'"),
    ],
)
def test_a_broken_table_is_refused_at_its_line(
    tmp_path: Path, column: str, text: str, rule: str
) -> None:
    folder = copied(tmp_path, column, text)
    with pytest.raises(ModelError) as caught:
        validate(["scalesim"], folder)
    assert str(caught.value) == f"{folder / TABLE}:2: {rule}"


def test_what_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("validate", "scalsim")
    there = ", ".join(suites())
    assert done == (
        2,
        "",
        f"error: no suite 'scalsim'; did you mean 'scalesim'?; there are: {there}\n",
    )
    done = cli("validate", "--golden", tmp_path / "no")
    assert done.err == (
        f"error: --golden must be a folder of golden tables, not '{tmp_path / 'no'}'\n"
    )
    done = cli("validate", "scalesim", "--golden", tmp_path)
    assert done.err == f"error: {tmp_path / TABLE}: must be a readable table; see --golden\n"


def test_a_suite_is_named_by_its_file() -> None:
    assert suites() == ("analog", "edge-tpu", "energy", "gpu", "scalesim", "spiking", "tpu-v1")


@pytest.fixture(scope="module")
def tpu(shipped: Callable[[str], list[Row]]) -> dict[tuple[str, str], Row]:
    return {(row.case, row.quantity): row for row in shipped("tpu-v1")}


def test_one_constant_fits_three_applications(tpu: dict[tuple[str, str], Row]) -> None:
    """Its largest error is as small as any constant's: two rows have it with opposite signs."""
    fitted = [tpu[name, "tops"] for name in ("MLP0", "MLP1", "LSTM0")]
    assert all(row.passed and row.bound == 0.05 for row in fitted)
    assert all("in-sample" in row.source for row in fitted)
    errors = sorted(row.rel_error or 0 for row in fitted)
    assert errors[0] < 0 < errors[-1]
    # a transfer takes whole cycles: where all tiles of 64 KiB go from 1500 cycles to 1501, both
    # rows move by up to 1 / 1500
    assert errors[-1] == pytest.approx(-errors[0], abs=2 / 1500)
    # weights alone give 2 x batch x bandwidth; nothing of the machine makes that more
    bandwidth = tpu["all", "effective_weight_bandwidth"].ours or 0
    assert 0 < (tpu["MLP0", "tops"].ours or 0) <= 2 * 200 * bandwidth * 1e-3


def test_all_else_is_predicted_or_says_why_not(tpu: dict[tuple[str, str], Row]) -> None:
    others = [row for row in tpu.values() if row.bound is None]
    assert len(others) == len(tpu) - 3
    for row in others:
        if row.case.startswith("CNN"):
            assert row.ours is None
            assert "were never published" in row.source
        else:
            assert row.ours is not None
    for name in ("LSTM1", "MLP0"):
        names = ("array_active", "weight_stall", "weight_shift", "non_matrix")
        assert sum(tpu[name, each].ours or 0 for each in names) == pytest.approx(100)
    # bound by weights: four times the memory is up to four times as fast, the clock is nothing
    assert 3 < (tpu["mean", "speedup_memory_4x"].ours or 0) <= 4
    assert 1 <= (tpu["mean", "speedup_clock_4x"].ours or 0) < 1.05


def test_a_table_of_other_measurements_is_fitted_anew(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    path = folder / "tpu-v1" / "applications.csv"
    lines = path.read_text("utf-8").splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index("tops")] = "6.15"  # MLP0 at half its speed
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), "utf-8")
    rows = [row for row in validate(["tpu-v1"], folder) if row.bound is not None]
    assert [row.passed for row in rows] == [False, False, False]
    path.write_text(path.read_text("utf-8").replace("LSTM0,24", "LSTM0,x"), "utf-8")
    with pytest.raises(ModelError) as caught:
        validate(["tpu-v1"], folder)
    assert str(caught.value) == (
        f"{path}:4: fc_layers must be a whole number in 0..2147483647, not 'x'"
    )


def test_a_row_without_a_bound_only_informs() -> None:
    row = Row("s", "c", "q", "u", 0.0, 1.0, None, "somewhere")
    assert row.passed is None
    assert row.to_dict()["rel_error"] is None
    assert Row("s", "c", "q", "u", 2.0, None, 0.1, "somewhere").passed is False


@pytest.mark.slow
def test_a_network_whose_weights_never_stay_takes_the_published_time(
    shipped: Callable[[str], list[Row]],
) -> None:
    rows = {row.case: row for row in shipped("edge-tpu")}
    assert {row.bound for row in rows.values()} == {None}
    assert rows["resnet50"].ours is None
    # VGG16's weights, 138 million bytes at 500 MB/s, are 277 ms of the 296 that are published
    assert (rows["vgg16"].ours or 0) >= 276
    assert all((rows[name].rel_error or 0) > 0 for name in ("mobilenet-v1", "mobilenet-v2"))
