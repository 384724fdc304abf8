"""What an array itself takes, from the voltages and conductances that it is read with.

A row at V volts gives V^2 G watts to each cell of G siemens on it, so a read of t seconds takes
``t sum_i V_i^2 sum_j G_ij``; through wires it takes ``t V' Y V`` with the admittance matrix Y
that the rows see. V_i is d_i / (2^bits - 1) of the highest level's, d_i the digit that is
driven. A row that is gated, or driven by pulses of one height, is at the whole voltage for that
share of the time instead, so there d_i counts itself in place of its square. Squares and
products of digits are whole numbers, so they add up to the same whatever the chunks and
threads: only then are they multiplied with conductances, in one fixed order.
Peripheral circuits have prices of their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tetrapla.ir.graph import Array

_CHUNK: Final = 1 << 12  # inputs at a time; digits of 8 bits then sum below 2^53


def drive_squares(
    inputs: Array, input_bits: int, dac_bits: int, *, timed: bool = False
) -> Array:
    """The sum over inputs and digits of the digit's square, int64 [rows].

    Args:
        inputs: unsigned whole numbers [..., rows].
        input_bits: of an input.
        dac_bits: of a digit.
        timed: a digit is a share of the time, d (2^bits - 1) in place of d^2.
    """
    flat = inputs.reshape(-1, inputs.shape[-1])
    total = np.zeros(flat.shape[1], np.int64)
    for digit in _digits(input_bits, dac_bits):
        table = _squares(digit, input_bits, dac_bits, timed=timed)
        for start in range(0, len(flat), _CHUNK):
            total += table[flat[start : start + _CHUNK]].sum(axis=0)
    return total


def drive_gram(inputs: Array, input_bits: int, dac_bits: int) -> Array:
    """The sum over inputs and digits of the product of two rows' digits, int64 [rows, rows].

    Args:
        inputs: unsigned whole numbers [..., rows].
        input_bits: of an input.
        dac_bits: of a digit.
    """
    flat = inputs.reshape(-1, inputs.shape[-1])
    total = np.zeros((flat.shape[1], flat.shape[1]), np.int64)
    for digit in _digits(input_bits, dac_bits):
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK] >> digit & (1 << dac_bits) - 1
            driven = part.astype(np.float64)
            # exact in float64: at most 2^12 products below 2^16
            total += (driven.T @ driven).astype(np.int64)
    return total


def joules(
    squares: Array, row_siemens: Array, *, read_s: float, volts: float, dac_bits: int
) -> float:
    """Joules of an array whose wires are ideal.

    Args:
        squares: of `drive_squares`.
        row_siemens: by row, the sum of its cells' conductances.
        read_s: of one read.
        volts: of the highest level of a DAC.
        dac_bits: of a digit.
    """
    parts = squares.astype(np.float64) * row_siemens
    return read_s * _step_volts(volts, dac_bits) ** 2 * float(parts.sum())


def wired_joules(
    gram: Array, admittance: Array, *, read_s: float, volts: float, dac_bits: int
) -> float:
    """Joules of an array through wires, ``t sum V' Y V``, wires included.

    Args:
        gram: of `drive_gram`.
        admittance: siemens [rows, rows], what the row drivers see.
        read_s: of one read.
        volts: of the highest level of a DAC.
        dac_bits: of a digit.
    """
    parts = gram.astype(np.float64) * admittance
    return read_s * _step_volts(volts, dac_bits) ** 2 * float(parts.sum())


def _step_volts(volts: float, dac_bits: int) -> float:
    return volts / ((1 << dac_bits) - 1)


def _digits(input_bits: int, dac_bits: int) -> range:
    """The lowest bit of every digit."""
    return range(0, input_bits, dac_bits)


def _squares(shift: int, input_bits: int, dac_bits: int, *, timed: bool) -> Array:
    """The square of a digit, or what stands for it, by the whole input."""
    top = (1 << dac_bits) - 1
    digit = np.arange(1 << input_bits, dtype=np.int64) >> shift & top
    return np.asarray(digit * (top if timed else digit))
