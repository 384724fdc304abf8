"""Protocols and units, played signal by signal in cocotb."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl.bench import play
from tetrapla.simulators.rtl.toolchain import Design

BENCHES = Path(__file__).parent / "benches"
ROOT, PACKAGE = Path(__file__).parents[2], "tests.rtl.benches"
_ISA = ("tpu_isa_pkg.sv",)
_FLOATS = ("requantize_pkg.sv", "float32_pkg.sv")
_DRAM = ("dram_pkg.sv", BENCHES / "dram.cpp")
DESIGNS = (
    Design("dispatcher", (*_ISA, "dispatcher.sv"), {"LOG_WORDS": 5, "LOG_MARKS": 2}),
    Design("dma", (*_ISA, "dma.sv")),
    Design("sa_ws", ("sa_ws.sv",), {"R": 4, "C": 4}),
    Design("sa_os", ("sa_os.sv",), {"R": 4, "C": 4}),
    Design("requantize", ("requantize_pkg.sv", "requantize.sv")),
    Design(
        "lif",
        ("lif.sv",),
        {"NEURONS": 6, "AXONS": 6, "SYNAPSES": 32, "GROUPS": 2, "SUM_W": 14},
    ),
    Design("vector_unit", (*_ISA, *_FLOATS, *_DRAM, "vector_unit.sv"), {"LANES": 4}),
)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.top)
def test_the_unit_does_what_its_bench_says(design: Design, tmp_path: Path) -> None:
    name = f"bench_{design.top}"
    found = play(design, f"{PACKAGE}.{name}", ROOT, tmp_path)
    assert set(found.values()) == {""}, found
    assert len(found) == (BENCHES / f"{name}.py").read_text("utf-8").count("@bench\n")


def test_a_missing_cocotb_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cocotb_tools.runner", None)
    with pytest.raises(UnsupportedError) as caught:
        play(DESIGNS[0], f"{PACKAGE}.bench_dispatcher", ROOT, tmp_path)
    assert str(caught.value) == (
        "the benches need cocotb, which is not installed; pip install 'tetrapla[rtl]'"
    )
