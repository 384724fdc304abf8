"""One GPU as the level-1 model sees it: peaks, one memory, three fitted constants."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tetrapla.simulators.spec_ import (
    Bytes,
    BytesPerSecond,
    ChipSection,
    Count,
    Fraction,
    Hertz,
    Seconds,
    Section,
    Spec,
)

FORMATS = ("fp16", "fp32", "int8")


class Throughput(Section):
    """Operations per clock and streaming multiprocessor, dense; a MAC is two."""

    fp16: Count = Field(ge=1)
    int8: Count = Field(ge=1)
    fp32: Count = Field(ge=1)


class Dram(Section):
    """Device memory."""

    capacity_bytes: Bytes = Field(alias="capacity", ge=1)
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", gt=0)


class Product(Section):
    """Matrix products and convolutions: ``t0 + pnorm4(F / (ec peak), B / (eb BW))``."""

    compute_efficiency_frac: Fraction = Field(alias="compute_efficiency", gt=0)
    dram_efficiency_frac: Fraction = Field(alias="dram_efficiency", gt=0)
    launch_s: Seconds = Field(alias="launch")


class Stream(Section):
    """Memory-bound kernels: ``t0 + B / (eb BW)``."""

    dram_efficiency_frac: Fraction = Field(alias="dram_efficiency", gt=0)
    launch_s: Seconds = Field(alias="launch")


class Timing(Section):
    """Constants of the time model, valid in one measurement `context`."""

    context: Literal["device", "host-sync"]
    product: Product
    activation: Stream
    normalization: Stream
    addition: Stream


class GpuSpec(Spec):
    """One GPU. `streaming_multiprocessors` x `clock` x `throughput` is the dense peak."""

    streaming_multiprocessors: Count = Field(ge=1)
    clock_hz: Hertz = Field(alias="clock", gt=0)
    throughput: Throughput
    dram: Dram
    timing: Timing

    @field_validator("chip")
    @classmethod
    def _format_exists(cls, chip: ChipSection) -> ChipSection:
        if chip.default_format not in FORMATS:
            known = ", ".join(FORMATS)
            raise ValueError(
                f"chip.default_format must be one of {known}, not {chip.default_format}"
            )
        return chip

    def peak_op_per_s(self, number_format: str) -> float:
        """Dense peak of a format; a multiply-add is two operations."""
        per_clock: int = getattr(self.throughput, number_format)
        return self.streaming_multiprocessors * self.clock_hz * per_clock
