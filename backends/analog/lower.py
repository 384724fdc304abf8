"""From a module to products on crossbars and digital steps.

A float module is quantised to int8 first (`prepare`). A constant matrix or filter goes onto
tiles (`products`); sums of row tiles, biases, requantisation, and whatever else the model
computes are the periphery's (`periphery`); quantising at the border is the host's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from tetrapla.backends.analog import calibrate
from tetrapla.backends.analog.periphery import Border, digital, is_float, work
from tetrapla.backends.analog.prepare import prepared
from tetrapla.backends.analog.products import Allocation, on_tiles, one_range_each
from tetrapla.backends.analog.replicate import replicated
from tetrapla.backends.analog.spread import spread
from tetrapla.backends.analog.trials import tried
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.backends.work_ import about_macs
from tetrapla.ir.errors import UnsupportedError, some
from tetrapla.ir.graph import Array, Graph
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pipeline_ import quantises
from tetrapla.passes.unroll_loops import UnrollLoops
from tetrapla.simulators.analog import crossbar
from tetrapla.simulators.analog.program import Digital, Program, Step
from tetrapla.simulators.analog.sections import IdealAdcSection
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits
from tetrapla.simulators.analog.tiers import Tier, tier

Inputs: TypeAlias = dict[str, Array]

_ADDRESSES: Final = 1 << 16  # of layers, and of a layer's tiles, in the random numbers' keys
_LISTED: Final = 8  # kinds of operators in a sentence


def lower(
    module: Module, spec: AnalogSpec, calibration: Inputs | None, options: Options
) -> Lowered[Program]:
    """Compile.

    Args:
        module: float, or already quantised.
        spec: the chip.
        calibration: (invocations, ...) by input name; needed for a float module, and for ADC
            ranges that are calibrated.
        options: `quant` may be int8; `ideal` compiles for `spec.ideal()`.

    Raises:
        ModelError: calibration is needed and not given.
        UnsupportedError: another number format, nodes that have no place, or too many arrays.
    """
    spec = spec.ideal() if options.ideal else spec
    wanted = options.quant or spec.chip.default_format
    if not quantises(wanted):
        raise UnsupportedError(
            f"analog: the number format must be int8 or int4, not {wanted}; leave --quant out"
        )
    lowered = prepared(module, calibration, wanted)
    program = uncalibrated(lowered, spec)
    warnings = [*about_macs(module, lowered), *_about_work(lowered, program)]
    if spec.adc.range == "calibrated" and not program.shape_only:
        if calibration is None:
            warnings.append(
                "ADC ranges are those of the largest possible sums: no calibration data"
            )
        else:
            program = one_range_each(calibrate.calibrated(program, spec, calibration))
    if spec.recovery.outputs == "reestimated" and not program.shape_only:
        if calibration is None:
            warnings.append("outputs are not re-estimated: no calibration data")
        else:
            program = replace(program, trial=tried(program, calibration))
    if spec.mapping.replicate:
        program = replicated(program, spec)
    program = spread(program, spec)
    warnings += _about_adcs(program, spec)
    if not program.shape_only:
        warnings += _about_tiers(program, spec)
    return Lowered(lowered, program, tuple(warnings))


def _about_tiers(program: Program, spec: AnalogSpec) -> list[str]:
    """How arrays are computed whose wires or cells do more than add up."""
    if not spec.wires.lossy and not spec.curved:
        return []
    found: dict[Tier, list[str]] = {}
    for step in program.products:
        found.setdefault(tier(step, spec), []).append(step.name)
    return [f"tier {each.name} ({some(names)}): {each.why}" for each, names in found.items()]


def uncalibrated(module: Module, spec: AnalogSpec) -> Program:
    """The program of a quantised module, with ADCs that cover the largest possible sums.

    Raises:
        UnsupportedError: lists every node that has no place, or says that the arrays are few.
    """
    graph = module.graph
    _refuse(module)
    known = _folded(graph, module.shape_only)
    steps = tuple(_steps(graph, known, spec))
    used = {index for step in steps if isinstance(step, Digital) for index in step.operands}
    used |= {value.index for _, value in graph.outputs}
    values = [value for _, value in graph.inputs]
    values += [value for node in graph.nodes for value in node.results]
    program = Program(
        name=module.name,
        rows=spec.array.rows,
        cols=spec.array.cols,
        cell_bits=spec.array.cell_bits,
        dac_bits=spec.dac.bits,
        inputs=tuple((name, value.index) for name, value in graph.inputs),
        outputs=tuple((name, value.index) for name, value in graph.outputs),
        shapes={value.index: value.shape for value in values},
        constants={k: array for k, array in known.arrays.items() if k in used},
        steps=steps,
        shape_only=module.shape_only,
        weights=spec.mapping.weights,
        pairs=spec.mapping.pairs,
        signed=spec.adc.sign == "signed",
        interleaved=spec.array.interleaved,
    )
    _check_size(program, spec)
    return program


@dataclass(frozen=True)
class _Known:
    """Constants by value, computed ones too, and the nodes that compute them."""

    arrays: Mapping[int, Array]
    names: frozenset[str]


def _steps(graph: Graph, known: _Known, spec: AnalogSpec) -> Iterator[Step]:
    allocation, border = Allocation(graph, spec), Border(graph)
    for node in graph.nodes:
        if node.name in known.names:
            continue
        yield allocation.product(node) if on_tiles(graph, node) else digital(node, border)


def _folded(graph: Graph, shape_only: bool) -> _Known:
    """What is known before anything runs, so that the chip need not compute it."""
    arrays = dict(graph.weights)
    settled, names = set(graph.constants), set[str]()
    for node in graph.nodes:
        if node.bodies or not all(value.index in settled for value in node.operands):
            continue
        names.add(node.name)
        settled.update(value.index for value in node.results)
        if not shape_only:
            operands = [arrays[value.index] for value in node.operands]
            with np.errstate(all="ignore"):  # as in the interpreter
                made = OPS[node.kind].evaluate(*operands, **node.attributes)
            made = made if isinstance(made, tuple) else (made,)
            arrays.update(zip((v.index for v in node.results), made, strict=True))
    return _Known(arrays, frozenset(names))


def _check_size(program: Program, spec: AnalogSpec) -> None:
    a = spec.array
    if program.arrays > a.total and a.reload_s is None:
        per_tile = a.arrays_per_unit * a.units_per_tile
        raise UnsupportedError(
            f"{spec.name}: the model must fit its {a.total:,} crossbars, not need "
            f"{program.arrays:,}; use a smaller model or --set array.tiles="
            f"{-(-program.arrays // per_tile)}"
        )
    most = max((len(step.tiles) for step in program.products), default=0)
    layers = len({step.number for step in program.products})
    if max(most, layers) > _ADDRESSES:
        raise UnsupportedError(
            f"{spec.name}: a model must have at most {_ADDRESSES:,} layers on crossbars and "
            f"crossbars of a layer, not {layers:,} and {most:,}; use larger arrays"
        )


def _refuse(module: Module) -> None:
    """Loops and branches that are still there: no sequencer of the chip runs them."""
    reasons = UnrollLoops().refusals(module)
    found: dict[str, list[str]] = {}
    for node in module.graph.nodes:
        if node.bodies:
            reason = reasons.get(node.name, "a body that values decide about")
            found.setdefault(f"{node.kind} ({reason})", []).append(node.name)
    if found:
        listed = "; ".join(
            f"{len(names)} x {what}: {some(names)}" for what, names in sorted(found.items())
        )
        raise UnsupportedError(
            "analog: every node must be a product with constant weights or a digital step, "
            f"not {listed}"
        )


def _about_work(module: Module, program: Program) -> Iterator[str]:
    """What the periphery does beside codes, pools and sums of integers."""
    steps = {step.name: step for step in program.steps if isinstance(step, Digital)}
    nodes = [node for node in module.graph.nodes if node.name in steps]
    floats = Counter(n.kind for n in nodes if is_float(steps[n.name], n))
    if floats:
        yield (
            f"the periphery computes {sum(floats.values())} operators on floats "
            f"({_counted(floats)}): one vector.op for each addition, product or function"
        )
    computed = [steps[n.name] for n in nodes if steps[n.name].unit == "mac"]
    if computed:
        kinds = Counter(step.op for step in computed)
        yield (
            f"the periphery computes {len(computed)} products that no array holds "
            f"({_counted(kinds)}; of two computed matrices, or not of 8 bits), "
            f"{sum(step.macs for step in computed):,} MACs"
        )
    unknown = Counter(n.kind for n in nodes if steps[n.name].unit != "host" and work(n) is None)
    if unknown:
        yield (
            f"how much {_counted(unknown)} do is a matter of values: one operation is counted "
            "for each element that they read or write"
        )


def _counted(kinds: Counter[str]) -> str:
    common = [f"{number} {kind}" for kind, number in kinds.most_common(_LISTED)]
    return ", ".join(common) + (", ..." if len(kinds) > _LISTED else "")


def _about_adcs(program: Program, spec: AnalogSpec) -> list[str]:
    """What to say of ADCs where nothing else changes a value: more bits, or too few."""
    adc = spec.adc
    if isinstance(adc, IdealAdcSection) and adc.bits > adc.given_bits:
        return [
            f"ADCs have {adc.bits} bits instead of {adc.given_bits}, so that every sum of "
            f"{spec.array.rows} rows can be told apart; their energy is that of "
            f"{adc.given_bits} bits"
        ]
    if not spec.sums_are_exact or all(crossbar.folds(step, spec) for step in program.products):
        return []
    most = max(tile.rows for step in program.products for tile in step.tiles)
    return [
        f"nothing is noisy, but {adc.bits}-bit ADCs cannot tell every sum of {most} rows "
        f"apart, which takes {lossless_bits(spec, most)} bits: sums may be rounded or clipped"
    ]
