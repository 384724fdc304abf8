"""What spikes add to currents, in NumPy; `fast` does the same compiled, bit for bit.

Integers add up exactly in any order. Floats are float32 added one by one: by table, then by
ascending source, so that every engine gets the same bits.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.layout import Lists, Singles, Table

# every integer up to here is a float32, so spikes times weights are summed without error
_EXACT_IN_FLOAT32 = 2**24
# synaptic events that are laid out at once, of 16 bytes each
_MOST_EVENTS = 2**22


def add(train: Array, table: Table, out: Array) -> None:
    """Add what the spikes of a table make.

    Args:
        train: i8 or f32 [rows, sources].
        table: the synapses.
        out: i32 or f32 [rows, targets], written.
    """
    if isinstance(table.held, Singles):
        add_singles(train, table.held, table.exponent, out)
    elif table.is_float:
        _add_floats(train, table, out)
    elif isinstance(table.held, Lists):
        _add_lists(train, table.held, table.exponent, out)
    else:
        largest = table.most * float(np.abs(train.astype(np.int16)).max(initial=0))
        exact = np.float32 if largest <= _EXACT_IN_FLOAT32 else np.float64
        product = train.astype(exact) @ table.held.astype(exact)
        out += product.astype(np.int32) << table.exponent


def add_singles(train: Array, held: Singles, exponent: int, out: Array) -> None:
    """Add one number to each target."""
    if held.in_order:
        whole = train.astype(out.dtype) * held.weight
        out += whole << exponent if exponent else whole
        return
    arriving = train[:, held.source].astype(out.dtype) * held.weight
    out[:, held.target] += arriving << exponent if exponent else arriving


def _add_lists(train: Array, held: Lists, exponent: int, out: Array) -> None:
    """Rows together, as many as fit."""
    rows, targets = out.shape
    per = np.diff(held.start)[held.which]
    events = np.cumsum((train != 0) @ per)
    first = 0
    while first < rows:
        before = int(events[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(events, before + _MOST_EVENTS, "right")))
        row, source = np.nonzero(train[first:last])
        counts, target, weight = held.of(source)
        payload = np.repeat(train[first:last][row, source].astype(np.float64), counts)
        place = np.repeat(row * targets, counts) + target
        total = np.bincount(place, payload * weight, (last - first) * targets)
        shaped = total.reshape(-1, targets).astype(np.int32)
        out[first:last] += shaped << exponent
        first = last


def _add_floats(train: Array, table: Table, out: Array) -> None:
    for spikes, total in zip(train, out, strict=True):
        fired = np.flatnonzero(spikes)
        payload = spikes[fired].astype(np.float32)
        if isinstance(table.held, Lists):
            counts, target, weight = table.held.of(fired)
            np.add.at(total, target, np.repeat(payload, counts) * weight)
            continue
        rows = table.held
        assert isinstance(rows, np.ndarray), "single synapses are added elsewhere"
        for s, x in zip(fired, payload, strict=True):
            total += x * rows[s]
