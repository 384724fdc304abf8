"""`every_cycle_array`'s steps compiled (extra `fast`): in place, the bottom row first.

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
from tetrapla.simulators.systolic.every_cycle_array import Edge, Registers

_BLOCK = 2048  # elements, assumed: of two bytes each, an eighth of 32 KiB

_Function = TypeVar("_Function", bound=Callable[..., None])


def _compiled(function: _Function) -> _Function:
    return cast("_Function", numba.njit(nogil=True, cache=True)(function))


def step_weight_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `every_cycle_array`."""
    end = start + len(out)
    _weight_stationary(
        (x.left, x.weight, x.shadow, x.passed, x.sums),
        (x.place, x.shadow_place, x.passed_place),
        (edge.values, edge.weights, edge.places),
        (*_bits(edge.begin[:end]), *_bits(edge.end[:end])),
        np.zeros(x.left.shape[2] + 1, x.left.dtype),
        start,
        out,
    )


def step_output_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `every_cycle_array`."""
    end = start + len(out)
    _output_stationary(
        (x.left[0], x.weight, x.sums, x.first, x.second),
        (edge.values, edge.weights),
        (*_bits(edge.begin[:end]), *_bits(edge.end[:end])),
        np.zeros_like(x.sums[0]),
        start,
        out,
    )


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
    dense, flat, last = left[0], left[0].reshape(-1), len(swaps) - 1
    for n in range(len(out)):
        t = start + n
        if len(left) == 1:
            _move(flat, 1)
            for r in range(rows):
                dense[r, 0] = values[t - r, 0, r]
        for r in range(rows - 1, -1, -1):
            at = last - t + r  # of column 0 in the backward logs
            new, old = t - r + 1, t - r - cols + 1
            if swap_counts[new] - swap_counts[old]:
                mask = swaps[at : at + cols]
                for c in range(cols):
                    one, two = shadow[r, c], weight[r, c]
                    weight[r, c] = one if mask[c] else two
                if len(left) > 1:
                    _swap_places(places, swaps, at, r)
            if len(left) > 1:
                _choose(left, moving, values, places[0], t, r)
                for c in range(cols):
                    sums[r + 1, c] = sums[r, c] + moving[c] * weight[r, c]
            else:
                for c in range(cols):
                    sums[r + 1, c] = sums[r, c] + dense[r, c] * weight[r, c]
            if shift_counts[new] - shift_counts[old]:
                mask = shifts[at : at + cols]
                if r:
                    for c in range(cols):
                        moving[c] = passed[r - 1, c]
                else:
                    for c in range(cols):
                        moving[c] = weights[t - c, c]
                for c in range(cols):
                    one, two = shadow[r, c], passed[r, c]
                    passed[r, c] = one if mask[c] else two
                for c in range(cols):
                    one, two = moving[c], shadow[r, c]
                    shadow[r, c] = one if mask[c] else two
                if len(left) > 1:
                    _shift_places(places, fed_places, shifts, t, r)
        for c in range(cols):
            out[n, c] = sums[rows, c]


@_compiled
def _output_stationary(
    held: Any, fed: Any, bits: Any, drained: Array, start: int, out: Array
) -> None:
    left, weight, sums, first, second = held
    values, weights = fed
    starts, start_counts, ends, end_counts = bits
    rows, cols = weight.shape
    left_flat, weight_flat = left.reshape(-1), weight.reshape(-1)
    last = len(starts) - 1
    for n in range(len(out)):
        t = start + n
        _move(left_flat, 1)
        for r in range(rows):
            left[r, 0] = values[t - r, 0, r]
        _move(weight_flat, cols)
        for c in range(cols):
            weight[0, c] = weights[t - c, c]
        for r in range(rows - 1, -1, -1):
            at = last - t + r
            new, old = t - r + 1, t - r - cols + 1
            if start_counts[new] - start_counts[old]:
                mask = starts[at : at + cols]
                for c in range(cols):
                    one, two = sums[0, c], sums[r + 1, c]
                    sums[r + 1, c] = one if mask[c] else two
            for c in range(cols):
                sums[r + 1, c] += left[r, c] * weight[r, c]
            if end_counts[new] - end_counts[old - r - 1]:  # a sum is on its way here
                for c in range(cols):
                    drained[c] = first[r, c]
                for c in range(cols):
                    first[r, c] = second[r, c]
                for c in range(cols):
                    second[r + 1, c] = drained[c]
            if end_counts[new] - end_counts[old]:
                mask = ends[at : at + cols]
                for c in range(cols):
                    one, two = sums[r + 1, c], first[r, c]
                    first[r, c] = one if mask[c] else two
        for c in range(cols):
            out[n, c] = first[rows - 1, c]


@_compiled
def _move(flat: Array, by: int) -> None:
    """Every element `by` places on, the last ones first, in blocks that fit the first cache."""
    held = np.empty(_BLOCK, flat.dtype)
    end = len(flat) - by
    while end > 0:
        start = max(0, end - _BLOCK)
        for n in range(end - start):
            held[n] = flat[start + n]
        for n in range(end - start):
            flat[start + by + n] = held[n]
        end = start


@_compiled
def _choose(left: Array, moving: Array, values: Array, place: Array, t: int, r: int) -> None:
    """A row of 2:4 sparse PEs: four operands move right, and each PE takes one of them."""
    for p in range(len(left)):
        for c in range(left.shape[2] - 1, 0, -1):
            left[p, r, c] = left[p, r, c - 1]
        left[p, r, 0] = values[t - r, p, r]
    for c in range(left.shape[2]):
        moving[c] = left[place[r, c], r, c]


@_compiled
def _swap_places(places: Any, swaps: Array, at: int, r: int) -> None:
    place, shadow_place, _ = places
    for c in range(place.shape[1]):
        one, two = shadow_place[r, c], place[r, c]
        place[r, c] = one if swaps[at + c] else two


@_compiled
def _shift_places(places: Any, fed: Array, shifts: Array, t: int, r: int) -> None:
    _, shadow, passed = places
    last = len(shifts) - 1
    for c in range(shadow.shape[1]):
        if shifts[last - t + r + c]:
            above = passed[r - 1, c] if r else fed[t - c, c]
            passed[r, c] = shadow[r, c]
            shadow[r, c] = above
