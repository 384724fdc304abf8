"""Large products compiled ahead of time: tensor cores, registers, shared memory, no spills."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.gpu.triton.compiler import CACHE_VARIABLE, Code, compiled
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.kernels import Product
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec

SIZE = 4096
# by chip: the formats, and the instruction of its tensor cores
CASES = {
    "h100": (("fp16", "bf16", "int8", "fp8"), "wgmma"),
    "a100": (("fp16", "int8", "tf32"), "mma.sync"),
    "b200": (("fp8",), "tcgen05"),
}


def large(rng: np.random.Generator) -> Module:
    """A product of two square matrices with a bias and a ReLU."""
    build = ModuleBuilder("large")
    x = build.input("x", (SIZE, SIZE))
    w = build.weight("w", rng.normal(size=(SIZE, SIZE)).astype(np.float32))
    b = build.weight("b", np.zeros(SIZE, np.float32))
    build.output("y", build.op("nn.matmul", [x, w, b], {"activation": "relu"}, "fc"))
    return build.finish()


def programs(chip: str) -> dict[str, Program]:
    """By format."""
    rng = np.random.default_rng(0)
    module, spec = large(rng), load_spec(chip, GpuSpec).spec
    some = {"x": rng.normal(size=(1, SIZE, SIZE)).astype(np.float32)}
    return {
        quant: lower(module, spec, some, Options(quant=quant)).program
        for quant in CASES[chip][0]
    }


def code(plans: dict[str, Program], architecture: str) -> dict[str, Code]:
    """Of the product of each plan."""
    made, launched = {}, {}
    for quant, program in plans.items():
        every, names = functions(program)
        which = [isinstance(kernel, Product) for kernel in program.kernels].index(True)
        (made[quant],) = (each for each in every if each.name == names[which])
    for quant, each in zip(made, compiled(list(made.values()), [architecture]), strict=True):
        launched[quant] = each
    return launched


@pytest.mark.slow
@pytest.mark.parametrize("chip", CASES)
def test_large_products_run_on_tensor_cores(
    chip: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("gpu")))
    spec, plans = load_spec(chip, GpuSpec).spec, programs(chip)
    for quant, made in code(plans, spec.architecture).items():
        said = (chip, quant, made.registers, made.shared_bytes, made.spill_bytes)
        assert made.instructions.get(CASES[chip][1], 0) > 0, said
        # operands go to shared memory while the tensor cores work, several steps ahead
        assert made.instructions.get("cp.async", 0) > 0, said
        assert made.spill_bytes == 0, said
        (tile,) = (k.tile for k in plans[quant].kernels if isinstance(k, Product))
        assert 0 < made.registers <= spec.block.thread_registers, said
        assert made.registers * 32 * tile.warps <= spec.block.registers, said
        assert 0 < made.shared_bytes <= spec.block.shared_memory_bytes, said
        # a multiplication and a sum that are rounded once would differ from the plan
        assert "fma.rn.f32" not in made.instructions, said
