"""Ten thousand random programs: the RTL, the recurrence and the judge agree.

Values (DRAM, unified buffer, accumulators), the cycle of every dispatch and the MARKs are
compared. Dispatches follow retirements where a wait or HALT asks for them, so an instruction
that retires a cycle early or late is seen as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rtl.agreement import SPECS, differences, drawn
from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.requantize import requantized
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.values import State, execute

ROOT = Path(__file__).parents[2]
PROGRAMS = 10_000
QUICK = 24 * len(SPECS)


def test_random_programs_agree_with_both_timing_modes() -> None:
    assert differences(range(QUICK)) == {}


@pytest.mark.slow
def test_ten_thousand_random_programs_agree_with_both_timing_modes() -> None:
    """In two processes: most of the time is the judge's."""
    share = PROGRAMS // 2
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.rtl.agreement", str(first), str(share)],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(0, PROGRAMS, share)
    ]
    said = [one.communicate()[0] for one in running]
    assert said == [f"{share} {{}}\n"] * 2


def test_the_programs_have_what_is_asked_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single rows, strides, padding, waits for some, and results at the end of their range."""
    results = {"all": 0, "saturated": 0}

    def counted(sums: Array, row: RequantizeRow, fmt: int, entries: Any) -> Array:
        found: Array = requantized(sums, row, fmt, entries)
        at = found.astype(np.int16) & 255 if row.unsigned else found
        results["all"] += found.size
        results["saturated"] += int(np.count_nonzero((at == row.low) | (at == row.high)))
        return found

    monkeypatch.setattr("tetrapla.simulators.systolic.values.requantized", counted)
    single = strided = padded = waiting = 0
    for seed in range(QUICK):
        program, _, _ = drawn(seed)
        for i in program.instructions:
            single += i.op == "MM" and i["len"] == 1
            waiting += i.op != "HALT" and any(i.waits.values())
            if i.op == "CFG" and i["kind"] == 0:
                d = Descriptor.unpack(program.constants[i["dram"] : i["dram"] + 128])
                strided += d.stride_x > 1
                padded += d.pad_left > 0
        execute(program, State(program, 1))
    assert min(single, strided, padded, waiting) >= 20
    assert 0.1 < results["saturated"] / results["all"] < 0.9
