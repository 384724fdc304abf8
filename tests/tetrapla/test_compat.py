"""`--compat scalesim`: SCALE-Sim's own numbers of a topology, and the corrected ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla import Builder, nn
from tetrapla.simulators.systolic.scalesim.closed_form import DATAFLOWS, Layers, folded
from tetrapla.simulators.systolic.scalesim.stalls import stall_free

Cli = Any  # the fixture's, see conftest
MORE = Path(__file__).parent.parent / "simulators" / "scalesim" / "scalesim3_more.csv"
SIZES = 7  # of a convolution; a product has three
CONFIG = """[architecture_presets]
ArrayHeight: {0}
ArrayWidth: {1}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
Dataflow: {2}
MemoryBanks: 1
[sparsity]
SparsitySupport: {3}
SparseRep: ellpack_block
OptimizedMapping: false
[run_presets]
InterfaceBandwidth: {4}
"""


def config(tmp_path: Path, *given: object, sparse: bool = False, mode: str = "CALC") -> Path:
    """A file of rows, columns and dataflow."""
    path = tmp_path / "c.cfg"
    path.write_text(CONFIG.format(*given, str(sparse).lower(), mode), "utf-8")
    return path


def topology(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "t.csv"
    # the first line is skipped; as many columns as a convolution or a product has
    columns = SIZES if rows[0].count(",") >= SIZES else 3
    lines = ["Layer," + "size," * columns, *(f"{row}," for row in rows)]
    path.write_text("\n".join(lines), "utf-8")
    return path


def golden() -> dict[tuple[str, str, str, str, bool], list[dict[str, str]]]:
    """Runs of SCALE-Sim: a table's rows by kind, array, dataflow and sparsity."""
    found: dict[tuple[str, str, str, str, bool], list[dict[str, str]]] = {}
    with MORE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sparse = row["layer"] in ("a", "b", "c", "d", "e", "DPf")
            array = row["array_rows"], row["array_cols"]
            found.setdefault((row["kind"], *array, row["dataflow"], sparse), []).append(row)
    return found


@pytest.mark.parametrize("key", list(golden()), ids=lambda key: "-".join(map(str, key)))
def test_a_topology_gives_what_scalesim_reports(
    cli: Cli, tmp_path: Path, key: tuple[str, str, str, str, bool]
) -> None:
    _, down, across, flow, sparse = key
    rows = golden()[key]
    table = topology(
        tmp_path,
        *(f"{r['layer']},{r['sizes'].replace('x', ',')},{r['sparsity']}" for r in rows),
    )
    chip, path = config(tmp_path, down, across, flow, sparse=sparse), tmp_path / "r.json"
    words = ("simulate", table, "--target", chip, "--compat", "scalesim", "--json", path)
    assert cli(*words).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["compat"] == "scalesim"
    assert len(report["layers"]) == len(rows)
    for layer, row in zip(report["layers"], rows, strict=True):
        said = layer["scalesim"]
        # the golden table holds one channel of a depthwise row
        channels = int(row["sizes"].split("x")[4]) if "DP" in row["layer"] else 1
        assert said["layers"] == channels
        assert layer["cycles"] == channels * int(row["cycles"])
        assert layer["cycles_corrected"] == channels * (int(row["cycles"]) + 1)
        assert said["sram_filter_reads"] == channels * int(row["filter_reads"])
        assert said["sram_ofmap_writes"] == channels * int(row["ofmap_writes"])
        assert said["stall_cycles"] == 0
        close = (int(row["cycles"]) + 8) * 2.0**-53  # SCALE-Sim rounds once a fold
        reads = channels * float(row["ifmap_reads"])
        assert said["sram_ifmap_reads"] == pytest.approx(reads, rel=close)
        for name in ("overall_util_pct", "mapping_eff_pct", "compute_util_pct"):
            assert said[name] == pytest.approx(float(row[name]), rel=close)
    assert report["cycles"] == sum(layer["cycles"] for layer in report["layers"])
    assert report["energy_pj"]["total"] is None
    assert report["cross_check"] is None


def test_a_configuration_is_a_machine_without_prices(cli: Cli, tmp_path: Path) -> None:
    table, path = topology(tmp_path, "g,20,33,40"), tmp_path / "r.json"
    done = cli("simulate", table, "--target", config(tmp_path, 8, 8, "ws"), "--json", path)
    assert done.status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["target"] == "scale_run"
    assert report["energy_pj"]["total"] is None
    assert "compat" not in report
    assert any(text.startswith("the energy total is null: no") for text in report["warnings"])
    assert "SCALE-Sim ignores, and so does this: MemoryBanks, SparseRep (without " in done.out
    (layer,) = (layer for layer in report["layers"] if layer["name"] == "g")
    assert layer["macs"] == 20 * 33 * 40


def test_the_table_shows_both_numbers(cli: Cli, tmp_path: Path) -> None:
    # 4x4x4 on 4x4, outputs in place: 4 + 4 + 4 - 2 = 10 cycles, and SCALE-Sim says 9
    done = cli(
        *("simulate", topology(tmp_path, "g,4,4,4"), "--compat", "scalesim"),
        *("--target", config(tmp_path, 4, 4, "os")),
    )
    assert done.status == 0
    (line,) = (line for line in done.out.splitlines() if line.startswith("g "))
    assert line.split() == ["g", "nn.matmul", "9", "64", "40.0", "%", "array", "n/a", "10"]
    assert "SCALE-Sim ignores, and so does this: MemoryBanks" in done.out


def test_any_model_of_products_can_be_asked() -> None:
    b = Builder("m")
    x = b.input("x", (2, 3, 10, 10))
    b.output("y", nn.conv2d(x, np.zeros((8, 3, 3, 3)), pads=1).relu())
    found = tetrapla.simulate(b.build(), "tpu-v1", compat="scalesim").to_dict()
    (layer,) = found["layers"]
    # two images of 10 x 10 pixels; 27 taps and 8 filters fit one fold of 2R + C + M - 2
    assert layer["cycles_corrected"] == 2 * 256 + 256 + 200 - 2
    assert (
        "--compat scalesim: SCALE-Sim has no layer for nn.relu: no cycles"
        in (found["warnings"])
    )


def test_sweep_and_compare_take_it_too(cli: Cli, tmp_path: Path) -> None:
    path, table = tmp_path / "s.json", topology(tmp_path, "g,17,33,65")
    done = cli(
        *("sweep", table, "--target", "tpu-v1", "--compat", "scalesim"),
        *("--set", "array.rows=8:11", "--set", "array.cols=16", "--json", path),
    )
    assert done.status == 0
    sizes = Layers(*np.array([[17], [33], [65]]))
    for point in json.loads(path.read_text("utf-8"))["points"]:
        rows = int(point["settings"]["array.rows"])
        assert point["report"]["cycles"] == folded(sizes, rows, 16, "ws").cycles_reported[0]
    words = ("--targets", f"tpu-v1,{config(tmp_path, 8, 8, 'os')}", "--compat", "scalesim")
    assert cli("compare", table, *words).status == 0


def test_dense_rows_are_what_scalesim_makes_of_ratios_by_default(
    cli: Cli, tmp_path: Path
) -> None:
    path, table = tmp_path / "r.json", topology(tmp_path, "g,17,33,65,2:4")
    words = ("simulate", table, "--target", "tpu-v1", "--compat", "scalesim")
    assert cli(*words, "--json", path).status == 0
    report = json.loads(path.read_text("utf-8"))
    sizes = Layers(*np.array([[17], [33], [65]]))
    assert report["cycles"] == folded(sizes, 256, 256, "ws").cycles_reported[0]
    assert report["warnings"][-1] == (
        "--compat scalesim: without SparsitySupport SCALE-Sim counts N:M rows as dense, and "
        "so does this"
    )


def stalled() -> dict[str, str]:
    """A run of SCALE-Sim with stalls: of the least cycles, on more than one fold."""
    with MORE.with_name("scalesim3_user.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["stall_cycles"]) > 0]
    return min(rows, key=lambda row: int(row["cycles"]))


def user(tmp_path: Path, row: dict[str, str], layout: bool = False, mode: str = "USER") -> Path:
    """A configuration of that run."""
    path = tmp_path / "u.cfg"
    path.write_text(
        f"""[architecture_presets]
ArrayHeight = {row["array_rows"]}
ArrayWidth = {row["array_cols"]}
IfmapSramSzkB = {row["ifmap_kb"]}
FilterSramSzkB = {row["filter_kb"]}
OfmapSramSzkB = {row["ofmap_kb"]}
Dataflow = {row["dataflow"]}
Bandwidth = {row["ofmap_bandwidth"]}
[layout]
IfmapCustomLayout = {layout}
IfmapSRAMBankBandwidth = {row["ifmap_bandwidth"]}
FilterSRAMBankBandwidth = {row["filter_bandwidth"]}
[run_presets]
InterfaceBandwidth = {mode}
""",
        "utf-8",
    )
    return path


def test_stalls_count_under_user(cli: Cli, tmp_path: Path) -> None:
    row, path = stalled(), tmp_path / "r.json"
    table = topology(tmp_path, f"a,{row['sizes'].replace('x', ',')}")
    words = ("simulate", table, "--target", user(tmp_path, row), "--compat", "scalesim")
    assert cli(*words, "--json", path).status == 0
    (layer,) = json.loads(path.read_text("utf-8"))["layers"]
    assert layer["cycles"] == int(row["cycles"])
    assert layer["scalesim"]["stall_cycles"] == int(row["stall_cycles"])
    assert layer["cycles_corrected"] == layer["cycles"] - int(row["stall_cycles"]) + 1


TRAFFIC = MORE.with_name("scalesim3_traffic.csv")
MOVED = (
    *("cycles_incl_prefetch", "dram_ifmap_reads", "dram_filter_reads", "dram_ofmap_writes"),
    *(f"dram_{name}_words_per_cycle" for name in ("ifmap", "filter", "ofmap")),
)


@pytest.mark.parametrize("mode", ["CALC", "USER"])
def test_the_drams_traffic_is_what_scalesim_reports(
    cli: Cli, tmp_path: Path, mode: str
) -> None:
    with TRAFFIC.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["mode"] == mode]
    for row in rows[::20]:
        chip, path = user(tmp_path, row, mode=mode), tmp_path / "r.json"
        table = topology(tmp_path, f"a,{row['sizes'].replace('x', ',')}")
        words = ("simulate", table, "--target", chip, "--compat", "scalesim", "--json", path)
        assert cli(*words).status == 0
        (layer,) = json.loads(path.read_text("utf-8"))["layers"]
        said = layer["scalesim"]
        assert layer["cycles"] == int(row["cycles"])
        assert [said[name] for name in MOVED] == [float(row[name]) for name in MOVED]
        for name, action in (("ifmap", "reads"), ("filter", "reads"), ("ofmap", "writes")):
            mean = said[f"sram_{name}_{action}"] / layer["cycles"]
            assert said[f"sram_{name}_words_per_cycle"] == mean


def test_traffic_of_a_depthwise_layer_is_of_all_its_channels(cli: Cli, tmp_path: Path) -> None:
    said = []
    for row in ("DPa,9,9,3,3,6,2,1", "a,9,9,3,3,1,2,1"):
        table, path = topology(tmp_path, row), tmp_path / "r.json"
        words = ("simulate", table, "--target", config(tmp_path, 4, 4, "ws"))
        assert cli(*words, "--compat", "scalesim", "--json", path).status == 0
        (layer,) = json.loads(path.read_text("utf-8"))["layers"]
        said.append(layer["scalesim"])
    many, one = ([each[name] for name in MOVED] for each in said)
    assert many[:4] == [6 * count for count in one[:4]]
    assert many[4:] == one[4:]


def test_traffic_that_nobody_asks_for_or_knows_is_null(cli: Cli, tmp_path: Path) -> None:
    path, table = tmp_path / "r.json", topology(tmp_path, "g,17,33,65,2:4")
    chip = config(tmp_path, 8, 8, "ws")
    rest = ("--compat", "scalesim", "--json", path)
    # a chip without scratchpads; a sweep, which would take too long; a sparse layer
    assert cli("simulate", table, "--target", "tpu-v1", *rest).status == 0
    found = [json.loads(path.read_text("utf-8"))]
    assert cli("sweep", table, "--target", chip, *rest, "--set", "array.cols=8").status == 0
    found += [point["report"] for point in json.loads(path.read_text("utf-8"))["points"]]
    sparse = config(tmp_path, 8, 8, "ws", sparse=True)
    assert cli("simulate", table, "--target", sparse, *rest).status == 0
    found += [json.loads(path.read_text("utf-8"))]
    assert len(found) == 3
    for report in found:
        (layer,) = report["layers"]
        assert [layer["scalesim"][name] for name in MOVED] == [None] * len(MOVED)


def test_stalls_that_are_not_modelled_are_not_known(cli: Cli, tmp_path: Path) -> None:
    row, path = stalled(), tmp_path / "r.json"
    table = topology(tmp_path, f"a,{row['sizes'].replace('x', ',')}")
    chip = user(tmp_path, row, layout=True)
    words = ("simulate", table, "--target", chip, "--compat", "scalesim", "--json", path)
    assert cli(*words).status == 0
    report = json.loads(path.read_text("utf-8"))
    (layer,) = report["layers"]
    assert layer["scalesim"]["stall_cycles"] is None
    assert layer["cycles"] == int(row["cycles"]) - int(row["stall_cycles"])
    assert (
        "--compat scalesim: the stall cycles of some layers under InterfaceBandwidth USER are "
        "not modelled: stall_cycles is null there, and cycles are without them"
    ) in report["warnings"]


def test_an_operand_is_resident_until_its_half_is_full() -> None:
    # 1024 words: sets of 11, of which 47 are active; the order fills words // 11 + 1 of them
    def free(words: int) -> bool:
        held = Layers(np.array([words]), np.array([1]), np.array([1]))
        found = folded(held, 8, 8, DATAFLOWS[1])
        return bool(stall_free(held, found, 1024, 1024, 10**6)[0])

    assert [free(words) for words in (1, 46 * 11 + 10, 47 * 11)] == [True, True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--compat", "scale"), "--compat must be scalesim, not 'scale'; did you mean "),
        (
            ("--compat", "timeloop"),
            "--compat must be scalesim, not 'timeloop'; leave it out for our own numbers\n",
        ),
        (("--compat", "scalesim", "--quant", "int8"), "--compat scalesim must come without "),
        (("--compat", "scalesim", "--target", "isaac"), "--compat scalesim must have a syst"),
        (("--compat", "scalesim", "--trace", "t.json"), "--trace must come without --compat"),
    ],
)
def test_what_does_not_go_together_is_refused(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    target = () if "--target" in words else ("--target", "tpu-v1")
    done = cli("simulate", topology(tmp_path, "g,4,4,4"), *target, *words)
    assert done.status == 2
    assert done.err.startswith(f"error: {message}")


def test_a_sparse_row_needs_it(cli: Cli, tmp_path: Path) -> None:
    table = topology(tmp_path, "g,4,4,4,1:4")
    done = cli("simulate", table, "--target", "tpu-v1")
    assert done == (
        2,
        "",
        f"error: {table}:2:1: a layer must be dense (1:1), not 1:4, since no weights say "
        "which; write 1:1, or take --compat scalesim\n",
    )
