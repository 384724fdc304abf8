"""The instruction package in `rtl/`; nothing is built."""

from __future__ import annotations

from tetrapla.simulators.rtl import package
from tetrapla.simulators.rtl.toolchain import SOURCES


def test_the_instruction_package_is_up_to_date() -> None:
    # if not: python -m tetrapla.simulators.rtl.package > rtl/tpu_isa_pkg.sv
    assert (SOURCES / "tpu_isa_pkg.sv").read_text("utf-8") == package.source()
