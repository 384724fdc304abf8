"""How large the PEs and a small array are, as gates.

    python -m tetrapla.simulators.rtl.synthesis > tests/rtl/area.txt

Yosys counts its own generic gates, which changes with the sources and with Yosys alone; where
Debian's package qflow-tech-osu018 is installed, the area in its 0.18 um standard cells is
printed too. The array is 4 x 4 with its skews; `sa_ws`, whose loops have rings where
hardware has chains of registers, is proven equal to it (`formal`).
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tetrapla.simulators.rtl.toolchain import SOURCES
from tetrapla.simulators.rtl.yosys import yosys

LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""Where Debian's package puts the cells; "OSU standard cells, TSMC 0.18 um"."""


@dataclass(frozen=True)
class Part:
    """A module with its sources, names below `SOURCES`, and its parameters."""

    top: str
    files: tuple[str, ...]
    parameters: Mapping[str, int] = field(default_factory=dict[str, int])


_SMALL = {"R": 4, "C": 4}
PARTS = (
    Part("pe_ws", ("pe_ws.sv",)),
    Part("sa_ws_structural", ("pe_ws.sv", "sa_ws_structural.sv"), _SMALL),
)


def gates(part: Part) -> tuple[int, int]:
    """Yosys' generic gates of a part, and how many of them are registers of a bit.

    Raises:
        UnsupportedError: Yosys is missing or refuses the sources.
    """
    found = _statistics(part, [])["num_cells_by_type"]
    registers = sum(count for name, count in found.items() if "DFF" in name)
    return sum(found.values()), registers


def area_um2(part: Part, liberty: Path = LIBERTY) -> float:
    """The area in the cells of a Liberty file, without wires.

    Raises:
        UnsupportedError: Yosys is missing or refuses the sources.
    """
    cells = f"-liberty {liberty.name}"
    mapped = [f"dfflibmap {cells}", f"abc {cells}", "opt_clean"]
    return float(_statistics(part, mapped, liberty)["area"])


def _statistics(part: Part, more: list[str], *liberty: Path) -> Any:
    names = " ".join(part.files)
    script = [
        f"read_verilog -defer -sv {names}",
        f"hierarchy -check -top {part.top}",
        f"synth -top {part.top} -flatten",
        *more,
        f"tee -o made.txt stat -json {' '.join(f'-liberty {one.name}' for one in liberty)}",
    ]
    with tempfile.TemporaryDirectory() as own:
        sources = [Path(own) / name for name in part.files]
        for source in sources:
            source.write_text(_sized(source.name, part.parameters), "utf-8")
        return json.loads(yosys([*sources, *liberty], script, "made.txt"))["design"]


def _sized(file: str, parameters: Mapping[str, int]) -> str:
    """A source with other defaults: this Yosys ends in an error where `chparam` sets them."""
    text = (SOURCES / file).read_text("utf-8")
    for name, value in parameters.items():
        text = re.sub(rf"(parameter int unsigned {name} = )\d+", rf"\g<1>{value}", text)
    return text


def lines(liberty: Path = LIBERTY) -> Iterator[str]:
    """A line for each part, and one where the cells are there."""
    for part in PARTS:
        all_, registers = gates(part)
        yield f"{part.top} gates {all_} registers {registers}"
        if liberty.exists():
            yield f"{part.top} osu018_um2 {area_um2(part, liberty):.0f}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
