"""Value change dumps, IEEE 1364-2005 clause 18: what GTKWave and Surfer open.

Cycle n begins with the clock's rising edge at time 2 n, as in the dumps of the RTL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

_FIRST, _MARKS = 33, 94  # printable characters that name a wire in the file
_TIMESCALE: Final = "1 ps"


@dataclass(frozen=True)
class Wire:
    """A signal.

    Attributes:
        scope: the module that it is shown in.
        name: without spaces.
        bits: one is a scalar.
        changes: (cycle, value) in order; from which cycle it has it. None is unknown.
    """

    scope: str
    name: str
    bits: int
    changes: Sequence[tuple[int, int | None]]


def vcd(wires: Sequence[Wire], first: int, end: int, version: str, comment: str) -> str:
    """The file of the cycles from `first` to before `end`, with a clock beside the wires.

    Args:
        wires: their changes may begin before `first`: what holds then is what is shown.
        first: cycle.
        end: cycle in which nothing is shown any more; its edge ends the file.
        version: of who writes.
        comment: one line or more, without ``$end``.
    """
    lines = [f"$version {version} $end", f"$comment {comment} $end"]
    lines.append(f"$timescale {_TIMESCALE} $end")
    lines += ["$scope module machine $end", f"$var wire 1 {_code(0)} clk $end"]
    numbered = list(enumerate(wires, 1))
    for scope, held in groupby(numbered, key=lambda each: each[1].scope):
        lines.append(f"$scope module {scope} $end")
        for number, wire in held:
            size = f" [{wire.bits - 1}:0]" if wire.bits > 1 else ""
            lines.append(f"$var wire {wire.bits} {_code(number)} {wire.name}{size} $end")
        lines.append("$upscope $end")
    lines += ["$upscope $end", "$enddefinitions $end"]
    changes: dict[int, list[str]] = {}
    for number, wire in numbered:
        for cycle, value in _within(wire, first, end):
            changes.setdefault(cycle, []).append(_change(wire, value, _code(number)))
    clock = _code(0)
    for cycle in range(first, end):
        lines += [f"#{2 * cycle}", f"1{clock}"]
        here = changes.get(cycle, [])
        lines += ["$dumpvars", *here, "$end"] if cycle == first else here
        lines += [f"#{2 * cycle + 1}", f"0{clock}"]
    lines += [f"#{2 * end}", f"1{clock}"]
    return "\n".join(lines) + "\n"


def ascii_bits(text: str, letters: int) -> int:
    """A word as the bits of its letters, which viewers show as text."""
    return int.from_bytes(text[:letters].ljust(letters).encode("ascii", "replace"), "big")


def _within(wire: Wire, first: int, end: int) -> Iterator[tuple[int, int | None]]:
    """Changes inside, the first of them what holds at the beginning; repetitions fall away."""
    held: int | None = None
    inside: list[tuple[int, int | None]] = []
    for cycle, value in wire.changes:
        if cycle <= first:
            held = value
        elif cycle < end:
            inside.append((cycle, value))
    yield first, held
    for cycle, value in inside:
        if value != held:
            yield cycle, value
            held = value


def _change(wire: Wire, value: int | None, code: str) -> str:
    if wire.bits == 1:
        return f"{'x' if value is None else value & 1}{code}"
    if value is None:
        return f"bx {code}"
    return f"b{value & (1 << wire.bits) - 1:b} {code}"


def _code(number: int) -> str:
    """The file's short name of a wire."""
    found = ""
    while True:
        number, digit = divmod(number, _MARKS)
        found += chr(_FIRST + digit)
        if not number:
            return found
        number -= 1
