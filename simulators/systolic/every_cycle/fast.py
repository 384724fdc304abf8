"""`array`'s steps compiled (extra `fast`): in place, the bottom row first.

A row takes what the row above held in the cycle before, so going upwards needs no copy, and
the inner loops run over contiguous rows of narrow numbers. Drain registers through which no sum
passes keep what they hold, which nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle.array import Edge, Registers

_Function = TypeVar("_Function", bound=Callable[..., None])


def _compiled(function: _Function) -> _Function:
    return cast("_Function", numba.njit(nogil=True, cache=True)(function))


def _inlined(function: _Function) -> _Function:
    return cast("_Function", numba.njit(nogil=True, inline="always")(function))


def step_weight_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `array`."""
    span, first = _span(x, start, out)
    _weight_stationary(
        (x.left, x.weight, x.shadow, x.passed, x.sums),
        (x.place, x.shadow_place, x.passed_place),
        (edge.values[span], edge.weights[span], edge.places[span]),
        (*_bits(edge.begin[span]), *_bits(edge.end[span])),
        np.zeros(x.left.shape[2] + 1, x.left.dtype),
        first,
        out,
    )


def step_output_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `array`."""
    span, first = _span(x, start, out)
    _output_stationary(
        (x.left[0], x.weight, x.sums, x.first, x.second),
        (edge.values[span], edge.weights[span]),
        (*_bits(edge.begin[span]), *_bits(edge.end[span])),
        (
            np.zeros(x.left.shape[2] + 1, x.left.dtype),
            np.zeros_like(x.weight[0]),
            np.zeros_like(x.sums[0]),
        ),
        first,
        out,
    )


def _span(x: Registers, start: int, out: Array) -> tuple[slice, int]:
    """The part of the logs that is looked at, and where in it the steps begin."""
    rows, cols = x.weight.shape
    back = 2 * rows + cols
    return slice(start - back, start + len(out)), back


def _bits(log: Array) -> tuple[Array, Array]:
    """A log backwards, so that column c finds that of c cycles before; and how many are set."""
    return log[::-1].copy(), np.concatenate([[0], np.cumsum(log, dtype=np.int64)])


@_compiled
def _weight_stationary(
    held: Any, places: Any, fed: Any, bits: Any, moving: Array, start: int, out: Array
) -> None:
    left, weight, shadow, passed, sums = held
    values, weights, fed_places = fed
    swaps, swap_counts, shifts, shift_counts = bits
    rows, cols = weight.shape
    dense, last = left[0], len(swaps) - 1
    for n in range(len(out)):
        t = start + n
        for r in range(rows - 1, -1, -1):
            at = last - t + r  # of column 0 in the backward logs
            new, old = t - r + 1, t - r - cols + 1
            if swap_counts[new] - swap_counts[old]:
                _take(weight[r], shadow[r], swaps[at : at + cols])
                if len(left) > 1:
                    _take(places[0][r], places[1][r], swaps[at : at + cols])
            if len(left) > 1:
                _choose(left, moving, values, places[0], t, r)
                for c in range(cols):
                    sums[r + 1, c] = sums[r, c] + moving[c] * weight[r, c]
            else:
                moving[0] = values[t - r, 0, r]
                for c in range(cols):
                    moving[c + 1] = dense[r, c]
                for c in range(cols):
                    dense[r, c] = moving[c]
                    sums[r + 1, c] = sums[r, c] + moving[c] * weight[r, c]
            if shift_counts[new] - shift_counts[old]:
                _above(moving, passed, weights, r, t)
                _take(passed[r], shadow[r], shifts[at : at + cols])
                _take(shadow[r], moving, shifts[at : at + cols])
                if len(left) > 1:
                    _shift_places(places, fed_places, shifts, t, r)
        for c in range(cols):
            out[n, c] = sums[rows, c]


@_compiled
def _output_stationary(
    held: Any, fed: Any, bits: Any, spare: Any, start: int, out: Array
) -> None:
    left, weight, sums, first, second = held
    values, weights = fed
    starts, start_counts, ends, end_counts = bits
    moving, falling, drained = spare
    rows, cols = weight.shape
    last = len(starts) - 1
    for n in range(len(out)):
        t = start + n
        for r in range(rows - 1, -1, -1):
            at = last - t + r
            new, old = t - r + 1, t - r - cols + 1
            _above(falling, weight, weights, r, t)
            if start_counts[new] - start_counts[old]:
                _take(sums[r + 1], sums[0], starts[at : at + cols])
            moving[0] = values[t - r, 0, r]
            for c in range(cols):
                moving[c + 1] = left[r, c]
            for c in range(cols):
                left[r, c] = moving[c]
            for c in range(cols):
                weight[r, c] = falling[c]
            for c in range(cols):
                sums[r + 1, c] += moving[c] * falling[c]
            if end_counts[new] - end_counts[old - r - 1]:  # a sum is on its way here
                for c in range(cols):
                    drained[c] = first[r, c]
                for c in range(cols):
                    first[r, c] = second[r, c]
                for c in range(cols):
                    second[r + 1, c] = drained[c]
            if end_counts[new] - end_counts[old]:
                _take(first[r], sums[r + 1], ends[at : at + cols])
        for c in range(cols):
            out[n, c] = first[rows - 1, c]


@_compiled
def _choose(left: Array, moving: Array, values: Array, place: Array, t: int, r: int) -> None:
    """A row of 2:4 sparse PEs: four operands move right, and each PE takes one of them."""
    for p in range(len(left)):
        for c in range(left.shape[2] - 1, 0, -1):
            left[p, r, c] = left[p, r, c - 1]
        left[p, r, 0] = values[t - r, p, r]
    for c in range(left.shape[2]):
        moving[c] = left[place[r, c], r, c]


@_inlined
def _take(own: Array, other: Array, mask: Array) -> None:
    """A row takes another where the bits say so."""
    for c in range(len(mask)):
        one, two = other[c], own[c]
        own[c] = one if mask[c] else two


@_inlined
def _above(row: Array, passed: Array, fed: Array, r: int, t: int) -> None:
    """What comes down to row r: the row above passes it on, or it enters."""
    if r:
        for c in range(passed.shape[1]):
            row[c] = passed[r - 1, c]
    else:
        for c in range(passed.shape[1]):
            row[c] = fed[t - c, c]


@_compiled
def _shift_places(places: Any, fed: Array, shifts: Array, t: int, r: int) -> None:
    _, shadow, passed = places
    last = len(shifts) - 1
    for c in range(shadow.shape[1]):
        if shifts[last - t + r + c]:
            above = passed[r - 1, c] if r else fed[t - c, c]
            passed[r, c] = shadow[r, c]
            shadow[r, c] = above
