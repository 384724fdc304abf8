"""An architecture file as a systolic chip: what it has of one, and what is left out by name.

| there | here |
|-|-|
| the two innermost dimensions of copies above the compute | array.rows and array.cols |
| the dimensions around them | array.units |
| the tensor that the innermost memory keeps | array.dataflow |
| the outermost memory | dram |
| the largest memory above the array that keeps activations | memories.unified_buffer |
| a memory above the array for weights, or for outputs, alone | weight_tiles, accumulator_rows |
| throughput of the compute, or global_cycle_seconds | clock |
| energies per bit, area, leakage | prices per byte, chip.area, chip.static_power |

Numbers that are there have the grade `user` and the file's name as their source; what a machine
must have beside them is `assumed`, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Final

from tetrapla.simulators.leaves_ import ASSUMED
from tetrapla.simulators.made_ import Made, assumed, tree, yaml
from tetrapla.simulators.spec_ import Loaded, load_tree
from tetrapla.simulators.systolic import counts
from tetrapla.simulators.systolic.architecture.components import (
    Component,
    read,
)
from tetrapla.simulators.systolic.architecture.planning import (
    Plan,
    keeps,
    planned,
    size_bytes,
)
from tetrapla.simulators.systolic.architecture.prices import area_mm2, prices, static_w
from tetrapla.simulators.systolic.isa import most
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.yaml_ import Place

SUM_BYTES: Final = 4  # of an int32 partial sum
_CLOCK, _DRAM_GB_S, _LATENCY_NS = "1 GHz", 16, 100
_TILES, _SUMS = 2, 2048
_STAYS: Final = {
    "weight": "weight_stationary",
    "output": "output_stationary",
    "input": "input_stationary",
}


def load(path: Path, overrides: Sequence[str] = ()) -> Loaded[SystolicSpec]:
    """Read a file as a chip.

    Args:
        path: the YAML file.
        overrides: ``FIELD=VALUE`` over the chip's fields.

    Raises:
        SpecError: it has no spatial array, memory or compute, or its values make no machine.
    """
    plan = planned(read(path))
    held = list(_leaves(plan, path))
    left = list(_left(plan))
    head = "\n".join(
        [f"{path.name}, a file of {plan.file.tool}", *(f"not carried: {each}" for each in left)]
    )
    found = load_tree(tree(held), yaml(held, head), str(path), SystolicSpec, overrides)
    warnings = [*plan.notes, *(f"not carried from {path.name}: {each}" for each in left)]
    guessed = [".".join(each.path) for each in held if each.grade == ASSUMED]
    if guessed:
        warnings.append(f"not in {path.name}, assumed or unknown: {', '.join(guessed)}")
    return Loaded(
        found.name,
        found.spec,
        found.provenance,
        found.text,
        found.overrides,
        found.ranges,
        (*found.warnings, *warnings),
    )


def _leaves(plan: Plan, path: Path) -> Iterator[Made]:
    """The chip's fields in the order of a YAML file."""
    source, file = path.name, plan.file.place
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-") or "imported"
    yield Made(("name",), name, "", "", file)
    yield Made(("family",), "systolic", "", "", file)
    yield _given(
        ("array", "rows"), str(plan.rows.count), plan.rows.name, source, plan.rows.place
    )
    yield _given(
        ("array", "cols"), str(plan.cols.count), plan.cols.name, source, plan.cols.place
    )
    if plan.outer:
        names = " x ".join(each.name for each in plan.outer)
        yield _given(("array", "units"), str(plan.units), names, source, plan.outer[0].place)
    yield _dataflow(plan, source)
    number_format = _format(plan)
    yield Made(("array", "formats", number_format), "1", "", "", plan.compute.place)
    yield _clock(plan, source)
    yield from _memories(plan, source)
    lanes = _lanes(plan)
    if lanes is None:
        text = str(plan.cols.count)
        yield assumed(("vector", "lanes"), text, f"{source} has no vector unit", file)
    else:
        yield _given(("vector", "lanes"), str(lanes), "throughput", source, plan.compute.place)
    yield from _links(plan, source)
    known = prices(plan.dram, plan.buffer, plan.weights, plan.sums, plan.compute, number_format)
    for action in counts.ACTIONS:
        if action in known:
            place, picojoules = known[action]
            yield _given(("cost", action), f"{picojoules!r} pJ", "energy", source, place)
        else:
            yield assumed(("cost", action), "null", f"{source} has no price of it", file)
    yield from _whole(plan, source, number_format)


def _given(path: tuple[str, ...], text: str, what: str, source: str, place: Place) -> Made:
    return Made(path, text, f"{source} line {place.line}, {what}", "", place)


def _dataflow(plan: Plan, source: str) -> Made:
    stays = ("array", "dataflow")
    dims = (plan.rows, plan.cols)
    inside = [
        each
        for each in plan.file.components
        if each.kind == "memory" and all(any(d is p for p in each.path) for d in dims)
    ]
    kept = {id(m): k for m in inside if len(k := keeps(m)) == 1 and k <= set(_STAYS)}
    known = sorted((m for m in inside if id(m) in kept), key=lambda m: -_finite(size_bytes(m)))
    if known and len(inside) == 1:
        (word,) = kept[id(known[0])]
        return _given(stays, _STAYS[word], f"{known[0].name} keeps", source, known[0].place)
    flow, why = "weight_stationary", "which tensor stays in the PEs is not said"
    if known:
        (word,) = kept[id(known[0])]
        flow, why = _STAYS[word], f"the PEs keep several tensors, most of them {word}"
    plan.notes.append(f"{why}: taken as {flow}")
    return assumed(stays, flow, f"{source} does not say it", plan.file.place)


def _finite(size: float) -> float:
    return size if isfinite(size) else 0.0


def _format(plan: Plan) -> str:
    """int16 for 16-bit multipliers, else int8."""
    width = plan.compute.number(
        "attributes.multiplier_width",
        "attributes.datawidth",
        "extra_attributes_for_component_model.multiplier_width",
    )
    if width not in (None, 8, 16):
        plan.notes.append(f"a multiplier of {width:g} bits is taken as one of 8")
    return "int16" if width == 16 else "int8"


def _clock(plan: Plan, source: str) -> Made:
    rate = plan.compute.number("actions.compute.throughput")
    if rate is not None and 0 < rate < float("inf"):
        place = plan.compute.fields["actions.compute.throughput"].place
        return _given(("clock",), f"{rate!r} Hz", "throughput", source, place)
    for each in (*plan.file.components, plan.file.common):
        cycle_s = each.number("attributes.global_cycle_seconds", "global_cycle_seconds")
        if cycle_s and isfinite(cycle_s) and cycle_s > 0:
            text = f"{1 / cycle_s!r} Hz"
            return _given(("clock",), text, "global_cycle_seconds", source, each.place)
    return assumed(("clock",), _CLOCK, f"{source} gives none as a number", plan.file.place)


def _memories(plan: Plan, source: str) -> Iterator[Made]:
    per = plan.rows.count * plan.cols.count
    buffer, file = plan.buffer, plan.file.place
    text = f"{int(size_bytes(buffer) * buffer.instances)} B"
    yield _given(("memories", "unified_buffer"), text, buffer.name, source, buffer.place)
    tiles = ("memories", "weight_tiles")
    held = plan.weights
    count = 0.0
    if held is not None and isfinite(size_bytes(held)):
        count = size_bytes(held) * held.instances // per
    if held is not None and count >= _TILES:
        kept = min(int(count), most("LDW", "slot") + 1)
        yield _given(tiles, str(kept), held.name, source, held.place)
    else:
        least = max(_TILES, 2 * plan.units)
        yield assumed(tiles, str(least), "one in the PEs and one on its way", file)
    sums = ("memories", "accumulator_rows")
    held = plan.sums
    if held is not None and isfinite(size_bytes(held)):
        row = SUM_BYTES * plan.cols.count * plan.units
        count = max(2, size_bytes(held) * held.instances // row)
        text = str(min(int(count), most("MM", "len")))
        yield _given(sums, text, held.name, source, held.place)
    else:
        yield assumed(sums, str(_SUMS), f"{source} has no memory for sums alone", file)


def _lanes(plan: Plan) -> int | None:
    """Elements a cycle of a second compute unit, whose throughput is in calls a second."""
    if plan.vector is None:
        return None
    rate = plan.vector.number("actions.compute.throughput")
    clock = plan.compute.number("actions.compute.throughput")
    if not rate or not clock or not isfinite(rate / clock):
        return None
    return max(1, int(rate / clock) * plan.vector.instances)


def _links(plan: Plan, source: str) -> Iterator[Made]:
    dram, file = plan.dram, plan.file.place
    size = size_bytes(dram) if dram is not None else float("inf")
    room = most("LDA", "dram") + 1
    capacity = ("dram", "capacity")
    if dram is not None and isfinite(size):
        text = f"{min(int(size), room)} B"
        yield _given(capacity, text, dram.name, source, dram.place)
    else:
        yield assumed(capacity, f"{room} B", f"{source} has no limit", file)
    paced = None if dram is None else _bytes_per_s(plan, dram)
    bandwidth = ("dram", "bandwidth")
    if dram is not None and paced is not None:
        yield _given(bandwidth, f"{paced!r} B/s", dram.name, source, dram.place)
    else:
        text = f"{_DRAM_GB_S} GB/s"
        yield assumed(bandwidth, text, f"{source} gives none as a number", file)
    late = f"{_LATENCY_NS} ns"
    yield assumed(("dram", "latency"), late, f"{source} has none", file)
    text = f"{_DRAM_GB_S} GB/s" if paced is None else f"{paced!r} B/s"
    yield assumed(("host", "bandwidth"), text, f"{source} has no host: as its DRAM", file)
    yield assumed(("host", "latency"), late, f"{source} has no host", file)


def _bytes_per_s(plan: Plan, dram: Component) -> float | None:
    """The slower of reading and writing; AccelForge in bits, Timeloop in words a cycle."""
    rates = [dram.number(f"actions.{what}.throughput") for what in ("read", "write")]
    known = [each / 8 for each in rates if each is not None and 0 < each < float("inf")]
    if known:
        return min(known)
    words = dram.number("attributes.shared_bandwidth", "attributes.read_bandwidth")
    bits, clock = dram.number("attributes.datawidth"), _hertz(plan)
    if words is None or bits is None or clock is None:
        return None
    return words * bits / 8 * clock


def _hertz(plan: Plan) -> float | None:
    for each in (*plan.file.components, plan.file.common):
        cycle_s = each.number("attributes.global_cycle_seconds", "global_cycle_seconds")
        if cycle_s and cycle_s > 0:
            return 1 / cycle_s
    return None


def _whole(plan: Plan, source: str, number_format: str) -> Iterator[Made]:
    file, parts = plan.file.place, [c for c in plan.file.components if c.kind in _PARTS]
    area, watts = area_mm2(parts), static_w(parts)
    if area is None:
        yield assumed(("chip", "area"), "null", f"{source} gives not that of every part", file)
    else:
        yield _given(("chip", "area"), f"{area!r} mm2", "the areas", source, file)
    node = _node(plan)
    if node is not None:
        yield _given(("chip", "node"), f"{node!r} nm", "the technology", source, file)
    if watts is None:
        text = f"{source} gives not that of every part"
        yield assumed(("chip", "static_power"), "null", text, file)
    else:
        yield _given(("chip", "static_power"), f"{watts!r} W", "leak_power", source, file)
    yield Made(("chip", "default_format"), number_format, "", "", file)


_ADDED: Final = {"area", "leak_power"}  # to the chip's, whatever else a component is
_PARTS: Final = ("memory", "compute", "toll", "component")


def _node(plan: Plan) -> float | None:
    """Nanometres: a container's technology, or what holds for all component models."""
    for each in (*plan.file.components, plan.file.common):
        for name in ("attributes.technology", "technology"):
            text = each.fields[name].text if name in each.fields else ""
            if found := re.fullmatch(r"([0-9.]+)\s*nm", text.strip('"')):
                each.taken.add(name)
                return float(found[1])
        metres = each.number("extra_attributes_for_all_component_models.tech_node")
        if metres and 1e-10 < metres < 1e-5:
            return round(metres * 1e9, 6)
    return None


def _left(plan: Plan) -> Iterator[str]:
    """Every component and field that the chip has not, by component."""
    used = (plan.dram, plan.buffer, plan.weights, plan.sums, plan.compute, plan.vector)
    for each in (*plan.file.components, plan.file.common):
        taken = any(each is other for other in used)
        place = each.name if each.kind == "common" else f"{each.name} (line {each.place.line})"
        names = each.left
        shown = ", ".join(names)
        if each.kind in _PARTS and not taken:
            whole = [name for name in each.fields if name not in _ADDED & each.taken]
            shown = ", ".join(sorted(whole))
            yield f"{place}, a whole component" + (f" with {shown}" if shown else "")
        elif names:
            yield f"{place}: {shown}"
