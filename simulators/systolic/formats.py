"""Number formats: how weights are stored, and what the array multiplies.

| MM fmt | activations | weights | sums |
|---|---|---|---|
| 0 int8 | int8 or uint8 | int8 (or int4 in DRAM) | int32, wrap |
| 1 int16x8 | int16 | int8 (or int4 in DRAM) | int64, wrap (48 bits suffice) |
| 2 int16 | int16 | int16 | int64, wrap |
| 3 bf16 | bfloat16 | bfloat16 | float32 |
| 4 fp16 | float16 | float16 | float32 |
"""

from __future__ import annotations

from collections.abc import Mapping

FORMATS: tuple[str, ...] = ("int8", "int16x8", "int16", "bf16", "fp16", "int4")
"""Of `array.formats`: the first five in the order of MM's `fmt`; int4 is stored only."""

PRODUCTS: tuple[str, ...] = FORMATS[:5]
"""By MM's `fmt`."""

STORED: tuple[str, ...] = ("int8", "int16", "int4", "bf16", "fp16")
"""By LDW's `fmt`."""

SLOT_OF: tuple[str, ...] = ("int8", "int8", "int16", "bf16", "fp16")
"""What MM's `fmt` needs in the slot; int4 is int8 once it is there."""

ELEMENT_BYTES: Mapping[str, int] = {
    "int8": 1,
    "int16x8": 2,
    "int16": 2,
    "bf16": 2,
    "fp16": 2,
    "int4": 1,
}
"""Of the widest operand of a format."""


def tile_bytes(rows: int, cols: int, fmt: int, sparse: bool) -> int:
    """What a tile of weights takes in DRAM.

    Args:
        rows: stored rows; of a sparse tile the compressed ones.
        cols: its columns.
        fmt: as in LDW.
        sparse: the values are followed by their 2-bit positions, four a byte.
    """
    row = -(-cols // 2) if STORED[fmt] == "int4" else cols * ELEMENT_BYTES[STORED[fmt]]
    return rows * row + (-(-rows * cols // 4) if sparse else 0)
