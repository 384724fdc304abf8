"""From the sums of one digit to the codes that count: noise of the read, ADC, weight.

One pass over memory with the extra `fast`; without it the same numbers in NumPy.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.adc import convert
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.reads import Reads, variances
from tetrapla.simulators.analog.sections import AdcSection
from tetrapla.simulators.analog.spec import AnalogSpec


def add_read(
    codes: Array,
    driven: Array,
    held: Cells,
    lsb: Array,
    spec: AnalogSpec,
    weight: int,
    reads: Reads,
    digit: int,
    *,
    fast: bool | None = None,
) -> None:
    """Add a noisy read of a linear array by digits [vectors, rows] to `codes` (`add_codes`)."""
    sums = driven.astype(held.levels.dtype, copy=False) @ held.levels
    spread = variances(held, spec, driven, fast=noise.compiles(sums.size, fast))
    if held.converters is not None:
        # as `adc.mismatched` does, before the noise is added: it has the gain too
        gain, offset = held.converters.of(sums.shape[1])
        lsb = lsb.astype(np.float64)
        sums = sums * gain + offset * lsb
        spread = spread * (gain * gain)
    add_codes(codes, sums, spread, lsb, spec.adc, weight, reads, digit, fast=fast)


def add_codes(
    codes: Array,
    sums: Array,
    spread: Array,
    lsb: Array,
    adc: AdcSection,
    weight: int,
    reads: Reads,
    digit: int,
    *,
    fast: bool | None = None,
) -> None:
    """Add weight * clip(round_half_even((sums + sqrt(spread) z) / lsb)) to `codes`.

    Args:
        codes: floats [invocations x places, conversions], added to.
        sums: in units, floats of the same shape.
        spread: variances of the sums, floats, of no wider a type.
        lsb: of every conversion, of the sums' type.
        adc: the lowest and the highest code.
        weight: what a code of this digit counts.
        reads: the address of the block.
        digit: which of the inputs' digits drove the rows.
        fast: compiled; None where numba is there and there are enough of them.
    """
    # the inverse of a power of two is exact
    powers = bool((np.frexp(lsb)[0] == 0.5).all())
    if not (powers and noise.compiles(sums.size, fast)):
        spread = np.sqrt(spread)
        spread *= reads.normals(digit, sums.shape[1])
        found = convert(sums + spread, adc, lsb)
        found *= weight
        codes += found
        return
    from tetrapla.simulators.analog import fast as compiled

    address, numbers = noise.addresses(reads.key, reads.layer, reads.tile, reads.invocations)
    start = (reads.before + digit * reads.positions + reads.places.start) * sums.shape[1]
    kind = sums.dtype.type
    limits = kind(adc.lowest), kind(adc.highest), kind(weight)
    draws = address, numbers, start, noise.quantiles()
    compiled.add_codes(draws, sums, spread, 1 / lsb, limits, codes)
