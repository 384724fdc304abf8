"""Operational emissions and the electricity bill: energy x PUE x grid intensity, or price.

What making the chip, its board and the building emitted (embodied carbon) is not in it.
Intensities lie in ``data/grid_intensity.csv``, each with its year and source.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Final

from tetrapla.ir.errors import ModelError

PUE: Final = 1.1
"""Power usage effectiveness: what a site draws over what its computers draw.

A large operator's fleet (Google, second quarter of 2021, as CNBC quotes it on 2022-04-13). The
average of the industry was 1.58 in 2023 (Uptime Institute, Intelligence Update 221).
"""
PUE_SOURCE: Final = (
    "Google's fleet, 2021; the industry's average was 1.58 in 2023, Uptime Institute"
)
_PJ_PER_KWH: Final = 3.6e18
_SHOWN: Final = 3  # nearest names


@dataclass(frozen=True)
class Region:
    """A grid: grams of CO2 equivalent for a kilowatt-hour, the mean of a year."""

    code: str
    name: str
    year: int
    g_per_kwh: float
    source: str


@cache
def regions() -> Mapping[str, Region]:
    """All regions by code."""
    text = (files("tetrapla") / "data" / "grid_intensity.csv").read_text("utf-8")
    return {
        row["code"]: Region(
            row["code"],
            row["name"],
            int(row["year"]),
            float(row["g_per_kwh"]),
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    }


def region(text: str) -> Region:
    """The region of a code or a name, in any case.

    Raises:
        ModelError: there is none; the nearest are named.
    """
    known = regions()
    words = {each.code.lower(): each for each in known.values()}
    words |= {each.name.lower(): each for each in known.values()}
    found = words.get(text.strip().lower())
    if found is not None:
        return found
    close = get_close_matches(text.strip().lower(), list(words), n=_SHOWN)
    near = dict.fromkeys(f"{words[each].code} ({words[each].name})" for each in close)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ModelError(
        f"--region must be one of {', '.join(known)} or a country's name, not '{text}'{hint}"
    )


def emissions(energy_pj: float | None, where: Region, pue: float) -> dict[str, Any]:
    """What a report says of the emissions of one invocation; unknown energy, unknown mass."""
    drawn_kwh = None if energy_pj is None else energy_pj / _PJ_PER_KWH * pue
    return {
        "region": where.code,
        "grid_g_per_kwh": where.g_per_kwh,
        "year": where.year,
        "pue": pue,
        "operational_g": None if drawn_kwh is None else drawn_kwh * where.g_per_kwh,
        "source": where.source,
    }


def bill(energy_pj: float | None, price_per_kwh: float, pue: float) -> dict[str, Any]:
    """What a report says of the electricity of one invocation, in the price's currency."""
    cost = None if energy_pj is None else energy_pj / _PJ_PER_KWH * pue * price_per_kwh
    return {"price_per_kwh": price_per_kwh, "pue": pue, "electricity": cost}


def sentence(where: Region | None, price_per_kwh: float | None, pue: float) -> str:
    """How the figures are made, in a line for those who read them."""
    why = f" ({PUE_SOURCE})" if pue == PUE else ""
    parts = [f"the chip's energy x PUE {pue:g}{why}"]
    if where is not None:
        parts.append(
            f"operational CO2 is that x {where.g_per_kwh:g} g/kWh ({where.name}, {where.year}; "
            f"{where.source}), without what making the hardware emitted"
        )
    if price_per_kwh is not None:
        parts.append(f"cost is that x {price_per_kwh:g} a kWh, electricity alone")
    return "; ".join(parts)
