"""Whole models in CUDA C: compiled by the command, run by the script that it writes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tetrapla
from tests.backends.gpu.helpers import FAST
from tetrapla.__main__ import run as command
from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.arrays import RefusedError
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.cuda.emulated import run_emulated
from tetrapla.backends.gpu.cuda.run import Cuda, Plan, main
from tetrapla.backends.gpu.cuda.source import cuda_sources
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.target_ import Options
from tetrapla.frontend.builder import Builder, Layers
from tetrapla.frontend.zoo.vit import Sizes, vit
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.kernels import MatMul
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="g++ is not installed: it compiles the emulation"
)
EXAMPLES = Path(__file__).parents[3] / "examples"
CNN, MLP = EXAMPLES / "digits_cnn.onnx", EXAMPLES / "digits_mlp.onnx"

# libcuda's part that the script calls, on this process's own memory and the emulated kernels
DRIVER = r"""
#include <dlfcn.h>
#include <string>
#include "emulate.cpp"
typedef unsigned long long Address;
extern "C" {
int cuInit(unsigned) { return 0; }
int cuDeviceGet(int *device, int) { *device = 0; return 0; }
int cuDeviceGetAttribute(int *value, int which, int) { *value = which == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int) { *context = (void *)1; return 0; }
int cuCtxSetCurrent(void *) { return 0; }
int cuModuleLoadData(void **module, const void *image)
{
    *module = (void *)1;
    return memcmp(image, "an image", 8) == 0 ? 0 : 200;
}
int cuModuleGetFunction(void **function, void *, const char *name)
{
    Dl_info own;
    dladdr((void *)cuInit, &own);
    void *library = dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *function = dlsym(library, ("emulate_" + std::string(name)).c_str());
    return *function ? 0 : 500;
}
int cuMemAlloc_v2(Address *address, size_t size)
{
    *address = (Address)malloc(size);
    return 0;
}
int cuMemcpyHtoD_v2(Address to, const void *from, size_t size)
{
    memcpy((void *)to, from, size);
    return 0;
}
int cuMemcpyDtoH_v2(void *to, Address from, size_t size)
{
    memcpy(to, (void *)from, size);
    return 0;
}
int cuLaunchKernel(void *function, unsigned blocks, unsigned, unsigned, unsigned threads,
                   unsigned, unsigned, unsigned, void *, void **arguments, void **)
{
    ((void (*)(unsigned, unsigned, void **))function)(blocks, threads, arguments);
    return 0;
}
int cuGetErrorString(int, const char **text)
{
    *text = "device kernel image is invalid";
    return 0;
}
}
"""


def small_vit() -> Module:
    build = Builder("vit")
    x = build.input("x", (1, 3, 16, 16))
    sizes = Sizes(16, 4, layers=2, features=48, width=96, heads=3, classes=10)
    build.output("logits", vit(Layers(build), x, sizes))
    return build.build()


def inputs_of(module: Module, rng: np.random.Generator, count: int = 2) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in module.graph.inputs:
        shape, dtype = (count, *value.shape), DTYPES[value.dtype]
        drawn = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        found[name] = drawn.astype(dtype)
    return found


def row(rng: np.random.Generator) -> tuple[Program, dict[str, Array]]:
    """A softmax, whose threads wait for each other."""
    build = ModuleBuilder("row")
    x = build.input("x", (3, 40))
    build.output("y", build.op("nn.softmax", [x], {"axis": 1}, "softmax"))
    drawn = rng.normal(size=(2, 3, 40)).astype(np.float32)
    return plan(build.finish(), "fp32"), {"x": drawn}


def written(program: Program, folder: Path) -> Path:
    for name, content in cuda_sources(program).items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


MODELS: dict[str, Callable[[], Module]] = {
    "digits_cnn": lambda: tetrapla.load(CNN),
    "vit": small_vit,
    "bert-tiny": lambda: tetrapla.load("zoo:bert-tiny"),
    "gpt2-tiny-step": lambda: tetrapla.load("zoo:gpt2-tiny-step"),
}


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        *(("digits_cnn", "int8"), ("digits_cnn", "none"), ("digits_cnn", "tf32")),
        *(("digits_cnn", "fp8"), ("vit", "none"), ("vit", "int8")),
        *(("bert-tiny", "none"), ("gpt2-tiny-step", "none")),
    ],
)
def test_a_model_is_within_its_bounds(
    name: str, quant: str, h100: GpuSpec, rng: np.random.Generator
) -> None:
    module = MODELS[name]()
    inputs = inputs_of(module, rng)
    lowered = TARGET.lower(module, h100, inputs, Options(quant=quant))
    held = run_emulated(lowered.program, inputs, FAST)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict


@pytest.mark.parametrize("quant", ["none", "int8"])
def test_packed_weights_are_found_where_they_are_kept(
    quant: str, h100: GpuSpec, rng: np.random.Generator
) -> None:
    """Two in each four along k are zeros, which pairs differ from column to column."""
    w = rng.normal(size=(72, 21)).astype(np.float32)
    groups = w.reshape(18, 4, 21)
    np.put_along_axis(groups, rng.random(groups.shape).argsort(axis=1)[:, :2], 0, axis=1)
    build = ModuleBuilder("sparse")
    x = build.input("x", (3, 72))
    y = build.op("nn.matmul", [x, build.weight("w", w)], {"activation": "none"}, "fc")
    build.output("y", y)
    inputs = {"x": rng.random((2, 3, 72)).astype(np.float32)}
    lowered = TARGET.lower(build.finish(), h100, inputs, Options(quant=quant))
    products = [k for k in lowered.program.kernels if isinstance(k, MatMul)]
    assert [bool(kernel.places) for kernel in products] == [True]
    held = run_emulated(lowered.program, inputs, FAST)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict


def test_the_command_writes_what_runs_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    out = tmp_path / "out"
    words = ["compile", MLP, "-t", "h100", "--quant", "int8", "--data", "digits", "-o", out]
    assert command([str(word) for word in (*words, "--emit", "cuda-c")]) == 0
    names = {path.name for path in (out / "cuda").iterdir()}
    assert names >= {
        *("arrays.py", "kernels.cu", "cuda_emulation.h", "emulate.cpp", "plan.json", "run.py")
    }
    assert "weights.safetensors" not in names  # those of the folder above serve
    x = rng.random((3, 1, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", image=x)
    script = [sys.executable, "-P", str(out / "cuda" / "run.py"), "--device", "cpu"]
    files = ["--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")]
    done = subprocess.run([*script, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wanted = evaluate_many(tetrapla.load(out / "module.mlir"), {"image": x})
    with np.load(tmp_path / "y.npz") as found:
        assert {name: found[name].tolist() for name in found.files} == {
            name: array.tolist() for name, array in wanted.items()
        }


def test_a_chip_without_cuda_is_refused() -> None:
    spec = load_spec("mi300x", GpuSpec).spec
    lowered = TARGET.lower(tetrapla.load(MLP), spec, None, Options(quant="none"))
    with pytest.raises(UnsupportedError) as refused:
        TARGET.forms["cuda-c"](lowered, spec)
    assert str(refused.value) == (
        "--emit cuda-c must have an NVIDIA GPU for a target, not mi300x; "
        "give --target h100, say"
    )


def test_the_driver_is_given_what_the_kernels_take(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The script's calls of libcuda, against a driver that runs the emulated kernels."""
    program, inputs = row(rng)
    folder = written(program, tmp_path)
    (folder / "driver.cpp").write_text(DRIVER, "utf-8")
    library = str(folder / "libcuda.so")
    built = ["g++", *FAST, "-o", library, str(folder / "driver.cpp"), "-ldl"]
    subprocess.run(built, check=True)
    (folder / "kernels.sm_90.cubin").write_bytes(b"an image")
    found = Plan(folder, Cuda(folder, library)).run(inputs)
    wanted = run_emulated(program, inputs, FAST).outputs
    assert np.array_equal(found["y"], wanted["y"])
    (folder / "kernels.sm_90.cubin").write_bytes(b"another image")
    with pytest.raises(RefusedError) as refused:
        Cuda(folder, library)
    assert str(refused.value) == (
        "cuModuleLoadData must succeed on the GPU, not return 200: "
        "device kernel image is invalid"
    )


def test_threads_that_miss_a_barrier_are_named(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    program, inputs = row(rng)
    folder = written(program, tmp_path)
    text = (folder / "kernels.cu").read_text("utf-8")
    early = text.replace("    float own =", "    if (first == 5) return;\n    float own =")
    assert early != text
    (folder / "kernels.cu").write_text(early, "utf-8")
    np.savez(tmp_path / "x.npz", x=inputs["x"])
    script = [sys.executable, "-P", str(folder / "run.py"), "--device", "cpu"]
    files = ["--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")]
    done = subprocess.run([*script, *files], capture_output=True, text=True, check=False)
    line = 1 + early[: early.index("__syncthreads();", early.index("T across("))].count("\n")
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == (
        f"kernels.cu:{line}: barrier divergence in block 0: some threads wait here, "
        "others have ended\n"
    )


def test_outputs_lie_as_the_inputs(tmp_path: Path, rng: np.random.Generator) -> None:
    """As those of the Triton folder's run.py: no axis is added."""
    program, inputs = row(rng)
    folder = written(program, tmp_path)
    words = ["--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")]
    found: list[Array] = []
    for x in (inputs["x"], inputs["x"][0]):
        np.savez(tmp_path / "x.npz", x=x)
        assert main([*words, "--device", "cpu"], folder) == 0
        with np.load(tmp_path / "y.npz") as held:
            found.append(held["y"])
    assert [y.shape for y in found] == [(2, 3, 40), (3, 40)]
    assert np.array_equal(found[0][0], found[1])


def test_files_that_cannot_be_are_one_sentence_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, inputs = row(np.random.default_rng(0))
    folder = written(program, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # without g++, a run would say so
    np.savez("x.npz", **inputs)  # type: ignore[arg-type]
    np.savez("z.npz", z=inputs["x"])
    np.savez("wide.npz", x=np.zeros((3, 41), np.float32))
    Path("text.npz").write_text("text", "utf-8")
    rule = "must be an .npz of arrays, written with numpy.savez(path, name=array)"
    messages = {
        ("none.npz", "y.npz"): "input file 'none.npz' must exist; give another path",
        ("text.npz", "y.npz"): f"'text.npz' {rule}; write it again",
        ("z.npz", "y.npz"): "z.npz: must hold an array 'x', not only z; add it with "
        "numpy.savez",
        ("wide.npz", "y.npz"): "wide.npz: 'x' must have the shape [3, 40], or all inputs one "
        "more axis in front for invocations, not [3, 41]; reshape it",
        ("x.npz", "none/y.npz"): "output 'none/y.npz' must lie in a folder that exists; make "
        "the folder",
        ("x.npz", "y.txt"): "output must be a file in .npz, not 'y.txt'; rename it",
    }
    for (given, output), message in messages.items():
        assert main(["--input", given, "-o", output, "--device", "cpu"], folder) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_without_a_compiler_or_a_driver_the_script_says_so(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    program, inputs = row(rng)
    folder = written(program, tmp_path)
    np.savez(tmp_path / "x.npz", x=inputs["x"])
    script = [sys.executable, "-P", str(folder / "run.py")]
    files = ["--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")]
    messages = {
        "cpu": "run.py must have g++ on the path to run on a CPU, not nothing; install it, or "
        "use --device cuda on a machine with a GPU\n",
        "cuda": "run.py must have a GPU's driver (libcuda.so.1) for --device cuda, not none; "
        "use --device cpu\n",
    }
    for device, message in messages.items():
        done = subprocess.run(
            [*script, *files, "--device", device],
            env={"PATH": str(tmp_path), "LD_LIBRARY_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        if device == "cuda" and done.returncode == 0:
            continue  # here is a GPU
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}")
