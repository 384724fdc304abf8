"""Random machines, and the constants of a random program: tables, tiles, activations.

Addresses are drawn from a unified buffer in three parts: floats that only LDA writes, integers,
and results; so floats are always finite, and everything else is any byte.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.formats import DTYPE, STORED, stored_format, tile_bytes
from tetrapla.simulators.systolic.spec import ArraySection, SystolicSpec
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor, RequantizeRow

BASE = load_spec("tpu-v1", SystolicSpec).spec
PACES = {"int8": 1, "int16x8": 2, "int16": 3, "bf16": 1, "fp16": 2, "int4": 1}
FLOATS, WHOLE, BUFFER = 0, 192, 640  # parts of the unified buffer begin here; its end
REGION = 256
SLOTS = 6
ACCUMULATORS = 12


def random_spec(rng: np.random.Generator) -> SystolicSpec:
    """A small machine."""
    stationary = bool(rng.random() < 0.4)
    array = ArraySection(
        rows=int(rng.integers(1, 6)),
        cols=int(rng.integers(1, 6)),
        dataflow="output_stationary" if stationary else "weight_stationary",
        units=int(rng.integers(1, 4)),
        formats=PACES,
        sparsity="none" if stationary or rng.random() < 0.6 else "2:4",
    )
    clock = BASE.clock_hz
    dram = BASE.dram.model_copy(
        update={
            "bandwidth_bytes_per_s": clock * float(rng.choice([6.25, 17.3, 48.5])),
            "latency_s": int(rng.integers(0, 6)) * 2e-9,
        }
    )
    host = BASE.host.model_copy(update={"latency_s": 12e-9})
    lanes = BASE.vector.model_copy(update={"lanes": int(rng.integers(1, 5))})
    sections = {"array": array, "dram": dram, "host": host, "vector": lanes}
    return BASE.model_copy(update=sections)


class Constants:
    """What lies in DRAM before a random program runs, and where."""

    def __init__(self, rng: np.random.Generator, spec: SystolicSpec) -> None:
        self.rng, self.array = rng, spec.array
        self.image = bytearray()
        self.windows = [self._window(n) for n in range(8)]
        self.window_at = [self.constant(d.pack()) for d in self.windows]
        self.tables = [self._table(n) for n in range(4)]
        self.table_at = [(self.constant(t.pack()), len(t.pack())) for t in self.tables]
        kinds = self.rng.choice(5, 2 if rng.random() < 0.3 else 1)
        self.tiles = [self._tile(int(rng.choice(kinds))) for _ in range(SLOTS)]
        floats = rng.integers(-40, 40, 96) / 16
        dtype = "bf16" if kinds[0] == 3 else "f16"
        self.float_at = self.constant(floats.astype(DTYPES[dtype]).tobytes())
        self.whole_at = self.constant(rng.integers(0, 256, BUFFER - WHOLE, np.uint8).tobytes())
        self.float_fmt = 3 if kinds[0] == 3 else 4

    def between(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.rng.integers(low, high + 1))

    def constant(self, data: bytes) -> int:
        """Append to the image, and say where."""
        start = len(self.image)
        self.image += data
        return start

    def _window(self, n: int) -> Descriptor:
        """0..2 products of bytes, 3 of halves, 4 of floats, 5 and 6 one pixel, 7 LUW."""
        rng, one = self.rng, n in (5, 6)
        channels, width = self.between(1, 5), 2 if n in (3, 4) else 1
        if one:
            channels = 3
        kernel_h, kernel_w = (1, 1) if one else (self.between(1, 2), self.between(1, 3))
        height, size = self.between(1, 4), self.between(2, 4)
        pixel = channels * width + self.between(0, 1) * width
        unsigned = bool(rng.random() < 0.4)
        return Descriptor(
            base=FLOATS if n == 4 else WHOLE + self.between(0, 80),
            channels=channels,
            kernel_h=kernel_h,
            kernel_w=kernel_w,
            height=height,
            width=size,
            out_h=self.between(1, 4),
            out_w=self.between(1, 4),
            stride_y=self.between(1, 2),
            stride_x=self.between(1, 2),
            dilation_y=self.between(1, 2),
            dilation_x=self.between(1, 2),
            pad_top=self.between(0, 1),
            pad_left=self.between(0, 1),
            image_stride=self.between(0, 3) * width,
            row_stride=size * pixel,
            pixel_stride=pixel,
            pad_value=self.between(0, 127),
            flags=int(unsigned) + COUNT_PAD * self.between(0, 1),
            zero_x=128 * unsigned if n == 7 else 0 if n in (3, 4) else self.between(-3, 3),
            zero_y=self.between(-20, 20),
            low=self.between(-128, 0),
            high=self.between(1, 127),
            p0=float(np.float32(rng.random() * 0.2)),
            p1=float(np.float32(rng.random() + 0.01)),
            p2=float(np.float32(rng.normal())),
            weights=WHOLE + self.between(0, 100),
            out_stride=channels + self.between(0, 2) if rng.random() < 0.5 else 0,
        )

    def _table(self, n: int) -> RequantizeRow:
        """0 int8, 1 uint8, 2 int16, 3 for float sums; scales that often saturate."""
        count = max(ACCUMULATORS, self.array.cols * self.array.units)
        low, high = ((-128, 127), (0, 255), (-3000, 30000), (-2, 3))[n]
        scale = (self.rng.random(count) * self.rng.choice([0.001, 0.05, 3])).astype(np.float32)
        bias = self.rng.integers(-(2**31), 2**31, count).astype(np.int32)
        small = self.rng.integers(-500, 500, count).astype(np.int32)
        bias = np.where(self.rng.random(count) < 0.1, bias, small).astype(np.int32)
        if n == 3:
            bias = (self.rng.integers(-50, 50, count) / 8).astype(np.float32)
        stride = self.between(1, 40)
        zero = 0 if n == 3 else self.between(-5, 5)
        clamped = bool(self.rng.random() < 0.5)
        return RequantizeRow(stride, zero, low, high, n == 1, bias, scale, clamped)

    def _tile(self, fmt: int) -> tuple[dict[str, int], str, bool]:
        """A tile in the image: LDW's operands, the format in the slot, whether it is sparse."""
        rows, cols = self.between(1, self.array.rows), self.between(1, self.array.cols)
        sparse = self.array.sparsity == "2:4" and self.rng.random() < 0.6
        size = tile_bytes(rows, cols, fmt, sparse)
        data = self.rng.integers(0, 256, size, np.uint8)
        if STORED[fmt] in ("bf16", "fp16"):
            values = (self.rng.integers(-30, 30, rows * cols) / 8).astype(DTYPE[STORED[fmt]])
            data[: 2 * rows * cols] = values.view(np.uint8)
        elif self.rng.random() < 0.2:
            data[: tile_bytes(rows, cols, fmt)] = 128  # the most negative weights
        at = self.constant(data.tobytes())
        operands = {"dram": at, "rows": rows, "cols": cols, "fmt": fmt, "sparse": int(sparse)}
        return operands, stored_format(fmt), sparse
