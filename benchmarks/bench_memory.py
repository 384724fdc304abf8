"""Memory of all default passes on a model of 500 MB whose weights are memory-mapped.

What counts as above the weights is memory that is no page of a file (RssAnon of Linux),
interpreter and int8 results included; the resident peak holds the weights' pages too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from threading import Event, Thread

import numpy as np
from bert import bert

from tetrapla.ir.graph import Array
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import CLEANING, PIPELINES
from tetrapla.passes.quantize import Quantize

# BERT-base with more layers: 23.9 M parameters outside of the layers, 7.1 M in each
LAYERS = 15
MEGABYTE = 10**6
# the budget of the public contract
BUDGET_MB = 300
PERIOD_S = 0.005


class _Parameters:
    """Float32 arrays one after another in a file, each memory-mapped when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        # written again and again, so that no gigabyte is drawn
        self.block = np.random.default_rng(0).standard_normal(2**20, np.float32)

    def __call__(self, symbol: str, shape: tuple[int, ...]) -> Array:
        del symbol
        size, start = prod(shape), self.at
        with self.path.open("ab") as file:
            for first in range(0, size, self.block.size):
                file.write((self.block[: size - first] * np.float32(0.02)).tobytes())
        self.at += size * 4
        return np.memmap(self.path, np.float32, "r", start, shape)


class _Anonymous(Thread):
    """The most memory that is no page of a file, looked at every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_mb = 0.0
        self.done = Event()

    def run(self) -> None:
        while not self.done.wait(PERIOD_S):
            self.most_mb = max(self.most_mb, _anonymous_mb())


def _anonymous_mb() -> float:
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return float(line.split()[1]) * 1024 / MEGABYTE
    return float("nan")


def _measure(folder: Path, first: str) -> None:
    """In a process of its own: build, run a pipeline and quantise, print what it took."""
    before = PIPELINES[first]
    parameters = _Parameters(folder / "weights.bin")
    module = bert(parameters, LAYERS)
    fused = unfused(run(module, before))  # as quantisation sees it
    inputs = {name: (-4.0, 4.0) for name, _ in fused.graph.inputs}
    found = Ranges(inputs, {node.name: (-4.0, 4.0) for node in fused.graph.nodes})
    del fused
    before_mb, watch = _anonymous_mb(), _Anonymous()
    watch.start()
    run(module, (*before, Quantize(), *CLEANING), Context(ranges=found))
    watch.done.set()
    watch.join()
    weights_mb = sum(array.nbytes for array in module.weights.values()) / MEGABYTE
    peak_mb = getrusage(RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE
    print(f"memory_{first}_weights_mb {weights_mb:.0f}")
    print(f"memory_{first}_before_passes_mb {before_mb:.0f}")
    print(f"memory_{first}_peak_resident_mb {peak_mb:.0f}")
    print(f"memory_{first}_peak_above_weights_mb {watch.most_mb:.0f}")
    if watch.most_mb > BUDGET_MB:
        sys.exit(f"over the budget of {BUDGET_MB} MB: {watch.most_mb:.0f} MB")


def main() -> None:
    """Print every figure, and fail where the budget is broken."""
    if len(sys.argv) > 1:
        _measure(Path(sys.argv[1]), sys.argv[2])
        return
    codes: list[int] = []
    for first in ("canonical", "fused"):
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, __file__, folder, first]
            codes.append(subprocess.run(words, check=False).returncode)
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
