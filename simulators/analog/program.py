"""What the compiler hands to the machine: matrices on crossbars, and the digital steps.

Values are numbered. A `Product` multiplies windows of a value with a constant matrix that lies
on tiles; a `Digital` step is one operator of the reference's dialects, done by the periphery or
by the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators.analog.reestimation import Trial
from tetrapla.simulators.arrays_ import packed, unpacked
from tetrapla.simulators.program_ import listed, reading, tupled

SCHEMA = "tetrapla.analog/1"


@dataclass(frozen=True)
class Tile:
    """One crossbar: rows and outputs [start, stop) of the matrix.

    How many columns an output takes, and in which order, is `mapping`'s.

    Attributes:
        adc_shifts: by slice, the ADC's step is 2^shift units.
    """

    row_start: int
    row_stop: int
    col_start: int
    col_stop: int
    adc_shifts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows in use."""
        return self.row_stop - self.row_start

    @property
    def outputs(self) -> int:
        """Outputs of the matrix that it holds."""
        return self.col_stop - self.col_start


@dataclass(frozen=True)
class Window:
    """How rows of the matrix read an image: row ``(c kernel_h + y) kernel_w + x``."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True)
class Product:
    """``sum_k (x - x_zero_point) w + bias`` on crossbars, wrapped to int32.

    Attributes:
        number: of the arrays, for the random numbers; products on the same arrays share it.
        x_low: the lowest value of x's type; rows are driven by x - x_low, 0..255.
        matrix: int16 [rows of a group, outputs], the centred weights; an output reads the rows
            of its group alone, and the outputs of a group lie together.
        bias: int64 [outputs], 0 where the operator has none.
        window: None for a matrix product.
        macs: useful ones of one invocation (zeros between groups do not count).
        copies: sets of its tiles, each programmed on its own; copy p % copies does position p.
        first_tile: number of its first tile among those of the layer; tile t of copy c is
            number first_tile + c tiles + t.
        first_read: positions that the arrays did before in the invocation, for other products.
        groups: of equal numbers of rows and outputs.
    """

    name: str
    op: str
    number: int
    operand: int
    result: int
    x_zero_point: int
    x_low: int
    matrix: Array = field(repr=False)
    bias: Array = field(repr=False)
    window: Window | None
    slices: int
    tiles: tuple[Tile, ...]
    macs: int
    copies: int = 1
    first_tile: int = 0
    first_read: int = 0
    groups: int = 1

    @property
    def rows(self) -> int:
        """Inputs of one position, those of all groups."""
        return int(self.matrix.shape[0]) * self.groups

    @property
    def operands(self) -> tuple[int, ...]:
        """Every value that it reads."""
        return (self.operand,)

    @property
    def results(self) -> tuple[int, ...]:
        """Every value that it makes."""
        return (self.result,)

    def part(self, tile: Tile) -> Array:
        """Weights of a tile, int16 [rows, outputs], with the zeros between groups."""
        columns = self.matrix[:, tile.col_start : tile.col_stop]
        if self.groups == 1:
            return np.asarray(columns[tile.row_start : tile.row_stop])
        rows, outputs = self.matrix.shape
        place = np.arange(tile.row_start, tile.row_stop)
        group = np.arange(tile.col_start, tile.col_stop) // (outputs // self.groups)
        own = place[:, None] // rows == group[None, :]
        return np.where(own, columns[place % rows], np.int16(0))

    def copy(self, number: int) -> Product:
        """One of its copies, on its own."""
        first = self.first_tile + number * len(self.tiles)
        return replace(self, copies=1, first_tile=first)


@dataclass(frozen=True)
class Digital:
    """An operator of the reference's dialects, by its own definition.

    Attributes:
        unit: ``requantize``, ``pool``, ``vector`` (arithmetic on single numbers) or ``mac``
            (products of two computed matrices) for the periphery's work, ``move`` for what
            renames or reorders, ``host`` for what is done outside the chip.
        elements: operations, or of a move the elements that change their place.
        traffic_bytes: it reads from and writes to the tile's eDRAM.
        macs: of one invocation.
        more_results: values beside `result`, in order.
        tiles: of the chip, whose units share the work.
    """

    name: str
    op: str
    unit: str
    operands: tuple[int, ...]
    result: int
    attributes: Mapping[str, Attribute]
    elements: int
    traffic_bytes: int
    macs: int = 0
    more_results: tuple[int, ...] = ()
    tiles: int = 1

    @property
    def results(self) -> tuple[int, ...]:
        """Every value that it makes."""
        return (self.result, *self.more_results)


Step: TypeAlias = Product | Digital


@dataclass(frozen=True)
class Program:
    """A compiled model.

    Attributes:
        rows, cols, cell_bits, dac_bits: the arrays that it was compiled for.
        weights, pairs: how a weight lies in their cells (`spec.MappingSection`).
        signed, interleaved: whether converters, or bit lines, take differences of pairs.
        shapes: of every value that is computed or given, without the invocations.
        constants: of digital steps and of outputs that nothing computes, by value.
        shape_only: whether no weight is known; matrices are zeros of their shape.
        trial: what outputs are re-estimated on; None where they are not.
    """

    name: str
    rows: int
    cols: int
    cell_bits: int
    dac_bits: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    shapes: Mapping[int, tuple[int, ...]]
    constants: Mapping[int, Array] = field(repr=False)
    steps: tuple[Step, ...]
    shape_only: bool = False
    weights: str = "differential"
    pairs: int = 1
    signed: bool = False
    interleaved: bool = False
    trial: Trial | None = None

    @property
    def products(self) -> tuple[Product, ...]:
        """The steps on crossbars."""
        return tuple(step for step in self.steps if isinstance(step, Product))

    @property
    def arrays(self) -> int:
        """Crossbars in use; products on the same arrays need them once."""
        by_layer = {step.number: len(step.tiles) * step.copies for step in self.products}
        return sum(by_layer.values())

    def last_uses(self) -> dict[int, int]:
        """The last step that reads each value; of outputs, a step behind all."""
        last = {index: n for n, step in enumerate(self.steps) for index in step.operands}
        return last | dict.fromkeys((index for _, index in self.outputs), len(self.steps))

    def text(self) -> str:
        """A listing: layers, their tiles and ADC steps, and the digital work between."""
        lines = [
            f"; {self.name}: {self.arrays} crossbars of {self.rows} x {self.cols}, "
            f"{self.cell_bits} bits a cell, {self.dac_bits}-bit DACs"
        ]
        lines += [f"input {name} -> v{value}" for name, value in self.inputs]
        for step in self.steps:
            lines += _listing(step)
        lines += [f"output {name} <- v{value}" for name, value in self.outputs]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same program back."""
        return {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in _PLAIN},
            "inputs": [list(item) for item in self.inputs],
            "outputs": [list(item) for item in self.outputs],
            "shapes": {str(key): list(shape) for key, shape in self.shapes.items()},
            "constants": {str(key): packed(array) for key, array in self.constants.items()},
            "steps": [_step_dict(step) for step in self.steps],
            **({} if self.trial is None else {"trial": self.trial.to_dict()}),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Program:
        """The program that `to_dict` wrote.

        Raises:
            ModelError: the data is of another kind or lacks a part.
        """
        with reading(data, SCHEMA):
            return Program(
                **{name: data[name] for name in _PLAIN},
                inputs=tuple((name, value) for name, value in data["inputs"]),
                outputs=tuple((name, value) for name, value in data["outputs"]),
                shapes={int(key): tuple(shape) for key, shape in data["shapes"].items()},
                constants={int(k): unpacked(item) for k, item in data["constants"].items()},
                steps=tuple(_step(item) for item in data["steps"]),
                trial=Trial.from_dict(data["trial"]) if "trial" in data else None,
            )


def unknown(shape: tuple[int, ...]) -> Array:
    """A matrix that is not known: zeros that take no memory."""
    return np.broadcast_to(np.zeros((), np.int16), shape)


_PLAIN = (
    *("name", "rows", "cols", "cell_bits", "dac_bits", "shape_only"),
    *("weights", "pairs", "signed", "interleaved"),
)
_DIGITAL = ("name", "op", "unit", "result", "elements", "traffic_bytes", "macs", "tiles")

_PRODUCT = (
    *("name", "op", "number", "operand", "result", "x_zero_point", "x_low", "slices", "macs"),
    *("copies", "first_tile", "first_read", "groups"),
)


def _listing(step: Step) -> list[str]:
    if isinstance(step, Digital):
        operands, results = (
            ", ".join(f"v{value}" for value in values)
            for values in (step.operands, step.results)
        )
        return [f"{step.name}: {step.unit} {step.op} {operands} -> {results}"]
    rows, outputs = step.rows, step.matrix.shape[1]
    window = "" if step.window is None else f", window {step.window.kernel}"
    head = (
        f"{step.name}: {step.op} v{step.operand} -> v{step.result}, {rows} x {outputs} in "
        f"{step.slices} slices{window}, {step.macs} MACs"
    )
    if step.copies > 1:
        head += f", {step.copies} copies"
    tiles = [
        f"  tile {number}: rows {t.row_start}..{t.row_stop}, outputs {t.col_start}.."
        f"{t.col_stop}, ADC steps {', '.join(str(1 << shift) for shift in t.adc_shifts)}"
        for number, t in enumerate(step.tiles)
    ]
    return [head, *tiles]


def _step_dict(step: Step) -> dict[str, Any]:
    if isinstance(step, Digital):
        attributes = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in step.attributes.items()
        }
        plain = {k: getattr(step, k) for k in _DIGITAL}
        lists = {"operands": list(step.operands), "more_results": list(step.more_results)}
        return {"digital": {**plain, **lists, "attributes": attributes}}
    return {
        "product": {
            **{name: getattr(step, name) for name in _PRODUCT},
            "matrix": _packed(step.matrix),
            "bias": packed(step.bias),
            "window": None if step.window is None else listed(asdict(step.window)),
            "tiles": [listed(asdict(tile)) for tile in step.tiles],
        }
    }


def _step(data: Mapping[str, Any]) -> Step:
    if "digital" in data:
        fields = tupled(data["digital"])
        fields["attributes"] = tupled(fields["attributes"])
        return Digital(**fields)
    fields = dict(data["product"])
    fields["matrix"], fields["bias"] = _unpacked(fields["matrix"]), unpacked(fields["bias"])
    fields["window"] = fields["window"] and Window(**tupled(fields["window"]))
    fields["tiles"] = tuple(Tile(**tupled(tile)) for tile in fields["tiles"])
    return Product(**fields)


def _packed(matrix: Array) -> dict[str, Any]:
    """The matrix as plain data; of one that repeats a single zero, its shape alone."""
    return packed(matrix) if any(matrix.strides) else {"shape": list(matrix.shape)}


def _unpacked(data: Mapping[str, Any]) -> Array:
    return unpacked(data) if "base64" in data else unknown(tuple(data["shape"]))
