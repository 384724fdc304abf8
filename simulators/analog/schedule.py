"""When each layer of one invocation runs: behind the one before, or on what is there so far.

Where layers stream, rows of an image (of tokens, of a matrix) go through them one by one: a row
is begun when its layer has done the row before and the rows that it needs are there (a window
needs those under it), and it is there for others once it has drained,

    done_r = max(done_(r-1), ready of what r needs) + busy / rows,    ready_r = done_r + drain

What is not known to go row by row needs all of its operands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Final

from tetrapla.simulators.analog.program import Digital, Product, Program, Step

_BY_ROW: Final = ("qnn.requantize", "qnn.add", "nn.add", "nn.relu")
_OF_A_POOL: Final = (("kernel", 1), ("strides", 1), ("dilations", 1), ("pads", 0))


@dataclass(frozen=True)
class Work:
    """Of a step: cycles in all, and how many of them its units are busy; the rest drains."""

    cycles: float
    busy_cycles: float


@dataclass(frozen=True)
class Span:
    """From the first cycle of a step to its last; it may wait within."""

    start: float
    end: float


def spans(program: Program, works: Sequence[Work | None], *, streams: bool) -> list[Span]:
    """When every step runs.

    Args:
        program: what runs.
        works: by step; None for one that takes no time.
        streams: whether a step starts on parts of its operands.
    """
    ready: dict[int, list[float]] = {}
    found: list[Span] = []
    behind = 0.0
    for step, work in zip(program.steps, works, strict=True):
        if streams:
            span, rows = _streamed(step, work, program, ready)
            ready.update(dict.fromkeys(step.results, rows))
        else:
            span = Span(behind, behind + (work.cycles if work else 0.0))
            behind = span.end
        found.append(span)
    return found


def rows(program: Program, works: Sequence[Work | None]) -> list[list[float]]:
    """By step, when each row of its result is there, where layers stream."""
    ready: dict[int, list[float]] = {}
    found: list[list[float]] = []
    for step, work in zip(program.steps, works, strict=True):
        _, times = _streamed(step, work, program, ready)
        ready.update(dict.fromkeys(step.results, times))
        found.append(times)
    return found


def _streamed(
    step: Step, work: Work | None, program: Program, ready: Mapping[int, list[float]]
) -> tuple[Span, list[float]]:
    """The step's span, and when each row of its results is there."""
    if work is None:
        last = max((ready[i][-1] for i in step.operands if i in ready), default=0.0)
        return Span(last, last), [last]
    rows = _rows(program.shapes[step.results[0]])
    pace, drain = work.busy_cycles / rows, work.cycles - work.busy_cycles
    done, times = 0.0, list[float]()
    for row in range(rows):
        begun = max(
            [
                done,
                *(_there(ready[i], step, i, row, program) for i in step.operands if i in ready),
            ]
        )
        done = begun + pace
        times.append(done + drain)
    return Span(times[0] - drain - pace, times[-1]), times


def _there(times: list[float], step: Step, index: int, row: int, program: Program) -> float:
    """When what a row of the result needs of an operand is there."""
    share = _needed(step, index, row, program)
    return times[ceil(share * len(times) - 1e-9) - 1]


def _needed(step: Step, index: int, row: int, program: Program) -> float:
    """The share of an operand's rows that a row of the result needs."""
    shape, rows = program.shapes[index], _rows(program.shapes[step.results[0]])
    window = _window(step)
    if window is not None and len(shape) == 4 and shape[0] == 1:
        kernel, stride, dilation, pad = window
        under = row * stride + (kernel - 1) * dilation + 1 - pad
        return min(max(under, 1), shape[2]) / shape[2]
    by_row = isinstance(step, Product) or step.op in _BY_ROW
    if by_row and window is None and _rows(shape) == rows:
        return (row + 1) / rows
    return 1.0


def _window(step: Step) -> tuple[int, int, int, int] | None:
    """Height, stride, dilation and upper padding of a window over rows."""
    if isinstance(step, Product):
        w = step.window
        return (w.kernel[0], w.strides[0], w.dilations[0], w.pads[0]) if w else None
    if step.unit != "pool" or not isinstance(step.attributes.get("kernel"), tuple):
        return None
    kernel, stride, dilation, pad = (_first(step, name, other) for name, other in _OF_A_POOL)
    return kernel, stride, dilation, pad


def _first(step: Digital, name: str, other: int) -> int:
    given = step.attributes.get(name)
    return int(given[0]) if isinstance(given, tuple) else other


def _rows(shape: tuple[int, ...]) -> int:
    """Rows that come one after the other; several images come together."""
    if len(shape) == 4:
        return shape[2] if shape[0] == 1 else 1
    return max(1, prod(shape[:-1]))
