"""One GPU as the time model sees it: peaks, L2 cache, memory, constants fitted to timings."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.spec_ import (
    Bytes,
    BytesPerSecond,
    Count,
    Fraction,
    Hertz,
    Number,
    Seconds,
    Section,
    Spec,
)

ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
FORMATS = tuple(ELEMENT_BYTES)
# matrix operations and their action; integers are operations, floats FLOPs
ACTIONS = {name: f"op.{name}" if name == "int8" else f"flop.{name}" for name in FORMATS}


class Throughput(Section):
    """Operations per clock and streaming multiprocessor, dense; a MAC is two.

    A format that the chip lacks, or runs no faster than the plan's float32, is absent.
    `exponential` counts results of the special function units.
    """

    fp32: Count = Field(ge=1)
    tf32: Count | None = Field(default=None, ge=1)
    fp16: Count | None = Field(default=None, ge=1)
    bf16: Count | None = Field(default=None, ge=1)
    int8: Count | None = Field(default=None, ge=1)
    fp8: Count | None = Field(default=None, ge=1)
    exponential: Count | None = Field(default=None, ge=1)


class Block(Section):
    """What one program instance may take of a multiprocessor.

    The defaults are what every GPU has that Triton compiles for (CUDA C++ Programming Guide,
    technical specifications per compute capability).

    Attributes:
        shared_memory_bytes: of an instance.
        registers: of 32 bits, of all its threads.
        thread_registers: of one thread; what needs more is spilled to memory.
        threads: of an instance.
    """

    shared_memory_bytes: Bytes = Field(default=49_152, alias="shared_memory", ge=16_384)
    registers: Count = Field(default=65_536, ge=16_384)
    thread_registers: Count = Field(default=255, ge=32)
    threads: Count = Field(default=1024, ge=128)


class Dram(Section):
    """Device memory."""

    capacity_bytes: Bytes = Field(alias="capacity", ge=1)
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", gt=0)


class L2(Section):
    """The last cache before the device memory; its bandwidth is null where no source has it."""

    capacity_bytes: Bytes = Field(alias="capacity", ge=1)
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, alias="bandwidth", gt=0)


class Tiles(Section):
    """What level 2 adds to `Product`; see `product_time`.

    Attributes:
        feed_byte_per_clock: per multiprocessor, from the L2 cache to a tile's operands.
        prologue_s: of each wave of tiles.
        reduction_s: of a split sum, besides its bytes.
        knee_bytes: what a product moves besides its tensors, at the memory's pace.
    """

    feed_byte_per_clock: Number = Field(alias="feed", gt=0)
    prologue_s: Seconds = Field(alias="prologue")
    reduction_s: Seconds = Field(alias="reduction")
    knee_bytes: Bytes = Field(alias="knee")


class Product(Section):
    """Matrix products and convolutions: level 1, or with `tiles` level 2."""

    compute_efficiency_frac: Fraction = Field(alias="compute_efficiency", gt=0)
    dram_efficiency_frac: Fraction = Field(alias="dram_efficiency", gt=0)
    launch_s: Seconds = Field(alias="launch")
    tiles: Tiles | None = None


class Stream(Section):
    """Memory-bound kernels: ``t0 + B / (eb BW)``.

    A kernel whose bytes fit the L2 cache runs at `l2_efficiency` of the memory's bandwidth,
    which may be above 1; where that is absent, at `dram_efficiency` like the rest.
    """

    dram_efficiency_frac: Fraction = Field(alias="dram_efficiency", gt=0)
    l2_efficiency: Number | None = Field(default=None, gt=0)
    launch_s: Seconds = Field(alias="launch")

    @model_validator(mode="after")
    def _cache_is_no_slower(self) -> Self:
        cached = self.l2_efficiency
        if cached is not None and cached < self.dram_efficiency_frac:
            raise ValueError(
                "l2_efficiency must be at least dram_efficiency, "
                f"{self.dram_efficiency_frac:g}, not {cached:g}; raise it"
            )
        return self


class Timing(Section):
    """Constants of the time model, fitted to times taken on the device.

    `synchronize` is what a host that waits for every kernel adds to each; it counts under
    ``context: host-sync`` alone.
    """

    context: Literal["device", "host-sync"]
    synchronize_s: Seconds = Field(alias="synchronize")
    product: Product
    activation: Stream
    normalization: Stream
    addition: Stream


class GpuSpec(Spec):
    """One GPU. `streaming_multiprocessors` x `clock` x `throughput` is the dense peak.

    `architecture` is what machine code is made for (sm_90, gfx942); "" where none is known.
    """

    optional_actions: ClassVar[tuple[str, ...]] = tuple(ACTIONS.values())

    architecture: str = ""
    streaming_multiprocessors: Count = Field(ge=1)
    clock_hz: Hertz = Field(alias="clock", gt=0)
    throughput: Throughput
    block: Block = Block()
    l2: L2
    dram: Dram
    timing: Timing

    @model_validator(mode="after")
    def _format_exists(self) -> Self:
        if self.chip.default_format not in self.formats:
            raise ValueError(
                f"chip.default_format must be one of {', '.join(self.formats)}, "
                f"not {self.chip.default_format}; take one of them"
            )
        return self

    @model_validator(mode="after")
    def _power_is_left_to_compute(self) -> Self:
        tdp_w, idle_w = self.chip.tdp_w, self.chip.static_power_w
        if tdp_w is not None and idle_w is not None and tdp_w <= idle_w:
            raise ValueError(
                f"chip.tdp must be more than chip.static_power, {idle_w:g} W, not {tdp_w:g} "
                "W; raise it"
            )
        return self

    def roof(self, number_format: str | None = None) -> Roof:
        """The dense peak, and the device memory."""
        name = number_format if number_format in self.formats else self.chip.default_format
        return Roof(
            self.peak_op_per_s(name) / 2,
            self.dram.bandwidth_bytes_per_s,
            f"streaming_multiprocessors x clock x throughput.{name} / 2",
            "dram.bandwidth",
        )

    @property
    def on_chip_bytes(self) -> int:
        """The L2 cache."""
        return self.l2.capacity_bytes

    @property
    def off_chip_bytes(self) -> int:
        """The device memory."""
        return self.dram.capacity_bytes

    @property
    def formats(self) -> tuple[str, ...]:
        """The number formats that the chip multiplies."""
        return tuple(name for name in FORMATS if getattr(self.throughput, name) is not None)

    @property
    def level(self) -> int:
        """Of the model of products: 1 or 2."""
        return 1 if self.timing.product.tiles is None else 2

    @property
    def synchronize_s(self) -> float:
        """What the measurement context adds to every kernel."""
        return self.timing.synchronize_s if self.timing.context == "host-sync" else 0.0

    def per_clock(self, number_format: str) -> int:
        """Operations of a format per clock and multiprocessor; a multiply-add is two.

        Raises:
            UnsupportedError: the chip has no such format.
        """
        found: int | None = getattr(self.throughput, number_format, None)
        if number_format not in FORMATS or found is None:
            raise UnsupportedError(
                f"{self.name} must be given a format that it multiplies, "
                f"{', '.join(self.formats)}, not {number_format}; choose another --quant or "
                "chip"
            )
        return found

    def peak_op_per_s(self, number_format: str) -> float:
        """Dense peak of a format; a multiply-add is two operations.

        Raises:
            UnsupportedError: the chip has no such format.
        """
        rate = self.streaming_multiprocessors * self.clock_hz
        return rate * self.per_clock(number_format)
