"""What the digital side of a crossbar makes of its converters' codes, in exact integers.

An input of several bits is driven digit by digit, a weight lies in several parts: slices of its
bits, and the negative columns of pairs. Each (digit, part) of a column is converted on its own,
and its code counts a power of two of the product::

    y = sum over digits t, parts p of  sign(t, p) 2^(shift[p] + t digit_bits) number(code[t, p])

The sign is negative where the part is, and for inputs in two's complement in the last digit,
which is the plane of their sign bits. Additions happen in that order, digits outermost, in a
sum of `sum_bits`, which saturates or wraps at each. `rtl/shift_add.sv` computes the same.

Bit slicing, bit-serial inputs: Shafiee et al., ISCA 2016 (ISAAC); pairs: Wan et al., Nature
608, 2022 (NeuRRAM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

CodeFormat = Literal["unsigned", "offset", "signed"]
Overflow = Literal["saturate", "wrap"]

_HELD_BITS: Final = 61  # of code and sum together: an int64 then holds every addition


@dataclass(frozen=True)
class ShiftAdd:
    """How codes count.

    Attributes:
        shifts: by part; at least one.
        negative: by part.
        digit_bits: of one digit of the inputs.
        signed_inputs: whether the last digit is a plane of sign bits.
        code_bits: of the converter.
        code_format: "unsigned"; "offset": the code less 2^(code_bits - 1); "signed": two's
            complement.
        sum_bits: with sign.
        overflow: what a sum does at the end of its bits.

    Raises:
        ModelError: widths that do not fit each other.
    """

    shifts: tuple[int, ...]
    negative: tuple[bool, ...]
    digit_bits: int
    signed_inputs: bool
    code_bits: int
    code_format: CodeFormat
    sum_bits: int
    overflow: Overflow

    def __post_init__(self) -> None:
        if not self.shifts or len(self.shifts) != len(self.negative) or min(self.shifts) < 0:
            raise ModelError(
                "shift_add must have a shift of 0 or more and a sign for each part, not "
                f"{len(self.shifts)} shifts and {len(self.negative)} signs; give one each"
            )
        if self.code_bits < 1 or self.sum_bits < 2:
            raise ModelError(
                "shift_add must have codes of 1 bit and sums of 2 bits at least, not "
                f"{self.code_bits} and {self.sum_bits}; widen them"
            )
        if self.code_bits + self.sum_bits > _HELD_BITS:
            raise ModelError(
                f"shift_add must have at most {_HELD_BITS} bits in a code and a sum together, "
                f"not {self.code_bits} and {self.sum_bits}; narrow one"
            )


def paired(shifts: Sequence[int]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """`shifts` and `negative` of pairs of columns: the positive ones, then the negative."""
    one = tuple(shifts)
    return one * 2, (False,) * len(one) + (True,) * len(one)


def numbers(codes: Array, how: ShiftAdd) -> Array:
    """What code words count, i64.

    Raises:
        ModelError: a word that is not of `code_bits`.
    """
    words = codes.astype(np.int64)
    if words.size and not 0 <= words.min() <= words.max() < 1 << how.code_bits:
        raise ModelError(
            f"codes must be words of {how.code_bits} bits, not {words.min()} to "
            f"{words.max()}; convert with as many bits as the shift and add has"
        )
    half = 1 << how.code_bits - 1
    match how.code_format:
        case "unsigned":
            return words
        case "offset":
            return words - half
        case "signed":
            return (words ^ half) - half


def shift_add(codes: Array, how: ShiftAdd) -> tuple[Array, Array]:
    """The products, and where a sum left its bits on the way.

    Args:
        codes: words [digits, parts, ...], the lowest digit first.
        how: they count.

    Returns:
        i64 and bool, both of the shape behind the parts.
    """
    values = numbers(codes, how)
    top = (1 << how.sum_bits - 1) - 1
    total = np.zeros(values.shape[2:], np.int64)
    left = np.zeros(values.shape[2:], np.bool_)
    for digit, planes in enumerate(values):
        flipped = how.signed_inputs and digit == len(values) - 1
        for shift, negative, plane in zip(how.shifts, how.negative, planes, strict=True):
            # any shift beyond the sum's bits leaves them as that shift does
            by = min(shift + digit * how.digit_bits, how.sum_bits)
            total += (-plane if negative != flipped else plane) << by
            out = (total > top) | (total < -top - 1)
            left |= out
            if how.overflow == "saturate":
                np.clip(total, -top - 1, top, out=total)
            else:
                total = (total + top + 1) % (2 * top + 2) - top - 1
    return total, left
