"""`array`'s steps compiled (extra `fast`): blocks of cycles, a few rows at a time.

Everything moves one way: in cycle n row r needs of other rows only what row r - 1 held in cycle
n - 1. So the order is free in which rows go through a block of cycles; here a few go together,
wave by wave. Wave w is row r in cycle w + r of the block for all r; the bits that reach its PE
of column c entered in cycle w - c. Every PE computes in every cycle from its own registers.

What only moves is not copied: a shift register is a tape, and its registers move along it by
one place a cycle. `left[r, c]` in cycle n is `tape[r, cycles - 1 - n + c]`; what falls a row in
one cycle (sums, weights) lies in the line of its wave, what falls a row in two (a drain) in
line n - 2 r. Before and after a block all registers are where `array` has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle.array import Edge, Registers

BLOCK = 256  # cycles, assumed: tapes and lines stay in the second cache

_ROWS = 32  # that go together, assumed: their registers stay in the first cache
_NEVER = 2**40

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    return cast("_Function", numba.njit(nogil=True, cache=True)(function))


def step_weight_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `array`."""
    log, begin = _span(x, start, out)
    _weight_stationary(
        (x.left, x.weight, x.shadow, x.passed, x.sums),
        (x.place, x.shadow_place, x.passed_place),
        (edge.values[log], edge.weights[log], edge.places[log]),
        (edge.begin[log], edge.end[log]),
        begin,
        out,
    )


def step_output_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """As in `array`."""
    log, begin = _span(x, start, out)
    _output_stationary(
        (x.left, x.weight, x.sums, x.first, x.second),
        (edge.values[log], edge.weights[log]),
        (edge.begin[log], edge.end[log]),
        begin,
        out,
    )


def _span(x: Registers, start: int, out: Array) -> tuple[slice, int]:
    """The part of the logs that is looked at, and where in it the steps begin."""
    back = sum(x.weight.shape)
    return slice(start - back, start + len(out)), back


@_compiled
def _weight_stationary(
    held: Any, places: Any, fed: Any, bits: Any, begin: int, out: Array
) -> None:
    left, weight, _, passed, sums = held
    rows, cols = weight.shape
    swaps, shifts = _runs(bits[0]), _runs(bits[1])
    for done in range(0, len(out), BLOCK):
        cycles, start = min(BLOCK, len(out) - done), begin + done
        tape = _taped(left, fed[0], start, cycles)
        flow = np.zeros((cycles + rows - 1, cols), sums.dtype)
        down = np.zeros((cycles + rows - 1, cols), passed.dtype)
        places_down = np.zeros((cycles + rows - 1, cols), np.uint8)
        for r in range(rows):  # what comes from above in the first cycle
            flow[rows - 1 - r] = sums[r]
            if r:
                down[rows - 1 - r] = passed[r - 1]
                places_down[rows - 1 - r] = places[2][r - 1]
        for top in range(0, rows, _ROWS):
            part = top, min(rows, top + _ROWS), cycles, start
            _waves(held, places, fed, (swaps, shifts), part, tape, (flow, down, places_down))
        for r in range(rows):
            sums[r + 1] = flow[cycles + rows - 2 - r]
        for n in range(cycles):
            out[done + n] = flow[n]
        left[:] = tape[:, :, :cols]


@_compiled
def _waves(
    held: Any, places: Any, fed: Any, bits: Any, part: Any, tape: Array, lines: Any
) -> None:
    """Rows `top` to `bottom` in every wave: swap, multiply, shift."""
    left, weight, shadow, passed, _ = held
    place, shadow_place, passed_place = places
    _, weights, fed_places = fed
    (swaps, swap_runs), (shifts, shift_runs) = bits
    top, bottom, cycles, start = part
    flow, down, places_down = lines
    rows, cols = weight.shape
    sparse = len(left) > 1
    for wave in range(1 - bottom, cycles - top):
        low, high = max(top, -wave), min(bottom, cycles - wave)
        line, t = rows - 1 + wave, start + wave
        last = swaps[t]
        while last > t - cols:
            one, two = t - last, min(cols, t - last + swap_runs[last])
            _swap(weight, shadow, low, high, one, two)
            if sparse:
                _swap(place, shadow_place, low, high, one, two)
            last = swaps[t - two] if two < cols else -_NEVER
        if sparse:
            _choose(flow[line], tape, place, weight, low, high, cycles - 1 - wave)
        else:
            _multiply(flow[line], tape[0], weight, low, high, cycles - 1 - wave)
        last = shifts[t]
        while last > t - cols:
            one, two = t - last, min(cols, t - last + shift_runs[last])
            _shift(shadow, passed, down[line], weights, low, high, one, two, t)
            if sparse:
                falling = places_down[line]
                _shift(shadow_place, passed_place, falling, fed_places, low, high, one, two, t)
            last = shifts[t - two] if two < cols else -_NEVER


@_compiled
def _multiply(sums: Array, tape: Array, weight: Array, low: int, high: int, place: int) -> None:
    """The sums of a wave fall through some rows, four at a time."""
    whole = low + (high - low) // 4 * 4
    for r in range(low, whole, 4):
        left0, weight0 = tape[r, place - r :], weight[r]
        left1, weight1 = tape[r + 1, place - r - 1 :], weight[r + 1]
        left2, weight2 = tape[r + 2, place - r - 2 :], weight[r + 2]
        left3, weight3 = tape[r + 3, place - r - 3 :], weight[r + 3]
        for c in range(len(sums)):
            one = sums[c] + left0[c] * weight0[c]
            two = one + left1[c] * weight1[c]
            three = two + left2[c] * weight2[c]
            sums[c] = three + left3[c] * weight3[c]
    for r in range(whole, high):
        left0, weight0 = tape[r, place - r :], weight[r]
        for c in range(len(sums)):
            sums[c] += left0[c] * weight0[c]


@_compiled
def _choose(
    sums: Array, tape: Array, place: Array, weight: Array, low: int, high: int, at: int
) -> None:
    """As `_multiply`, of 2:4 sparse PEs: each takes one of four operands."""
    for r in range(low, high):
        for c in range(len(sums)):
            sums[c] += tape[place[r, c], r, at - r + c] * weight[r, c]


@_compiled
def _swap(weight: Array, shadow: Array, low: int, high: int, one: int, two: int) -> None:
    """In some columns of some rows the shadow weights come into use."""
    for r in range(low, high):
        _copy(weight[r, one:two], shadow[r, one:two])


@_compiled
def _shift(
    shadow: Array,
    passed: Array,
    falling: Array,
    fed: Array,
    low: int,
    high: int,
    one: int,
    two: int,
    t: int,
) -> None:
    """In some columns shadow weights move down by way of the pass registers."""
    if low == 0:
        for c in range(one, two):
            falling[c] = fed[t - c, c]
    for r in range(low, high):
        _copy(passed[r, one:two], shadow[r, one:two])
    _copy(shadow[low, one:two], falling[one:two])
    for r in range(low + 1, high):
        _copy(shadow[r, one:two], passed[r - 1, one:two])
    _copy(falling[one:two], passed[high - 1, one:two])


@_compiled
def _output_stationary(held: Any, fed: Any, bits: Any, begin: int, out: Array) -> None:
    left, weight, sums, first, second = held
    rows, cols = weight.shape
    starts, ends = _runs(bits[0]), _runs(bits[1])
    for done in range(0, len(out), BLOCK):
        cycles, start = min(BLOCK, len(out) - done), begin + done
        tape = _taped(left, fed[0], start, cycles)
        down = np.zeros((cycles + rows - 1, cols), weight.dtype)
        drain = np.zeros((cycles + 2 * rows, cols), sums.dtype)
        for r in range(rows):  # what comes from above in the first cycle, and after it
            if r:
                down[rows - 1 - r] = weight[r - 1]
            drain[2 * (rows - r) - 1] = first[r]
            drain[2 * (rows - r) - 2] = second[r + 1]
        for n in range(cycles):
            for c in range(cols):
                down[rows - 1 + n, c] = fed[1][start + n - c, c]
        for top in range(0, rows, _ROWS):
            part = top, min(rows, top + _ROWS), cycles, start
            _waves_in_place(sums, (starts, ends), part, tape[0], down, drain)
        for r in range(rows):
            weight[r] = down[cycles + rows - 2 - r]
            first[r] = drain[cycles - 1 + 2 * (rows - r)]
            second[r + 1] = drain[cycles - 2 + 2 * (rows - r)]
        for n in range(cycles):
            out[done + n] = drain[n + 2]
        left[:] = tape[:, :, :cols]


@_compiled
def _waves_in_place(
    sums: Array, bits: Any, part: Any, tape: Array, down: Array, drain: Array
) -> None:
    """Rows `top` to `bottom` in every wave: start, multiply, capture."""
    (starts, start_runs), (ends, end_runs) = bits
    top, bottom, cycles, start = part
    rows, cols = len(sums) - 1, down.shape[1]
    wave = 1 - bottom
    while wave < cycles - top:
        low, high = max(top, -wave), min(bottom, cycles - wave)
        t, line = start + wave, rows - 1 + wave
        inside = wave >= -top and wave + 3 <= cycles - bottom
        if inside and max(starts[t + 3], ends[t + 3]) <= t - cols:
            _sum_four(sums, tape, down, low, high, cycles - 1 - wave, line)
            wave += 4
            continue
        last = starts[t]
        while last > t - cols:
            one, two = t - last, min(cols, t - last + start_runs[last])
            sums[low + 1 : high + 1, one:two] = 0
            last = starts[t - two] if two < cols else -_NEVER
        falling = down[line]
        for r in range(low, high):
            own, left = sums[r + 1], tape[r, cycles - 1 - wave - r :]
            for c in range(cols):
                own[c] += left[c] * falling[c]
        last = ends[t]
        while last > t - cols:
            one, two = t - last, min(cols, t - last + end_runs[last])
            for r in range(low, high):
                _copy(drain[2 * rows + wave - r, one:two], sums[r + 1, one:two])
            last = ends[t - two] if two < cols else -_NEVER
        wave += 1


@_compiled
def _sum_four(
    sums: Array, tape: Array, down: Array, low: int, high: int, place: int, line: int
) -> None:
    """Some rows in four waves in which no sum starts or leaves."""
    down0, down1, down2, down3 = down[line], down[line + 1], down[line + 2], down[line + 3]
    for r in range(low, high):
        left0, left1 = tape[r, place - r :], tape[r, place - r - 1 :]
        left2, left3 = tape[r, place - r - 2 :], tape[r, place - r - 3 :]
        own = sums[r + 1]
        for c in range(len(own)):
            one = own[c] + left0[c] * down0[c]
            two = one + left1[c] * down1[c]
            three = two + left2[c] * down2[c]
            own[c] = three + left3[c] * down3[c]


@_compiled
def _taped(left: Array, values: Array, start: int, cycles: int) -> Array:
    """Operands of each row, the last that enters first, the registers behind them."""
    planes, rows, cols = left.shape
    tape = np.empty((planes, rows, cycles + cols), left.dtype)
    tape[:, :, cycles:] = left
    for p in range(planes):
        for r in range(rows):
            for n in range(cycles):
                tape[p, r, cycles - 1 - n] = values[start + n - r, p, r]
    return tape


@_compiled
def _runs(log: Array) -> tuple[Array, Array]:
    """By cycle: the last one up to it whose bit is set, and how many in a row up to it are."""
    last, run = np.empty(len(log), np.int64), np.empty(len(log), np.int64)
    latest, count = -_NEVER, 0
    for n in range(len(log)):
        count = count + 1 if log[n] else 0
        latest = n if log[n] else latest
        last[n], run[n] = latest, count
    return last, run


@_compiled
def _copy(own: Array, other: Array) -> None:
    for c in range(len(own)):
        own[c] = other[c]
