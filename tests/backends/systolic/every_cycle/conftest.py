"""Machines for compiled networks in the judge."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.backends.systolic.conftest import chip
from tetrapla.simulators.systolic.spec import SystolicSpec

sides = st.integers(2, 8)
speeds = st.sampled_from(["0.7 GB/s", "2 GB/s", "34 GB/s"])  # 1, 2.86 and 48.6 bytes a cycle


@st.composite
def chips(draw: st.DrawFn) -> SystolicSpec:
    memories = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    settings_ = (
        f"dram.bandwidth={draw(speeds)}",
        f"dram.latency={draw(st.integers(0, 20)) * 10} ns",
        "host.latency=100 ns",
        f"vector.lanes={draw(st.integers(1, 4))}",
    )
    return chip(draw(sides), draw(sides), *memories, *settings_)
