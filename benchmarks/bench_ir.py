"""The IR on a long chain, and the interpreter beside ONNX Runtime on the digits CNN."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module

CNN = Path(__file__).parents[1] / "examples" / "digits_cnn.onnx"
OPERATORS = 10_000


def _cpu_s(call: Callable[[], object], repeats: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def _chain() -> Module:
    build = ModuleBuilder("chain")
    x = build.input("x", (4, 4))
    for _ in range(OPERATORS):
        x = build.op("nn.relu", [x])
    build.output("y", x)
    return build.finish()


def main() -> None:
    """Print every figure."""
    made: list[Module] = []
    print(f"chain_build_and_verify_s {_cpu_s(lambda: made.append(_chain())):.3f}")
    chain = made[0]
    print(f"chain_print_s {_cpu_s(chain.text):.3f}")
    print(f"chain_parse_and_verify_s {_cpu_s(chain.clone):.3f}")

    model = load(CNN)
    name, value = next(iter(model.inputs.items()))
    x = np.random.default_rng(0).random(value.shape, np.float32)
    ours = _cpu_s(lambda: evaluate(model, {name: x}), 200)
    print(f"digits_cnn_interpreter_s {ours:.6f}")
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(CNN, options, providers=["CPUExecutionProvider"])

    def theirs_once() -> object:
        return session.run(None, {name: x})

    theirs = _cpu_s(theirs_once, 200)
    print(f"digits_cnn_onnxruntime_s {theirs:.6f}")
    print(f"digits_cnn_interpreter_over_onnxruntime_ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
