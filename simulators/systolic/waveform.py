"""The signals of a layer, from the judge that runs the machine cycle by cycle.

Engines are busy while they issue; what has issued and not retired is in flight. An MM's rows
enter the array one after the other, and the sums of a row leave it at the bottom, rows + cols
cycles later, for the accumulators. The values of column 0 are the judge's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle.machine import Trace, every_cycle
from tetrapla.simulators.systolic.formats import PRODUCTS
from tetrapla.simulators.systolic.isa import ENGINES, Instruction
from tetrapla.simulators.systolic.machine import started
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule
from tetrapla.simulators.vcd_ import Wire, ascii_bits, vcd

MATRIX: Final = ("conv2d", "matmul", "gemm", "linear")
# PE-cycles of a run that take half a minute, assumed: compiled and in NumPy
_MOST_PE_CYCLES = {True: 2 * 10**11, False: 10**10}
_MOST_CYCLES: Final = 2**20  # of a layer: a file of some hundred megabytes
_OP_LETTERS: Final = 5
Changes = list[tuple[int, int | None]]


def waveform(
    program: Program,
    spec: SystolicSpec,
    inputs: Mapping[str, Array],
    layer: str | None,
    version: str,
) -> str:
    """A layer's value change dump.

    Args:
        program: legal, compiled for the design point.
        spec: the design point.
        inputs: arrays of shape (1, *shape) by input name; none for a program without values.
        layer: as in the report; None for the first with a matrix product.
        version: who writes the file.

    Raises:
        ModelError: there is no such layer, or the run is too long to go through by cycles.
    """
    place, name = _place(program, layer)
    plan = schedule(program, spec)
    marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
    starts = [0, *(plan.dispatch[n] for n in marks[1:]), plan.cycles]
    first, end = starts[place], starts[place + 1]
    fast = find_spec("numba") is not None
    _check_size(program, plan.cycles, end - first, fast, name)
    region = started(program, inputs)[0].regions[0].tobytes() if inputs else b""
    written: list[tuple[int, int, int, Any]] = []

    def watch(cycle: int, unit: int, row: int, value: Any) -> None:
        written.append((cycle, unit, row, value))

    trace = every_cycle(program, spec, region, fast, watch=watch)
    wires = [
        *_dispatcher(program, trace),
        *(wire for engine in ENGINES for wire in _engine(program, trace, engine)),
        *_array(program, spec, trace),
        *_sums(program, written),
    ]
    comment = (
        f"{program.name}, layer {name}: cycles {first} to {end - 1} of {trace.cycles}; cycle n "
        f"begins at time 2 n and takes {1e12 / spec.clock_hz:.6g} ps"
    )
    return vcd(wires, first, end, version, comment)


def _place(program: Program, layer: str | None) -> tuple[int, str]:
    """The number of the layer's mark, and its name."""
    marked = [program.layers[i["id"]] for i in program.instructions if i.op == "MARK"]
    names = [each.name for each in marked]
    if layer is None:
        for place, each in enumerate(marked):
            if each.macs:
                return place, each.name
        raise ModelError(
            "--vcd must be of a layer, and none of the program has a matrix product; name one "
            f"with --layer: {', '.join(names)}"
        )
    if layer not in names:
        hint = nearest(layer, names)
        raise ModelError(
            f"--layer must be a layer of the program, not '{layer}'"
            f"{hint}{'' if hint else ';'} there are: {', '.join(names)}"
        )
    return names.index(layer), layer


def _check_size(program: Program, cycles: int, own: int, fast: bool, layer: str) -> None:
    work = cycles * program.rows * program.cols * program.units
    if work > _MOST_PE_CYCLES[fast]:
        way = "take a smaller array or model" if fast else "install the extra fast"
        raise ModelError(
            f"--vcd must be of a run of at most {_MOST_PE_CYCLES[fast]:.0e} PE-cycles, which "
            f"are gone through one by one, not of {work:.1e}; {way}"
        )
    if own > _MOST_CYCLES:
        raise ModelError(
            f"--vcd must be of a layer of at most {_MOST_CYCLES} cycles, not of the {own} of "
            f"'{layer}'; name a shorter one with --layer"
        )


def _dispatcher(program: Program, trace: Trace) -> Iterator[Wire]:
    valid: Changes = [(0, 0)]
    number: Changes = []
    words: Changes = []
    for n, (cycle, i) in enumerate(zip(trace.dispatch, program.instructions, strict=True)):
        valid += [(cycle, 1), (cycle + 1, 0)]
        number.append((cycle, n))
        words.append((cycle, ascii_bits(i.op, _OP_LETTERS)))
    yield Wire("dispatcher", "valid", 1, _settled(valid))
    yield Wire("dispatcher", "instruction", 32, number)
    yield Wire("dispatcher", "op", 8 * _OP_LETTERS, words)


def _engine(program: Program, trace: Trace, engine: str) -> Iterator[Wire]:
    """Busy from the cycle after its dispatch to its last issue."""
    busy: Changes = [(0, 0)]
    number: Changes = []
    words: Changes = []
    steps: dict[int, int] = {}
    for n, i in _of(program, engine):
        begun, free, retire = trace.dispatch[n] + 1, trace.free[n], trace.retire[n]
        busy += [(begun, 1), (free + 1, 0)]
        number.append((begun, n))
        words.append((begun, ascii_bits(i.op, _OP_LETTERS)))
        steps[begun] = steps.get(begun, 0) + 1
        steps[retire + 1] = steps.get(retire + 1, 0) - 1
    yield Wire(engine, "busy", 1, _settled(busy))
    yield Wire(engine, "instruction", 32, number)
    yield Wire(engine, "op", 8 * _OP_LETTERS, words)
    flying, held = [(0, 0)], 0
    for cycle, step in sorted(steps.items()):
        held += step
        flying.append((cycle, held))
    yield Wire(engine, "unretired", 8, list[tuple[int, int | None]](flying))


def _array(program: Program, spec: SystolicSpec, trace: Trace) -> Iterator[Wire]:
    """What enters: activations of an MM, weights of an LW."""
    enters: Changes = [(0, 0)]
    row, acc, add, lanes, swap = Changes(), Changes(), Changes(), Changes(), Changes([(0, 0)])
    stationary = spec.array.dataflow == "output_stationary"
    for n, i in _of(program, "MM"):
        begun, free = trace.dispatch[n] + 1, trace.free[n]
        pace = spec.array.formats[PRODUCTS[i["fmt"]]]
        enters += [(begun, 1), (free + 1, 0)]
        add.append((begun, int(i["accumulate"])))
        lanes.append((begun, i["lanes"]))
        if i["swap"]:
            swap += [(begun, 1), (begun + 1, 0)]
        for k, cycle in enumerate(range(begun, free + 1, pace)):
            step = 0 if stationary else k  # there all rows enter, tap by tap
            row.append((cycle, i["row"] + step))
            acc.append((cycle, i["acc"] + step))
    yield Wire("array", "activations_valid", 1, _settled(enters))
    yield Wire("array", "activation_row", 32, row)
    yield Wire("array", "accumulator", 16, acc)
    yield Wire("array", "accumulate", 1, add)
    yield Wire("array", "lanes", 16, lanes)
    yield Wire("array", "weights_swap", 1, _settled(swap))
    shifting: Changes = [(0, 0)]
    slot: Changes = []
    for n, i in _of(program, "LW"):
        if i.op == "LW":
            shifting += [(trace.dispatch[n] + 1, 1), (trace.free[n] + 1, 0)]
            slot.append((trace.dispatch[n] + 1, i["slot"]))
    yield Wire("array", "weights_valid", 1, _settled(shifting))
    yield Wire("array", "weight_slot", 16, slot)


def _sums(program: Program, written: Sequence[tuple[int, int, int, Any]]) -> Iterator[Wire]:
    """Rows of sums, in the cycle at whose end they are written."""
    for unit in range(program.units):
        valid: Changes = [(0, 0)]
        row: Changes = []
        value: Changes = []
        for due, own, place, number in sorted(written, key=lambda each: each[:3]):
            if own != unit:
                continue
            valid += [(due, 1), (due + 1, 0)]
            row.append((due, place))
            value.append((due, _bits(number)))
        scope = "accumulators" if program.units == 1 else f"accumulators{unit}"
        yield Wire(scope, "write_valid", 1, _settled(valid))
        yield Wire(scope, "write_row", 16, row)
        yield Wire(scope, "column_0", 64, value)


def _bits(number: Any) -> int:
    """A sum as a signed number of 64 bits; of a float32 its own 32."""
    array = np.asarray(number)
    if array.dtype.kind == "f":
        return int(array.view(np.uint32))
    return int(array)


def _of(program: Program, engine: str) -> Iterator[tuple[int, Instruction]]:
    for n, i in enumerate(program.instructions):
        if i.engine == engine:
            yield n, i


def _settled(changes: Changes) -> Changes:
    """In order of cycles; of those of one cycle the last, so that 1 0 1 does not blink."""
    found: dict[int, int | None] = {}
    for cycle, value in sorted(changes, key=lambda each: (each[0], each[1] or 0)):
        found[cycle] = value
    return sorted(found.items())
