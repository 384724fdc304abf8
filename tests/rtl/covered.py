"""What random programs reach in the machine: `python -m tests.rtl.covered` prints it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from unittest import mock

from tests.rtl.agreement import SPECS, difference, drawn
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.coverage import Counts, Point, read, show
from tetrapla.simulators.rtl.toolchain import Design
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

SMALL = (SPECS[0], SPECS[2])  # 4 x 4, weight- and output-stationary
LENGTH = 60
PROGRAMS = [seed for seed in range(8 * len(SPECS)) if SPECS[seed // 2 % len(SPECS)] in SMALL]


def covered(seeds: Iterable[int]) -> Counts:
    """The counts of all these programs, which must agree as well."""
    found: Counter[Point] = Counter()
    original = machine.design
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)

        def design(program: Program, spec: SystolicSpec) -> Design:
            return replace(original(program, spec), coverage=folder, quick=True)

        with mock.patch.object(machine, "design", design):
            for seed in seeds:
                said = difference(*drawn(seed, LENGTH), judged=False)
                assert said == "", f"program {seed}: {said}"
                for file in folder.glob("*.dat"):
                    found.update(read([file]))
                    file.unlink()
    return found


if __name__ == "__main__":
    show(covered(PROGRAMS))
