"""Sums of spikes and the commonest neurons compiled (extra `fast`); same bits as in NumPy.

`sums` and `cells` say what is computed. Floats are added in their order and never contracted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.layout import Lists, Singles, Table
from tetrapla.simulators.spiking.sums import add_singles
from tetrapla.simulators.spiking.wiring import Connections, Sorted

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    made = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast("_Function", made)


def add(train: Array, table: Table, out: Array) -> None:
    """As in `sums`."""
    held = table.held
    if isinstance(held, Singles):
        add_singles(train, held, table.exponent, out)
        return
    into = out if not table.exponent else np.zeros_like(out)
    if isinstance(held, Lists):
        named = (held.which, held.base, held.start, held.offset, held.weight)
        (_float_lists if table.is_float else _lists)(train, *named, into)
    else:
        (_float_rows if table.is_float else _rows)(train, held, into)
    if table.exponent:
        out += into << table.exponent


def by_source(part: Connections, sources: int, targets: int) -> Sorted:
    """As in `wiring`, by counting."""
    start, order = _counted(part.source, part.target, sources, targets)
    return Sorted(start, part.target[order], part.weight[order])


@_compiled
def _counted(source: Array, target: Array, sources: int, targets: int) -> tuple[Array, Array]:
    """Starts of the sources, and an order by source and target that keeps equals'."""
    start = np.zeros(sources + 1, np.int64)
    for s in source:
        start[s + 1] += 1
    start = np.cumsum(start)
    order = np.empty(len(source), np.int32)
    last = np.full(sources, -1, np.int64)
    free, ascending = start.copy(), True
    for i in range(len(source)):
        s = source[i]
        order[free[s]] = i
        free[s] += 1
        ascending &= target[i] >= last[s]
        last[s] = target[i]
    if ascending:
        return start, order
    first = np.zeros(targets + 1, np.int64)
    for t in target:
        first[t + 1] += 1
    first = np.cumsum(first)
    by_target = np.empty(len(target), np.int32)
    for i in range(len(target)):
        by_target[first[target[i]]] = i
        first[target[i]] += 1
    free = start.copy()
    for k in by_target:
        order[free[source[k]]] = k
        free[source[k]] += 1
    return start, order


@_compiled
def _rows(train: Array, rows: Array, out: Array) -> None:
    for r in range(len(train)):
        total = out[r]
        for s in range(len(rows)):
            x = train[r, s]
            if x == 0:
                continue
            row = rows[s]
            if x == 1:
                for n in range(len(row)):
                    total[n] += row[n]
            else:
                for n in range(len(row)):
                    total[n] += np.int32(x) * np.int32(row[n])


@_compiled
def _lists(
    train: Array,
    which: Array,
    base: Array,
    start: Array,
    offset: Array,
    weight: Array,
    out: Array,
) -> None:
    for r in range(len(train)):
        for s in range(len(which)):
            x = np.int32(train[r, s])
            if x == 0:
                continue
            total = out[r, base[s] :]
            first, last = start[which[s]], start[which[s] + 1]
            ends, adds = offset[first:last], weight[first:last]
            if x == 1:
                for i in range(len(ends)):
                    total[ends[i]] += adds[i]
            else:
                for i in range(len(ends)):
                    total[ends[i]] += x * adds[i]


@_compiled
def _float_rows(train: Array, rows: Array, out: Array) -> None:
    for r in range(len(train)):
        total = out[r]
        for s in range(len(rows)):
            x = np.float32(train[r, s])
            if x == 0:
                continue
            row = rows[s]
            if x == 1:
                for n in range(len(row)):
                    total[n] += row[n]
            else:
                for n in range(len(row)):
                    total[n] += x * row[n]


@_compiled
def _float_lists(
    train: Array,
    which: Array,
    base: Array,
    start: Array,
    offset: Array,
    weight: Array,
    out: Array,
) -> None:
    for r in range(len(train)):
        for s in range(len(which)):
            x = np.float32(train[r, s])
            if x == 0:
                continue
            total = out[r, base[s] :]
            first, last = start[which[s]], start[which[s] + 1]
            ends, adds = offset[first:last], weight[first:last]
            if x == 1:
                for i in range(len(ends)):
                    total[ends[i]] += adds[i]
            else:
                for i in range(len(ends)):
                    total[ends[i]] += x * adds[i]


@_compiled
def integrate(
    current: Array,
    driven: Array,
    v: Array,
    theta: Array,
    rule: Any,
    limit: int,
    train: Array,
    updated: Array,
) -> int:
    """Integrate and fire; `rule` says whether it subtracts and whether it compares with gt."""
    subtract, strict = rule
    saturated = 0
    for t in range(len(current)):
        for b in range(current.shape[1]):
            for n in range(current.shape[2]):
                now = current[t, b, n]
                x = v[b, n]
                updated[t, b, n] = (x != 0) | (now != 0) | driven[b, n]
                x += now
                if x > limit:
                    x = np.int32(limit)
                    saturated += 1
                elif x < -limit:
                    x = np.int32(-limit)
                    saturated += 1
                fired = x > theta[n] if strict else x >= theta[n]
                if fired:
                    x = x - theta[n] if subtract else np.int32(0)
                train[t, b, n] = fired
                v[b, n] = x
    return saturated


@_compiled
def loihi(
    current: Array,
    driven: Array,
    state: Array,
    parameters: Any,
    rule: Any,
    train: Array,
    updated: Array,
    voltage: Array,
) -> None:
    """Loihi's neuron; see `cells` for `rule`, and `tetrapla.ir.spike.loihi` for the model.

    A row of neurons goes through one short loop after the other, which are vectors.
    """
    current_decay, voltage_decay, theta, bias = parameters
    shift, sum_bits, wrap, low, bias_in_current, refractory, limits = rule
    charge = np.empty(current.shape[2], np.int64)
    for t in range(len(current)):
        for b in range(current.shape[1]):
            v, u, waiting = state[0, b], state[1, b], state[2, b]
            now, busy = current[t, b], updated[t, b]
            for n in range(len(v)):
                busy[n] = (v[n] != 0) | (u[n] != 0) | (now[n] != 0) | driven[b, n]
            _charge(now, shift, charge)
            if sum_bits:
                _wrap(charge, sum_bits, 0)
            for n in range(len(v)):
                u[n] = _kept(u[n], current_decay[n] + 1) + charge[n]
            if wrap:
                _wrap(u, 24, low)
            charge[:] = u + bias
            if wrap and bias_in_current:
                _wrap(charge, 24, low)
            for n in range(len(v)):
                v[n] = _kept(v[n], voltage_decay[n]) + charge[n]
            if limits[0] <= limits[1]:  # the other way round: none
                for n in range(len(v)):
                    v[n] = min(max(v[n], limits[0]), limits[1])
            _spike(v, waiting, theta, refractory, train[t, b])
            if len(voltage):
                voltage[t, b] = v


@_compiled
def _charge(now: Array, shift: int, out: Array) -> None:
    """What a timestep's sums add to the current, in 64ths of a weight."""
    for n in range(len(now)):
        x = np.int64(now[n])
        out[n] = (x << shift if shift >= 0 else x >> -shift) << 6


@_compiled
def _spike(v: Array, waiting: Array, theta: Array, refractory: int, train: Array) -> None:
    """Loihi's spikes; silent where a neuron waits, and to 0 where it fires."""
    if refractory > 1:
        for n in range(len(v)):
            v[n] = 0 if waiting[n] > 0 else v[n]
    for n in range(len(v)):
        train[n] = v[n] > theta[n] << 6
    for n in range(len(v)):
        v[n] = 0 if train[n] else v[n]
    if refractory > 1:
        for n in range(len(v)):
            waiting[n] = max((refractory if train[n] else waiting[n]) - 1, 0)


@_compiled
def _kept(x: int, decay: int) -> int:
    sign = x >> 63
    left = ((x ^ sign) - sign) * (4096 - decay) >> 12
    return (left ^ sign) - sign


@_compiled
def _wrap(x: Array, bits: int, low: int) -> None:
    mask = (np.int64(1) << bits) - 1
    least = low - (np.int64(1) << (bits - 1))
    for n in range(len(x)):
        x[n] = ((x[n] - least) & mask) + least


@_compiled
def leaky(
    current: Array,
    driven: Array,
    state: Array,
    parameters: Any,
    rule: Any,
    train: Array,
    updated: Array,
    voltage: Array,
) -> None:
    """IF, LIF and current-based LIF; see `cells` for `parameters` and `rule`.

    A row of neurons goes through one short loop after the other, which are vectors.
    """
    tau, kept, gain, rest, theta, reset, tau_i, kept_i, gain_i = parameters
    method, firing = rule
    drive, new, none = np.empty_like(theta), np.empty_like(theta), np.zeros_like(theta)
    for t in range(len(current)):
        for b in range(current.shape[1]):
            now, v, busy = current[t, b], state[0, b], updated[t, b]
            for n in range(len(now)):
                busy[n] = (v[n] != 0) | (now[n] != 0) | driven[b, n]
            if len(state) > 1:
                i = state[1, b]
                for n in range(len(now)):
                    busy[n] |= i[n] != 0
                    drive[n] = gain_i[n] * now[n]
                _near(i, none, drive, tau_i, kept_i, method, i)
                for n in range(len(now)):
                    drive[n] = gain[n] * i[n]
            else:
                for n in range(len(now)):
                    drive[n] = gain[n] * now[n]
            _near(v, rest, drive, tau, kept, method, new)
            _fire(v, new, theta, reset, firing, train[t, b])
            if len(voltage):
                voltage[t, b] = v


@_compiled
def _near(
    v: Array, rest: Array, drive: Array, tau: Array, kept: Array, method: int, out: Array
) -> None:
    """A voltage after one timestep: without leak, euler, zoh, exponential."""
    if method == 0:
        for n in range(len(v)):
            out[n] = v[n] + drive[n]
    elif method == 1:
        for n in range(len(v)):
            out[n] = v[n] + (rest[n] - v[n] + drive[n]) / tau[n]
    elif method == 2:
        for n in range(len(v)):
            goal = rest[n] + drive[n]
            out[n] = goal + (v[n] - goal) * kept[n]
    else:
        for n in range(len(v)):
            out[n] = rest[n] + (v[n] - rest[n]) * kept[n] + drive[n] / tau[n]


@_compiled
def _fire(v: Array, new: Array, theta: Array, reset: Array, rule: Any, train: Array) -> None:
    """Spikes and the voltages behind them; as `tetrapla.ir.spike.membrane.fire`."""
    subtract, late, held, strict, many = rule
    if late:
        for n in range(len(v)):
            was = v[n] > theta[n] if strict else v[n] >= theta[n]
            left = new[n] - theta[n] if subtract else reset[n]
            v[n] = left if was else new[n]
            train[n] = v[n] > theta[n] if strict else v[n] >= theta[n]
    elif not (held or many):
        for n in range(len(v)):
            fired = new[n] > theta[n] if strict else new[n] >= theta[n]
            left = new[n] - theta[n] if subtract else reset[n]
            v[n] = left if fired else new[n]
            train[n] = fired
    else:
        for n in range(len(v)):
            was = v[n] > theta[n] if strict else v[n] >= theta[n]
            tested = new[n] - theta[n] if held and was else new[n]
            fired = tested > theta[n] if strict else tested >= theta[n]
            spikes = np.float32(fired)
            if many and fired:
                spikes = min(max(np.floor(new[n] / theta[n]), np.float32(1)), np.float32(127))
            v[n] = new[n] - spikes * theta[n] if fired else new[n]
            train[n] = np.int8(spikes)
