"""CUDA C as text: what NVRTC takes, what it says of an error, names that are no names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tetrapla.backends.gpu.arrays import RefusedError
from tetrapla.backends.gpu.cuda.emitted import machine_code
from tetrapla.backends.gpu.cuda.run import by_nvrtc, nvrtc_library, weights
from tetrapla.backends.gpu.cuda.source import cuda_sources
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.refusals import KNOWN
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.ir.unfuse import unfused
from tetrapla.simulators.gpu.program import Program

GOLDEN = Path(__file__).parents[2] / "golden" / "cuda_linear_kernel.txt"
needs_nvrtc = pytest.mark.skipif(
    nvrtc_library() is None, reason="NVRTC is not installed: it compiles the kernels"
)


def kernels(program: Program) -> str:
    text = cuda_sources(program)["kernels.cu"]
    assert isinstance(text, str)
    return text


def everything() -> Module:
    """Every operator's own example, its operands inputs of the model but for its constants."""
    build = ModuleBuilder("everything")
    for i, kind in enumerate(sorted(KNOWN)):
        example = OPS[kind].example
        assert example is not None
        types, attributes = example
        operands = []
        for j, tensor in enumerate(types):
            if j and kind.startswith("qnn.") and kind != "qnn.add":
                ones = np.ones(tensor.shape, DTYPES[tensor.dtype])
                operands.append(build.weight(f"w{i}_{j}", ones))
            else:
                operands.append(build.input(f"x{i}_{j}", tensor.shape, tensor.dtype))
        made, *_ = build.ops(kind, operands, attributes)
        build.output(f"y{i}", made)
    return unfused(build.finish())


def linear(name: str = "linear", x: str = "x", w: str = "w", y: str = "y") -> Module:
    build = ModuleBuilder(name)
    given = build.input(x, (5, 9))
    weight = build.weight(w, np.ones((9, 7), np.float32))
    bias = build.weight(f"{w}.bias", np.ones(7, np.float32))
    attributes = {"activation": "relu"}
    build.output(y, build.op("nn.matmul", [given, weight, bias], attributes, f"{w} fc"))
    return unfused(build.finish())


@needs_nvrtc
def test_nvrtc_takes_every_kernel_for_three_generations() -> None:
    text = kernels(plan(everything(), "fp16"))
    made = machine_code(text)
    names = ("sm_80.cubin", "sm_90.cubin", "sm_100.cubin", "compute_80.ptx")
    assert sorted(made) == sorted(f"kernels.{name}" for name in names)
    portable = made["kernels.compute_80.ptx"]
    assert portable.endswith(b"\0")  # as the driver wants it
    assert portable.count(b".visible .entry") == text.count('extern "C" __global__') > 100


@needs_nvrtc
@pytest.mark.parametrize("number_format", ["bf16", "fp32"])
def test_nvrtc_takes_every_kernel_of_other_formats(number_format: str) -> None:
    made = machine_code(kernels(plan(everything(), number_format)), ("sm_80", "sm_90"))
    assert {name: len(code) > 100_000 for name, code in made.items()} == {
        "kernels.sm_80.cubin": True,
        "kernels.sm_90.cubin": True,
    }


@needs_nvrtc
def test_integer_kernels_join_no_product_and_sum() -> None:
    """A fused multiply-add would round a requantisation in another way."""
    build = ModuleBuilder("requantised")
    x = build.input("x", (5, 64), "i8")
    w = build.weight("w", np.ones((64, 7), np.int8))
    _, attributes = OPS["qnn.matmul"].example or ((), {})
    acc = build.op("qnn.matmul", [x, w], attributes)
    scale = build.weight("s", np.array([0.01], np.float32))
    _, attributes = OPS["qnn.requantize"].example or ((), {})
    build.output("y", build.op("qnn.requantize", [acc, scale], attributes))
    program = plan(unfused(build.finish()), "int8")
    text = by_nvrtc(kernels(program).encode(), "compute_90").decode()
    assert "dp4a.s32.s32" in text
    assert "mul.rn.f32" in text
    assert "fma.rn.f32" not in text


@needs_nvrtc
def test_an_error_has_its_line() -> None:
    text = kernels(plan(linear(), "fp16")).replace("first_row = 0", "first_row = nothing")
    line = 1 + text[: text.index("nothing;")].count("\n")
    with pytest.raises(RefusedError) as refused:
        by_nvrtc(text.encode(), "sm_90")
    assert str(refused.value) == (
        "NVRTC must take the kernels for sm_90, not refuse them: "
        f'kernels.cu({line}): error: identifier "nothing" is undefined'
    )


def test_a_small_kernel_is_the_golden_one() -> None:
    text = kernels(plan(linear(), "fp16"))
    assert text[text.index("// nn.matmul") :] == GOLDEN.read_text("utf-8")


def test_equal_kernels_are_one_function() -> None:
    build = ModuleBuilder("twice")
    x = build.input("x", (8, 8))
    for i in range(3):
        w = build.weight(f"w{i}", np.full((8, 8), i, np.float32))
        x = build.op("nn.matmul", [x, w], {"activation": "none"}, f"fc{i}")
    build.output("y", x)
    files = cuda_sources(plan(build.finish(), "fp16"))
    plan_ = json.loads(files["plan.json"])
    assert [each["kernel"] for each in plan_["launches"]] == ["fc0", "fc1", "fc2"]
    functions = [each["function"] for each in plan_["launches"]]
    # the last one's result is the model's and float32
    assert functions[0] == functions[1] != functions[2]
    assert kernels(plan(build.finish(), "fp16")).count('extern "C" __global__') == 2


def test_names_of_a_model_are_no_code() -> None:
    wild = '*/ #include "x"\n\\'
    names = [wild, "int", "threadIdx", "__metadata__", "å"]
    for i, name in enumerate(names):
        module = linear(wild, f"{name}{i}", name, f"out {name}")
        files = cuda_sources(plan(module, "fp16"))
        assert files["emulate.cpp"] == cuda_sources(plan(linear(), "fp16"))["emulate.cpp"]
        text = kernels(plan(module, "fp16")).split("\n", 1)
        assert text[0] == (
            "// Kernels of __ _include _x___, fp16: generated, one function per distinct one."
        )
        assert text[1] == kernels(plan(linear(), "fp16")).split("\n", 1)[1]


def test_weights_are_found_whatever_their_name(tmp_path: Path) -> None:
    program = plan(linear(w="__metadata__"), "fp16")
    content = cuda_sources(program)["weights.safetensors"]
    assert isinstance(content, bytes)
    (tmp_path / "weights.safetensors").write_bytes(content)
    plan_ = json.loads(cuda_sources(program)["plan.json"])
    found = weights(tmp_path / "weights.safetensors", plan_["weights_sha256"])
    tensor = plan_["buffers"]["__metadata__"]["tensor"]
    assert np.array_equal(found[tensor].view(np.float16), np.ones(63, np.float16))
