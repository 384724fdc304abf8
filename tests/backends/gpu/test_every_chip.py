"""Every chip in every format that it has: machine code, or the reason why there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.backends.gpu.helpers import PLAIN, WINDOW, Net, needs_triton
from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.formats import FNUZ
from tetrapla.backends.gpu.machine_code import ahead
from tetrapla.backends.gpu.triton.compiler import compiled
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import chips, load_spec

GPUS = [name for name, path in chips().items() if "family: gpu" in path.read_text("utf-8")]
NONE = {
    "p100": "sm_60 is none that Triton compiles for",
    "gtx-580": "sm_20 is none that Triton compiles for",
}


def lowered_for(spec: GpuSpec, quant: str) -> Lowered[Program]:
    """A convolution and a product behind it."""
    net = Net()
    build, rng = net.build, net.rng
    x = build.input("x", (1, 4, 6, 6))
    w = build.weight("w", rng.normal(size=(16, 4, 3, 3)).astype(np.float32))
    h = build.op("nn.conv2d", [x, w], {**WINDOW, "activation": "relu"}, "conv")
    h = build.op("nn.reshape", [h], {"shape": (1, 576)}, "flat")
    w = build.weight("v", rng.normal(size=(576, 10)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [h, w], PLAIN, "fc"))
    seen = {"x": rng.normal(size=(4, 1, 4, 6, 6)).astype(np.float32)}
    return TARGET.lower(build.finish(), spec, seen, Options(quant=quant))


def wanted(spec: GpuSpec) -> list[str]:
    """The words of --quant that the chip takes."""
    found = [name for name in spec.formats if name != "fp8" or spec.architecture not in FNUZ]
    return [*found, *(["int4"] if "int8" in found else [])]


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("chip", GPUS)
def test_every_format_is_compiled_or_says_why_not(chip: str) -> None:
    spec = load_spec(chip, GpuSpec).spec
    plans = {quant: lowered_for(spec, quant) for quant in wanted(spec)}
    reasons = dict.fromkeys(plans, NONE.get(chip, ""))
    if chip == "t4":
        reasons |= dict.fromkeys(("int8", "int4"), "Triton has no int8 products for sm_75")
    plain = [each.program for quant, each in plans.items() if not reasons[quant]]
    compiled([f for program in plain for f in functions(program)[0]], [spec.architecture])
    for quant, lowered in plans.items():
        made = ahead(lowered, spec, sources(lowered.program), None)
        manifest = json.loads(made.files["manifest.json"])
        if reasons[quant]:
            told = manifest["code"], manifest["code_is_missing"]
            assert told == (None, reasons[quant])
            (note,) = made.notes
            assert note.startswith(f"no machine code was made, only sources: {reasons[quant]}")
        else:
            assert manifest["code"]["architectures"] == [spec.architecture], quant
            assert len(made.rows) == len(manifest["functions"]) > 1, quant
