"""Counts a model's work for chips of which only the datasheet is public.

    before  y = nn.conv2d(x, @w, @b)       after  conv: 903168 MACs, 25892 bytes in int8

Any model is taken as it is: a float one is timed in the chip's number format, without its
values being quantised; one that is quantised already keeps its types.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.backends.target_ import Inputs, Lowered, Options, Target
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pipeline_ import canonical
from tetrapla.passes.unroll_loops import UnrollLoops
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.roofline import (
    ELEMENT_BYTES,
    Layer,
    Program,
    RooflineSpec,
    least_cycles,
    run,
)

_FLOATS = ("f64", "f32", "f16", "bf16")
_VIEWS = ("nn.reshape",)  # the same bytes under another shape


def lower(
    module: Module, spec: RooflineSpec, calibration: Inputs | None, options: Options
) -> Lowered[Program]:
    """Fuse what can be fused, and count.

    Raises:
        UnsupportedError: the chip has no peak for the number format, or data decide how often
            a loop runs.
    """
    del calibration  # nothing is quantised
    integer = any(node.kind.startswith("qnn.") for node in module.graph.nodes)
    taken = UnrollLoops()(module if integer else canonical(module))
    _refuse_loops(taken.graph, spec)
    number_format = _format(spec, options, integer)
    graph = taken.graph
    program = Program(
        name=taken.name,
        format=number_format,
        inputs=tuple(taken.inputs),
        outputs=tuple(taken.outputs),
        layers=tuple(_layer(node, number_format) for node in graph.nodes),
        held_bytes=_held_bytes(graph, number_format),
        model=taken.text(),
        weights=dict(taken.weights),
    )
    return Lowered(taken, program, _notes(spec, number_format, integer))


def cross_check(
    lowered: Lowered[Program],
    spec: RooflineSpec,
    inputs: Inputs,
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck | None:
    """None: a datasheet computes no values that could be checked."""
    del lowered, spec, inputs, run, reference
    return None


def _refuse_loops(graph: Graph, spec: RooflineSpec) -> None:
    held = [f"{node.kind} '{node.name}'" for node in graph.nodes if node.bodies]
    if held:
        raise UnsupportedError(
            f"{spec.name}: work must not depend on data to be counted, as that of "
            f"{', '.join(held)} does; export the model with loops of a known length"
        )


def _format(spec: RooflineSpec, options: Options, integer: bool) -> str:
    default = spec.chip.default_format
    if integer:
        return "int8" if "int8" in spec.peak else default
    asked = options.quant
    if asked == "none" and default == "int8":
        floats = [name for name in spec.peak if name != "int8"]
        asked = floats[0] if floats else None
    if asked is None or asked == "none":
        return default
    if asked not in spec.peak:
        raise UnsupportedError(
            f"{spec.name}: --quant must be none or a format with a published peak, "
            f"{', '.join(spec.peak)}, not {asked}"
        )
    return asked


def _notes(spec: RooflineSpec, number_format: str, integer: bool) -> tuple[str, ...]:
    if integer and number_format != "int8":
        return (
            f"no int8 peak of {spec.name} is published: the integer model is timed at that "
            f"of {number_format}",
        )
    if not integer and number_format == "int8":
        return (
            "the float model is timed in int8 without being quantised; accuracy is that of "
            "the float model",
        )
    return ()


def _layer(node: Node, number_format: str) -> Layer:
    macs = OPS[node.kind].macs(node.operands, node.results[0]) or 0
    moved = 0 if node.kind in _VIEWS else _bytes(node, number_format)
    return Layer(node.name, node.kind, macs, moved)


def _bytes(node: Node, number_format: str) -> int:
    """Every operand read once, however often it is used, and every result written once.

    What only moves data (a gather, a slice) reads no more than it writes.
    """
    operands = {value.index: value for value in node.operands}.values()
    read = sum(_size(value, number_format) for value in operands)
    written = sum(_size(value, number_format) for value in node.results)
    moves = OPS[node.kind].flops(node.operands, node.results, node.attributes) == 0
    return written + (min(read, written) if moves else read)


def _size(value: Value, number_format: str) -> int:
    if value.dtype in _FLOATS:
        return value.elements * ELEMENT_BYTES[number_format]
    return value.elements * DTYPES[value.dtype].itemsize


def _held_bytes(graph: Graph, number_format: str) -> int:
    """All weights, and the operands and results of the layer that has most of them."""
    weights: dict[int, Value] = {}
    most = 0
    for node in graph.nodes:
        weights |= {v.index: v for v in node.operands if graph.is_weight(v)}
        live = {v.index: v for v in node.operands if not graph.is_weight(v)}
        live |= {v.index: v for v in node.results}
        most = max(most, sum(_size(v, number_format) for v in live.values()))
    return sum(_size(v, number_format) for v in weights.values()) + most


TARGET = Target(
    family="roofline",
    spec_type=RooflineSpec,
    default_chip="groq-tsp",
    lower=lower,
    run=run,
    cross_check=cross_check,
    stochastic=lambda spec, options: False,
    least_cycles=least_cycles,
)
