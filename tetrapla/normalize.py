"""Chips of several technologies on one scale: at a node, or at an area.

At a node, a report's energy is scaled by the table of `simulators.nodes_` (Stillmaker and Baas
2017): digital logic, on-chip memory and static power, each times one factor,

    E' = f (sum of scaled units) + sum of the others,   f = E(node) / E(chip's node) at 0.8 V.

Memory beside the chip, links, converters and analog cells keep their energy; so does time,
since a design's clock does not follow the node by itself. Area is a digital chip's times the
table's factor. At an area A, k = A / area ideal copies of the chip work side by side: k times
the throughput and k times the static power, so that one inference costs what it did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any, Final

from tetrapla.columns import throughput_per_s
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.nodes_ import LARGEST_NM, SMALLEST_NM, area_factor, energy_factor

_TEXT: Final = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(nm|mm2|mm²)\s*", re.ASCII)
SCALED: Final = frozenset(
    {
        *("accumulator", "array", "clock", "mac", "requantize", "unified_buffer", "vector"),
        *("weight_memory", "flop", "l2", "op", "learning", "network", "soma", "synapse"),
        *("bus", "edram", "input_register", "max_pool", "output_register", "router"),
        *("shift_add", "static"),
    }
)
"""Units of digital logic and on-chip memory, and the static power."""
KEPT: Final = frozenset(
    {"dram", "host_link", "adc", "dac", "crossbar", "sample_hold", "weight"}
)
"""Units that no such table is for: off the chip, converters, analog cells and their writing."""
MIXED: Final = frozenset({"chip"})
"""Units in which both are: a price of the whole chip."""
_SOURCE: Final = "Stillmaker and Baas 2017, 0.8 V"


@dataclass(frozen=True)
class Scale:
    """What `--normalize` asks for: one of the two is given."""

    node_nm: float | None = None
    area_mm2: float | None = None

    @property
    def text(self) -> str:
        """As a heading shows it."""
        return f"{self.node_nm:g} nm" if self.node_nm else f"{self.area_mm2:g} mm2"


def scale_of(text: str) -> Scale:
    """Read ``7nm`` or ``100mm2``.

    Raises:
        ModelError: it is neither, or a node that the table does not reach.
    """
    found = _TEXT.fullmatch(text)
    number = float(found[1]) if found else 0.0
    if found is None or not isfinite(number) or number <= 0:
        raise ModelError(
            f"--normalize must be a node or an area above 0, not '{text}'; write 7nm or 100mm2"
        )
    if found[2] != "nm":
        return Scale(area_mm2=number)
    if not SMALLEST_NM <= number <= LARGEST_NM:
        raise ModelError(
            f"--normalize must be a node from {SMALLEST_NM} to {LARGEST_NM} nm, where the "
            f"scaling table ({_SOURCE}) ends, not {number:g} nm; give a node within it"
        )
    return Scale(node_nm=number)


def normalised(report: Mapping[str, Any], to: Scale) -> tuple[dict[str, Any], str]:
    """A report's figures at a node or an area, and how they are made, in a sentence.

    Args:
        report: its dictionary; the node is read from its provenance.
        to: what is asked for.

    Returns:
        The report's object ``normalised``: energies of one invocation; null where it cannot
        be said.
    """
    return _at_area(report, to) if to.node_nm is None else _at_node(report, to, to.node_nm)


def _at_area(report: Mapping[str, Any], to: Scale) -> tuple[dict[str, Any], str]:
    area, rate = report["area_mm2"], throughput_per_s(report)
    facts: dict[str, Any] = {"to": to.text, "copies": None, "throughput_per_s": None}
    if not area or rate is None:
        return facts, f"not normalised to {to.text}: the chip's area is not known"
    assert to.area_mm2 is not None
    copies = to.area_mm2 / area
    facts |= {"copies": copies, "throughput_per_s": rate * copies}
    return facts, (
        f"normalised to {to.text}: ideal copies of the chip side by side, throughput and "
        "static power times their number; latency and the energy of one inference stay"
    )


def _at_node(
    report: Mapping[str, Any], to: Scale, node_nm: float
) -> tuple[dict[str, Any], str]:
    facts: dict[str, Any] = {"to": to.text, "from_nm": None, "energy_pj": None}
    facts["area_mm2"] = None
    found, own = f"not normalised to {to.text}: ", _node_nm(report)
    facts["from_nm"] = own
    if own is None:
        return facts, f"{found}the chip's node is not known"
    if not SMALLEST_NM <= own <= LARGEST_NM:
        return facts, (
            f"{found}the chip's node, {own:g} nm, is outside the {SMALLEST_NM} to {LARGEST_NM} "
            f"nm of the scaling table ({_SOURCE})"
        )
    by_unit, factor = report["energy_pj"]["by_unit"], energy_factor(own, node_nm)
    mixed = sorted(unit for unit in by_unit if unit not in SCALED | KEPT)
    known = report["energy_pj"]["total"] is not None
    if known and not mixed:
        parts = [pj * (factor if unit in SCALED else 1.0) for unit, pj in by_unit.items()]
        facts["energy_pj"] = fsum(parts)
    analog = report["family"] == "analog"
    area = None if analog else report["area_mm2"]
    facts["area_mm2"] = None if area is None else area * area_factor(own, node_nm)
    kept = ", ".join(sorted(unit for unit in by_unit if unit in KEPT and by_unit[unit] != 0))
    text = (
        f"normalised from {own:g} to {to.text}: energy x {factor:.3g}, area x "
        f"{area_factor(own, node_nm):.3g} ({_SOURCE}; good between neighbouring nodes only); "
        f"time and the energy of {kept or 'what is off the chip'} stay"
    )
    if mixed:
        text += "; its energy is n/a: no source parts it into what scales and what does not"
    if analog:
        text += "; its area is n/a: cells and converters do not shrink as logic does"
    return facts, text


def _node_nm(report: Mapping[str, Any]) -> float | None:
    """The chip's node as its provenance says; None where no number of nanometres is known."""
    for entry in report["provenance"]:
        if entry["field"] == "chip.node" and entry["unit"] == "nm":
            return float(entry["value"])
    return None
