"""What the units of an analog machine did, from its schedule of events.

Of a layer that waits for the one before: its operand on the network, loading its weights where
arrays are loaded, the reads of its arrays with their conversions, and what drains behind them.
Where layers stream, the reads of every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tetrapla.simulators.analog import noc, schedule, timing
from tetrapla.simulators.analog.program import Product, Program, Step
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.recording_ import MOST, Recording, Stretch
from tetrapla.simulators.report import Run

_CROSSBAR, _ADC, _NETWORK, _DRAIN, _DIGITAL, _LOAD = (
    *("crossbar", "adc", "network", "pipeline", "digital"),
    "weight load",
)
_ROUNDS: Final = 64  # of loading that are told apart


def recorded(program: Program, spec: AnalogSpec, run: Run) -> Recording:
    """Every layer's phases; of streamed layers every row's."""
    del run
    works = timing.works(program, spec)
    streams = spec.digital.streams
    found: list[Stretch] = []
    rows = schedule.rows(program, works) if streams else []
    told = streams and sum(map(len, rows)) * 2 <= MOST
    moved = noc.transfers(program, spec)
    for place, (step, work, span) in enumerate(
        zip(program.steps, works, schedule.spans(program, works, streams=streams), strict=True)
    ):
        if work is None:
            continue
        if told:
            found += _by_row(step, work, rows[place], spec)
        elif not isinstance(step, Product):
            found.append(_stretch(_DIGITAL, step.name, span.start, span.end, spec))
        elif streams:
            found.append(_stretch(_CROSSBAR, step.name, span.start, span.end, spec))
        else:
            found += _phases(step, work, span, moved[step.name], spec)
    return Recording(tuple(found))


def _by_row(
    step: Step, work: schedule.Work, ready: list[float], spec: AnalogSpec
) -> Iterator[Stretch]:
    """A row is busy before it drains and is there."""
    pace, drain = work.busy_cycles / len(ready), work.cycles - work.busy_cycles
    unit = _CROSSBAR if isinstance(step, Product) else _DIGITAL
    for number, there in enumerate(ready):
        end = there - drain
        name = step.name if len(ready) == 1 else f"{step.name} row {number}"
        yield _stretch(unit, name, end - pace, end, spec)
        if unit == _CROSSBAR:
            yield _converted(step, name, end - pace, end, spec)
    if drain > 0:
        yield _stretch(_DRAIN, step.name, ready[-1] - drain, ready[-1], spec)


def _phases(
    step: Product,
    work: schedule.Work,
    span: schedule.Span,
    transfer: noc.Transfer,
    spec: AnalogSpec,
) -> Iterator[Stretch]:
    """One behind the other; conversions go with the reads, or follow one read behind."""
    begun = span.start + transfer.cycles
    if transfer.cycles:
        notes = {"traffic_bytes": transfer.traffic_bytes, "hops": transfer.hops}
        yield _stretch(_NETWORK, step.name, span.start, begun, spec, notes)
    end = begun + work.busy_cycles
    for first, last, name in _rounds(step, begun, end, spec):
        unit = _LOAD if name.endswith(" load") else _CROSSBAR
        text = name.removesuffix(" load")
        yield _stretch(unit, text, first, last, spec, {"tiles": len(step.tiles)})
        if unit == _CROSSBAR:
            yield _converted(step, text, first, last, spec)
    if span.end > end:
        yield _stretch(_DRAIN, step.name, end, span.end, spec)


def _rounds(
    step: Product, begun: float, end: float, spec: AnalogSpec
) -> Iterator[tuple[float, float, str]]:
    """Reads, and loading before them where arrays are loaded."""
    rounds, load = timing.rounds(step, spec)
    if not load or rounds > _ROUNDS:
        yield begun, end, step.name
        return
    long = (end - begun) / rounds
    for number in range(rounds):
        first = begun + number * long
        name = step.name if rounds == 1 else f"{step.name} round {number}"
        yield first, first + load, f"{name} load"
        yield first + load, first + long, name


def _converted(step: Step, name: str, start: float, end: float, spec: AnalogSpec) -> Stretch:
    """The conversions of reads: where they overlap the array's, they are one read behind."""
    assert isinstance(step, Product), "only products are converted"
    cycles, bound_by = timing.read_cycles(step, spec)
    later = float(cycles) if spec.converter.overlaps and spec.digital.fill_reads else 0.0
    notes: dict[str, int | float | str] = {"read_cycles": cycles, "bound_by": bound_by}
    return _stretch(_ADC, name, start + later, end + later, spec, notes)


def _stretch(
    unit: str,
    name: str,
    start: float,
    end: float,
    spec: AnalogSpec,
    notes: dict[str, int | float | str] | dict[str, int] | None = None,
) -> Stretch:
    cycles: dict[str, int | float | str] = {"start_cycle": start, "end_cycle": end}
    return Stretch(
        unit, name, start / spec.clock_hz, end / spec.clock_hz, cycles | (notes or {})
    )
