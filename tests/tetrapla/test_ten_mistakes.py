"""The mistakes that people make most, through the command line: the whole sentence each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.backends.target_ import find, targets
from tetrapla.simulators.spec_ import chips

Cli = Callable[..., Any]
Refused = Callable[..., None]


def model(path: Path, nodes: list[Any], shape: list[Any], *weights: Any) -> Path:
    """An ONNX file with the input x of a shape and the output y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, path.stem, [x], [y], list(weights))
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def node(kind: str, read: str, wrote: str, name: str) -> Any:
    return helper.make_node(kind, read.split(), [wrote], name=name)


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """tpu-v1 with one change."""
    text = chips()["tpu-v1"].read_text("utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new), "utf-8")
    return path


def test_1_an_unknown_key(refused: Refused, mlp: str, tmp_path: Path) -> None:
    path = edited(tmp_path, "  cols: {value: 256", "  colums: {value: 256")
    message = f"{path}:20:3: array has no key 'colums'; did you mean 'cols'?"
    refused(message, "simulate", mlp, "--target", path)


def test_2_a_bare_size(refused: Refused, mlp: str, tmp_path: Path) -> None:
    path = edited(tmp_path, "24 MiB", "24")
    message = f"{path}:30:3: memories.unified_buffer needs a unit, not 24; write '24 KiB'"
    refused(message, "simulate", mlp, "--target", path)


def test_3_a_dynamic_shape(refused: Refused, tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", [node("Relu", "x", "y", "r")], ["batch", 3, "height", 8])
    message = (
        f"{path}: input 'x' has the symbolic dimension 'height' at axis 2, which needs a "
        "value; pass --dim height=128, for instance"
    )
    refused(message, "simulate", path, "--target", "h100")


def test_4_unsupported_operators_are_all_listed(refused: Refused, tmp_path: Path) -> None:
    nodes = [
        node("Erf", "x", "a", "e1"),
        node("Sin", "a", "b", "s1"),
        node("Sin", "b", "y", "s2"),
    ]
    path = model(tmp_path / "m.onnx", nodes, [1, 8])
    message = (
        "loihi: a network of neurons cannot do 1 x nn.erf (no spiking form): e1; 2 x nn.sin "
        "(no spiking form): s1, s2; it can do nn.conv2d, nn.matmul, nn.add, nn.relu, "
        "nn.max_pool2d, nn.average_pool2d, nn.global_average_pool, nn.reshape, nn.transpose, "
        "nn.softmax, "
        "nn.rnn of relu, nn.slice and nn.concat of one inference"
    )
    refused(message, "simulate", path, "--target", "loihi")
    foreign = [helper.make_node("Frob", ["x"], ["y"], name="frob", domain="me")]
    path = model(tmp_path / "f.onnx", foreign, [1, 8])
    message = (
        f"{path}: 1 node cannot be imported: me::Frob x1 (node 'frob'); replace them before "
        "exporting the model"
    )
    refused(message, "ops", path, "--target", "tpu-v1")


def test_5_what_does_not_fit(refused: Refused, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((4096, 4096), 0.01, np.float32), "w")
    path = model(tmp_path / "m.onnx", [node("MatMul", "x w", "y", "fc")], [1, 4096], weight)
    refused(
        "tpu-v1: weights, tables, inputs and outputs of 'm' must fit the DRAM of 1048576 "
        "bytes, not 16819328 bytes; enlarge dram.capacity",
        *("simulate", path, "--target", "tpu-v1", "--set", "dram.capacity=1 MiB"),
    )
    refused(
        "isaac: the model must fit its 96 crossbars, not need 8,192; use a smaller model or "
        "--set array.tiles=86",
        *("simulate", path, "--target", "isaac", "--set", "array.tiles=1"),
    )


def test_6_a_checkpoint_is_no_model(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"PK\x03\x04")
    message = (
        f"{path}: must be one of .csv, .mlir, .nir, .onnx, .pt2, not a PyTorch checkpoint; "
        "export it with torch.onnx.export(model, x, 'model.onnx')"
    )
    refused(message, "simulate", path, "--target", "h100")


def test_7_a_format_that_the_machine_lacks(refused: Refused, mlp: str) -> None:
    refused(
        "gtx-580 must be given a format that it multiplies, fp32, not int8; choose another "
        "--quant or chip",
        *("simulate", mlp, "--target", "gtx-580", "--quant", "int8"),
    )
    refused(
        "tpu-v1: --quant must be a format of the array, int8 or int4 or int16, not fp16; leave "
        "--quant out or take another chip",
        *("simulate", mlp, "--target", "tpu-v1", "--quant", "fp16"),
    )


def test_8_a_spiking_network_without_a_duration(refused: Refused, tmp_path: Path) -> None:
    """A converted network runs 32 timesteps and says so; a .nir file must be told."""
    nir = pytest.importorskip("nir", reason="needs the extra spiking")
    threshold, tau = np.ones(2, np.float32), np.full(2, 2.5e-3, np.float32)
    still, one = np.zeros(2, np.float32), np.ones(2, np.float32)
    nodes = {
        "input": nir.Input(np.array([2])),
        "lif": nir.LIF(tau=tau, r=one, v_leak=still, v_threshold=threshold, v_reset=still),
        "output": nir.Output(np.array([2])),
    }
    path = tmp_path / "n.nir"
    nir.write(path, nir.NIRGraph(nodes, [("input", "lif"), ("lif", "output")]))
    message = (
        f"{path}: nir: the graph must have a duration, not none: its neurons never stop; give "
        "--dim timesteps=N, or --timesteps N with a target (its longest time constant is "
        "2.5 ms, so five of it at 0.1 ms a timestep are 125)"
    )
    refused(message, "simulate", path, "--target", "loihi")


def test_9_an_analog_machine_without_calibration(
    refused: Refused, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.random.default_rng(0).random((8, 64), np.float32))
    message = (
        "isaac: model 'digits_mlp' needs calibration data to be quantised to int8, not none; "
        "give --data with a training part, or --calib"
    )
    refused(message, "simulate", mlp, "--target", "isaac", "--data", path)


def test_10_an_impossible_result_is_our_defect_and_nothing_is_reported(
    cli: Cli, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a machine that is faster than its multipliers."""

    def planted(name: str, overrides: Sequence[str] = ()) -> Any:
        target, chip = find(name, overrides)

        def hasty(*arguments: Any) -> Any:
            done = target.run(*arguments)
            rows = tuple(replace(row, cycles=0) for row in done.layers)
            return replace(done, layers=rows, cycles=0)

        return replace(target, run=hasty), chip

    monkeypatch.setattr("tetrapla.designs.find", planted)
    path = tmp_path / "r.json"
    done = cli("simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--json", path)
    assert (done.status, done.out) == (1, "")
    said = done.err.split(": ", 3)
    assert said[:3] == ["error", "internal error, a defect of tetrapla", "InternalError"]
    assert said[3].startswith("cycles of ")
    assert said[3].endswith(
        "not 0 (nothing was reported; TETRAPLA_TRACEBACK=1 shows where; please report it with "
        "this line, the command and the chip's YAML; no weights are needed)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_not_there(refused: Refused, mlp: str) -> None:
    there = ", ".join(targets())
    message = f"no target 'h1000'; did you mean 'h100'? there are: {there}"
    refused(message, "simulate", mlp, "--target", "h1000")


def test_scalesims_bandwidth_is_shown_in_bytes(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "c.cfg"
    path.write_text(
        "[general]\nrun_name = c\n[architecture_presets]\nArrayHeight: 8\nArrayWidth: 8\n"
        "Bandwidth: 10\n[run_presets]\nInterfaceBandwidth: USER\n",
        "utf-8",
    )
    shown = cli("arch", "show", path)
    assert shown.status == 0
    row = next(line for line in shown.out.splitlines() if line.startswith("  bandwidth:"))
    assert "GB/s" in row
    assert "words a cycle, of a byte at 1 GHz" in row
