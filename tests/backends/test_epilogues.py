"""A compiler takes wide epilogues apart; what reads a module as it is refuses them."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.gpu.lower import lower as lower_gpu
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.spiking import lower as lower_spiking
from tetrapla.backends.spiking.convert import convert
from tetrapla.backends.spiking.ranges import ranges
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking.spec import SpikingSpec

DATA = {"x": np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 1, 3)}


def residual() -> Module:
    """``relu(x w + b + x)``: all that a network of neurons and a GPU's kernels can do."""
    build, draw = ModuleBuilder("m"), np.random.default_rng(0)
    x = build.input("x", (1, 3))
    w, b = (draw.standard_normal(shape).astype(np.float32) for shape in ((3, 3), (3,)))
    operands = [x, build.weight("w", w), build.weight("b", b), x]
    build.output("y", build.op("nn.matmul", operands, {"activation": "relu"}, "layer"))
    return build.finish()


def test_the_gpu_compiles_it_as_its_operators() -> None:
    module, spec = residual(), load_spec("h100", GpuSpec).spec
    found, wanted = (
        lower_gpu(m, spec, None, Options(quant="none")) for m in (module, unfused(module))
    )
    assert found.module.text() == wanted.module.text()
    assert found.program.kernels == wanted.program.kernels
    with pytest.raises(UnsupportedError) as refused:
        plan(module, "fp16")
    assert str(refused.value).startswith(
        "gpu has no kernel for nn.matmul with more than a bias and a ReLU (1); compute the "
    )


def test_neurons_compute_it_as_its_operators() -> None:
    module, spec = residual(), load_spec("loihi", SpikingSpec).spec
    found, wanted = (
        lower_spiking(m, spec, DATA, Options(timesteps=16)) for m in (module, unfused(module))
    )
    assert found.module.text() == wanted.module.text()
    with pytest.raises(UnsupportedError) as refused:
        convert(module, ranges(module, DATA), spec, 16)
    assert str(refused.value).startswith(
        "spiking: a network of neurons cannot do 1 x nn.matmul (it has more than a bias and a "
        "ReLU): layer; it can do "
    )
