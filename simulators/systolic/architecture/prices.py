"""Energies, areas and leakage of an architecture file in a chip's units."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from tetrapla.simulators.systolic.architecture.components import Component
from tetrapla.simulators.yaml_ import Place

_PICO, _SQUARE_MILLIMETRE = 1e12, 1e6


def prices(
    dram: Component | None,
    buffer: Component,
    weights: Component | None,
    sums: Component | None,
    compute: Component,
    number_format: str,
) -> dict[str, tuple[Place, float]]:
    """By action, where its price stands and its picojoules; AccelForge's joules are per bit.

    A memory's action moves `bits_per_action` bits at once, one where the file says nothing.
    """
    found: dict[str, tuple[Place, float]] = {}
    units = (
        ("dram", dram),
        ("unified_buffer", buffer),
        ("weight_memory", weights),
        ("accumulator", sums),
    )
    for unit, memory in units:
        if memory is None:
            continue
        for what in ("read", "write"):
            joules = memory.number(f"actions.{what}.energy")
            if joules is None or not isfinite(joules) or joules < 0:
                continue
            bits = memory.number(f"actions.{what}.bits_per_action") or 1.0
            place = memory.fields[f"actions.{what}.energy"].place
            found[f"{unit}.{what}_byte"] = place, 8 * joules / bits * _PICO
    joules = compute.number("actions.compute.energy")
    if joules is not None and isfinite(joules) and joules >= 0:
        place = compute.fields["actions.compute.energy"].place
        found[f"mac.{number_format}"] = place, joules * _PICO
    return found


def area_mm2(parts: Sequence[Component]) -> float | None:
    """The sum over all instances; None where a part's is no number."""
    found = _total(parts, ("area",))
    return None if found is None else found * _SQUARE_MILLIMETRE


def static_w(parts: Sequence[Component]) -> float | None:
    """The leakage of all instances; None where a part's is no number."""
    return _total(parts, ("leak_power",))


def _total(parts: Sequence[Component], names: tuple[str, ...]) -> float | None:
    total = 0.0
    amounts: list[tuple[Component, float]] = []
    for part in parts:
        given = [name for name in names if name in part.fields]
        kept = set(part.taken)
        amount = part.number(*given) if given else None
        part.taken = kept
        if amount is None or not isfinite(amount) or amount < 0:
            return None
        amounts.append((part, amount))
    for part, amount in amounts:
        part.taken |= {name for name in names if name in part.fields}
        total += amount * part.instances
    return total
