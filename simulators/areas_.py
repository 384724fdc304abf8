"""The area of a digital chip by unit, for one whose own is not published."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import ConfigDict, Field, ValidationError

from tetrapla.simulators import units_
from tetrapla.simulators.costs_ import Record, Table
from tetrapla.simulators.leaves_ import leaves
from tetrapla.simulators.nodes_ import area_factor
from tetrapla.simulators.section_ import Section
from tetrapla.simulators.yaml_ import Mapping

# of a PE: what multiplies and adds; its registers and wires are in no table
_PE: Final = ("mul.int8", "add.int32")
_SUM_BYTES: Final = 4
_ONE_BYTE: Final = {"int8", "int4"}

ByNode: TypeAlias = AnyMapping[float, float]
"""Square millimetres by node."""


class _Loose(Section):
    """The part of a chip that has an area; other fields are not looked at."""

    model_config = ConfigDict(extra="ignore")


class _Array(_Loose):
    rows: int = 0
    cols: int = 0
    units: int = 1
    formats: dict[str, int] = Field(default_factory=dict[str, int])


class _Memories(_Loose):
    unified_buffer: units_.Bytes = 0
    weight_tiles: int = 0
    accumulator_rows: int = 0


class _Chip(_Loose):
    array: _Array
    memories: _Memories


@dataclass(frozen=True)
class Sizes:
    """Of a chip with an array: its PEs, and the bytes of each memory by name."""

    pes: int
    memories: AnyMapping[str, int]


@dataclass(frozen=True)
class Area:
    """Square millimetres, and what they are the sum of."""

    mm2: float
    source: str


def sizes(tree: Mapping) -> Sizes | None:
    """The parts of a chip; None where it is of another kind, or wrong."""
    try:
        found = leaves(tree, []).data
        chip = _Chip.model_validate(found, context={units_.FROM_YAML: True})
    except ValidationError:
        return None
    array, memories = chip.array, chip.memories
    element = 2 if set(array.formats) - _ONE_BYTE else 1
    lanes = array.cols * array.units
    return Sizes(
        array.rows * lanes,
        {
            "unified_buffer": memories.unified_buffer,
            "weight_memory": memories.weight_tiles * array.rows * array.cols * element,
            "accumulator": memories.accumulator_rows * lanes * _SUM_BYTES,
        },
    )


def area(parts: Sizes, tables: Sequence[Table], node_nm: float) -> Area | None:
    """The area of the PEs' arithmetic and of the memories; None where no table has both.

    Raises:
        ValueError: the node is not within 7 to 130 nm.
    """
    pe, sram = _arithmetic(tables), _memory(tables, node_nm)
    if pe is None or sram is None:
        return None
    units = {"PEs' multipliers and adders": parts.pes * _scaled_mm2(pe, node_nm)}
    units |= {name.replace("_", " "): n * sram for name, n in parts.memories.items()}
    text = " + ".join(f"{name} {mm2:.3g} mm2" for name, mm2 in units.items())
    return Area(
        sum(units.values()),
        f"{text}; control, wires, interfaces and vector unit are not in it, so a lower bound",
    )


def _arithmetic(tables: Sequence[Table]) -> ByNode | None:
    for table in tables:
        named = [[r for r in table.named(name) if r.area_mm2] for name in _PE]
        if all(named):
            return {
                r.node_nm or 0.0: sum(n[0].area_mm2 or 0.0 for n in named) for r in named[0]
            }
    return None


def _scaled_mm2(known: ByNode, node_nm: float) -> float:
    nearest = min(known, key=lambda node: abs(node - node_nm))
    return known[nearest] * area_factor(nearest, node_nm)


def _memory(tables: Sequence[Table], node_nm: float) -> float | None:
    """Square millimetres of a byte, in the largest bank of the nearest node."""
    every: list[Record] = [r for t in tables for r in t.named("sram.read") if r.area_mm2]
    if not every:
        return None
    nearest = min((r.node_nm or 0.0 for r in every), key=lambda node: abs(node - node_nm))
    largest = max(
        (r for r in every if r.node_nm == nearest), key=lambda r: r.capacity_bytes or 0
    )
    mm2 = (largest.area_mm2 or 0.0) / (largest.capacity_bytes or 1)
    return mm2 * area_factor(nearest, node_nm)
