"""The emitted kernels on a GPU: right, and how fast beside cuBLAS, cuDNN, torch.compile, TVM.

``python benchmarks/bench_gpu_kernels.py [--only KIND] [--json F] [--tune F] [--dry-run]``

Each case is judged on random data by the bounds of `backends/gpu/bounds` (float64, operator by
operator) and timed by the device's events: medians, buffers in turn so that the L2 cache is
cold, a CUDA graph for each set of buffers. Beside it stand the time model's figure, PyTorch's
own operators, torch.compile and TVM where they are installed; all of one process, one after
another. `--tune F` times every tile that a product has room for and writes the quickest into
a tuning file (`--tuning F` of `compile`). `--dry-run` needs no GPU: it lists the cases and runs
a tiny one of each kind under Triton's interpreter.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpu_cases import Case, cases, tiny
from gpu_clock import clocks, median_s, sets
from gpu_peers import compiled, eager, torch_or_none, tvm_s

from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.tiles import fitting
from tetrapla.backends.gpu.triton.launcher import Plan
from tetrapla.backends.gpu.triton.machines import Gpu, Host
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.gpu.tuning import Key, Tuning, keys, written
from tetrapla.backends.target_ import Options
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.run import Executable, compile_for
from tetrapla.simulators.gpu.kernels import Product, Tile
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.time import kernel_times
from tetrapla.simulators.gpu.values import Held
from tetrapla.simulators.report import CrossCheck

CHIPS = ("h200", "h100", "b200", "a100", "a40", "l4", "t4", "v100", "p100")
CHECKED_MACS = 7 * 10**10  # beyond, float64 on a CPU takes minutes (assumed)
NO_TORCH = "PyTorch is not installed, which times kernels; install torch, or give --dry-run"
NO_GPU = "no GPU was found by PyTorch; run on a machine with one, or give --dry-run"


@dataclass(frozen=True)
class Row:
    """One case's figures, in seconds; None where something is not installed or was not run."""

    name: str
    kind: str
    kernels: int
    check: CrossCheck | None
    model_s: float
    ours_s: float | None = None
    eager_s: float | None = None
    compiled_s: float | None = None
    tvm_s: float | None = None
    each: tuple[tuple[str, float, float], ...] = ()  # of a network: kernel, model's s, ours


@dataclass(frozen=True)
class Prepared:
    """A case compiled for a chip, and one invocation of inputs."""

    case: Case
    module: Module
    executable: Executable
    inputs: dict[str, Array]

    @property
    def program(self) -> Program:
        """The plan."""
        found: Program = self.executable.lowered.program
        return found


def prepared(case: Case, chip: str) -> Prepared:
    """Compile a case for a chip; integer formats are calibrated on the data that is run."""
    module = case.build()
    inputs = drawn(module)
    made = compile_for(module, chip, inputs, Options(case.quant))
    return Prepared(case, module, made, inputs)


def drawn(module: Module) -> dict[str, Array]:
    """One invocation: normal numbers, and small integers for tokens and masks."""
    rng = np.random.default_rng(1)
    found: dict[str, Array] = {}
    for name, value in module.inputs.items():
        dtype = DTYPES[value.dtype]
        numbers = rng.standard_normal((1, *value.shape))
        found[name] = (numbers if dtype.kind == "f" else numbers > 0).astype(dtype)
    return found


@contextmanager
def loaded(program: Program, machine: Any, copies: int = 1) -> Generator[list[Plan]]:
    """The emitted folder of a plan, loaded for a machine as often as asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in sources(program).items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / file).write_bytes(data)
        sys.modules.pop("kernels", None)  # every folder has a module of this name
        try:
            yield [Plan(folder, machine) for _ in range(copies)]
        finally:
            sys.modules.pop("kernels", None)
            sys.path[:] = [each for each in sys.path if each != str(folder)]


def checked(given: Prepared, machine: Any) -> CrossCheck | None:
    """The verdict on one invocation; None of a case too large for float64 on a CPU."""
    lowered = given.executable.lowered
    if (macs(lowered.module.graph.nodes) or 0) > CHECKED_MACS:
        return None
    with loaded(given.program, machine) as (plan,):
        outputs, stored = plan.run(given.inputs, keep=True)
    reference = evaluate_many(lowered.module, given.inputs)
    return judged(lowered, given.inputs, Held(outputs, (0,), stored), reference)


def timed(program: Program, inputs: Mapping[str, Array], torch: Any, cache: int) -> float:
    """Seconds of one invocation on the GPU, each set of buffers behind a graph of its own."""
    footprint = sum(plan_bytes(program))
    with loaded(program, Gpu(torch, graph=True), sets(footprint, cache)) as plans:
        for plan in plans:
            for port in plan.manifest["inputs"]:
                plan.machine.write(plan.memory[port["buffer"]], inputs[port["name"]][0])
        return median_s(torch, [plan.machine.prepared(plan.launch) for plan in plans])


def kernels_s(plan: Plan, torch: Any) -> Iterator[float]:
    """Seconds of every launch alone, on one set of buffers: what fits the L2 cache is in it."""
    for each in plan.manifest["launches"]:
        function = plan.manifest["functions"][each["function"]]
        kernel = getattr(plan.kernels, each["function"])[tuple(each["grid"])]
        arguments = [plan.memory[name] for name in each["arguments"]]
        yield median_s(torch, [partial(kernel, *arguments, **function["options"])])


def each_kernel(
    given: Prepared, machine: Any, torch: Any
) -> tuple[tuple[str, float, float], ...]:
    """Every kernel of a network: its name, the model's seconds and the device's."""
    names = [kernel.name for kernel in given.program.kernels]
    model = [each.time_s for each in kernel_times(given.program, given.executable.spec)]
    with loaded(given.program, machine) as (plan,):
        return tuple(zip(names, model, kernels_s(plan, torch), strict=True))


def plan_bytes(program: Program) -> Iterator[int]:
    """The size of every buffer."""
    for buffer in program.buffers:
        yield int(np.prod(buffer.shape)) * DTYPES[buffer.dtype].itemsize


def modelled_s(given: Prepared) -> float:
    """What the time model says of all the kernels."""
    return sum(each.time_s for each in kernel_times(given.program, given.executable.spec))


def measured(given: Prepared, torch: Any, cache: int) -> Row:
    """A case on the GPU, with its peers."""
    check = checked(given, Gpu(torch, graph=False))
    ours_s = timed(given.program, given.inputs, torch, cache)
    peer, fused = None, None
    copies = sets(sum(plan_bytes(given.program)), cache)
    arguments = (torch, given.case, given.module, given.inputs, "cuda")
    runs = [eager(*arguments) for _ in range(1 if given.case.network else copies)]
    held = [run for run in runs if run is not None]
    if held:
        peer = median_s(torch, held)
        fused = median_s(torch, [compiled(torch, run) for run in held[:2]])
    other = tvm_s(given.module, given.executable.spec.architecture)
    row = unmeasured(given, check)
    if given.case.kind == "network":
        row = replace(row, each=each_kernel(given, Gpu(torch, graph=False), torch))
    return replace(row, ours_s=ours_s, eager_s=peer, compiled_s=fused, tvm_s=other)


def unmeasured(given: Prepared, check: CrossCheck | None) -> Row:
    """What is known of a case without a GPU."""
    case, kernels = given.case, len(given.program.kernels)
    return Row(case.name, case.kind, kernels, check, modelled_s(given))


def tuned(given: Prepared, torch: Any, cache: int) -> Iterator[tuple[Key, Tile, float]]:
    """The quickest tile of every product that is a plan of its own."""
    spec = given.executable.spec
    for position, key in keys(given.program, spec):
        kernel = given.program.kernels[position]
        assert isinstance(kernel, Product)
        best: tuple[float, Tile] | None = None
        for tile in fitting(kernel, spec):
            kernels = list(given.program.kernels)
            kernels[position] = replace(kernel, tile=tile)
            program = replace(given.program, kernels=tuple(kernels))
            try:
                found_s = timed(program, given.inputs, torch, cache)
            except Exception as error:  # one that Triton refuses is none
                print(f"{given.case.name}_refused_tile {tile}: {str(error)[:80]!r}")
                continue
            if best is None or found_s < best[0]:
                best = found_s, tile
        if best is not None:
            yield key, best[1], best[0]


def show(row: Row) -> None:
    """Print a case's lines: figures, then ratios (above 1 where ours is quicker)."""
    print(f"{row.name}_model_us {row.model_s * 1e6:.4g}")
    if row.check is not None:
        print(f"{row.name}_passed_bool {int(row.check.passed)}")
    for who in ("ours", "eager", "compiled", "tvm"):
        found = getattr(row, f"{who}_s")
        if found is None:
            continue
        print(f"{row.name}_{who}_us {found * 1e6:.4g}")
        if row.ours_s and who != "ours":
            print(f"{row.name}_{who}_over_ours_ratio {found / row.ours_s:.3g}")
    for name, model_s, found_s in row.each:
        print(f"{row.name}.{name}_us {found_s * 1e6:.4g}")
        print(f"{row.name}.{name}_model_over_ours_ratio {model_s / found_s:.3g}")
    if row.ours_s:
        print(f"{row.name}_model_over_ours_ratio {row.model_s / row.ours_s:.3g}")


def record(rows: Sequence[Row], device: str, chip: str, before: object) -> dict[str, Any]:
    """The JSON: where, when, at which clocks, and every row."""
    return {
        "schema": "tetrapla.bench.gpu/1",
        "device": device,
        "chip": chip,
        "date": datetime.now(UTC).date().isoformat(),
        "clocks": {"before": before, "after": clocks()},
        "rows": [row_of(row) for row in rows],
    }


def row_of(row: Row) -> dict[str, Any]:
    """A row as plain data."""
    found = {name: getattr(row, name) for name in Row.__dataclass_fields__}
    check = row.check
    told = None if check is None else {"passed": check.passed, "bound": check.bound}
    return {**found, "check": told}


def dry(kinds: Sequence[str], chip: str, path: Path | None) -> int:
    """List every case, and run a tiny one of each kind under the interpreter."""
    for case in cases():
        if case.kind in kinds:
            print(f"case {case.kind} {case.name}")
    rows: list[Row] = []
    for case in tiny():
        if case.kind in kinds:
            given = prepared(case, chip)
            rows.append(unmeasured(given, checked(given, Host())))
            show(rows[-1])
            rehearsed(given)
    if path is not None:
        text = json.dumps(record(rows, "none: dry run", chip, {}), indent=1)
        path.write_text(f"{text}\n", "utf-8")
    print(f"dry_run_cases_count {len(rows)}")
    return 0 if all(row.check is not None and row.check.passed for row in rows) else 1


def rehearsed(given: Prepared) -> None:
    """Run PyTorch's form of a case on the CPU, where it is installed, and compare shapes."""
    torch = torch_or_none()
    if torch is None:
        return
    run = eager(torch, given.case, given.module, given.inputs, "cpu")
    if run is not None:
        (value,) = given.module.outputs.values()
        same = tuple(run().shape) == (1, *value.shape)[-len(run().shape) :]
        print(f"{given.case.name}_peer_has_the_shape_bool {int(same)}")


def on_gpu(kinds: Sequence[str], options: argparse.Namespace, torch: Any) -> int:
    """Measure every case."""
    device, before = torch.cuda.get_device_name(), clocks()
    chip = options.chip or next((c for c in CHIPS if c.upper() in device.upper()), "h100")
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    rows: list[Row] = []
    tiles: dict[Key, Tile] = {}
    for case in cases():
        if case.kind not in kinds:
            continue
        given = prepared(case, chip)
        if options.tune is not None:
            for key, tile, best_s in tuned(given, torch, cache):
                tiles[key] = tile
                print(f"{case.name}_tuned_us {best_s * 1e6:.4g}")
            continue
        rows.append(measured(given, torch, cache))
        show(rows[-1])
    if options.tune is not None:
        date = datetime.now(UTC).date().isoformat()
        text = written(Tuning(str(options.tune), device, date, tiles))
        options.tune.write_text(text, "utf-8")
    if options.json is not None:
        text = json.dumps(record(rows, device, chip, before), indent=1)
        options.json.write_text(f"{text}\n", "utf-8")
    return 0 if all(row.check is None or row.check.passed for row in rows) else 1


def main(words: Sequence[str]) -> int:
    """Read the options, then measure or rehearse."""
    known = ("product", "convolution", "attention", "rows", "network")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=known, help="a kind; again for more")
    parser.add_argument("--chip", help="whose plan and time model; by the device's name")
    parser.add_argument("--json", type=Path, metavar="F")
    parser.add_argument("--tune", type=Path, metavar="F")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(words)
    kinds = options.only or list(known)
    if options.dry_run:
        return dry(kinds, options.chip or "h100", options.json)
    torch = torch_or_none()
    if torch is None or not torch.cuda.is_available():
        sys.stderr.write(f"error: {NO_TORCH if torch is None else NO_GPU}\n")
        return 2
    torch.backends.cudnn.benchmark = True
    return on_gpu(kinds, options, torch)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
