"""Which component of an architecture file becomes which part of a chip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, prod
from typing import Final

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.systolic.architecture.components import (
    Architecture,
    Component,
    Fanout,
)

_OFF_CHIP = re.compile(r"dram|ddr|hbm|main|off.?chip", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)


@dataclass
class Plan:
    """What of the file becomes what."""

    file: Architecture
    compute: Component
    rows: Fanout
    cols: Fanout
    outer: tuple[Fanout, ...]
    dram: Component | None
    buffer: Component
    weights: Component | None
    sums: Component | None
    vector: Component | None
    notes: list[str]

    @property
    def units(self) -> int:
        """Equal arrays."""
        return prod(each.count for each in self.outer)


def planned(file: Architecture) -> Plan:
    """Choose them.

    Raises:
        SpecError: there is no spatial array, no compute unit or no memory for activations.
    """
    computes = [each for each in file.components if each.kind == "compute"]
    memories = [each for each in file.components if each.kind == "memory"]
    if not computes:
        raise SpecError(
            f"{file.place}: the architecture must have a compute unit, not memories alone; "
            "add a '!Compute' or a '!Component' of a class like intmac"
        )
    compute = computes[-1]
    rows, cols, outer, notes = _array(file, compute)
    inner = {id(rows), id(cols)}
    above = [m for m in memories if not any(id(each) in inner for each in m.path)]
    dram = above[0] if above and _is_dram(above[0]) else None
    chip = [each for each in above if each is not dram]
    holds = [each for each in chip if keeps(each) & {"input", "all"} or not keeps(each)]
    if not holds:
        raise SpecError(
            f"{file.place}: the architecture must have an on-chip memory for activations above "
            "its array, not none; add one that keeps inputs"
        )
    sized = [each for each in holds if isfinite(size_bytes(each))]
    if not sized:
        raise SpecError(
            f"{holds[0].place}: memory '{holds[0].name}' must have a size that is a number, "
            "not an expression or inf; write its bits"
        )
    buffer = max(sized, key=lambda each: size_bytes(each) * each.instances)
    within = [m for m in memories if m not in above]
    others = [each for each in chip if each is not buffer]
    weights = next((m for m in others if keeps(m) == frozenset({"weight"})), None)
    weights = weights or next((m for m in within if keeps(m) == frozenset({"weight"})), None)
    sums = next((m for m in others if keeps(m) == frozenset({"output"})), None)
    vector = computes[-2] if len(computes) > 1 else None
    plan = Plan(file, compute, rows, cols, outer, dram, buffer, weights, sums, vector, notes)
    return plan


def _array(
    file: Architecture, compute: Component
) -> tuple[Fanout, Fanout, tuple[Fanout, ...], list[str]]:
    """Rows, columns and what lies around them."""
    given = [each for each in compute.path if each.count > 1]
    if len(given) < 2:
        given = list(compute.path)
    if len(given) < 2:
        raise SpecError(
            f"{file.place}: the architecture must have a spatial array of two dimensions above "
            f"'{compute.name}', not {len(given)}; write its fanouts under 'spatial', 1 for a "
            "dimension that it lacks"
        )
    *outer, first, second = given
    by_role = {each.reuse: each for each in (first, second)}
    if set(by_role) == {"input", "output"}:
        return by_role["output"], by_role["input"], tuple(outer), []
    rows, cols = first, second
    if (first.name, second.name) == ("meshX", "meshY"):
        rows, cols = second, first
    note = (
        f"the file does not say along which dimension sums are taken: '{rows.name}' is taken "
        f"for the rows, '{cols.name}' for the columns"
    )
    return rows, cols, tuple(outer), [note]


def _is_dram(memory: Component) -> bool:
    own = [memory.name, *(memory.fields[k].text for k in _CLASSES if k in memory.fields)]
    endless = memory.number("size") == float("inf")
    return endless or any(_OFF_CHIP.search(each) for each in own)


_CLASSES: Final = ("class", "component_class")


def keeps(memory: Component) -> frozenset[str]:
    """The tensors that it keeps: input, weight, output, all; nothing where that is not said."""
    found: set[str] = set()
    for name in ("tensors.keep", "constraints.dataspace.keep"):
        if name not in memory.fields:
            continue
        text = memory.fields[name].text
        memory.taken.add(name)
        if "~" in text:
            return frozenset({"all"})
        words = {word.lower().removesuffix("s") for word in _WORD.findall(text)}
        found |= words & {"input", "weight", "output", "all"}
    return frozenset(found)


def size_bytes(memory: Component) -> float:
    """Of one instance; infinite where no number is given."""
    bits = memory.number("size")
    if bits is not None:
        return bits / 8
    depth = memory.number("attributes.depth", "attributes.entries")
    width = memory.number("attributes.width")
    if depth is None or width is None:
        return float("inf")
    return depth * width / 8
