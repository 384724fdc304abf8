"""`verilator --lint-only -Wall` has nothing to say, of any top in any configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tetrapla.simulators.rtl.machine import FILES
from tetrapla.simulators.rtl.toolchain import SOURCES, Design, lint

HERE = Path(__file__).parent
SIZES = (
    (4, 4),
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 64),
    (128, 128),
    (256, 256),
    (4, 256),
    (256, 4),
)
SMALL = ((4, 4), (8, 4), (4, 8))
_WS = ("pe_ws.sv", "sa_ws.sv", "sa_ws_structural.sv")
_REQUANTIZE = ("requantize_pkg.sv", "requantize.sv")


def designs() -> Iterator[Design]:
    for rows, cols in SIZES:
        size = {"R": rows, "C": cols}
        yield Design("sa_ws", ("sa_ws.sv",), size)
        yield Design("sa_os", ("sa_os.sv",), size)
        for stays in (0, 1):
            more = {"LANES": min(rows, 128), "OUTPUT_STATIONARY": stays}
            # the memories of machine.py's smallest programs and of large ones
            small = {"LOG_WORDS": 12, "LOG_BYTES": 16, "LOG_SLOTS": 2, "LOG_ROWS": 8}
            large = {"LOG_WORDS": 20, "LOG_BYTES": 26, "LOG_SLOTS": 8, "LOG_ROWS": 12}
            yield Design("tpu", FILES, {**size, **more, **small})
            yield Design("tpu", FILES, {**size, **more, **large, "LOG_ENTRIES": 14})
    for rows, cols in SMALL:
        yield Design("sa_ws_structural", _WS[::2], {"R": rows, "C": cols})
        yield Design("sa_ws_equal", (*_WS, "sa_ws_equal.sv"), {"R": rows, "C": cols})
    yield Design("pe_ws", _WS[:1])
    yield Design("requantize", _REQUANTIZE)
    yield Design("requantize_bench", (*_REQUANTIZE, HERE / "requantize_bench.sv"))
    yield Design("sa_ws_bench", (*_WS, HERE / "sa_ws_bench.sv"), {"STRUCTURAL": 0})
    yield Design("sa_os_bench", ("sa_os.sv", HERE / "sa_os_bench.sv"))


DESIGNS = tuple(designs())


def name(design: Design) -> str:
    return "-".join([design.top, *map(str, design.parameters.values())])


@pytest.mark.parametrize("design", DESIGNS, ids=name)
def test_the_sources_are_lint_clean(design: Design) -> None:
    assert lint(design) == ""


def test_every_source_is_in_a_design_that_is_checked() -> None:
    found = {path.name for design in DESIGNS for path in design.paths}
    others = {"lif.sv", "shift_add.sv"}  # which have tests of their own
    assert {path.name for path in SOURCES.glob("*.sv")} - others <= found


def test_a_warning_is_not_lost(tmp_path: Path) -> None:
    own = tmp_path / "narrow.sv"
    own.write_text(
        "module narrow (\n    input  wire  [8:0] a_i,\n    output logic [7:0] b_o\n);\n"
        "  assign b_o = a_i;\nendmodule\n",
        "utf-8",
    )
    assert "%Warning-WIDTHTRUNC" in lint(Design("narrow", (own,)))
