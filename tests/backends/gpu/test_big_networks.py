"""Networks too large for the interpreter, simulated: no kernel is out of its bound."""

from __future__ import annotations

import numpy as np
import pytest

import tetrapla
from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.target_ import Options
from tetrapla.ir.interpret import evaluate_many
from tetrapla.samples import drawn
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec

# depthwise and grouped convolutions, phases of transposed ones, spikes, gates
NAMES = ["efficientnet-b0", "stylegan2-block", "lif-cnn", "gru", "resnet50"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_is_within_its_bound(name: str) -> None:
    module = tetrapla.load(f"zoo:{name}")
    spec = load_spec("h100", GpuSpec).spec
    inputs = {key: np.asarray(x)[:1] for key, x in drawn(module, 0, 1).inputs.items()}
    lowered = TARGET.lower(module, spec, None, Options(quant="none"))
    held = executed(lowered.program, inputs)
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, held, reference)
    assert verdict.passed, verdict
