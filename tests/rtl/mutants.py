"""Planted errors: one edit of one source each, and what must differ because of it.

An anchor is looked for with any white space between its words and must be there once, so a
mutant that no longer applies fails its test with the anchor's text.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tetrapla.simulators.rtl.toolchain import SOURCES, Design

PYTHON = SOURCES.parent / "simulators" / "systolic"


@dataclass(frozen=True)
class Mutant:
    """One edit: `old` becomes `new` in `file`."""

    file: str
    old: str
    new: str
    stays: bool = False  # seen where the outputs are stationary

    def __str__(self) -> str:
        return f"{self.file}: {self.old} -> {self.new}"

    def applied(self, folder: Path) -> str:
        """The file's text with the edit."""
        text = (folder / self.file).read_text("utf-8")
        anchor = re.compile(r"\s+".join(map(re.escape, self.old.split())))
        found = len(anchor.findall(text))
        if found != 1:
            raise LookupError(f"'{self.old}' must be in {self.file} once, not {found} times")
        return anchor.sub(lambda _: self.new, text)

    def module(self) -> ModuleType:
        """A second copy of a Python file with the edit."""
        name = f"mutant_of_{Path(self.file).stem}"
        spec = spec_from_loader(name, None)
        assert spec is not None, "a loader of None is allowed"
        made = module_from_spec(spec)
        sys.modules[name] = made  # dataclasses look their module up
        exec(compile(self.applied(PYTHON), self.file, "exec"), made.__dict__)
        return made


def mutated(design: Design, mutant: Mutant, folder: Path) -> Design:
    """The design with the edit, whose source lies in the folder; built for a short life."""
    own = folder / mutant.file
    own.write_text(mutant.applied(SOURCES), "utf-8")
    files = [own if file == mutant.file else file for file in design.files]
    assert own in files, f"{mutant.file} must be a source of {design.top}"
    return replace(design, files=tuple(files), quick=True)


RTL = (
    # the dispatcher and what it waits for
    Mutant(
        "retirement.sv",
        "next_due = cycle_i + latency_i;",
        "next_due = cycle_i + latency_i + 1;",
    ),
    Mutant(
        "retirement.sv",
        "next_due = cycle_i + latency_i;",
        "next_due = cycle_i + latency_i - 1;",
    ),
    Mutant("retirement.sv", "next_due = newest;", "next_due = newest + 1;"),
    Mutant("dispatcher.sv", "outstanding_i[e] >= COUNT_W", "outstanding_i[e] > COUNT_W"),
    Mutant(
        "dispatcher.sv",
        "opcode == OP_HALT ? outstanding_i[e] != 0",
        "opcode == OP_HALT ? outstanding_i[e] > 1",
    ),
    # each engine's latency and length
    Mutant("tpu.sv", "latency[ENGINE_LW] = '0;", "latency[ENGINE_LW] = CYCLE_W'(1);"),
    Mutant("tpu.sv", "CYCLE_W'(R + C)", "CYCLE_W'(R + C - 1)"),
    Mutant("tpu.sv", "latency[ENGINE_RQ] = CYCLE_W'(2);", "latency[ENGINE_RQ] = CYCLE_W'(3);"),
    Mutant("tpu.sv", "latency[ENGINE_VE] = CYCLE_W'(2);", "latency[ENGINE_VE] = CYCLE_W'(1);"),
    Mutant(
        "dma.sv",
        "latency_o = CYCLE_W'(link[{host, 2'd2}]);",
        "latency_o = CYCLE_W'(link[{host, 2'd2}] + 64'd1);",
    ),
    Mutant("dma.sv", "paid = busy && owed <=", "paid = busy && owed <"),
    Mutant("weight_memory.sv", "last_o = busy && left == 1;", "last_o = busy && left == 2;"),
    Mutant("unified_buffer.sv", "last_o = busy && left == 1;", "last_o = busy && left == 2;"),
    Mutant("accumulators.sv", "last_o = busy && left == 1", "last_o = busy && left == 2"),
    # the arrays
    Mutant(
        "sa_ws.sv",
        "swap_n[r][0] = swap_edge[POINTER'(32'(now)-r)];",
        "swap_n[r][0] = swap_edge[POINTER'(32'(now)-r/2)];",
    ),
    Mutant("sa_ws.sv", "shift_n[r][c] = shift[r][c-1];", "shift_n[r][c] = shift_n[r][c-1];"),
    Mutant("sa_ws.sv", "POINTER'(32'(now) + C - 1 - c)", "POINTER'(32'(now) + C - c)"),
    Mutant(
        "sa_ws.sv", "row_ring[POINTER'(32'(now)-r)][r]", "row_ring[POINTER'(32'(now)-r-1)][r]"
    ),
    Mutant(
        "sa_os.sv",
        "weight_ring[POINTER'(32'(now)-c)][c]",
        "weight_ring[POINTER'(32'(now)-c-1)][c]",
        True,
    ),
    Mutant("sa_os.sv", "step <= out;", "step <= out_n;", True),
    Mutant("unified_buffer.sv", "spacing <= 16'(R - 1);", "spacing <= 16'(R - 2);", True),
    Mutant("tpu.sv", "32'(2 * R + C - 1)", "32'(2 * R + C - 2)", True),
    # addresses and values
    Mutant("unified_buffer.sv", "acc <= acc + 1'b1;", "acc <= acc + 16'd2;"),
    Mutant("accumulators.sv", "now - POINTER'(LATENCY)", "now - POINTER'(LATENCY - 1)"),
    Mutant(
        "accumulators.sv",
        "LOG_ROWS'(drain_place+drained)",
        "LOG_ROWS'(drain_place+drained+1)",
        True,
    ),
    Mutant("unified_buffer.sv", "x >= width", "x > width"),
    Mutant("vector_unit.sv", "y < a[32*D_HEIGHT+:32]", "y <= a[32*D_HEIGHT+:32]"),
    Mutant(
        "vector_unit.sv",
        "group + LANES >= a[32*D_CHANNELS+:32]",
        "group + LANES > a[32*D_CHANNELS+:32]",
    ),
    Mutant("float32_pkg.sv", "apart > 28", "apart > 4"),
)
"""Of the machine; a 4 x 4 array shows each."""

REQUANTIZER = (
    Mutant("requantize_pkg.sv", "lost == half && kept[0]", "lost == half"),
    Mutant("requantize_pkg.sv", "lost > half ||", "lost >= half ||"),
    Mutant("requantize_pkg.sv", "first > 24 ? first - 24 : 0", "first > 25 ? first - 25 : 0"),
    Mutant(
        "requantize_pkg.sv", "second > 24 ? second - 24 : 0", "second > 25 ? second - 25 : 0"
    ),
    Mutant("requantize_pkg.sv", "down = 32'd150", "down = 32'd151"),
    Mutant(
        "requantize_pkg.sv",
        "if (y > 32'(high)) return 32'(high);",
        "if (y > 32'(high)) return 32'(high) - 1;",
    ),
    Mutant("requantize_pkg.sv", "magnitude = t < 0 ? -t : t;", "magnitude = t < 0 ? ~t : t;"),
)

PYTHON_REQUANTIZER = (
    Mutant(
        "requantize.py", "np.rint(scaled, out=scaled)", "np.floor(scaled + 0.5, out=scaled)"
    ),
    Mutant("requantize.py", ".astype(np.float32) with", ".astype(np.float64)\n    with"),
    Mutant(
        "requantize.py",
        "np.float32(row.high - row.zero_point)",
        "np.float32(row.high - row.zero_point - 1)",
    ),
    Mutant(
        "requantize.py",
        "scaled += np.float32(row.zero_point)",
        "scaled += np.float32(row.zero_point + 1)",
    ),
)

TIMING = (
    Mutant("timing.py", "_PIPELINE = 2", "_PIPELINE = 3"),
    Mutant(
        "timing.py",
        "1 if self._stationary else self.rows, 0",
        "1 if self._stationary else self.rows, 1",
    ),
    Mutant(
        "timing.py",
        "1 if self._stationary else self.rows, 0",
        "1 if self._stationary else self.rows + 1, 0",
    ),
    Mutant(
        "timing.py",
        "1 if self._stationary else self.rows, 0",
        "2 if self._stationary else self.rows, 0",
        True,
    ),
    Mutant(
        "timing.py", "* pace, array.rows + array.cols", "* pace, array.rows + array.cols - 1"
    ),
    Mutant(
        "timing.py", "* pace, array.rows + array.cols", "* pace + 1, array.rows + array.cols"
    ),
    Mutant(
        "timing.py",
        "2 * array.rows + array.cols - 1 if",
        "2 * array.rows + array.cols if",
        True,
    ),
    Mutant(
        "timing.py",
        "drained + work.rows - issue > dispatch",
        "drained + work.rows - issue > dispatch + 1",
        True,
    ),
    Mutant(
        "timing.py",
        "return self._share(instruction) * width, _PIPELINE",
        "return self._share(instruction) * width + 1, _PIPELINE",
    ),
    Mutant("timing.py", "* pixels * groups, _PIPELINE", "* pixels * groups - 1, _PIPELINE"),
    Mutant(
        "timing.py",
        "Fraction(bandwidth_bytes_per_s), ceil(latency)",
        "Fraction(bandwidth_bytes_per_s), ceil(latency) + 1",
    ),
    Mutant(
        "timing.py",
        "return -(-moved_bytes * pace.numerator // pace.denominator)",
        "return moved_bytes * pace.numerator // pace.denominator",
    ),
    Mutant("timing.py", "dispatch = retires[cause] + 1", "dispatch = retires[cause]"),
    Mutant("timing.py", "retire = max(retire, retires[queue[-1]])", "pass"),
    Mutant("timing.py", "len(queue) > allowed and", "len(queue) > allowed + 1 and"),
)
"""Of the recurrence."""
