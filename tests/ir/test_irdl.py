"""A foreign MLIR, told of the dialects by IRDL alone, reads what the project writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.ir import irdl
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.dialects import DIALECTS
from tetrapla.ir.errors import IRError
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.mlir import context
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, arity, attribute_names
from tetrapla.passes.pipeline_ import canonical, int8

TOOL = "mlir-opt-22"
SPLIT, SEPARATOR = "--split-input-file", "// -----\n"
ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tetrapla" / "data"
WITH_EXAMPLE = sorted(kind for kind, op in OPS.items() if op.example is not None)

needs_tool = pytest.mark.skipif(
    shutil.which(TOOL) is None,
    reason=f"{TOOL} is not on the path: `.ci/mlir-opt-22 FOLDER` puts it into FOLDER/bin; "
    "Debian 12's mlir-19-tools cannot read the operands' names in IRDL",
)


class Reader(Protocol):
    """tests/conftest.py's ForeignReader."""

    def add(self, text: str) -> None: ...
    def rejections(self) -> str: ...


@pytest.fixture(scope="module")
def irdl_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("irdl") / "tetrapla.irdl"
    path.write_text(irdl.text(), "utf-8")
    return path


def opt(irdl_file: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The foreign tool's reading of `text`, printed in generic form."""
    command = [TOOL, f"--irdl-file={irdl_file}", "--mlir-print-op-generic", *options, "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def read_back(irdl_file: Path, module: Module) -> Module:
    done = opt(irdl_file, module.text())
    assert done.returncode == 0, done.stderr
    return Module.parse(done.stdout, module.weights, module.name)


def built(kind: str, operands: int | None = None) -> Module:
    types, attributes = OPS[kind].example or ((), {})
    build = ModuleBuilder(kind)
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    for i, value in enumerate(build.ops(kind, values[:operands], attributes)):
        build.output(f"y{i}", value)
    return build.finish()


def text_of(kind: str, changes: Mapping[str, str]) -> str:
    text = built(kind).text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} must stand once in {text}"
        text = text.replace(old, new)
    return text


def test_the_text_is_mlir_and_names_every_operator_with_its_attributes() -> None:
    text = irdl.text()
    with context():
        assert MlirModule.parse(text).operation.verify()
    found: dict[str, list[str]] = {}
    for dialect in text.split("irdl.dialect @")[1:]:
        stem = dialect.split()[0]
        for op in dialect.split("irdl.operation @")[1:]:
            line = re.search(r"irdl\.attributes \{(.*)\}", op)
            names = re.findall(r'"(\w+)" =', line[1]) if line else []
            found[f"{stem}.{op.split()[0]}"] = names
    assert len(text.split("irdl.dialect @")[1:]) == len(DIALECTS)
    assert found == {kind: list(attribute_names(op)) for kind, op in OPS.items()}


def examples() -> dict[str, Module]:
    """Every operator's example, and without its optional operands where it has some."""
    found: dict[str, Module] = {}
    for kind in WITH_EXAMPLE:
        found[kind] = built(kind)
        fewest, most = arity(OPS[kind])
        if fewest < most:
            found[f"{kind}, bare"] = built(kind, fewest)
    return found


@pytest.fixture(scope="module")
def readings(irdl_file: Path) -> dict[str, str]:
    """The foreign tool's reading of every example, by one run of it."""
    modules = examples()
    done = opt(irdl_file, SEPARATOR.join(m.text() for m in modules.values()), SPLIT)
    assert done.returncode == 0, done.stderr
    return dict(zip(modules, done.stdout.split(SEPARATOR), strict=True))


@needs_tool
@pytest.mark.parametrize("name", examples())
def test_every_example_is_accepted_and_read_back_equal(
    readings: dict[str, str], name: str
) -> None:
    kind, _, bare = name.partition(", ")
    module = built(kind, arity(OPS[kind])[0] if bare else None)
    assert Module.parse(readings[name], {}).text() == module.text()


@needs_tool
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_a_network_is_accepted_in_float_fused_and_int8(irdl_file: Path, name: str) -> None:
    module = load(DATA / f"{name}.onnx")
    fused = canonical(module)
    calibration = {
        key: np.random.default_rng(0).random((4, *value.shape), np.float32)
        for key, value in module.inputs.items()
    }
    for form in (module, fused, int8(fused, calibration)):
        assert read_back(irdl_file, form).text() == form.text()


def looped() -> Module:
    """A running sum that names a weight inside its body."""
    build = ModuleBuilder("looped")
    start, rows = build.input("h", (3,)), build.input("x", (5, 3))
    inner = build.body()
    h, x = inner.input("h", (3,)), inner.input("x", (3,))
    scaled = inner.op("nn.mul", [x, inner.weight("w", np.ones(3, np.float32))])
    total = inner.op("nn.add", [h, scaled])
    inner.output("h", total)
    inner.output("y", total)
    counts = {"carried": 1, "scanned": 1, "trips": 5}
    for i, value in enumerate(
        build.ops("nn.scan", [start, rows], counts, "loop", [inner.graph()])
    ):
        build.output(f"y{i}", value)
    return build.finish()


@needs_tool
def test_a_loop_is_accepted_and_read_back_equal(irdl_file: Path) -> None:
    module = looped()
    assert read_back(irdl_file, module).text() == module.text()
    broken = module.text().replace('"nn.mul"', '"nn.mull"')
    assert "unregistered operation 'nn.mull'" in opt(irdl_file, broken).stderr


PLANTED: list[tuple[str, str, dict[str, str], str]] = [
    (
        "too few operands",
        "nn.relu",
        {
            '"nn.relu"(%arg0)': '"nn.relu"()',
            "(tensor<2x3xf32>) -> tensor<2x3xf32>\n": "() -> tensor<2x3xf32>\n",
        },
        "op expects exactly 1 operands, but got 0",
    ),
    (
        "too many operands",
        "nn.relu",
        {
            '"nn.relu"(%arg0)': '"nn.relu"(%arg0, %arg0)',
            "(tensor<2x3xf32>) -> tensor<2x3xf32>\n": (
                "(tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>\n"
            ),
        },
        "op expects exactly 1 operands, but got 2",
    ),
    (
        "an unknown attribute for a known one",
        "nn.softmax",
        {"axis = -1 : i64": "axes = -1 : i64"},
        "'nn.softmax' op attribute \"axis\" is expected but not provided",
    ),
    (
        "an attribute of another kind",
        "nn.softmax",
        {"axis = -1 : i64": 'axis = "last"'},
        "expected base attribute 'builtin.integer' but got 'builtin.string'",
    ),
    (
        "an operand that is no tensor",
        "nn.relu",
        {
            "%arg0: tensor<2x3xf32>": "%arg0: f32",
            "(tensor<2x3xf32>) -> tensor<2x3xf32>\n": "(f32) -> tensor<2x3xf32>\n",
            "(tensor<2x3xf32>) -> tensor<2x3xf32>, ": "(f32) -> tensor<2x3xf32>, ",
        },
        "expected base type 'builtin.tensor' but got 'builtin.f32'",
    ),
    (
        "an unknown operator",
        "nn.relu",
        {'"nn.relu"': '"nn.rely"'},
        "unregistered operation 'nn.rely' found in dialect ('nn') that does not allow unknown "
        "operations",
    ),
]


@needs_tool
@pytest.mark.parametrize(
    ("kind", "changes", "message"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED]
)
def test_a_planted_fault_is_rejected(
    irdl_file: Path, kind: str, changes: dict[str, str], message: str
) -> None:
    text = text_of(kind, changes)
    done = opt(irdl_file, text)
    assert done.returncode == 1
    assert message in done.stderr


@needs_tool
def test_what_irdl_cannot_say_is_refused_by_the_project_alone(irdl_file: Path) -> None:
    added = text_of("nn.softmax", {"axis = -1 : i64": "axis = -1 : i64, sharpness = 2 : i64"})
    assert opt(irdl_file, added).returncode == 0
    with pytest.raises(IRError) as caught:
        Module.parse(added, {})
    assert str(caught.value) == (
        "4:10: nn.softmax must have the attributes ['axis']; missing: [], "
        "unknown: ['sharpness']"
    )
    far = text_of("nn.softmax", {"axis = -1 : i64": "axis = 7 : i64"})
    assert opt(irdl_file, far).returncode == 0
    with pytest.raises(IRError) as caught:
        Module.parse(far, {})
    assert str(caught.value) == "4:10: nn.softmax C1: tensor<2x5xf32> has no axis 7"


@needs_tool
def test_one_rejected_module_among_accepted_ones_is_found(foreign_reader: Reader) -> None:
    for kind in WITH_EXAMPLE:
        foreign_reader.add(built(kind).text())
    assert foreign_reader.rejections() == ""
    foreign_reader.add(text_of("nn.relu", {'"nn.relu"': '"nn.rely"'}))
    foreign_reader.add(built("nn.relu").text())
    assert foreign_reader.rejections().count("unregistered operation 'nn.rely'") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("status", "outcome"), [(0, 0), (1, 1)])
def test_a_session_whose_modules_are_rejected_fails(
    tmp_path: Path, status: int, outcome: int
) -> None:
    # a tool in place of the real one, which says of every batch what it was told to say
    tool = tmp_path / TOOL
    tool.write_text(f"#!/bin/sh\nexit {status}\n")
    tool.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    chosen = "tests/ir/test_module.py"
    done = subprocess.run(
        [*command, chosen],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == outcome, done.stdout
    said = f"{TOOL} rejects modules of this run:\n{TOOL} ended with {status}"
    assert (said in done.stdout) == bool(status)
