"""How often the gates of a PE switch: `python -m tests.rtl.activity` prints it as ratios.

The PE is Yosys' netlist of generic gates, simulated without delays, so glitches, wires and what
a gate takes to switch are missing. Only ratios between stimuli say something.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.coverage import read
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import SOURCES, Design
from tetrapla.simulators.rtl.yosys import yosys

LOG_CYCLES = 12
CYCLES = 2**LOG_CYCLES
_BENCH = Path(__file__).parent / "activity_bench.sv"
_SCRIPT = (
    "read_verilog -sv {sources}",
    "synth -top pe_ws -flatten",
    "rename -enumerate -pattern n_%",  # Verilator counts no names that begin with _
    "write_verilog -noattr made.v",
)


def stimuli() -> Mapping[str, tuple[int, Array, Array]]:
    """By name: the weight, the activations and the sums from above."""
    rng = np.random.default_rng(0)
    uniform = rng.integers(-128, 128, CYCLES)
    sums = (rng.normal(size=CYCLES) * 2000).astype(np.int32)
    nothing = np.zeros(CYCLES, np.int64)

    def kept(frac: float) -> Array:
        return np.where(rng.random(CYCLES) < frac, uniform, 0)

    return {
        "uniform activations": (77, uniform, sums),
        "half of them zero": (77, kept(0.5), sums),
        "nine of ten zero": (77, kept(0.1), sums),
        "weight zero": (0, uniform, sums),
        "nothing moves": (77, nothing, nothing),
    }


def toggles() -> dict[str, int]:
    """Edges of all nets of the PE, in as many cycles for each stimulus."""
    found = {}
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)
        netlist = folder / "pe_ws.v"
        netlist.write_text(yosys([SOURCES / "pe_ws.sv"], _SCRIPT, "made.v"), "utf-8")
        design = Design(
            "activity_bench",
            (netlist, _BENCH),
            {"LOG_CYCLES": LOG_CYCLES},
            ("acts", "sums", "weights"),
            quick=True,
            coverage=folder,
        )
        for name, (weight, acts, sums) in stimuli().items():
            with Model(design) as model:
                model.memory("acts", np.int16)[:] = acts
                model.memory("sums", np.int32)[:] = sums
                model.memory("weights", np.int8)[:] = weight
                model.reset()
                model.run(CYCLES + 9)
            (file,) = folder.glob("*.dat")
            counts = read([file])
            file.unlink()
            edges = (
                n for p, n in counts.items() if (p.file, p.kind) == (netlist.name, "toggle")
            )
            found[name] = sum(edges)
    return found


def main() -> None:
    """Print each stimulus as a share of the first."""
    found = toggles()
    first = next(iter(found.values()))
    for name, count in found.items():
        sys.stdout.write(f"{name}: {count / first:.2f}\n")


if __name__ == "__main__":
    main()
