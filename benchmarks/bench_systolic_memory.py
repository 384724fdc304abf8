"""Networks on machines that are too small for them: compile time, traffic, what DMA hides.

``python benchmarks/bench_systolic_memory.py [NETWORK ...]``

For each case: seconds to compile, bytes that DRAM and host move, the run's cycles, those of the
same program where transfers take no time (`work`), and of one in which nothing overlaps with a
transfer (`serial`). `hidden` is the share of the cycles in which DMA is busy that the run is
not longer for: ``1 - (cycles - work) / busy``. Weights and inputs are random; values are
compared with the interpreter's before any number counts.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from time import process_time

import numpy as np

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Options
from tetrapla.frontend.zoo import entry
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.isa import ENGINES
from tetrapla.simulators.systolic.machine import outputs
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

SMALL = ("memories.unified_buffer=256 KiB",)
CASES = (
    ("resnet50", "gemmini", SMALL),
    ("mobilenet-v2", "gemmini", SMALL),
    ("bert-base", "gemmini", SMALL),
    ("bert-base", "tpu-v1", ()),
)
FREE = ("dram.bandwidth=1000000 TB/s", "dram.latency=0 ns")
FREE_HOST = ("host.bandwidth=1000000 TB/s", "host.latency=0 ns")


def random_inputs(module: Module) -> dict[str, Array]:
    """One invocation: normal numbers, and indices of 0 or 1."""
    rng = np.random.default_rng(0)
    found = {}
    for name, value in module.inputs.items():
        shape, dtype = (1, *value.shape), DTYPES[value.dtype]
        drawn = rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        found[name] = drawn.astype(dtype)
    return found


def serial(program: Program) -> Program:
    """The program with nothing beside a transfer."""
    everybody = dict.fromkeys(ENGINES, 0)
    steps = tuple(
        replace(i, waits=everybody if i.engine == "DMA" else {**i.waits, "DMA": 0})
        for i in program.instructions
    )
    return replace(program, instructions=steps)


def measure(network: str, chip: str, settings: tuple[str, ...]) -> dict[str, float]:
    """The numbers of one case, by ``name_unit``."""
    spec = load_spec(chip, SystolicSpec, settings).spec
    module = entry(network).draft(values=True).builder.build()
    inputs = random_inputs(module)
    lowered = TARGET.lower(module, spec, inputs, Options())
    program = lowered.program
    found = outputs(program, inputs)
    for name, wanted in evaluate_many(lowered.module, inputs).items():
        if not np.array_equal(found[name], wanted):
            raise SystemExit(f"{network} on {chip}: output '{name}' differs")
    start = process_time()
    compile_graph(lowered.module.graph, spec, network)
    seconds = process_time() - start
    plan = schedule(program, spec)
    pairs = zip(program.instructions, plan.events, strict=True)
    busy = sum(e.free - e.dispatch for i, e in pairs if i.engine == "DMA")
    free = load_spec(chip, SystolicSpec, (*settings, *FREE, *FREE_HOST)).spec
    work = schedule(program, free).cycles
    return {
        "compile_s": seconds,
        "instructions_count": len(program.instructions),
        "moved_byte": sum(i["bytes"] for i in program.instructions if i.op in ("LDA", "ST")),
        "weights_byte": sum(
            i["rows"] * i["cols"] for i in program.instructions if i.op == "LDW"
        ),
        "cycles_count": plan.cycles,
        "work_cycles_count": work,
        "serial_cycles_count": schedule(serial(program), spec).cycles,
        "hidden_frac": 1 - (plan.cycles - work) / busy,
    }


def main() -> None:
    """All cases, or those of the networks given."""
    for network, chip, settings in CASES:
        if sys.argv[1:] and network not in sys.argv[1:]:
            continue
        for name, value in measure(network, chip, settings).items():
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            print(f"{network}_{chip}_{name} {shown}", flush=True)


if __name__ == "__main__":
    main()
