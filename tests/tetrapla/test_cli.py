"""The command line: what it writes, what it prints, and what a mistake gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tetrapla.__main__ import run

ROOT = Path(__file__).resolve().parent.parent.parent
MLP = str(ROOT / "examples" / "digits_mlp.onnx")
CNN = str(ROOT / "examples" / "digits_cnn.onnx")


class Done(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run one command in this process."""

    def command(*words: object) -> Done:
        status = run([str(word) for word in words])
        return Done(status, *capsys.readouterr())

    return command


def refused(done: Done, message: str) -> None:
    """A user's error: status 2, the message and nothing else."""
    assert done == Done(2, "", f"error: {message}\n")


# what the commands do


def test_compare_writes_the_contracts_fields(cli: Callable[..., Done], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("out.json", "out.html", "out.csv")]
    words = ["compare", MLP, "--data", "digits", "--samples", 20, "--targets", "tpu-v1,loihi"]
    flags = ["--json", paths[0], "--report", paths[1], "--csv", paths[2]]
    done = cli(*words, *flags)
    assert done.status == 0
    found = json.loads(paths[0].read_text("utf-8"))
    assert list(found) == ["schema", "reports"]
    assert found["schema"] == "tetrapla.compare/1"
    assert [r["target"] for r in found["reports"]] == ["tpu-v1", "loihi"]
    for report in found["reports"]:
        _check_report(report, f"tetrapla compare {MLP} --targets tpu-v1,loihi")
        assert report["accuracy"]["samples"] == 20
        assert report["cross_check"]["mismatches"] == 0
    assert len(paths[2].read_text("utf-8").splitlines()) == 3
    assert "tpu-v1" in done.out
    assert "bit-exact" in done.out


def _check_report(report: dict[str, Any], command: str) -> None:
    assert report["schema"] == "tetrapla.report/1"
    fields = (
        "schema model target family command seed batch cycles time_s energy_pj area_mm2 "
        "accuracy cross_check layers warnings provenance"
    )
    assert list(report) == fields.split()
    assert report["command"].startswith(command)
    assert ".json" not in report["command"]
    energy = report["energy_pj"]
    assert set(energy) == {"total", "by_unit", "range"}
    assert energy["total"] == pytest.approx(sum(energy["by_unit"].values()), rel=1e-12)
    assert report["cross_check"]["passed"] is True
    assert report["provenance"]
    assert all(p["source"] or p["value"] == "null" for p in report["provenance"])
    for layer in report["layers"]:
        assert layer["utilization_frac"] is None or 0 <= layer["utilization_frac"] <= 1


def test_simulate_without_data_says_so(cli: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert cli("simulate", MLP, "--target", "tpu-v1", "--json", path).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["accuracy"] is None
    assert report["warnings"][0].startswith("no --data: inputs and calibration are uniform")


def test_a_noisy_machine_runs_five_seeds(cli: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", MLP, "--target", "isaac", "--data", "digits", "--samples", 30]
    assert cli(*words, "--json", path).status == 0
    accuracy = json.loads(path.read_text("utf-8"))["accuracy"]
    assert accuracy["seeds"] == 5
    assert accuracy["target_std"] is not None


def test_trace_is_chromes_format(cli: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    words = ["simulate", MLP, "--target", "tpu-v1", "--samples", 1, "--trace", path]
    assert cli(*words).status == 0
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


def test_run_writes_the_interpreters_outputs(cli: Callable[..., Done], tmp_path: Path) -> None:
    import tetrapla

    x = np.linspace(0, 1, 3 * 64, dtype=np.float32).reshape(3, 8, 8)
    np.savez(tmp_path / "x.npz", x=x)
    done = cli("run", MLP, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    assert done == Done(0, "logits: float32 [3, 1, 10]\n", "")
    with np.load(tmp_path / "y.npz") as found:
        for i in range(3):
            expected = tetrapla.evaluate(
                tetrapla.load(MLP), {"image": x[i].reshape(1, 1, 8, 8)}
            )
            assert np.array_equal(found["logits"][i], expected["logits"])


def test_a_batch_is_one_invocation(cli: Callable[..., Done], tmp_path: Path) -> None:
    words = ["simulate", MLP, "--target", "tpu-v1", "--data", "digits", "--samples", 10]
    reports = []
    for batch in (1, 5):
        path = tmp_path / f"{batch}.json"
        assert cli(*words, "--batch", batch, "--json", path).status == 0
        reports.append(json.loads(path.read_text("utf-8")))
    assert [report["batch"] for report in reports] == [1, 5]
    macs = [sum(layer["macs"] for layer in report["layers"]) for report in reports]
    assert macs[1] == 5 * macs[0]
    assert reports[0]["accuracy"] == reports[1]["accuracy"]


def test_compile_writes_program_module_and_onnx(
    cli: Callable[..., Done], tmp_path: Path
) -> None:
    import tetrapla

    out = tmp_path / "out"
    words = ["compile", MLP, "--target", "tpu-v1", "--data", "digits", "-o", out]
    assert cli(*words, "--emit", "onnx").status == 0
    names = {path.name for path in out.iterdir()}
    assert names >= {"program.txt", "program.json", "module.mlir", "weights.npz", "model.onnx"}
    json.loads((out / "program.json").read_text("utf-8"))
    x = {"image": np.full((1, 1, 8, 8), 0.25, np.float32)}
    lowered, exported = tetrapla.load(out / "module.mlir"), tetrapla.load(out / "model.onnx")
    assert np.array_equal(
        *(tetrapla.evaluate(module, x)["logits"] for module in (lowered, exported))
    )


def test_sweep_marks_the_pareto_front(cli: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    words = ["sweep", MLP, "--target", "loihi", "--data", "digits", "--samples", 10]
    assert cli(*words, "--set", "timesteps=4,8", "--json", path).status == 0
    found = json.loads(path.read_text("utf-8"))
    assert [point["settings"] for point in found["points"]] == [
        {"timesteps": "4"},
        {"timesteps": "8"},
    ]
    times = [point["report"]["time_s"] for point in found["points"]]
    assert times[0] < times[1]
    assert found["points"][0]["pareto"]


def test_every_shipped_chip_is_listed_and_shown(cli: Callable[..., Done]) -> None:
    listed = cli("targets")
    assert listed.status == 0
    for name in ("tpu-v1", "h100", "loihi", "isaac", "systolic", "gpu", "spiking", "analog"):
        assert name in listed.out
        assert cli("arch", "show", name).status == 0


def test_a_shown_chip_is_a_target(cli: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(cli("arch", "show", "tpu-v1").out, "utf-8")
    reports = []
    for target in ("tpu-v1", path):
        out = tmp_path / "r.json"
        words = ["simulate", MLP, "--target", target, "--samples", 2, "--json", out]
        assert cli(*words).status == 0
        reports.append(json.loads(out.read_text("utf-8")))
    assert reports[0]["cycles"] == reports[1]["cycles"]
    assert reports[0]["energy_pj"] == reports[1]["energy_pj"]


def test_ops_counts_and_ir_prints(cli: Callable[..., Done]) -> None:
    assert "nn.matmul" in cli("ops", MLP).out
    assert "loihi can do all of them" in cli("ops", MLP, "--target", "loihi").out
    assert '"nn.batch_norm"' in cli("ir", CNN).out
    assert '"nn.batch_norm"' not in cli("ir", CNN, "--after", "canonical").out
    assert '"qnn.conv2d"' in cli("ir", CNN, "--after", "quantize", "--data", "digits").out


# what a mistake gets


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["simulate", "no.onnx", "--target", "h100"],
            "no.onnx: no such file; give the path of an .onnx file",
        ),
        (
            ["simulate", MLP, "--target", "h1000"],
            "no target 'h1000'; did you mean 'h100'? there are: h100, isaac, loihi, tpu-v1, "
            "analog, gpu, spiking, systolic",
        ),
        (
            ["simulate", MLP, "--target", "no.yaml"],
            "target file 'no.yaml' must exist; write one or name a chip",
        ),
        (
            ["simulate", MLP, "--target", "h100", "--samples", "0"],
            "--samples must be at least 1, not 0",
        ),
        (["simulate", MLP], "Missing option '--target' / '-t'"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (
            ["simulate", MLP, "--target", "h100", "--calib", "c.npz"],
            "--calib and --calib-fraction must come with --data, not alone",
        ),
        (
            ["simulate", MLP, "--target", "h100", "--dim", "batch"],
            "--dim must be NAME=SIZE with a size above 0, not 'batch'",
        ),
        (
            ["simulate", MLP, "--target", "h100", "--quant", "int9"],
            "--quant must be int8 or none, not int9",
        ),
        (
            ["compare", MLP, "--targets", ","],
            "--targets must name at least one target, not none",
        ),
        (
            ["sweep", MLP, "--target", "loihi", "--set", "timesteps"],
            "--set must be FIELD=V1,V2 or FIELD=A:B, not 'timesteps'",
        ),
        (
            ["sweep", MLP, "--target", "loihi", "--set", "timesteps=4", "--objective", "laten"],
            "no objective 'laten'; did you mean 'latency'?; there are: "
            "latency, energy, accuracy, area",
        ),
        (
            ["simulate", "m.pt", "--target", "h100"],
            "m.pt: must be one of .mlir, .onnx, not a PyTorch checkpoint; export it with "
            "torch.onnx.export(model, x, 'model.onnx')",
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    cli: Callable[..., Done], words: Sequence[str], message: str
) -> None:
    refused(cli(*words), message)


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "not an empty file"), (b"\x08\x07\x12", "not a complete protobuf message")],
)
def test_a_broken_model_leaves_no_file(
    cli: Callable[..., Done], tmp_path: Path, content: bytes, part: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    out = tmp_path / "o.json"
    done = cli("simulate", tmp_path / "m.onnx", "--target", "h100", "--json", out)
    assert done.status == 2
    assert part in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_an_output_is_judged_before_the_work(cli: Callable[..., Done], tmp_path: Path) -> None:
    folder = tmp_path / "none"
    words = ["simulate", "no.onnx", "--target", "h100", "--json", folder / "o.json"]
    refused(
        cli(*words),
        f"output '{folder / 'o.json'}' must lie in a folder that exists, not '{folder}'",
    )


def test_an_input_is_never_written_over(cli: Callable[..., Done], tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(Path(MLP).read_bytes())
    done = cli("simulate", model, "--target", "h100", "--json", model)
    refused(done, f"output file '{model}' must not be an input; choose another name")
    assert model.read_bytes() == Path(MLP).read_bytes()


def test_a_chips_typing_error_has_line_and_column(
    cli: Callable[..., Done], tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    text = cli("arch", "show", "tpu-v1").out
    path.write_text(text.replace("  cols:", "  colums:"), "utf-8")
    done = cli("simulate", MLP, "--target", path)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if row.startswith("  cols:"))
    assert done.status == 2
    assert done.err.startswith(f"error: {path}:{line}:3: ")
    assert "cols" in done.err
    assert "Traceback" not in done.err


def test_own_data_needs_calibration(cli: Callable[..., Done], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "d.npz"
    np.savez(path, x=rng.random((8, 64), np.float32), y=np.zeros(8, np.int64))
    words = ["simulate", MLP, "--target", "tpu-v1", "--data", path]
    done = cli(*words)
    assert done.status == 2
    assert "--calib" in done.err
    assert cli(*words, "--calib-fraction", 0.5).status == 0
    assert cli(*words, "--calib", path).status == 0
    refused(
        cli(*words, "--calib-fraction", 0.01),
        "--calib-fraction must leave data on both sides of 8 invocations, not 0.01",
    )


def test_a_defect_is_one_line_and_status_one(
    cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*words: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tetrapla.models.load", defect)
    done = cli("ops", MLP)
    assert done.status == 1
    assert done.err.startswith("error: internal error, a defect of tetrapla: ZeroDivisionError")
    assert done.err.count("\n") == 1


def test_a_failed_check_exits_one_after_writing(
    cli: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a machine that drops what it computed for the last class."""
    from dataclasses import replace

    from tetrapla.backends.target_ import find as real

    def find(name: str, overrides: Sequence[str] = ()) -> Any:
        target, chip = real(name, overrides)

        def broken(*arguments: Any) -> Any:
            done = target.run(*arguments)
            outputs = {name: np.copy(array) for name, array in done.outputs.items()}
            for array in outputs.values():
                array[..., -1] = 0
            return replace(done, outputs=outputs)

        return replace(target, run=broken), chip

    monkeypatch.setattr("tetrapla.run.find", find)
    path = tmp_path / "r.json"
    words = ["simulate", MLP, "--target", "tpu-v1", "--data", "digits", "--samples", 4]
    done = cli(*words, "--json", path)
    assert done.status == 1
    assert done.err == "error: a cross-check failed; see the table\n"
    check = json.loads(path.read_text("utf-8"))["cross_check"]
    assert check["passed"] is False
    assert check["mismatches"] > 0
