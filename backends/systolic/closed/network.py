"""What of a network the closed form reads: the sizes of its stages, and what it transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.compile import buffers_of, staged, values_of
from tetrapla.backends.systolic.design import WEIGHTS, Machine
from tetrapla.backends.systolic.layout import Moving
from tetrapla.backends.systolic.memory.plan import plan
from tetrapla.backends.systolic.memory.ways import Memory
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Graph
from tetrapla.simulators.systolic.formats import ELEMENT_BYTES, SUMS, stored_format
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import DESCRIPTOR_BYTES
from tetrapla.simulators.systolic.vector import (
    ADD,
    AVERAGE,
    COPY,
    GLOBAL_AVERAGE,
    MAX,
)

_PASSES = (MAX, AVERAGE, GLOBAL_AVERAGE, ADD, COPY)
_ENDLESS = 2**62  # bytes


@dataclass(frozen=True)
class ProductShape:
    """A convolution or a product of matrices.

    Attributes:
        rows: output pixels.
        taps: of one output.
        columns: output channels.
        results: bytes of one result, by epilogue.
        format: as in `array.formats`.
        element_bytes: of a weight in its slot.
        stored_bytes: of a weight in DRAM; half a byte in int4.
        moved_bytes: of an activation.
        sum_bytes: of a sum.
    """

    rows: int
    taps: int
    columns: int
    results: tuple[int, ...]
    format: str
    element_bytes: int
    stored_bytes: float
    moved_bytes: int
    sum_bytes: int


@dataclass(frozen=True)
class PassShape:
    """An instruction of the vector unit.

    Attributes:
        rows: that it writes.
        pixels: read for each, one after another.
        channels: elements of a row.
        operands: elements read for each element written.
        table_bytes: of its access descriptors.
    """

    rows: int
    pixels: int
    channels: int
    operands: int
    table_bytes: int


Shape: TypeAlias = ProductShape | PassShape


@dataclass(frozen=True)
class Network:
    """A network's stages in order.

    Attributes:
        arriving_bytes, leaving_bytes: from and to the host.
        buffer_bytes: that hold every value from its birth to its last use.
    """

    stages: tuple[Shape, ...]
    arriving_bytes: int
    leaving_bytes: int
    buffer_bytes: int


def network(graph: Graph, spec: SystolicSpec) -> Network:
    """The stages of a quantised graph.

    Raises:
        UnsupportedError: the machine or a stage is one that no formula is for.
    """
    _check_machine(spec)
    found = staged(graph, spec)
    stages = found.stages
    if stages.constants:
        raise _refused("a constant operand of the vector unit")
    shapes = tuple(_shape(stage) for stage in stages.found)
    ample = Memory(_ENDLESS, Machine.of(spec), spec.vector.lanes)
    return Network(
        shapes,
        sum(each.size_bytes for each in buffers_of(stages, found.arriving)),
        sum(each.size_bytes for each in buffers_of(stages, found.leaving)),
        plan(values_of(found), ample).used_bytes,
    )


def _check_machine(spec: SystolicSpec) -> None:
    array = spec.array
    wanted: tuple[tuple[str, object, object], ...] = (
        ("array.dataflow", array.dataflow, WEIGHTS),
        ("array.units", array.units, 1),
        ("array.sparsity", array.sparsity, "none"),
        ("array.gate_zeros", array.gate_zeros, False),
    )
    for name, value, needed in wanted:
        if value != needed:
            raise UnsupportedError(
                f"--closed-form must have {name} {_text(needed)}, not {_text(value)}, for "
                "which there is no formula; leave --closed-form out"
            )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shape(stage: Stage) -> Shape:
    if isinstance(stage, Product):
        return _product(stage)
    if isinstance(stage, Pass) and stage.func in _PASSES:
        first = stage.descriptors[0]
        alone = stage.func == ADD
        return PassShape(
            stage.rows,
            1 if alone else first.taps,
            first.channels,
            2 if alone else first.taps,
            DESCRIPTOR_BYTES * len(stage.descriptors),
        )
    raise _refused(f"layer '{stage.name}' ({stage.op})")


def _product(stage: Product) -> ProductShape:
    block = stage.blocks[0]
    if len(stage.blocks) > 1 or block.groups > 1 or isinstance(block.weights, Moving):
        raise _refused(f"layer '{stage.name}' ({stage.op}, grouped or of computed operands)")
    form = stage.format
    slot = ELEMENT_BYTES[stored_format(form.stored_code)]
    return ProductShape(
        stage.rows,
        *block.shape,
        tuple(each.width for each in stage.epilogues),
        form.name,
        slot,
        0.5 if form.stored == "int4" else slot,
        1 if form.code == 0 else 2,
        DTYPES[SUMS[form.code]].itemsize,
    )


def _refused(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"--closed-form must have layers that have a formula, not {what}; leave "
        "--closed-form out"
    )
