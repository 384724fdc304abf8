"""Random small networks on every machine: what the interpreter computes, each machine does."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.target_ import Options
from tetrapla.frontend.builder import Builder, Tensor
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.run import compile_for

TARGETS = {"tpu-v1": "bit_exact", "h100": "tolerance", "loihi": "bit_exact"}


def network(seed: int) -> Module:
    """One to three blocks of convolution, normalisation, ReLU, sum and pool, then a product."""
    rng = np.random.default_rng(seed)
    b = Builder(f"net{seed}")
    height, width = (int(size) for size in rng.integers(5, 12, 2))
    x = b.input("x", (_one_of(rng, 1, 1, 2), _one_of(rng, 1, 2, 3, 4), height, width))
    for _ in range(rng.integers(1, 4)):
        x = _block(b, x, rng)
    if rng.random() < 0.3:
        x = x.global_average_pool()
    flat = x.flatten()
    scores = b.matmul(flat, _weight(rng, flat.shape[1], int(rng.integers(2, 12))))
    b.output("y", scores.softmax() if rng.random() < 0.3 else scores)
    return b.build()


def _block(b: Builder, x: Tensor, rng: np.random.Generator) -> Tensor:
    _, channels, height, width = x.shape
    groups = _one_of(rng, *(g for g in (1, 2, channels) if channels % g == 0))
    filters = groups * int(rng.integers(1, 5))
    kernel = (min(height, _one_of(rng, 1, 2, 3)), min(width, _one_of(rng, 1, 2, 3)))
    w = _weight(rng, filters, channels // groups, *kernel)
    bias = None if rng.random() < 0.3 else 0.2 * _weight(rng, filters)
    strides, pad = _one_of(rng, 1, 2), _one_of(rng, 0, 1)
    pads = (pad, pad, pad, _one_of(rng, 0, 1))
    x = b.conv2d(x, w, bias, strides=strides, pads=pads, groups=groups)
    if rng.random() < 0.3:
        scale, variance = (np.abs(_weight(rng, filters)) + np.float32(0.5) for _ in range(2))
        x = b.batch_norm(x, scale, _weight(rng, filters), _weight(rng, filters), variance)
    x = x.relu()
    if rng.random() < 0.3:
        x = (x + b.conv2d(x, _weight(rng, filters, filters, 1, 1))).relu()
    if min(x.shape[2:]) < 2 or rng.random() < 0.5:
        return x
    return x.max_pool2d(2) if rng.random() < 0.5 else x.average_pool2d(2)


def _weight(rng: np.random.Generator, *shape: int) -> Array:
    fan_in = max(1, int(np.prod(shape[1:])))
    values: Array = rng.normal(size=shape) / np.sqrt(fan_in)
    return values.astype(np.float32)


def _one_of(rng: np.random.Generator, *choices: int) -> int:
    return choices[rng.integers(len(choices))]


def _data(module: Module, count: int, seed: int) -> dict[str, Array]:
    ((name, value),) = module.inputs.items()
    values = np.random.default_rng(seed).normal(size=(count, *value.shape))
    return {name: values.astype(np.float32)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(40))
def test_a_machine_computes_what_the_interpreter_computes(seed: int, target: str) -> None:
    module = network(seed)
    options = Options(timesteps=8 if target == "loihi" else None)
    compiled = compile_for(module, target, _data(module, 16, 1), options)
    report = compiled.run(_data(module, 3, 2))
    check = report.cross_check
    assert check is not None
    assert check.kind == TARGETS[target]
    assert check.passed, check
