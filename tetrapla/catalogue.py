"""What there is to know of a chip on one line: peak, memories, power, area, evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tetrapla import quantities
from tetrapla.backends.target_ import families, find, target
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.simulators.editor_ import DRAFT, json_schema
from tetrapla.simulators.fields_ import DEFINITIONS
from tetrapla.simulators.leaves_ import ASSUMED, GRADES
from tetrapla.simulators.spec_ import Loaded, chips, family_of

SCHEMA: Final = "tetrapla.targets/1"
HEADINGS: Final = (
    *("chip", "node", "peak", "on chip", "off chip", "TDP", "static", "area"),
    *("evidence", "prices"),
)
LEGEND: Final = (
    "peak: dense, a multiply-accumulate is two operations; evidence: figures that are measured "
    "(m), published (p), derived (d), assumed (a); prices: assumed or unknown ones of all; *: "
    "what the family's name stands for"
)


@dataclass(frozen=True)
class Entry:
    """A chip's line; what no source gives is None.

    Attributes:
        default: whether the family's name stands for it.
        peak_op_per_s: dense, in its default format; a multiply-accumulate is two.
        peak_how: which fields that is made of, or why there is none.
        on_chip_bytes, off_chip_bytes: of memories.
        evidence: how many of its figures have which grade.
        prices: energies of actions; `weak_prices` of them are assumed or unknown.
        assumed: the fields whose figures are assumed.
    """

    name: str
    family: str
    default: bool
    default_format: str
    node_nm: float | None
    peak_op_per_s: float | None
    peak_how: str
    on_chip_bytes: int | None
    off_chip_bytes: int | None
    bandwidth_bytes_per_s: float | None
    tdp_w: float | None
    static_power_w: float | None
    area_mm2: float | None
    evidence: dict[str, int]
    prices: int
    weak_prices: int
    assumed: tuple[str, ...]


def catalogue(family: str | None = None) -> list[Entry]:
    """The shipped chips, by family and name.

    Raises:
        ModelError: there is no such family.
    """
    _named(family)
    found = [(family_of(name), name) for name in chips()]
    return [_entry(name) for of, name in sorted(found) if family in (None, of)]


def schemas(family: str | None = None) -> dict[str, Any]:
    """The JSON schema of a family's chips; of all families that which fits one of them.

    Raises:
        ModelError: there is no such family.
    """
    own = {name: json_schema(target(name).spec_type, name) for name in _named(family)}
    if family is not None:
        return own[family]
    shared = ("$schema", "$defs")
    parts = [{k: v for k, v in each.items() if k not in shared} for each in own.values()]
    title = "a chip of tetrapla"
    return {"$schema": DRAFT, "title": title, "oneOf": parts, "$defs": DEFINITIONS}


def to_dict(entries: Sequence[Entry]) -> dict[str, Any]:
    """Plain data for JSON."""
    return {"schema": SCHEMA, "targets": [asdict(entry) for entry in entries]}


def cells(entry: Entry) -> tuple[str, ...]:
    """A chip's line of the table."""
    return (
        entry.name + ("*" if entry.default else ""),
        _short(entry.node_nm, "nm"),
        _peak(entry),
        _bytes(entry.on_chip_bytes),
        _bytes(entry.off_chip_bytes),
        _short(entry.tdp_w, "W"),
        quantities.quantity(entry.static_power_w, "W"),
        quantities.area(entry.area_mm2),
        " ".join(f"{count}{grade[0]}" for grade, count in entry.evidence.items() if count),
        f"{entry.weak_prices} of {entry.prices}",
    )


def _named(family: str | None) -> tuple[str, ...]:
    """The family that is asked for, or all.

    Raises:
        ModelError: there is none of that name.
    """
    known = families()
    if family is None:
        return known
    if family not in known:
        raise ModelError(
            f"FAMILY must be one of {', '.join(known)}, not '{family}'"
            f"{nearest(family, known) or '; leave it out for all'}"
        )
    return (family,)


def _entry(name: str) -> Entry:
    _, chip = find(name)
    spec = chip.spec
    roof = spec.roof()
    peak = None if roof is None or roof.peak_macs_per_s is None else 2 * roof.peak_macs_per_s
    grades = Counter(entry.grade for entry in chip.provenance)
    prices, weak = _prices(chip)
    return Entry(
        name=name,
        family=spec.family,
        default=target(spec.family).default_chip == name,
        default_format=spec.chip.default_format,
        node_nm=spec.chip.node_nm,
        peak_op_per_s=peak,
        peak_how="" if roof is None else roof.peak.replace(" / 2", ""),
        on_chip_bytes=spec.on_chip_bytes,
        off_chip_bytes=spec.off_chip_bytes,
        bandwidth_bytes_per_s=None if roof is None else roof.bandwidth_bytes_per_s,
        tdp_w=spec.chip.tdp_w,
        static_power_w=spec.chip.static_power_w,
        area_mm2=spec.area_mm2,
        evidence={grade: grades[grade] for grade in GRADES},
        prices=prices,
        weak_prices=weak,
        assumed=tuple(e.field for e in chip.provenance if e.grade == ASSUMED),
    )


def _prices(chip: Loaded[Any]) -> tuple[int, int]:
    """How many prices there are, and how many of them are assumed or unknown."""
    own = [entry for entry in chip.provenance if entry.field.startswith("cost.")]
    return len(own), sum(entry.grade == ASSUMED or entry.value == "null" for entry in own)


def _peak(entry: Entry) -> str:
    if entry.peak_op_per_s is None:
        return quantities.UNKNOWN
    unit = "OPS" if entry.default_format.startswith("int") else "FLOPS"
    return f"{quantities.quantity(entry.peak_op_per_s, unit)} {entry.default_format}"


def _bytes(size: int | None) -> str:
    return quantities.quantity(None if size is None else float(size), "B")


def _short(value: float | None, unit: str) -> str:
    return quantities.UNKNOWN if value is None else f"{value:,.4g} {unit}"
