"""A chip of a family that only tests know, and what is said of it after one change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.spec_ import (
    Bytes,
    Count,
    Fraction,
    Hertz,
    Number,
    Seconds,
    Section,
    Spec,
    load_spec,
)

TEXT = """\
name: mine
family: toy
array:
  rows: {value: 256, source: "[paper] section 2", grade: published}
  cols: 128
  dataflow: weight_stationary
clock: 700 MHz
memories: {unified_buffer: 64 KiB}
bits: [1, 2]
cost:
  mac.int8: {value: 0.3 pJ, source: "[table]", grade: derived}
  dram.read_byte: null
chip: {area: null, default_format: int8, node: 28 nm}
"""


class Array(Section):
    rows: Annotated[Count, Field(ge=1)]
    cols: Count
    dataflow: Literal["weight_stationary", "output_stationary"]

    @model_validator(mode="after")
    def _square_enough(self) -> Array:
        if self.rows > 4 * self.cols:
            raise ValueError(f"array.rows must be at most 4 cols, not {self.rows}")
        return self


class Memories(Section):
    unified_buffer_bytes: Bytes = Field(alias="unified_buffer")


class Toy(Spec):
    array: Array
    clock_hz: Hertz = Field(alias="clock", gt=0)
    memories: Memories
    bits: tuple[Count, ...]
    latency_s: Seconds | None = Field(default=None, alias="latency")
    gain: Number = Field(default=2.5, description="[note] equation 3")
    duty_frac: Fraction = Field(default=0.5, alias="duty")


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, old: str, new: str, *overrides: str) -> str:
    """Return what is said of TEXT with one change, read as ``mine.yaml``."""
    assert old in TEXT
    written(folder, TEXT.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy, overrides)
    return str(caught.value)
