"""What cores send in a timestep, in order, and when."""

from __future__ import annotations

from typing import NamedTuple

HOST = -1
"""The sender of an input's spikes; it sits beside tile 0 (assumed)."""


class Message(NamedTuple):
    """Of one core: what it spent since the one before; the last one goes nowhere."""

    spent_s: float
    core: int | None
    processing_s: float
