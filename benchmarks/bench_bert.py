"""All default passes with verification on BERT-base, float32 to int8, pass by pass."""

from __future__ import annotations

import sys
import time

from bert import bert, drawn

from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run, steps
from tetrapla.passes.pipeline_ import CLEANING, PIPELINES
from tetrapla.passes.quantize import Quantize

# the budget of the public contract, in CPU seconds; calibration statistics are given
BUDGET_S = 3.0


def main() -> None:
    """Print every figure, and fail where the budget is broken."""
    arrays: dict[str, Array] = {}
    draw = drawn()

    def store(symbol: str, shape: tuple[int, ...]) -> Array:
        if symbol not in arrays:
            arrays[symbol] = draw(symbol, shape)
        return arrays[symbol]

    bert(store)  # draws the parameters, which is no work of the IR
    start_s = time.process_time()
    module = bert(store)
    print(f"bert_build_and_verify_s {time.process_time() - start_s:.3f}")
    print(f"bert_operators_count {len(module.graph.nodes)}")
    longest_s = max(_passes_s(module, "canonical"), _passes_s(module, "fused"))
    if longest_s > BUDGET_S:
        sys.exit(f"over the budget of {BUDGET_S} s: {longest_s:.3f} s")


def _passes_s(module: Module, first: str) -> float:
    """The time of a pipeline and of the quantisation of its result."""
    before = PIPELINES[first]
    fused = unfused(run(module, before))  # as quantisation sees it
    interval = (-4.0, 4.0)  # any: what is chosen by it does not change the work
    found = Ranges(
        {name: interval for name, _ in fused.graph.inputs},
        {node.name: interval for node in fused.graph.nodes},
    )
    total_s = 0.0
    passes = (*before, Quantize(), *CLEANING)
    for i, step in enumerate(steps(module, passes, Context(ranges=found))):
        name = step.pass_.name.replace("-", "_")
        print(f"bert_{first}_{i + 1}_{name}_s {step.time_s:.3f}")
        total_s += step.time_s
    print(f"bert_{first}_all_passes_s {total_s:.3f}")
    return total_s


if __name__ == "__main__":
    main()
