"""Cost tables: energies and areas of parts, each with its unit, node, source, grade and range.

A table is a YAML file of ``costs/``, one per source. Constants of one `family` were made alike
and may be added up; two families differ 4 to 20 times on the same operation (Aladdin and
Horowitz at 40 and 45 nm), so a price never adds constants of two (`recipes_`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from tetrapla.ir.errors import RegistryError, SpecError, nearest
from tetrapla.simulators import units_
from tetrapla.simulators.leaves_ import leaves
from tetrapla.simulators.messages_ import messages
from tetrapla.simulators.section_ import Section
from tetrapla.simulators.yaml_ import listed, read_file, read_text


class Record(Section):
    """One constant.

    Attributes:
        name: ``add.int8``, ``mul.fp32``, ``sram.read``, ``hbm2``.
        node_nm: None for what is not scaled with a chip's node (DRAM, links).
        bits: how many the energy moves.
        capacity_bytes: of a memory.
        range_pj: between which the sources lie.
    """

    name: str
    node_nm: units_.Nanometres | None = Field(default=None, alias="node")
    energy_pj: units_.Picojoules | None = Field(default=None, alias="energy")
    range_pj: tuple[units_.Picojoules, units_.Picojoules] | None = Field(
        default=None, alias="range"
    )
    bits: units_.Bits = Field(default=1, ge=1)
    capacity_bytes: units_.Bytes | None = Field(default=None, alias="capacity")
    leakage_w: units_.Watts | None = Field(default=None, alias="leakage")
    area_mm2: units_.SquareMillimetres | None = Field(default=None, alias="area")
    source: str
    grade: Literal["measured", "published", "derived", "assumed"]

    @property
    def between_pj(self) -> tuple[float, float] | None:
        """The range, or the energy twice where there is none."""
        if self.energy_pj is None:
            return None
        return self.range_pj or (self.energy_pj, self.energy_pj)


class Table(Section):
    """All constants of a source; `sources` spells out the short names in brackets."""

    name: str
    family: str
    sources: dict[str, str] = Field(default_factory=dict[str, str])
    records: tuple[Record, ...]

    @field_validator("records")
    @classmethod
    def _say_something(cls, records: tuple[Record, ...]) -> tuple[Record, ...]:
        for record in records:
            if record.energy_pj is None and record.area_mm2 is None:
                raise ValueError(f"records: {record.name} needs an energy or an area; add one")
            low_high = record.range_pj
            if low_high and not low_high[0] <= (record.energy_pj or 0.0) <= low_high[1]:
                raise ValueError(f"records: {record.name} must lie within its range; mend it")
        return records

    def named(self, name: str) -> list[Record]:
        """The records of a name, at several nodes or sizes."""
        return [record for record in self.records if record.name == name]

    def spelled_out(self, record: Record) -> str:
        """The record's source, short names followed by what they stand for."""
        text = record.source
        for short, long in self.sources.items():
            text = text.replace(f"[{short}]", f"[{short}: {long}]")
        return text


def tables() -> dict[str, Path]:
    """The shipped tables' files by name."""
    folder = Path(__file__).parent / "costs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


@cache
def table(name: str) -> Table:
    """Read a table.

    Raises:
        RegistryError: there is no such table.
        SpecError: its file is wrong, at a line and column.
    """
    known = tables()
    if name not in known:
        hint = nearest(name, known) or f"; there are: {', '.join(known)}"
        raise RegistryError(f"no cost table '{name}'{hint}")
    return read(read_file(known[name], known[name].name), known[name].name)


def read(text: str, shown: str) -> Table:
    """The table of a YAML text, called `shown` in messages.

    Raises:
        SpecError: the defects, one a line.
    """
    tree = read_text(text, shown)
    errors: list[str] = []
    data = leaves(tree, errors).data
    made: Table | None = None
    try:
        made = Table.model_validate(data, context={units_.FROM_YAML: True})
    except ValidationError as refused:
        errors += messages(refused, tree, Table, shown)
    if made is None or errors:
        raise SpecError(listed(errors))
    return made
