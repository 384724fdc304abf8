"""What the compiler hands to the machine: instructions, the DRAM image, and the host's part."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators import arrays_
from tetrapla.simulators.program_ import listed, reading, tupled
from tetrapla.simulators.systolic import words
from tetrapla.simulators.systolic.isa import Instruction, parse, text
from tetrapla.simulators.systolic.routines import Routine, routine_dict, routine_of
from tetrapla.simulators.systolic.views import Place, place_of

SCHEMA = "tetrapla.systolic/1"


@dataclass(frozen=True)
class HostStep:
    """An operator that the host computes by the reference's definition; it has no cycles."""

    kind: str
    name: str
    operands: tuple[int, ...]
    result: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """What MARK `id` (its place in the tuple) begins.

    Attributes:
        macs: of the model.
        skipped_macs: those that the compiler left out, their weights being zero.
    """

    name: str
    op: str
    macs: int
    skipped_macs: int = 0


@dataclass(frozen=True)
class Gather:
    """What GTH moves: rows of a table, dense and in the order of the indices.

    Attributes:
        dram: byte address of the table, of `rows` x `row_bytes`.
        indices_ub: byte address of the indices; a negative one counts from the end, and one
            that is still outside 0..rows - 1 takes the nearest.
        index_dtype: i32 or i64.
        count: how many indices.
        ub: where the rows go.
    """

    dram: int
    row_bytes: int
    rows: int
    indices_ub: int
    index_dtype: str
    count: int
    ub: int


@dataclass(frozen=True)
class Program:
    """A compiled model.

    Attributes:
        rows, cols: the array that it was compiled for.
        weight_slots, accumulator_rows, unified_buffer_bytes: what it uses of the memories.
        constants: DRAM from address 0: weight tiles and tables.
        dram_bytes: constants, then the ports' regions.
        packed: by DRAM address of a tile, how many diagonal blocks (groups) share it; the
            other elements are zero and no useful MACs.
        inputs, outputs: names, and the host's numbers for the values.
        to_device, from_device: values that cross between host and accelerator, in DRAM.
        before, after: the host's work before and after the accelerator's.
        has_values: the weights were known; else only cycles and actions mean something.
        units, dataflow: of the array that it was compiled for.
        routines, gathers: what VX and GTH name.
    """

    name: str
    rows: int
    cols: int
    weight_slots: int
    accumulator_rows: int
    unified_buffer_bytes: int
    dram_bytes: int
    instructions: tuple[Instruction, ...]
    constants: bytes = field(repr=False)
    layers: tuple[Layer, ...]
    packed: Mapping[int, int]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    to_device: tuple[Place, ...]
    from_device: tuple[Place, ...]
    before: tuple[HostStep, ...] = ()
    after: tuple[HostStep, ...] = ()
    has_values: bool = True
    host_constants: Mapping[int, Array] = field(default_factory=dict, repr=False)
    units: int = 1
    dataflow: str = "weight_stationary"
    routines: tuple[Routine, ...] = ()
    gathers: tuple[Gather, ...] = ()

    def binary(self) -> bytes:
        """The instruction words, as the RTL's instruction memory takes them."""
        return words.binary(self.instructions)

    def text(self) -> str:
        """The disassembly, with the layers' names and the host's steps as comments."""
        head = (
            f"; {self.name}: {self.rows} x {self.cols}, {len(self.instructions)} instructions"
        )
        lines = [head, *(f"; host before: {s.kind} {s.name}" for s in self.before)]
        for number, routine in enumerate(self.routines):
            kinds = " ".join(step.kind for step in routine.steps)
            lines.append(f"; routine {number}: {routine.name}: {kinds}")
        lines += [f"; gather {number}: {one}" for number, one in enumerate(self.gathers)]
        for instruction in self.instructions:
            if instruction.op == "MARK":
                layer = self.layers[instruction["id"]]
                lines.append(f"; {layer.name}: {layer.op}, {layer.macs} MACs")
            lines.append(text(instruction))
        lines += [f"; host after: {s.kind} {s.name}" for s in self.after]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same program back."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            "schema": SCHEMA,
            **plain,
            "instructions": [text(instruction) for instruction in self.instructions],
            "constants": _base64(self.constants),
            "layers": [list(astuple(layer)) for layer in self.layers],
            "packed": {str(address): groups for address, groups in self.packed.items()},
            "inputs": [list(item) for item in self.inputs],
            "outputs": [list(item) for item in self.outputs],
            "to_device": [port.to_dict() for port in self.to_device],
            "from_device": [port.to_dict() for port in self.from_device],
            "before": [_step_dict(step) for step in self.before],
            "after": [_step_dict(step) for step in self.after],
            "host_constants": {
                str(k): arrays_.packed(v) for k, v in self.host_constants.items()
            },
            "routines": [routine_dict(routine) for routine in self.routines],
            "gathers": [asdict(gather) for gather in self.gathers],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Program:
        """The program that `to_dict` wrote.

        Raises:
            ModelError: the data is of another kind, lacks a part or was changed.
        """
        with reading(data, SCHEMA):
            return _from_dict(data)


_PLAIN = (
    "name",
    "rows",
    "cols",
    "weight_slots",
    "accumulator_rows",
    "unified_buffer_bytes",
    "dram_bytes",
    "has_values",
    "units",
    "dataflow",
)


def _from_dict(data: Mapping[str, Any]) -> Program:
    return Program(
        **{name: data[name] for name in _PLAIN},
        instructions=tuple(parse(line) for line in data["instructions"]),
        constants=base64.b64decode(data["constants"], validate=True),
        layers=tuple(Layer(*item) for item in data["layers"]),
        packed={int(address): groups for address, groups in data["packed"].items()},
        inputs=tuple((name, value) for name, value in data["inputs"]),
        outputs=tuple((name, value) for name, value in data["outputs"]),
        to_device=tuple(place_of(item) for item in data["to_device"]),
        from_device=tuple(place_of(item) for item in data["from_device"]),
        before=tuple(_step(item) for item in data["before"]),
        after=tuple(_step(item) for item in data["after"]),
        host_constants={int(k): arrays_.unpacked(v) for k, v in data["host_constants"].items()},
        routines=tuple(routine_of(item) for item in data["routines"]),
        gathers=tuple(Gather(**item) for item in data["gathers"]),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _step_dict(step: HostStep) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": step.name,
        "operands": list(step.operands),
        "result": step.result,
        "attributes": listed(step.attributes),
    }


def _step(data: Mapping[str, Any]) -> HostStep:
    operands, attributes = tuple(data["operands"]), tupled(data["attributes"])
    return HostStep(data["kind"], data["name"], operands, data["result"], attributes)
