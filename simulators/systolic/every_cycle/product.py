"""The judge's engines LW and MM: what they put on the edges of the arrays, cycle by cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.every_cycle import array as plain
from tetrapla.simulators.systolic.every_cycle.memory import SPOILT, Memory, Slot
from tetrapla.simulators.systolic.formats import PRODUCTS, SUMS
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

CATCH_UP = plain.WINDOW // 2  # cycles between two times at which all arrays are stepped

Watch = Callable[[int, int, int, Any], None]
"""Told of a row of sums: the cycle at whose end it is written, its unit, the row, column 0."""

_OPERANDS = ("i8", "i16", "i16", "bf16", "f16")


@dataclass(frozen=True)
class _Leaving:
    """Rows of sums on their way to the accumulators, one every `pace` cycles.

    Attributes:
        due: at the end of which cycle the first one is written.
        first: at the end of which cycle its column 0 is at the bottom; column c is c later.
        row: where it is written; the others behind it.
    """

    due: int
    first: int
    unit: int
    row: int
    kind: str
    spread: int
    add: bool
    count: int = 1
    pace: int = 1

    def meets(self, first: int, end: int) -> bool:
        """Whether some of these accumulators are theirs."""
        return self.row < end and first < self.row + self.count


class Product:
    """The arrays of all units, one set of registers for each type of sums."""

    def __init__(
        self, program: Program, spec: SystolicSpec, memory: Memory, fast: bool
    ) -> None:
        self._memory, self._array = memory, spec.array
        self._stationary = spec.array.dataflow == "output_stationary"
        stepper = _stepper(self._stationary, fast)
        planes = 4 if spec.array.sparsity == "2:4" else 1
        size = spec.array.rows, spec.array.cols
        kinds = {SUMS[i["fmt"]] for i in program.instructions if i.op == "MM"} or {"i32"}
        self._grids = {
            kind: [
                plain.Grid(*size, plain.NUMBERS[kind], stepper, planes)
                for _ in range(spec.array.units)
            ]
            for kind in sorted(kinds)
        }
        shape = (program.accumulator_rows, size[1] * spec.array.units)
        self.accumulators = {
            kind: np.full((*shape, DTYPES[kind].itemsize), SPOILT, np.int8).view(DTYPES[kind])[
                ..., 0
            ]
            for kind in ("i32", "i64", "f32")
        }
        self.kinds = ["i32"] * program.accumulator_rows
        self._leaving: list[_Leaving] = []
        self._shadow: list[Slot] = []
        self._weights: list[Slot] = []
        self._stream = self._next_stream = [0] * spec.array.units
        self.last_capture: int | None = None
        self.watch: Watch | None = None
        self._filling: Array = np.zeros(0, np.int64)

    def shift(self, i: Instruction, p: int, t: int, cycles: int) -> None:
        """Cycles of LW: one row of each unit's slot in each, the last one first."""
        slots = [i["slot"] + (u if i["spread"] else 0) for u in range(self._array.units)]
        if self._stationary:
            self._next_stream = slots
            return
        r = self._array.rows - 1 - p
        self._shadow = [self._memory.slots[slot] for slot in slots]
        for kind, grids in self._grids.items():
            for grid, slot in zip(grids, self._shadow, strict=True):
                at = grid.at(t + cycles) - cycles + 1
                some, held = slice(at, at + cycles), slice(r + 1 - cycles, r + 1)
                grid.edge.weights[some] = _weights(slot, kind)[held][::-1]
                grid.edge.places[some] = slot.places[held][::-1]
                grid.edge.end[some] = True

    def fill(self, i: Instruction, p: int) -> bool:
        """A cycle of LUW: one output row of the descriptor."""
        memory, d = self._memory, self._memory.descriptors[i["desc"]]
        turned = i["transpose"]
        count, lanes = (i["cols"], i["rows"]) if turned else (i["rows"], i["cols"])
        held = _OPERANDS[i["fmt"]]
        kind = np.float32 if held in ("bf16", "f16") else np.int64
        if p == 0:
            memory.spoil(i["slot"])
            self._filling = np.zeros((count, lanes), kind)
        if p < count:
            row = memory.activations(d, i["row"] + p, i["k"] + np.arange(lanes), held)
            self._filling[p] = row - d.zero_x
        done = p + 1 == max(i["rows"], i["cols"] if turned else 0)
        if done:
            values = np.zeros((self._array.rows, self._array.cols), kind)
            values[: i["rows"], : i["cols"]] = self._filling.T if turned else self._filling
            places = np.zeros(values.shape, np.uint8)
            memory.slots[i["slot"]] = Slot(values, places, False, held)
        return done

    def may_drain(self, i: Instruction, t: int) -> bool:
        """Whether an MM dispatched now captures its sums behind those that are leaving."""
        if self.last_capture is None:
            return True
        last_tap = t + i["lanes"] * self._pace(i)
        return last_tap - self.last_capture >= self._array.rows

    def swap(self, t: int) -> None:
        """The weights that were shifted in come into use with what enters after cycle t."""
        if self._stationary:
            self._stream = self._next_stream
            return
        self._weights = self._shadow
        for grids in self._grids.values():
            for grid in grids:
                grid.edge.begin[grid.at(t + 1)] = True

    def multiply(self, i: Instruction, p: int, t: int, cycles: int) -> int:
        """Cycles of MM; the cycles that its results need."""
        pace = self._pace(i)
        if self._stationary:
            return self._tap(i, p, pace, t, cycles)
        first, end = p // pace, (p + cycles) // pace
        if end > first:
            self._rows(i, first, end, t + first * pace + pace - 1 - p)
        return self._array.rows + self._array.cols

    def cycles(self, i: Instruction) -> int:
        """How long an LW or an MM issues."""
        if i.op == "LW":
            return 1 if self._stationary else self._array.rows
        return self._pace(i) * (i["lanes"] if self._stationary else self._share(i))

    def _pace(self, i: Instruction) -> int:
        return self._array.formats[PRODUCTS[i["fmt"]]]

    def _share(self, i: Instruction) -> int:
        units = 1 if i["spread"] else self._array.units
        return (i["len"] + units - 1) // units

    def _rows(self, i: Instruction, n: int, end: int, t: int) -> None:
        """Activation rows of each unit enter, each with the last of its cycles; first at t."""
        rows, cols = self._array.rows, self._array.cols
        share, pace = self._share(i), self._pace(i)
        for unit, grid in enumerate(self._grids[SUMS[i["fmt"]]]):
            start = n + (0 if i["spread"] else unit * share)
            count = min(end - n, i["len"] - start)
            if count <= 0:
                continue
            m = i["row"] + start + np.arange(count)[:, None]
            fed = self._values(i, m, i["k"] + np.arange(i["lanes"]))
            # row r takes tap r, or four of which a sparse weight picks one
            lanes = np.arange(rows)[None]
            if self._weights[unit].sparse:
                lanes = np.arange(rows)[None] // 2 * 4 + np.arange(4)[:, None]
            padded = np.zeros((count, 2 * rows + 4), fed.dtype)
            padded[:, : i["lanes"]] = fed
            last = grid.at(t + 1 + (count - 1) * pace)
            at = slice(last - (count - 1) * pace, last + 1, pace)
            grid.edge.values[at, : len(lanes)] = padded[:, lanes]
            first, acc = t + rows, i["acc"] + start
            leaving = first + cols, first, unit, acc, SUMS[i["fmt"]], i["spread"]
            self._leaving.append(_Leaving(*leaving, bool(i["accumulate"]), count, pace))

    def _tap(self, i: Instruction, p: int, pace: int, t: int, cycles: int) -> int:
        """Taps of all rows enter at the left, their weights at the top."""
        rows, cols = self._array.rows, self._array.cols
        done = p + cycles == i["lanes"] * pace
        latency = 2 * rows + cols - 1 if i["drain"] else 0
        taps = np.arange(p // pace, (p + cycles) // pace)
        if not len(taps):
            return latency
        share, kind = self._share(i), SUMS[i["fmt"]]
        enter = t + 1 + (taps + 1) * pace - 1 - p
        for unit, grid in enumerate(self._grids[kind]):
            at = grid.at(int(enter[-1])) - enter[-1] + enter
            start = 0 if i["spread"] else unit * share
            count = max(0, min(share, i["len"] - start))
            m = i["row"] + start + np.arange(count)[:, None]
            grid.edge.values[at, 0, :count] = self._values(i, m, i["k"] + taps).T
            slot = self._memory.slots[self._stream[unit]]
            grid.edge.weights[at] = _weights(slot, kind)[taps]
            grid.edge.begin[at] = (taps == 0) & (not i["accumulate"])
            grid.edge.end[at[-1]] = done and bool(i["drain"])
        if done and i["drain"]:
            self.last_capture = t + cycles - 1
            self._drain(i, t + cycles - 1, share)
        return latency

    def _drain(self, i: Instruction, t: int, share: int) -> None:
        """Sums were captured by the wave that enters at t + 1; two registers a row to go."""
        rows, cols = self._array.rows, self._array.cols
        for unit in range(self._array.units):
            start = 0 if i["spread"] else unit * share
            for m in range(start, min(start + share, i["len"])):
                r = m - start
                first = (t + 1) + r + 2 * (rows - 1 - r)
                leaving = first + cols, first, unit, i["acc"] + m, SUMS[i["fmt"]], i["spread"]
                self._leaving.append(_Leaving(*leaving, False))

    def _values(self, i: Instruction, m: Array, taps: Array) -> Array:
        d = self._memory.descriptors[i["desc"]]
        return self._memory.activations(d, m, taps, _OPERANDS[i["fmt"]])

    def catch_up(self, t: int) -> None:
        """Step every array to cycle t: their logs are not endless."""
        self.settle(t)
        for grids in self._grids.values():
            for grid in grids:
                grid.advance(t)
                grid.make_room(CATCH_UP)

    def due(self, t: int, first: int, end: int) -> bool:
        """Whether sums for some of these accumulators were due before cycle t."""
        return any(one.due < t and one.meets(first, end) for one in self._leaving)

    def awaited(self, first: int, end: int) -> bool:
        """Whether sums are on their way to some of these accumulators."""
        return any(one.meets(first, end) for one in self._leaving)

    def settle(self, t: int) -> None:
        """Write every row of sums that was due before cycle t."""
        waiting = list[_Leaving]()
        due = list[_Leaving]()
        for one in self._leaving:
            count = min(one.count, max(0, -((one.due - t) // one.pace)))
            if count:
                due.append(replace(one, count=count))
            if count < one.count:
                late = count * one.pace
                waiting.append(
                    replace(
                        one,
                        due=one.due + late,
                        first=one.first + late,
                        row=one.row + count,
                        count=one.count - count,
                    )
                )
        self._leaving = waiting
        last = max((one.due + (one.count - 1) * one.pace for one in due), default=0)
        for kind, unit in {(one.kind, one.unit) for one in due}:
            self._grids[kind][unit].advance(last)
        for one in sorted(due, key=lambda leaving: leaving.due):
            self._write(one)

    def _write(self, leaving: _Leaving) -> None:
        cols, grid = self._array.cols, self._grids[leaving.kind][leaving.unit]
        rows = grid.left_from(leaving.first, leaving.count, leaving.pace)
        held = self.accumulators[leaving.kind][leaving.row : leaving.row + leaving.count]
        first = leaving.unit * cols if leaving.spread else 0
        if not leaving.add and not leaving.spread:
            held[:] = 0
        own = held[:, first : first + cols]
        own[:] = own + rows if leaving.add else rows
        if self.watch is not None:
            for n, value in enumerate(own[:, 0]):
                at = leaving.due + n * leaving.pace
                self.watch(at, leaving.unit, leaving.row + n, value)
        kinds = [leaving.kind] * leaving.count
        self.kinds[leaving.row : leaving.row + leaving.count] = kinds


def _weights(slot: Slot, kind: str) -> Array:
    """What a slot is to an array of another type of numbers: nothing to rely on."""
    whole = slot.held in ("i8", "i16")
    if whole == (kind != "f32"):
        return slot.values
    return np.zeros(slot.values.shape, np.int64)


def _stepper(stationary: bool, fast: bool) -> plain.Stepper:
    if fast:
        from tetrapla.simulators.systolic.every_cycle import fast as compiled

        if stationary:
            return compiled.step_output_stationary
        return compiled.step_weight_stationary
    return plain.step_output_stationary if stationary else plain.step_weight_stationary
