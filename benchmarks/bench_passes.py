"""The default pipeline on a module of 10,000 operators, pass by pass."""

from __future__ import annotations

import sys
import time
from importlib import import_module

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Value
from tetrapla.ir.mlir import ROOT, Location, context
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import steps
from tetrapla.passes.pipeline_ import CANONICAL

BLOCKS = 1_000
BLOCK_OPERATORS = 10
# the budget of the public contract, in CPU seconds: build, verify, all passes verified
BUDGET_S = 5.0


def _block(build: ModuleBuilder, x: Value, draw: np.random.Generator) -> Value:
    """Ten operators of which each pass finds some to rewrite."""

    def weight(symbol: str, *shape: int) -> Value:
        return build.weight(symbol, draw.uniform(0.5, 1.5, shape).astype(np.float32))

    skip = x
    transposed = build.op("nn.transpose", [weight("w", 8, 8)], {"perm": (1, 0)})
    x = build.op("nn.matmul", [x, transposed], {"activation": "none"})
    x = build.op("nn.add", [x, weight("bias", 8)])
    parameters = [weight(symbol, 8) for symbol in ("scale", "shift", "mean", "variance")]
    x = build.op("nn.batch_norm", [x, *parameters], {"epsilon": 1e-5})
    x = build.op("nn.relu", [x])
    x = build.op("nn.add", [x, skip])
    build.op("nn.softmax", [x], {"axis": 0})
    twice = [build.op("nn.softmax", [x], {"axis": -1}) for _ in range(2)]
    return build.op("nn.add", twice)


def _module() -> Module:
    draw = np.random.default_rng(0)
    build = ModuleBuilder("blocks")
    x = build.input("x", (4, 8))
    for _ in range(BLOCKS):
        x = _block(build, x, draw)
    build.output("y", x)
    return build.finish()


def _mlir_s(module: Module) -> float:
    """MLIR's own clean-up of the same module, in C++ and without weights: a peer."""
    manager = import_module(f"{ROOT}.passmanager").PassManager
    with context(), Location.unknown():
        copy = MlirModule.parse(module.text())
        start_s = time.process_time()
        manager.parse("builtin.module(canonicalize,cse)").run(copy.operation)
    return time.process_time() - start_s


def main() -> None:
    """Print every figure, and fail where the budget is broken."""
    start_s = time.process_time()
    module = _module()
    total_s = time.process_time() - start_s
    assert len(module.graph.nodes) == BLOCKS * BLOCK_OPERATORS
    print(f"operators_10k_build_and_verify_s {total_s:.3f}")
    for i, step in enumerate(steps(module, CANONICAL)):
        name = step.pass_.name.replace("-", "_")
        print(f"operators_10k_{i + 1}_{name}_s {step.time_s:.3f}")
        total_s += step.time_s
    print(f"operators_10k_total_s {total_s:.3f}")
    print(f"operators_10k_mlir_canonicalize_cse_s {_mlir_s(module):.3f}")
    if total_s > BUDGET_S:
        sys.exit(f"over the budget of {BUDGET_S} s: {total_s:.3f} s")


if __name__ == "__main__":
    main()
