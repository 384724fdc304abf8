"""Fused attention compiled ahead of time: tensor cores, shared memory, no spills."""

from __future__ import annotations

import pytest

from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.compiler import CACHE_VARIABLE, Code, compiled
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec


def causal(shape: tuple[int, ...]) -> Module:
    """Causal attention of queries, keys and values of one shape."""
    build = ModuleBuilder("attention")
    operands = [build.input(name, shape) for name in "qkv"]
    attributes: dict[str, Attribute] = {
        "scale": 0.1,
        "causal": 1,
        "causal_offset": 0,
        "masked_rows": "nan",
        "block": 0,
    }
    build.output("y", build.op("nn.attention", operands, attributes, "attention"))
    return build.finish()


def code(program: Program, architecture: str) -> Code:
    """Of the only kernel."""
    (function,) = functions(program)[0]
    (made,) = compiled([function], [architecture])
    return made


@pytest.mark.slow
def test_large_attention_runs_on_tensor_cores(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("gpu")))
    spec = load_spec("h100", GpuSpec).spec
    for number_format in ("fp16", "bf16"):
        made = code(plan(causal((2, 8, 1024, 64)), number_format, spec), spec.architecture)
        said = number_format, made.registers, made.shared_bytes, made.spill_bytes
        assert made.instructions.get("wgmma", 0) > 0, said
        # keys and values are on their way while the tensor cores work
        assert made.instructions.get("cp.async", 0) > 0, said
        assert made.spill_bytes == 0, said
        assert 0 < made.shared_bytes <= spec.block.shared_memory_bytes, said


@pytest.mark.slow
def test_every_head_size_fits_an_ampere_chip(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("gpu")))
    spec = load_spec("a40", GpuSpec).spec
    for size, rows in ((64, 128), (128, 64), (256, 32), (512, 16)):
        program = plan(causal((1, 1, 1024, size)), "fp16", spec)
        (kernel,) = program.kernels
        assert isinstance(kernel, FusedAttention)
        assert kernel.tile_rows == rows, size
        made = code(program, "sm_80")
        assert 0 < made.shared_bytes <= spec.block.shared_memory_bytes, size
        assert made.spill_bytes == 0, size
