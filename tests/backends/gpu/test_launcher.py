"""run.py: what it takes, what it refuses, and how it launches."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tetrapla
from tests.backends.gpu.helpers import interpreted, needs_triton
from tetrapla.backends.gpu import check
from tetrapla.backends.gpu.arrays import Given, RefusedError
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton import launcher
from tetrapla.backends.gpu.triton.machines import Gpu, from_bits, to_bits
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate, evaluate_many
from tetrapla.ir.module import Module
from tetrapla.run import compile_for


def two_inputs() -> Module:
    """A product with a table of rows: floats and numbers of rows."""
    rng = np.random.default_rng(0)
    build = ModuleBuilder("two")
    x, ids = build.input("x", (1, 4)), build.input("ids", (1,), "i64")
    table = build.weight("table", rng.normal(size=(6, 4)).astype(np.float32))
    rows = build.op("nn.gather", [table, ids], {"axis": 0}, "rows")
    build.output("y", build.op("nn.add", [x, rows], {}, "sum"))
    return build.finish()


def emitted(folder: Path, module: Module, number_format: str = "fp32") -> Path:
    for name, content in sources(plan(module, number_format)).items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "run.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_triton
def test_the_folder_runs_by_itself(tmp_path: Path, rng: np.random.Generator) -> None:
    module = two_inputs()
    folder = tmp_path / "out"
    folder.mkdir()
    emitted(folder, module)
    inputs = {"x": rng.normal(size=(1, 4)).astype(np.float32), "ids": np.array([4])}
    np.savez(tmp_path / "x.npz", **inputs)  # type: ignore[arg-type]
    done = run(folder, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--interpret")
    said = "run.py: 1 x 1 kernels by Triton's interpreter on the CPU\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    found = dict(np.load(tmp_path / "y.npz"))
    assert {*found} == {"y"}
    assert np.array_equal(found["y"], evaluate(module, inputs)["y"])
    # many, with what the kernels stored
    many = {
        "x": rng.normal(size=(3, 1, 4)).astype(np.float32),
        "ids": np.array([[1], [5], [0]]),
    }
    np.savez(tmp_path / "x.npz", **many)  # type: ignore[arg-type]
    words = ["--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--interpret"]
    assert run(folder, *words, "--keep", tmp_path / "k.npz").returncode == 0
    found, kept = (dict(np.load(tmp_path / name)) for name in ("y.npz", "k.npz"))
    each = [evaluate(module, {"x": many["x"][i], "ids": many["ids"][i]})["y"] for i in range(3)]
    assert np.array_equal(found["y"], np.stack(each))
    assert {name: array.shape for name, array in kept.items()} == {
        "x": (3, 4),
        "ids": (3, 1),
        "sum": (3, 4),
    }


@needs_triton
@pytest.mark.parametrize("keep", [(), ("--keep", "k.npz")])
def test_what_overflows_is_infinite_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    build = ModuleBuilder("double")
    x = build.input("x", (1, 4))
    build.output("y", build.op("nn.add", [x, x], {}, "sum"))
    emitted(tmp_path, build.finish(), "fp16")
    np.savez("x.npz", x=np.array([[1, 4e4, 1e5, -1e30]], np.float32))
    done = run(tmp_path, "--input", "x.npz", "-o", "y.npz", "--interpret", *keep)
    said = "run.py: 1 x 1 kernels by Triton's interpreter on the CPU\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    with np.load("y.npz") as found:
        assert found["y"].tolist() == [[2, 8e4, np.inf, -np.inf]]


def test_a_mistake_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    emitted(tmp_path, two_inputs())
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4), np.float32))
    before = sorted(tmp_path.iterdir())
    done = run(tmp_path, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    message = (
        f"error: {tmp_path / 'x.npz'}: must hold an array 'ids', not only x; add it with "
        "numpy.savez\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    made = {path.name for path in tmp_path.iterdir()} - {path.name for path in before}
    assert made <= {"__pycache__"}


MANIFEST = {
    "inputs": [
        {"name": "x", "buffer": "x", "shape": [1, 4], "dtype": "float32"},
        {"name": "n", "buffer": "n", "shape": [1, 2], "dtype": "int8"},
    ],
    "outputs": [{"name": "y", "buffer": "y", "shape": [1, 5], "dtype": "float32"}],
}
TOKEN = np.full((1, 1, 1), 464, np.int64)
X, N = np.zeros((1, 4), np.float32), np.zeros((1, 2), np.int8)


def given(folder: Path, **arrays: Array) -> Given:
    path = folder / "in.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return Given(MANIFEST, path)


@pytest.mark.parametrize(
    ("lead", "holds", "written"),
    [
        ((), "nothing", (1, 5)),
        ((1,), "invocations", (1, 1, 5)),
        ((3,), "invocations", (3, 1, 5)),
    ],
)
def test_outputs_lie_as_the_inputs(
    tmp_path: Path, lead: tuple[int, ...], holds: str, written: tuple[int, ...]
) -> None:
    found = given(tmp_path, x=np.zeros((*lead, 1, 4)), n=np.zeros((*lead, 1, 2), np.int8))
    assert found.holds == holds
    stacked = {"y": np.zeros((found.count, 1, 5))}
    assert found.written(stacked)["y"].shape == written


def test_samples_along_a_leading_one_are_invocations(tmp_path: Path) -> None:
    found = given(tmp_path, x=np.arange(12.0).reshape(3, 4), n=np.zeros((3, 2), np.int64))
    assert (found.holds, found.count) == ("samples", 3)
    assert found.rows["x"].dtype == np.float32
    assert np.array_equal(found.rows["x"][1], np.arange(4.0, 8.0)[None])
    stacked = {"y": np.zeros((3, 1, 5))}
    assert found.written(stacked)["y"].shape == (3, 5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.zeros((1, 5), np.float32), "n": N},
            "in.npz: 'x' must have the shape [1, 4], or all inputs one more axis in front for "
            "invocations, not [1, 5]; reshape it",
        ),
        (
            {"x": np.zeros((0, 1, 4), np.float32), "n": N},
            "in.npz: 'x' must have the shape [1, 4], or all inputs one more axis in front for "
            "invocations, not [0, 1, 4]; reshape it",
        ),
        (
            {"x": np.zeros((3, 1, 4), np.float32), "n": N},
            "in.npz: 'x' must have the shape [1, 4], or all inputs one more axis in front for "
            "invocations, not [3, 1, 4]; reshape it",
        ),
        (
            {"x": np.zeros((3, 4), np.float32), "n": np.zeros((2, 2), np.int8)},
            "in.npz: every input must have the same number of invocations, not 3 of 'x', 2 of "
            "'n'; give each the same number",
        ),
        (
            {"x": X, "n": np.zeros((1, 2), np.float32)},
            "input 'n' must be of int8, not of float32; convert it with "
            "numpy.asarray(a, dtype)",
        ),
        (
            {"x": X.astype(complex), "n": N},
            "input 'x' must be of float32, not of complex128; convert it with "
            "numpy.asarray(a, dtype)",
        ),
        (
            {"x": X, "n": np.array([[1, 200]])},
            "input 'n' must hold values of int8, not from 1 to 200; give smaller ones",
        ),
        (
            {"n": N},
            "in.npz: must hold an array 'x', not only n; add it with numpy.savez",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: Mapping[str, Array], message: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        given(tmp_path, **arrays)
    assert str(refused.value).replace(f"{tmp_path}/", "") == message


def refusal(*words: object) -> str:
    with pytest.raises(RefusedError) as refused:
        launcher.main([*map(str, words)])
    return str(refused.value)


def test_files_that_cannot_be_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "FOLDER", tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST), "utf-8")
    (tmp_path / "text.npz").write_text("text", "utf-8")
    np.save(tmp_path / "one.npy", X)
    rule = "must be an .npz of arrays, written with numpy.savez(path, name=array)"
    out = ("-o", "y.npz")
    assert refusal("--input", "x.npz", *out) == (
        "input file 'x.npz' must exist; give another path"
    )
    assert refusal("--input", ".", *out) == f"'.' {rule}, not Is a directory"
    for name in ("text.npz", "one.npy"):
        assert refusal("--input", name, *out) == f"'{name}' {rule}; write it again"
    assert refusal("--input", "x.npz", "-o", "y.txt") == (
        "output must be a file in .npz, not 'y.txt'; rename it"
    )
    assert refusal("--input", "x.npz", "-o", "none/y.npz") == (
        "output 'none/y.npz' must lie in a folder that exists; make the folder"
    )
    assert refusal("--input", "x.npz", "-o", "x.npz") == (
        "output 'x.npz' must be named once; choose another name"
    )
    assert refusal("--input", "x.npz", *out, "--keep", "y.npz") == (
        "output 'y.npz' must be named once; choose another name"
    )
    assert refusal("--input", "x.npz") == (
        "the following arguments are required: -o/--output; 'run.py --help' says what there is"
    )
    np.savez("x.npz", x=X, n=N)

    def nothing(name: str) -> None:
        del name

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    assert refusal("--input", "x.npz", *out) == (
        "run.py needs triton, which is not installed; pip install triton"
    )


def test_bits_are_the_values_of_their_types() -> None:
    for name, held in (
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8_e5m2", ml_dtypes.float8_e5m2),
    ):
        bits = np.arange(2 ** (8 * np.dtype(held).itemsize)).astype(launcher_bits(name))
        wanted = bits.view(held).astype(np.float32)
        assert np.array_equal(from_bits(bits, name), wanted, equal_nan=True)


def launcher_bits(name: str) -> str:
    return "uint16" if name == "bfloat16" else "uint8"


def test_floats_are_rounded_half_to_even(rng: np.random.Generator) -> None:
    # every tie between two bfloat16, and its neighbours
    top = rng.integers(0, 2**15, 4096).astype(np.uint32) << 16
    ties = np.concatenate([top | 0x8000, top | 0x7FFF, top | 0x8001]).view(np.float32)
    y = np.concatenate([ties, -ties, rng.normal(size=1000).astype(np.float32)])
    with np.errstate(invalid="ignore"):  # NaN stays one
        held = y.astype(ml_dtypes.bfloat16)
    assert np.array_equal(
        from_bits(to_bits(y, "bfloat16"), "bfloat16"), held.astype(np.float32), equal_nan=True
    )
    with pytest.raises(RefusedError):
        to_bits(y, "float8_e4m3fn")


class Torch:
    """Of torch.cuda, what a capture needs; `done` is what happened."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.launch: Callable[[], None] = lambda: None
        self.cuda = self

    def __call__(self) -> None:
        self.done.append("launch")

    def get_device_name(self) -> str:
        return "a GPU"

    def current_stream(self) -> Torch:
        return self

    def wait_stream(self, other: object) -> None:
        self.done.append("wait")

    def stream(self, stream: object) -> Context:
        return Context(self.done, "stream")

    def graph(self, graph: object) -> Context:
        return Context(self.done, "capture")

    def replay(self) -> None:
        self.done.append("replay")

    Stream = CUDAGraph = current_stream


class Context:
    """Notes its ends."""

    def __init__(self, done: list[str], name: str) -> None:
        self.done, self.name = done, name

    def __enter__(self) -> None:
        self.done.append(f"{self.name} begins")

    def __exit__(self, *error: object) -> None:
        self.done.append(f"{self.name} ends")


def test_a_graph_is_captured_once_after_a_launch_and_replayed() -> None:
    torch: Any = Torch()
    machine = Gpu(torch, graph=True)
    assert machine.name == "a GPU, as a CUDA graph"
    run = machine.prepared(torch)
    run()
    run()
    warm = ["wait", "stream begins", "launch", "stream ends", "wait"]
    capture = ["capture begins", "launch", "capture ends"]
    assert torch.done == [*warm, *capture, "replay", "replay"]


def test_without_a_graph_every_invocation_launches() -> None:
    torch: Any = Torch()
    machine = Gpu(torch, graph=False)
    assert machine.name == "a GPU, kernel by kernel"
    run = machine.prepared(torch)
    run()
    run()
    assert torch.done == ["launch", "launch"]


@needs_triton
@pytest.mark.slow
def test_a_step_whose_cache_is_fed_back_is_within_its_bound(rng: np.random.Generator) -> None:
    """Two tokens of a language model: the second reads what the first one's kernels stored."""
    module = tetrapla.load("zoo:gpt2-tiny-step")
    lowered = compile_for(module, "h100").lowered
    cache: dict[str, Array] = {
        name: rng.normal(size=(1, *value.shape)).astype(np.float32)
        for name, value in module.graph.inputs
        if name != "input_ids"
    }
    first = interpreted(lowered.program, {**cache, "input_ids": TOKEN})
    fed = {
        # without the oldest, for a step has one number of them
        name: first.outputs[name.replace("past", "present")][..., 1:, :]
        for name in cache
    }
    inputs = {**fed, "input_ids": TOKEN + 1}
    verdict, said = check.second_check(lowered, inputs, evaluate_many(lowered.module, inputs))
    assert verdict is not None, said
    assert verdict.passed, verdict
