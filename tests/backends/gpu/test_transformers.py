"""The small transformers of the zoo: attention is one kernel that moves nothing before it."""

from __future__ import annotations

import numpy as np
import pytest

import tetrapla
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.target_ import Options
from tetrapla.frontend.zoo import entry
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Gather
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec

H100 = load_spec("h100", GpuSpec).spec
# layers, and the segments of keys
NETWORKS = {"bert-tiny": (2, (32,)), "gpt2-tiny-step": (2, (31, 1))}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_has_one_attention_and_no_transpose(
    name: str, rng: np.random.Generator
) -> None:
    layers, segments = NETWORKS[name]
    network = entry(name)
    assert network.sample is not None
    inputs = {n: np.asarray(a)[None] for n, a in network.sample(rng, 1).items()}
    lowered = lower(tetrapla.load(f"zoo:{name}"), H100, None, Options())
    program = lowered.program
    found = [kernel for kernel in program.kernels if isinstance(kernel, FusedAttention)]
    assert [kernel.segments for kernel in found] == [segments] * layers
    assert not [k for k in program.kernels if isinstance(k, Gather) or k.op == "nn.softmax"]
    assert not [k.name for k in program.kernels if k.op == "nn.transpose"]
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, executed(program, inputs), reference)
    assert verdict.passed, verdict


def test_a_step_reads_its_cache_where_it_lies() -> None:
    """The cache is copied once, into the output that holds it and the new keys."""
    program = lower(tetrapla.load("zoo:gpt2-tiny-step"), H100, None, Options()).program
    inputs = {port.buffer for port in program.inputs}
    found = [kernel for kernel in program.kernels if isinstance(kernel, FusedAttention)]
    for i, kernel in enumerate(found):
        past = {f"past_key_{i}", f"past_value_{i}"}
        assert past <= inputs & set(kernel.sources)
        readers = [k for k in program.kernels if past & set(k.reads) and k is not kernel]
        assert [program.memory[k.output].role for k in readers] == ["output"] * 2
