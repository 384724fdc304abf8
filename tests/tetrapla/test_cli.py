"""The command line: what the commands write and print."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.module import Module
from tetrapla.settings import Settings

Cli = Callable[..., Any]
NUMBER = (int, float)
REPORT: dict[str, Any] = {
    "schema": str,
    "model": str,
    "target": str,
    "family": str,
    "command": str,
    "seed": int,
    "batch": int,
    "cycles": NUMBER,
    "time_s": float,
    "energy_pj": dict,
    "area_mm2": (float, type(None)),
    "accuracy": (dict, type(None)),
    "cross_check": (dict, type(None)),
    "layers": list,
    "warnings": list,
    "provenance": list,
}
LAYER: dict[str, Any] = {
    "name": str,
    "op": str,
    "cycles": NUMBER,
    "macs": int,
    "utilization_frac": (float, type(None)),
    "bound_by": str,
    "energy_pj": (float, type(None)),
    "traffic_bytes": (int, float, type(None)),
}
ACCURACY: dict[str, Any] = {
    "reference": float,
    "target": float,
    "target_std": (float, type(None)),
    "seeds": int,
    "samples": int,
}
CHECK: dict[str, Any] = {
    "kind": str,
    "mismatches": (int, type(None)),
    "max_rel_error": (float, type(None)),
    "bound": (float, type(None)),
    "passed": bool,
}
CONSTANT: dict[str, Any] = {name: str for name in ("field", "value", "unit", "source", "grade")}


def fits(found: dict[str, Any], schema: dict[str, Any]) -> None:
    """The same names in the same order, each with a value of its type."""
    assert list(found) == list(schema)
    for name, kind in schema.items():
        assert isinstance(found[name], kind), (name, found[name])


def check_report(report: dict[str, Any]) -> None:
    """What the public contract says of one report."""
    # a GPU's kernels in Triton's interpreter, where that is installed
    second = report.pop("second_check", None)
    assert second is None or (report["family"], second["passed"]) == ("gpu", True)
    # of machines with noise
    found = report.pop("yield", None)
    assert (found is not None) == (report["family"] == "analog")
    assert ("interval_s" in report) == (report["family"] == "analog")
    # "sight" is there where something is drawn, the others where they are known or asked for
    optional = {"roofline", "interval_s", "sight", "model_sha256"}
    fits({name: value for name, value in report.items() if name not in optional}, REPORT)
    assert report["schema"] == "tetrapla.report/1"
    energy = report["energy_pj"]
    assert list(energy) == ["total", "by_unit", "range"]
    assert energy["total"] == pytest.approx(sum(energy["by_unit"].values()), rel=1e-12)
    for layer in report["layers"]:
        fits(layer, LAYER)
        assert layer["utilization_frac"] is None or 0 <= layer["utilization_frac"] <= 1
    for entry in report["provenance"]:
        fits(entry, CONSTANT)
        assert entry["source"] or entry["value"] == "null"
    if report["accuracy"] is not None:
        fits(report["accuracy"], ACCURACY)
    fits(report["cross_check"], CHECK)
    assert report["cross_check"]["passed"]


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_compare_writes_the_contracts_fields(cli: Cli, mlp: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("out.json", "out.html", "out.csv")]
    names = ["tpu-v1", "h100", "loihi", "isaac"]
    words = ["compare", mlp, "--data", "digits", "--samples", 12, "--targets", ",".join(names)]
    flags = ["--json", paths[0], "--report", paths[1], "--csv", paths[2]]
    done = cli(*words, *flags)
    assert (done.status, done.err) == (0, "")
    found = read(paths[0])
    assert list(found) == ["schema", "reports"]
    assert found["schema"] == "tetrapla.compare/1"
    assert [r["target"] for r in found["reports"]] == names
    said = f"tetrapla compare {mlp} --targets {','.join(names)} --data digits --samples 12"
    for report in found["reports"]:
        check_report(report)
        assert report["command"] == said
        assert report["accuracy"]["samples"] == 12
    kinds = [r["cross_check"]["kind"] for r in found["reports"]]
    assert kinds == ["bit_exact", "tolerance", "bit_exact", "statistical"]
    assert [r["accuracy"]["seeds"] for r in found["reports"]] == [1, 1, 1, 5]
    assert [r["accuracy"]["target_std"] is None for r in found["reports"]] == [1, 1, 1, 0]
    assert len(paths[2].read_text("utf-8").splitlines()) == 5
    page = paths[1].read_text("utf-8")
    assert len(page) < 1_500_000
    assert "//" not in page.replace("</", "").partition("base64,")[0]


def test_the_table_has_every_column_and_no_colour_in_a_pipe(cli: Cli, mlp: str) -> None:
    words = ["compare", mlp, "--data", "digits", "--samples", 4, "--targets", "tpu-v1,loihi"]
    out = cli(*words).out
    lines = out.splitlines()
    assert lines[0] == (
        "digits_mlp, batch 1; float reference 100.0 % on 4 samples; * is the best"
    )
    assert lines[1].split() == [
        *("target", "latency", "throughput", "energy", "EDP", "area", "accuracy", "front"),
        *("bound", "by", "cross-check"),
    ]
    assert lines[3].startswith("tpu-v1  ")
    assert lines[3].endswith("bit-exact, 0 differ: passed")
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in lines)


def test_the_table_fits_eighty_columns(
    cli: Cli, mlp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ["compare", mlp, "--data", "digits", "--samples", 4, "--targets", "tpu-v1,isaac"]
    lines = cli(*words).out.splitlines()
    assert len(lines[2]) <= 80
    # one line per target: nothing is folded
    assert [line.split()[0] for line in lines[3:5]] == ["tpu-v1", "isaac"]
    assert lines[4].endswith("passed")
    assert lines[6] == (
        "(no room at 80 columns for EDP, area, bound by: a wider terminal, --csv and --report "
        "show all)"
    )


def test_json_on_stdout_leaves_the_table_to_stderr(cli: Cli, mlp: str) -> None:
    done = cli("simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--json", "-")
    check_report(json.loads(done.out))
    assert "layers on tpu-v1" in done.err


def test_outputs_leave_no_trace_in_the_report(
    cli: Cli, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["simulate", mlp, "--target", "tpu-v1", "--samples", 2]
    assert cli(*words, "--json", tmp_path / "a.json").status == 0
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert cli(*words, "--json", "b.json", "--csv", "c.csv", "--trace", "t.json").status == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "deep" / "b.json").read_bytes()


def test_the_recorded_command_repeats_the_run(cli: Cli, mlp: str, tmp_path: Path) -> None:
    import shlex

    model = tmp_path / "my model.onnx"
    model.write_bytes(Path(mlp).read_bytes())
    words = ["simulate", model, "--target", "tpu-v1", "--samples", "3", "--seed", "7"]
    words += ["--set", "clock=1 GHz", "--dim", "batch=1", "--ideal"]
    assert cli(*words, "--json", tmp_path / "a.json").status == 0
    said = read(tmp_path / "a.json")["command"]
    assert said == (
        f"tetrapla simulate '{model}' --target tpu-v1 --samples 3 --dim batch=1 --seed 7 "
        "--ideal --set 'clock=1 GHz'"
    )
    again = shlex.split(said)[1:]
    assert cli(*again, "--json", tmp_path / "b.json").status == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_simulate_without_data_says_so(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert cli("simulate", mlp, "--target", "tpu-v1", "--json", path).status == 0
    report = read(path)
    assert report["accuracy"] is None
    assert report["warnings"][0] == (
        "no --data: inputs and calibration are uniform random numbers from the seed, so "
        "accuracy is not known and counts that depend on values (spikes) are arbitrary"
    )


def test_an_unknown_price_is_null_and_named(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--json", path]
    done = cli(*words, "--set", "cost.mac.int8=null", "--set", "chip.area=null")
    assert done.status == 0
    report = read(path)
    assert report["energy_pj"]["total"] is None
    assert report["energy_pj"]["by_unit"]["mac"] is None
    assert report["area_mm2"] is None
    assert report["warnings"][-1] == (
        "the energy total is null: no source gives the price of mac.int8"
    )
    assert "n/a" in done.out


def test_a_set_field_says_that_area_stays(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--json", path]
    assert cli(*words, "--set", "array.rows=16").status == 0
    report = read(path)
    assert (
        "area, power and prices that the chip's YAML states are not rescaled by --set"
        in (report["warnings"])
    )
    (rows,) = [p for p in report["provenance"] if p["field"] == "array.rows"]
    assert (rows["value"], rows["grade"]) == ("16", "user")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tpu-v1", "--ideal changes nothing: the machine has no non-ideality"),
        ("isaac", "--ideal: every non-ideality of the machine is off"),
    ],
)
def test_ideal_says_what_it_does(
    cli: Cli, mlp: str, tmp_path: Path, target: str, said: str
) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", target, "--data", "digits", "--samples", 4]
    assert cli(*words, "--ideal", "--json", path).status == 0
    report = read(path)
    assert said in report["warnings"]
    assert report["cross_check"]["mismatches"] == 0
    assert report["accuracy"]["seeds"] == 1


def test_timesteps_are_what_was_asked(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", "loihi", "--data", "digits", "--samples", 4]
    assert cli(*words, "--timesteps", 8, "--json", path).status == 0
    assert any(text.startswith("8 timesteps") for text in read(path)["warnings"])


def test_a_model_without_weights_is_timed_but_not_checked(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    (tmp_path / "m.mlir").write_text(cli("ir", mlp, "--generic").out, "utf-8")
    path = tmp_path / "r.json"
    words = ["simulate", tmp_path / "m.mlir", "--target", "h100", "--json", path]
    assert cli(*words).status == 0
    report, whole = read(path), tmp_path / "w.json"
    assert report["cross_check"] is None
    assert report["accuracy"] is None
    assert report["warnings"][0] == (
        "the model has no weights: cycles and energy alone, no values, no check"
    )
    words = ["simulate", mlp, "--target", "h100", "--samples", 1, "--json", whole]
    assert cli(*words).status == 0
    assert read(whole)["cycles"] == report["cycles"]
    assert read(whole)["energy_pj"] == report["energy_pj"]


def test_trace_is_chromes_format(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    words = ["simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--trace", path]
    assert cli(*words).status == 0
    events = read(path)["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


def test_run_writes_the_interpreters_outputs(cli: Cli, mlp: str, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 3 * 64, dtype=np.float32).reshape(3, 8, 8)
    np.savez(tmp_path / "x.npz", x=x)
    done = cli("run", mlp, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    assert done == (0, "logits: float32 [3, 1, 10]\n", "")
    module = tetrapla.load(mlp)
    with np.load(tmp_path / "y.npz") as found:
        for i in range(3):
            expected = tetrapla.evaluate(module, {"image": x[i].reshape(1, 1, 8, 8)})
            assert np.array_equal(found["logits"][i], expected["logits"])


def test_a_batch_is_one_invocation(cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["simulate", mlp, "--target", "tpu-v1", "--data", "digits", "--samples", 10]
    reports = []
    for flag in (["--batch", "1"], ["--batch", "5"], ["--dim", "batch=5"]):
        path = tmp_path / "r.json"
        assert cli(*words, *flag, "--json", path).status == 0
        reports.append(read(path))
    assert [report["batch"] for report in reports] == [1, 5, 5]
    macs = [sum(layer["macs"] for layer in report["layers"]) for report in reports]
    assert macs[1] == macs[2] == 5 * macs[0]
    assert reports[0]["accuracy"] == reports[1]["accuracy"]


def test_samples_that_fill_no_batch_are_named(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", "h100", "--data", "digits", "--samples", 5]
    assert cli(*words, "--batch", 2, "--json", path).status == 0
    report = read(path)
    assert report["accuracy"]["samples"] == 4
    assert report["warnings"][0] == "1 samples left out: they do not fill a batch of 2"


def test_every_shipped_chip_is_listed_and_shown(cli: Cli) -> None:
    listed = cli("targets")
    assert listed.status == 0
    for name in ("tpu-v1", "h100", "loihi", "isaac", "systolic", "gpu", "spiking", "analog"):
        assert name in listed.out
        assert cli("arch", "show", name).status == 0


def test_a_shown_chip_is_a_target_of_its_own(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(cli("arch", "show", "tpu-v1").out, "utf-8")
    out = tmp_path / "r.json"
    words = ["compare", mlp, "--targets", f"tpu-v1,{path}", "--samples", 2, "--json", out]
    assert cli(*words).status == 0
    shipped, mine = read(out)["reports"]
    assert (shipped["target"], mine["target"]) == ("tpu-v1", str(path))
    assert shipped["cycles"] == mine["cycles"]
    assert shipped["energy_pj"] == mine["energy_pj"]


def test_models_of_one_name_keep_apart(
    cli: Cli, mlp: str, cnn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, model in (("a", mlp), ("b", cnn)):
        Path(folder).mkdir()
        Path(folder, "m.onnx").write_bytes(Path(model).read_bytes())
    words = ["compare", "a/m.onnx", "b/m.onnx", "--targets", "h100", "--samples", 2]
    assert cli(*words, "--json", "r.json").status == 0
    assert [r["model"] for r in read(Path("r.json"))["reports"]] == ["a/m.onnx", "b/m.onnx"]


def test_ops_counts_and_ir_prints(cli: Cli, mlp: str, cnn: str) -> None:
    assert cli("ops", mlp).out.splitlines()[3:7] == [
        "nn.matmul   3      6,464  13,034  27,344",
        "nn.relu     2      0      96      768",
        "nn.reshape  1      0      0       512",
        "all         6      6,464  13,130  28,624",
    ]
    assert cli("ops", mlp, "--target", "loihi").out.endswith("loihi can do all of them\n")
    assert "nn.batch_norm" in cli("ir", cnn).out
    assert "nn.batch_norm" not in cli("ir", cnn, "--after", "canonical").out
    assert "nn.batch_norm" not in cli("ir", cnn, "--after", "fold-batch-norm").out
    assert "qnn.conv2d" in cli("ir", cnn, "--after", "quantize", "--data", "digits").out


def test_help_names_the_commands_of_the_contract_and_what_came_since(cli: Cli) -> None:
    lines = cli("--help").out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == [
        *("demo", "run", "compile", "retrain", "simulate", "compare", "sweep", "search"),
        *("plot", "validate", "rtl", "targets", "regions", "zoo", "schema", "doctor", "ops"),
        *("ir", "arch", "calibrate"),
    ]
    assert cli("--version").out == f"tetrapla {tetrapla.__version__}\n"


def test_demo_compares_four_machines(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eight images here; the whole demo is a benchmark."""
    from tetrapla import samples

    real = samples.samples_for

    def few(module: Module, settings: Settings) -> samples.Samples:
        return real(module, replace(settings, samples=8))

    monkeypatch.setattr("tetrapla.trials.samples_for", few)
    path = tmp_path / "d.json"
    assert cli("demo", "--json", path).status == 0
    reports = read(path)["reports"]
    assert [r["family"] for r in reports] == ["systolic", "gpu", "spiking", "analog"]
    assert {r["command"] for r in reports} == {"tetrapla demo"}
    for report in reports:
        check_report(report)
