"""Prices of actions from cost tables: sums of constants, memories by size, links by bit.

A price is made of constants of one table, scaled to the chip's node (`nodes_`). Its source says
what was added up, by what factor it was scaled and what was assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Final

from tetrapla.simulators.costs_ import Record, Table
from tetrapla.simulators.nodes_ import Scaled, scaled

ASSUMED: Final = "assumed"


@dataclass(frozen=True)
class Price:
    """Picojoules of one action, between `low_pj` and `high_pj`, and where they come from."""

    pj: float
    low_pj: float
    high_pj: float
    source: str
    grade: str

    def times(self, factor: float, why: str, low: float = 0.0, high: float = 0.0) -> Price:
        """The price of `factor` of it, assumed; from `low` to `high` of it where given."""
        return Price(
            self.pj * factor,
            self.low_pj * (low or factor),
            self.high_pj * (high or factor),
            f"{why}; {self.source}",
            ASSUMED,
        )


@dataclass(frozen=True)
class Bank:
    """The part of a memory that one access reads; its size decides the price."""

    capacity_bytes: int
    shown: str
    grade: str


@dataclass(frozen=True)
class Book:
    """The tables of a chip, the first that has what is asked for is taken, and its node."""

    tables: tuple[Table, ...]
    node_nm: float

    def total(self, *names: str) -> Price | None:
        """The sum of constants, all of one table; None where no table has them."""
        for table in self.tables:
            found = [table.named(name) for name in names]
            if all(any(r.energy_pj is not None for r in records) for records in found):
                return self._sum(table, found)
        return None

    def memory_byte(self, action: str, bank: Bank) -> Price | None:
        """A byte of an SRAM, `action` read or write; a missing write costs what a read does."""
        for table in self.tables:
            records = table.named(f"sram.{action}") or table.named("sram.read")
            if records:
                return self._of_size(table, records, bank)
        return None

    def _sum(self, table: Table, parts: Sequence[Sequence[Record]]) -> Price:
        made = [self._constant(records) for records in parts]
        texts = [
            f"{records[0].name} {one.value:.4g} pJ" + (f" ({one.how})" if one.how else "")
            for records, one in zip(parts, made, strict=True)
        ]
        sources = dict.fromkeys(table.spelled_out(records[0]) for records in parts)
        grades = {record.grade for records in parts for record in records}
        derived = len(made) > 1 or bool(made[0].how)
        grade = ASSUMED if ASSUMED in grades else "derived" if derived else min(grades)
        return Price(
            sum(one.value for one in made),
            sum(one.low for one in made),
            sum(one.high for one in made),
            f"{' + '.join(texts)}; {'; '.join(sources)}",
            grade,
        )

    def _constant(self, records: Sequence[Record]) -> Scaled:
        known = {
            record.node_nm or self.node_nm: _as_scaled(record)
            for record in records
            if record.energy_pj is not None
        }
        return scaled(known, self.node_nm)

    def _of_size(self, table: Table, records: Sequence[Record], bank: Bank) -> Price:
        nodes = sorted({record.node_nm for record in records if record.node_nm is not None})
        by_node = {
            node: _by_size([r for r in records if r.node_nm == node], bank.capacity_bytes)
            for node in nodes
        }
        made = scaled(by_node, self.node_nm)
        rules = [by_node[nodes[0]].how, made.how]
        text = "; ".join(
            [
                f"SRAM, a bank of {bank.shown}",
                *(rule for rule in dict.fromkeys(rules) if rule),
                table.spelled_out(records[0]),
            ]
        )
        grade = ASSUMED if bank.grade == ASSUMED else "derived"
        return Price(made.value, made.low, made.high, text, grade)


def per_byte(table: Table, kind: str) -> Price | None:
    """A byte of an off-chip memory or link, by its kind; it has no node."""
    for record in table.named(kind):
        if record.energy_pj is not None:
            part = _as_scaled(record, 8.0 / record.bits)
            text = f"{kind} {part.value / 8:.4g} pJ/bit, {table.spelled_out(record)}"
            grade = ASSUMED if record.grade == ASSUMED else "derived"
            return Price(part.value, part.low, part.high, text, grade)
    return None


def _as_scaled(record: Record, factor: float = 1.0) -> Scaled:
    """The record's own numbers, times a factor."""
    value = record.energy_pj or 0.0
    low, high = record.between_pj or (value, value)
    return Scaled(value * factor, low * factor, high * factor)


def _by_size(records: Sequence[Record], capacity_bytes: int) -> Scaled:
    """A byte of a memory of any size, from the sizes that a table has at one node.

    Between two of them on the straight line of the logarithms; beyond the table's energy grows
    with the square root of the capacity (Horowitz's 10, 20 and 100 pJ do within 13 %).
    """
    sizes: Mapping[int, Record] = {r.capacity_bytes or 1: r for r in records}
    known = sorted(sizes)
    capacity_bytes = max(capacity_bytes, 1)  # an empty memory is never read
    exact = sizes.get(capacity_bytes)
    if exact is not None:
        return _as_scaled(exact, 8.0 / exact.bits)
    below = [size for size in known if size < capacity_bytes]
    above = [size for size in known if size > capacity_bytes]
    if below and above:
        one, two = (_as_scaled(sizes[s], 8.0 / sizes[s].bits) for s in (below[-1], above[0]))
        share = log(capacity_bytes / below[-1]) / log(above[0] / below[-1])
        value = one.value * (two.value / one.value) ** share
        how = f"between the source's banks of {below[-1] // 1024} and {above[0] // 1024} KiB"
        return Scaled(value, min(one.low, two.low), max(one.high, two.high), how)
    end = below[-1] if below else above[0]
    last = _as_scaled(sizes[end], 8.0 / sizes[end].bits)
    factor = (capacity_bytes / end) ** 0.5
    how = f"x {factor:.3g} from a bank of {end // 1024} KiB (square root of the capacity)"
    spread = (last.low * min(factor, 1.0), last.high * max(factor, 1.0))
    return replace(last, value=last.value * factor, low=spread[0], high=spread[1], how=how)
