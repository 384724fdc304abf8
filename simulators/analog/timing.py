"""How long a program takes and which unit acts how often.

One copy of every layer, layers one after the other. A position (an output pixel, a row of a
product) takes one read per input digit; all tiles of a layer read at once. A read takes as long
as the slower of the array and its ADCs; an ADC code goes through the pipeline behind.
ISAAC's replication of early layers is not modelled: this is the latency of the plain mapping.
A conversion is counted for every column in use, whatever it holds: positions x digits x tiles x
2 slices outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.program import Digital, Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.report import LayerRun, Run, Slice, standing

_UNIT_ACTIONS = {"requantize": "requantize.op", "pool": "max_pool.op", "vector": "vector.op"}


def timed(program: Program, spec: AnalogSpec, outputs: Mapping[str, Array]) -> Run:
    """The run of one invocation with these outputs."""
    layers = tuple(_layers(program, spec))
    cycles = sum(layer.cycles for layer in layers)
    trace: list[Slice] = []
    start = 0.0
    for layer in layers:
        unit = "digital" if layer.bound_by == "digital" else "crossbar"
        trace.append(Slice(unit, layer.name, start, start + layer.cycles))
        start += layer.cycles
    time_s = cycles / spec.clock_hz
    return Run(
        outputs=dict(outputs),
        layers=layers,
        cycles=cycles,
        time_s=time_s,
        actions=standing(spec.cost, time_s, cycles),
        warnings=_warnings(program),
        trace=tuple(trace),
    )


def read_cycles(product: Product, spec: AnalogSpec) -> tuple[int, str]:
    """Clock cycles of one read of a layer's tiles, and which unit sets them."""
    columns = (2 * product.slices * tile.outputs for tile in product.tiles)
    most = max(columns, default=0)
    adc_s = ceil(most / spec.adc.per_array) / spec.adc.rate_hz
    bound_by = "adc" if adc_s > spec.array.read_s else "crossbar"
    # 100 ns at 1.2 GHz are 120 cycles; the guard keeps rounding from making it 121
    return ceil(max(adc_s, spec.array.read_s) * spec.clock_hz - 1e-6), bound_by


def _layers(program: Program, spec: AnalogSpec) -> list[LayerRun]:
    layers: list[LayerRun] = []
    for step in program.steps:
        if isinstance(step, Product):
            layers.append(_product(step, program, spec))
        elif step.unit in _UNIT_ACTIONS:
            layers.append(_digital(step, spec))
    return layers


def _product(step: Product, program: Program, spec: AnalogSpec) -> LayerRun:
    outputs = step.matrix.shape[1]
    positions = prod(program.shapes[step.result]) // outputs
    cycles, bound_by = read_cycles(step, spec)
    reads = positions * spec.digits
    cells = len(step.tiles) * spec.array.rows * spec.array.cols
    # each MAC has a pair of cells per slice
    used = 2 * step.slices * sum(tile.rows * tile.outputs for tile in step.tiles)
    # a row range is fetched once and broadcast to the tiles that share it
    rows = sum(stop - start for start, stop in {(t.row_start, t.row_stop) for t in step.tiles})
    codes = reads * sum(2 * step.slices * tile.outputs for tile in step.tiles)
    partial = positions * sum(tile.outputs for tile in step.tiles)
    return LayerRun(
        name=step.name,
        op=step.op,
        cycles=float((reads + spec.digital.fill_reads) * cycles),
        macs=step.macs,
        utilization_frac=used / cells if cells else None,
        bound_by=bound_by,
        actions={
            "router.byte": prod(program.shapes[step.operand]),
            "edram.byte": positions * rows,
            "bus.byte": positions * rows,
            "input_register.byte": positions * sum(tile.rows for tile in step.tiles),
            "dac.convert": reads * sum(tile.rows for tile in step.tiles),
            "crossbar.read": reads * len(step.tiles),
            "sample_hold.read": reads * len(step.tiles),
            "adc.convert": codes,
            # one per code, one per tile's partial sum (the first takes the bias)
            "shift_add.op": codes + partial,
            "output_register.byte": 2 * reads * sum(tile.outputs for tile in step.tiles),
        },
    )


def _digital(step: Digital, spec: AnalogSpec) -> LayerRun:
    d = spec.digital
    lanes = {
        "requantize": d.requantize_lanes,
        "pool": d.pool_lanes,
        "vector": d.vector_lanes,
    }[step.unit]
    return LayerRun(
        name=step.name,
        op=step.op,
        cycles=float(ceil(step.elements / lanes)),
        macs=0,
        utilization_frac=None,
        bound_by="digital",
        actions={
            _UNIT_ACTIONS[step.unit]: step.elements,
            "edram.byte": step.traffic_bytes,
            "bus.byte": step.traffic_bytes,
        },
    )


def _warnings(program: Program) -> tuple[str, ...]:
    border = ("qnn.quantize", "qnn.dequantize")
    host = [s for s in program.steps if isinstance(s, Digital) and s.unit == "host"]
    extra = [f"{step.name} ({step.op})" for step in host if step.op not in border]
    if not extra:
        return ()
    return (f"the host does {', '.join(extra)}; neither time nor energy is counted for it",)
