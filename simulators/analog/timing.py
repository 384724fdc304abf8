"""How long a program takes and which unit acts how often.

A position (an output pixel, a row of a product) takes one read per input digit; all tiles of a
layer read at once, and its copies do different positions at once. A read takes as long as the
slower of the array and its ADCs, or as both where they take turns; an ADC code goes through the
pipeline behind. Two times follow: the latency of one invocation, its layers one after the other
or on what is there so far (`schedule`), and the interval after which the next may start, when
every layer works on another invocation: the time of the layer, transfer or digital unit that
is busy longest. N invocations in the pipeline take latency + (N - 1) interval, at most N
latencies.
Where weights are loaded, as into photonic modulators, a layer of more tiles than there are
arrays takes rounds, each after loading, and layers share the arrays.
A conversion is counted for every column in use, whatever it holds: positions x digits x tiles x
2 slices outputs, where each column of a pair is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod
from typing import Final

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noc, schedule
from tetrapla.simulators.analog.costing import JOULE, LOAD, READ, UNKNOWN
from tetrapla.simulators.analog.mapping import sizes
from tetrapla.simulators.analog.program import Digital, Product, Program, Step, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.report import LayerRun, Run, Slice, standing

_UNIT_ACTIONS: Final = {
    "requantize": "requantize.op",
    "pool": "max_pool.op",
    "vector": "vector.op",
    "mac": "mac.op",
    "move": "",
}
_ROUNDING: Final = 1e-6  # of a cycle: 100 ns at 1.2 GHz are 120 cycles, never 121


def timed(
    program: Program,
    spec: AnalogSpec,
    outputs: Mapping[str, Array],
    joules: Mapping[str, float] | None = None,
) -> Run:
    """The run of one invocation with these outputs.

    Args:
        program: what runs.
        spec: the chip.
        outputs: values by name.
        joules: by product, what its arrays took in one invocation (`energy`); None where no
            values were computed.
    """
    layers = _layers(program, spec, joules)
    works = [_work(step, layer, program, spec) for step, layer in layers]
    spans = schedule.spans(program, works, streams=spec.digital.streams)
    trace = [
        Slice(_unit(layer), layer.name, span.start, span.end)
        for span, (_, layer) in zip(spans, layers, strict=True)
        if layer is not None
    ]
    cycles = max((part.end_cycle for part in trace), default=0.0)
    time_s = cycles / spec.clock_hz
    interval_s = interval_cycles(program, spec) / spec.clock_hz
    return Run(
        outputs=dict(outputs),
        layers=tuple(layer for _, layer in layers if layer is not None),
        cycles=cycles,
        time_s=time_s,
        actions=standing(spec.cost, time_s, cycles),
        warnings=(*_pipelined(interval_s, time_s), *_warnings(program, spec, joules)),
        trace=tuple(trace),
        interval_s=interval_s,
    )


def works(program: Program, spec: AnalogSpec) -> list[schedule.Work | None]:
    """What every step of a program takes; None where it is nothing or the host's."""
    return [_work(step, layer, program, spec) for step, layer in _layers(program, spec, None)]


def read_cycles(product: Product, spec: AnalogSpec) -> tuple[int, str]:
    """Clock cycles of one read of a layer's tiles, and which unit sets them."""
    most = max((_codes(product, tile, spec) for tile in product.tiles), default=0)
    adc_s = ceil(most / spec.adc.per_array) * spec.conversion_s
    bound_by = "adc" if adc_s > spec.array.read_s else "crossbar"
    both = adc_s + spec.array.read_s
    read_s = max(adc_s, spec.array.read_s) if spec.converter.overlaps else both
    return max(1, ceil(read_s * spec.clock_hz - _ROUNDING)), bound_by


def rounds(step: Product, spec: AnalogSpec) -> tuple[int, int]:
    """How often a layer's arrays are loaded for it, and the cycles of that; (1, 0) if never."""
    if spec.array.reload_s is None:
        return 1, 0
    count = ceil(len(step.tiles) * step.copies / spec.array.total)
    return count, ceil(spec.array.reload_s * spec.clock_hz - _ROUNDING)


def interval_cycles(program: Program, spec: AnalogSpec) -> float:
    """Cycles after which the next invocation may start.

    What acts is busy on one invocation at a time: the arrays of a number, with all products on
    them, the digital units of one step, the link that brings a layer its operand.
    """
    moved = noc.transfers(program, spec)
    busy: dict[int, float] = {}
    longest = 0.0
    for step in program.steps:
        if isinstance(step, Product):
            arrays = step.number if spec.array.reload_s is None else 0
            busy[arrays] = busy.get(arrays, 0.0) + _busy_cycles(step, program, spec)
            longest = max(longest, moved[step.name].cycles)
        elif step.unit in _UNIT_ACTIONS:
            longest = max(longest, _digital_cycles(step, spec))
    return max(longest, *busy.values()) if busy else longest


def least_cycles(program: Program, spec: AnalogSpec) -> dict[str, float]:
    """By product, the cycles that its MACs take if every cell of its arrays were used."""
    a = spec.array
    found: dict[str, float] = {}
    for step in program.products:
        # one read of an array does a cell's share of a MAC: cells / (2 slices digits)
        cells = len(step.tiles) * step.copies * a.rows * a.cols
        if cells:
            reads = step.macs * step.slices * spec.digits / cells
            found[step.name] = reads * a.read_s * spec.clock_hz * (1 - _ROUNDING)
    return found


def _layers(
    program: Program, spec: AnalogSpec, joules: Mapping[str, float] | None
) -> list[tuple[Step, LayerRun | None]]:
    """Every step, with what it does on the chip; None where it is nothing or the host's."""
    moved = noc.transfers(program, spec)
    layers: list[tuple[Step, LayerRun | None]] = []
    for step in program.steps:
        layer: LayerRun | None = None
        if isinstance(step, Product):
            own = None if joules is None else joules.get(step.name)
            layer = _product(step, program, spec, moved[step.name], own)
        elif step.unit in _UNIT_ACTIONS and step.elements:
            layer = _digital(step, spec)
        layers.append((step, layer))
    return layers


def _work(
    step: Step, layer: LayerRun | None, program: Program, spec: AnalogSpec
) -> schedule.Work | None:
    if layer is None:
        return None
    busy = layer.cycles
    if isinstance(step, Product):
        busy = _busy_cycles(step, program, spec)
    return schedule.Work(layer.cycles, busy)


def _unit(layer: LayerRun) -> str:
    return "digital" if layer.bound_by == "digital" else "crossbar"


def _positions(step: Product, program: Program) -> int:
    return prod(program.shapes[step.result]) // int(step.matrix.shape[1])


def _reads(step: Product, program: Program, spec: AnalogSpec) -> int:
    """Reads one after the other: of the copy that does most positions."""
    return ceil(_positions(step, program) / step.copies) * spec.digits


def _busy_cycles(step: Product, program: Program, spec: AnalogSpec) -> float:
    """What a layer's arrays take, without what drains behind them."""
    reads = _reads(step, program, spec) * read_cycles(step, spec)[0]
    count, load = rounds(step, spec)
    return float(count * (reads + load))


def _product(
    step: Product,
    program: Program,
    spec: AnalogSpec,
    transfer: noc.Transfer,
    joules: float | None,
) -> LayerRun:
    positions = _positions(step, program)
    cycles, bound_by = read_cycles(step, spec)
    total = _busy_cycles(step, program, spec) + float(spec.digital.fill_reads * cycles)
    if transfer.cycles > total:
        bound_by = "noc"
    cells = len(step.tiles) * spec.array.rows * spec.array.cols
    used = sum(tile.rows * sizes(step, tile, spec)[0] for tile in step.tiles)
    return LayerRun(
        name=step.name,
        op=step.op,
        cycles=total + transfer.cycles,
        macs=step.macs,
        utilization_frac=used / cells if cells else None,
        bound_by=bound_by,
        actions={
            "router.byte": transfer.traffic_bytes * transfer.hops,
            **_on_arrays(step, positions, spec),
            **_array_energy(step, positions, spec, joules),
        },
    )


def _on_arrays(step: Product, positions: int, spec: AnalogSpec) -> dict[str, int | float]:
    reads = positions * spec.digits
    # a row range is fetched once and broadcast to the tiles that share it
    rows = sum(stop - start for start, stop in {(t.row_start, t.row_stop) for t in step.tiles})
    codes = reads * sum(_codes(step, tile, spec) for tile in step.tiles)
    partial = positions * sum(tile.outputs for tile in step.tiles)
    return {
        "edram.byte": positions * rows,
        "bus.byte": positions * rows,
        "input_register.byte": positions * sum(tile.rows for tile in step.tiles),
        "dac.convert": reads * sum(tile.rows for tile in step.tiles),
        "sample_hold.read": reads * len(step.tiles),
        "adc.convert": codes,
        # one per code, one per tile's partial sum (the first takes the bias)
        "shift_add.op": codes + partial,
        "output_register.byte": 2 * reads * sum(tile.outputs for tile in step.tiles),
    }


def _array_energy(
    step: Product, positions: int, spec: AnalogSpec, joules: float | None
) -> dict[str, int | float]:
    """What the arrays take: counted joules or reads of a published price, and loading."""
    loaded: dict[str, int | float] = {}
    if spec.array.reload_s is not None:
        cells = sum(tile.rows * sizes(step, tile, spec)[0] for tile in step.tiles)
        loaded[LOAD] = cells * step.copies
    if JOULE in spec.cost:
        if joules is not None:
            return {**loaded, JOULE: joules}
        if spec.cost.get(READ) is None:
            # what is not known is an action without a price, never nothing
            return {**loaded, UNKNOWN: 1}
    return {**loaded, READ: positions * spec.digits * len(step.tiles)}


def _codes(step: Product, tile: Tile, spec: AnalogSpec) -> int:
    """Conversions of one read of a tile."""
    return sizes(step, tile, spec)[1]


def _digital_cycles(step: Digital, spec: AnalogSpec) -> float:
    d = spec.digital
    lanes = {
        "requantize": d.requantize_lanes,
        "pool": d.pool_lanes,
        "vector": d.vector_lanes,
        "mac": d.mac_lanes,
        "move": d.vector_lanes,
    }[step.unit]
    done = step.macs if step.unit == "mac" else step.elements
    return float(ceil(done / (lanes * step.tiles)))


def _digital(step: Digital, spec: AnalogSpec) -> LayerRun:
    action = _UNIT_ACTIONS[step.unit]
    done = step.macs if step.unit == "mac" else step.elements
    counts = {action: done} if action else {}
    return LayerRun(
        name=step.name,
        op=step.op,
        cycles=_digital_cycles(step, spec),
        macs=step.macs,
        utilization_frac=None,
        bound_by="digital",
        actions={
            **counts,
            "edram.byte": step.traffic_bytes,
            "bus.byte": step.traffic_bytes,
        },
    )


def _pipelined(interval_s: float, time_s: float) -> tuple[str, ...]:
    if not 0 < interval_s < time_s:
        return ()
    return (
        "time is the latency of one invocation; in a pipeline, where layers work on different "
        f"ones, the next can start every {interval_s:.3g} s, {1 / interval_s:.4g} a second",
    )


def _warnings(
    program: Program, spec: AnalogSpec, joules: Mapping[str, float] | None
) -> tuple[str, ...]:
    said: list[str] = []
    border = ("qnn.quantize", "qnn.dequantize")
    host = [s for s in program.steps if isinstance(s, Digital) and s.unit == "host"]
    extra = [f"{step.name} ({step.op})" for step in host if step.op not in border]
    if extra:
        said.append(
            f"the host does {', '.join(extra)}; neither time nor energy is counted for it"
        )
    if joules is None and JOULE in spec.cost:
        found = "unknown" if spec.cost.get(READ) is None else "that of a read's price"
        said.append(
            f"the arrays' own energy depends on values, and none are computed: it is {found}"
        )
    return tuple(said)
