"""`tetrapla ir`: the readable form, pipelines, what is told of them, files, the reducer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tetrapla.commands.readable import readable
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.models import load
from tetrapla.passes.pass_ import passes
from tetrapla.passes.pipeline_ import PIPELINES, canonical

Cli = Callable[..., Any]
Refused = Callable[..., None]

MLP = """\
digits_mlp: 6 operators, 6 weights of 26.3 kB
  in   %image: f32[1,1,8,8]
  %flatten = nn.reshape(%image) {shape=[1,64]} : f32[1,64]
  %fc1 = nn.matmul(%flatten, @fc1_weight: f32[64,64], @fc1_bias: f32[64]) : f32[1,64]
  %relu1 = nn.relu(%fc1) : f32[1,64]
  %fc2 = nn.matmul(%relu1, @fc2_weight: f32[64,32], @fc2_bias: f32[32]) : f32[1,32]
  %relu2 = nn.relu(%fc2) : f32[1,32]
  %logits = nn.matmul(%relu2, @fc3_weight: f32[32,10], @fc3_bias: f32[10]) : f32[1,10]
  out  logits = %logits
"""


def loop() -> Module:
    """A loop beside a layer that has an input's name, and one with an odd name."""
    build = ModuleBuilder("loop")
    body = build.body()
    state, row = body.input("h", (1, 3)), body.input("x", (1, 3))
    weight = body.weight("w", np.ones((3, 3), np.float32))
    turned = body.op("nn.matmul", [row, weight], {"activation": "relu"}, name="turned")
    step = body.op("nn.add", [state, turned], name="step")
    body.output("next", step)
    body.output("kept", turned)
    operands = [build.input("h", (1, 3)), build.input("x", (4, 1, 3))]
    attributes = {"carried": 1, "scanned": 1, "trips": 4}
    last, rows = build.ops("nn.scan", operands, attributes, "rows", [body.graph()])
    soft = build.op("nn.softmax", [rows], {"axis": -1}, name="x")
    build.output("y", build.op("nn.relu", [soft], name="the last"))
    build.output("state", last)
    return build.finish()


def test_the_readable_form_shows_regions_below_their_operator() -> None:
    assert (
        readable(loop())
        == """\
loop: 3 operators, 1 weight of 36.0 B
  in   %h: f32[1,3]
  in   %x: f32[4,1,3]
  %rows#0, %rows#1 = nn.scan(%h, %x) {carried=1, scanned=1, trips=4} : f32[1,3], f32[4,1,3]
    body (%in0: f32[1,3], %in1: f32[1,3])
      %turned = nn.matmul(%in1, @w: f32[3,3]) {activation="relu"} : f32[1,3]
      %step = nn.add(%in0, %turned) : f32[1,3]
      give %step, %turned
  %x_2 = nn.softmax(%rows#1) {axis=-1} : f32[4,1,3]
  %"the last" = nn.relu(%x_2) : f32[4,1,3]
  out  y = %"the last"
  out  state = %rows#0"""
    )


def test_the_readable_form_says_what_a_model_without_weights_has() -> None:
    build = ModuleBuilder("shapes")
    operands = [build.input("x", (1, 2)), build.shape_of_weight("w", (2, 3), "f32")]
    build.output("y", build.op("nn.matmul", operands, {"activation": "none"}))
    assert (
        readable(build.finish())
        == """\
shapes: 1 operator, 1 weight of 24.0 B (shapes alone)
  in   %x: f32[1,2]
  %matmul = nn.matmul(%x, @w: f32[2,3]) : f32[1,3]
  out  y = %matmul"""
    )


def test_ir_prints_the_readable_form(cli: Cli, mlp: str) -> None:
    found = cli("ir", mlp)
    assert (found.status, found.err) == (0, "")
    assert found.out == MLP


def test_ir_prints_generic_text_that_reads_as_the_same_module(cli: Cli, mlp: str) -> None:
    model = load(mlp)
    again = Module.parse(cli("ir", mlp, "--generic").out, model.weights, model.name)
    assert again.text() == model.text()


@pytest.mark.parametrize(
    "words",
    [
        ("--after", "canonical"),
        ("--pipeline", "canonical"),
        ("--pipeline", ",".join(pass_.name for pass_ in PIPELINES["canonical"])),
    ],
)
def test_a_pipeline_s_name_stands_for_its_passes(
    cli: Cli, cnn: str, words: tuple[str, str]
) -> None:
    assert cli("ir", cnn, *words).out == readable(canonical(load(cnn))) + "\n"


def test_the_int8_pipeline_is_what_after_quantize_runs(cli: Cli, cnn: str) -> None:
    after = cli("ir", cnn, "--after", "quantize", "--data", "digits")
    assert after.status == 0
    assert after.out == cli("ir", cnn, "--pipeline", "int8", "--data", "digits").out


def test_modules_are_printed_after_the_passes_that_were_named(cli: Cli, cnn: str) -> None:
    words = ["ir", cnn, "--pipeline", "canonical", "--print-ir-after"]
    one, every = cli(*words, "fuse-epilogue"), cli(*words, "all")
    assert re.findall(r"^after.*$", one.err, re.M) == [
        "after 5, fuse-epilogue:",
        "after 7, fuse-epilogue:",
    ]
    assert one.err.endswith(one.out)
    assert len(re.findall(r"^after \d, [a-z-]+:$", every.err, re.M)) == 7
    assert every.out == one.out


def test_passes_are_timed(cli: Cli, cnn: str) -> None:
    lines = cli("ir", cnn, "--pipeline", "canonical", "--time-passes").err.splitlines()
    title = r"digits_cnn: 7 passes, \d+\.\d{3} s of CPU with verification"
    assert re.fullmatch(title, lines[0])
    assert lines[1].split() == ["pass", "s", "operators", "before", "after"]
    rows = [line.split() for line in lines[3:] if line]
    assert [(row[0], row[1], row[3], row[4]) for row in rows[:1]] == [
        ("1", "fold-constants", "12", "12")
    ]
    assert [row[1] for row in rows] == [pass_.name for pass_ in PIPELINES["canonical"]]
    assert rows[-1][4] == "7"


def test_a_module_is_written_as_mlir_that_is_read_again(
    cli: Cli, cnn: str, tmp_path: Path
) -> None:
    path = tmp_path / "small.mlir"
    found = cli("ir", cnn, "--pipeline", "canonical", "-o", path)
    assert found == (0, "", "")
    model, again = canonical(load(cnn)), load(path)
    assert again.text() == model.text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.mlir", "small.npz"]
    assert all(np.array_equal(array, again.weights[k]) for k, array in model.weights.items())


def test_a_module_is_written_as_onnx_that_computes_the_same(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "small.onnx"
    assert cli("ir", mlp, "--pipeline", "canonical", "-o", path) == (0, "", "")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    x = {"image": np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)}
    wanted, found = evaluate(canonical(load(mlp)), x), evaluate(load(path), x)
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_a_quantised_module_is_written_with_qdq_pairs(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "small.qdq.onnx"
    found = cli("ir", mlp, "--pipeline", "int8", "--data", "digits", "-o", path)
    assert found.status == 0, found
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert kinds == {"QuantizeLinear", "DequantizeLinear", "Gemm", "Reshape"}


# a pattern that leaves out the axis, so that its result does not verify
BROKEN = """pdl.pattern @broken : benefit(1) {
  %type = pdl.type
  %x = pdl.operand
  %root = pdl.operation "nn.max_pool2d"(%x : !pdl.value) -> (%type : !pdl.type)
  pdl.rewrite %root {
    %made = pdl.operation "nn.softmax"(%x : !pdl.value) -> (%type : !pdl.type)
    pdl.replace %root with %made
  }
}"""


def test_a_failing_pass_is_reduced(cli: Cli, cnn: str, tmp_path: Path) -> None:
    pdl, path = tmp_path / "broken.pdl", tmp_path / "small.mlir"
    pdl.write_text(BROKEN, "utf-8")
    pipeline = f'canonical,apply-pdl{{file="{pdl}"}}'
    found = cli("ir", cnn, "--pipeline", pipeline, "--reduce", path)
    assert (found.status, found.out) == (2, "")
    note, error = found.err.splitlines()
    last = pipeline.removeprefix("canonical,")
    assert note == (
        f"note: {path} holds 1 of 7 operators, on which apply-pdl fails alike "
        f"(--pipeline '{last}')"
    )
    wrong = "nn.softmax must have the attributes ['axis']; missing: ['axis'], unknown: []"
    assert error == f"error: apply-pdl: {pdl}: pool1: {wrong}"
    (node,) = load(path).graph.nodes
    assert node.kind == "nn.max_pool2d"
    again = cli("ir", path, "--pipeline", last)
    assert (again.status, wrong in again.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--pipeline", "canonical,quantize{bit=8}"],
            "no option 'bit' of quantize; did you mean 'bits'?; there are: {quantize}",
        ),
        (
            ["--pipeline", "canonicel"],
            "no pass 'canonicel'; did you mean 'canonical'?; there are: {parts}",
        ),
        (
            ["--pipeline", "canonical", "--after", "canonical"],
            "--after and --pipeline must not both be given; drop one",
        ),
        (
            ["--pipeline", "fold-constants", "--print-ir-after", "fold-constant"],
            "--print-ir-after must be all or a pass that runs, not 'fold-constant'; did you "
            "mean 'fold-constants'?; there are: fold-constants",
        ),
        (
            ["--print-ir-after", "all", "--after", "fold-constants", "--reduce", "r.mlir"],
            "--reduce must have a pass that fails, and none did; drop it",
        ),
        (["-o", "m.txt"], "--output must be a file in .mlir or .onnx, not 'm.txt'"),
        (["--reduce", "m.onnx"], "--reduce must be a file in .mlir, not 'm.onnx'"),
        (
            ["-o", "none/m.mlir"],
            "output 'none/m.mlir' must lie in a folder that exists, not in 'none'; make the "
            "folder or choose another place",
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    cli: Cli,
    mlp: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    from tetrapla.passes.quantize import Quantize
    from tetrapla.passes.text_ import options

    monkeypatch.chdir(tmp_path)
    parts = ", ".join([*passes(), *PIPELINES])
    wanted = message.format(parts=parts, quantize=", ".join(options(Quantize)))
    found = cli("ir", mlp, *words)
    assert (found.status, found.out) == (2, "")
    assert found.err.splitlines()[-1] == f"error: {wanted}"
    assert list(tmp_path.iterdir()) == []


def test_an_output_must_not_be_the_model(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "m.mlir"
    path.write_text(loop().text(), "utf-8")
    refused(
        f"output file '{path}' must not be an input; choose another name",
        *("ir", path, "-o", path),
    )


def test_a_broken_constraint_is_told_with_operator_number_and_place(
    refused: Refused, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.mlir"
    text = load(mlp).text()
    # the first product's weight has a row less than the product has columns
    broken = text.replace("tensor<64x64xf32>", "tensor<63x64xf32>")
    path.write_text(broken, "utf-8")
    lines = broken.splitlines()
    line = next(i for i, text in enumerate(lines, 1) if '"nn.matmul"' in text)
    column = lines[line - 1].index('"nn.matmul"') + 1
    refused(
        f"{path}:{line}:{column}: nn.matmul C2: inner dimensions differ in "
        "tensor<1x64xf32> @ tensor<63x64xf32>",
        *("ir", path),
    )


def test_a_layer_that_breaks_a_constraint_is_named_by_whoever_builds_it() -> None:
    build = ModuleBuilder("broken")
    operands = [build.input("x", (1, 64)), build.shape_of_weight("w", (63, 64), "f32")]
    with pytest.raises(IRError) as caught:
        build.op("nn.matmul", operands, {"activation": "none"}, name="fc1")
    assert str(caught.value) == (
        "fc1: nn.matmul C2: inner dimensions differ in tensor<1x64xf32> @ tensor<63x64xf32>"
    )
