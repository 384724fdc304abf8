"""Integer weights that a core can hold: a mantissa of few bits, and zeros behind it."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array

_MOST_SHIFT = 7  # the weight exponent has 3 bits


def on_grid(weight: Array, name: str, bits: int) -> Array:
    """The weights, if they are multiples of one power of two with mantissas of `bits`.

    Raises:
        UnsupportedError: they are floats, or some lie between what a core can hold.
    """
    if weight.dtype.kind == "f":
        raise UnsupportedError(
            f"spiking: weights of {name} must be integers, not {weight.dtype}: the chip's "
            "neurons count; quantise them with their neurons"
        )
    most = 2 ** (bits - 1)
    wide = weight.astype(np.int64)
    least, largest = int(wide.min(initial=0)), int(wide.max(initial=0))
    shift = next((s for s in range(_MOST_SHIFT + 1) if -most << s <= least), _MOST_SHIFT)
    shift = max(
        shift,
        next((s for s in range(_MOST_SHIFT + 1) if largest <= (most - 1) << s), _MOST_SHIFT),
    )
    off = wide[
        (wide % (1 << shift) != 0) | (wide < -most << shift) | (wide > (most - 1) << shift)
    ]
    if off.size:
        below = int(np.clip(off[0] >> shift, -most, most - 1)) << shift
        above = int(np.clip((off[0] >> shift) + 1, -most, most - 1)) << shift
        others = f" (and {off.size - 1} more)" if off.size > 1 else ""
        raise UnsupportedError(
            f"spiking: weights of {name} must be multiples of {1 << shift} in "
            f"{-most << shift}..{(most - 1) << shift}, {bits} bits with sign, not "
            f"{off[0]}{others}; the nearest are {below} and {above}"
        )
    return weight
