"""What an ADC or a DAC takes: energy, area and time as functions of bits, rate and node.

[survey]: the regression over B. Murmann's ADC performance survey that CiMLoop and
HWComponents carry (T. Andrulis et al., ISPASS 2024). Its energy is that of the better half of
published converters; a chip that states the price of its own converter takes only the ratio of
two of its points.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log
from typing import Final, Literal

Circuit = Literal["sar", "ramp", "flash"]

_SQUARE_UM_PER_MM: Final = 1e6
# figure of merit, dB: falls with the rate, and no better than what noise lets a resolution be
_FOM_AT_1_HZ: Final = 213.7806687348118
_FOM_PER_LOG_HZ: Final = -2.8719030399529957
_FOM_AT_0_BITS: Final = 128.3068287398817
_FOM_PER_BIT: Final = 3.220511510952
_MOST_BITS: Final = 20  # the survey has no more
# energy over the figure of merit's, exp(a + b ln node + c ln bits + d)
_ENERGY: Final = (26.0496215686518, 1.8800369206815004, -2.8291256050594527)
_ENERGY_OFFSET: Final = -1.4702022133784405
# ln of um2: node, rate, energy, constant
_AREA: Final = (
    0.9932794744745022,
    0.18071538424508238,
    0.29912426192653485,
    1.3461916439910742,
)


@dataclass(frozen=True)
class Surveyed:
    """An ADC as the regression has it: one conversion, and the area of one converter."""

    energy_pj: float
    area_mm2: float


def survey(bits: float, rate_hz: float, node_nm: float) -> Surveyed:
    """An ADC of so many bits and conversions a second at a node.

    ``E = exp(a + b ln node + c ln bits + d) / (2 10^((FOM - SNDR) / 10))`` with
    ``SNDR = 6.02 bits + 1.76`` dB, the energy of Schreier's figure of merit at this resolution
    times what node and bits add.

    Raises:
        ValueError: a number is not positive.
    """
    if not (bits > 0 and rate_hz > 0 and node_nm > 0):
        raise ValueError("bits, rate and node of an ADC must be positive")
    whole = min(ceil(bits), _MOST_BITS)
    merit = min(
        _FOM_AT_1_HZ + _FOM_PER_LOG_HZ * log(rate_hz), _FOM_AT_0_BITS + _FOM_PER_BIT * whole
    )
    noise = 6.02 * bits + 1.76
    constant, per_node, per_bits = _ENERGY
    factor = exp(constant + per_node * log(node_nm) + per_bits * log(bits) + _ENERGY_OFFSET)
    energy_pj = factor / (2 * 10 ** ((merit - noise) / 10))
    of_node, of_rate, of_energy, start = _AREA
    area = exp(
        of_node * log(node_nm) + of_rate * log(rate_hz) + of_energy * log(energy_pj) + start
    )
    return Surveyed(energy_pj, area / _SQUARE_UM_PER_MM)


def steps(circuit: Circuit, bits: int) -> int:
    """Comparisons one after the other in a conversion.

    A successive approximation decides a bit a step, a ramp passes all 2^bits levels, a flash
    converter has a comparator for each and takes one.
    """
    return {"sar": bits, "ramp": 1 << bits, "flash": 1}[circuit]


def energy_ratio(
    circuit: Circuit, bits: int, of_bits: int, rate_hz: float, node_nm: float | None
) -> float:
    """What a conversion of `bits` takes over one of `of_bits`.

    A SAR converter's ratio is [survey]'s; without a node, which only scales both, it is the
    same at any. A ramp's counts its steps, a flash's its comparators (2^bits - 1).
    """
    if bits == of_bits:
        return 1.0
    if circuit == "sar":
        at = node_nm or 1.0
        return survey(bits, rate_hz, at).energy_pj / survey(of_bits, rate_hz, at).energy_pj
    if circuit == "ramp":
        return steps(circuit, bits) / steps(circuit, of_bits)
    return ((1 << bits) - 1) / ((1 << of_bits) - 1)


def area_ratio(
    circuit: Circuit, bits: int, of_bits: int, rate_hz: float, node_nm: float | None
) -> float:
    """What a converter of `bits` takes over one of `of_bits`.

    A ramp's comparator has a latch for each bit (assumed: all of its area), a flash converter
    a comparator for each level.
    """
    if bits == of_bits:
        return 1.0
    if circuit == "sar":
        at = node_nm or 1.0
        return survey(bits, rate_hz, at).area_mm2 / survey(of_bits, rate_hz, at).area_mm2
    if circuit == "ramp":
        return bits / of_bits
    return ((1 << bits) - 1) / ((1 << of_bits) - 1)


def dac_ratio(bits: int, of_bits: int) -> float:
    """Energy and area of a DAC of `bits` over those of one of `of_bits`: its unit elements.

    A DAC of equal capacitors or resistors has 2^bits - 1 of them, and drives as many.
    """
    return ((1 << bits) - 1) / ((1 << of_bits) - 1)
