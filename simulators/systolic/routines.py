"""Routines of the vector unit (VX): operators that no single instruction computes.

A routine reads values from the unified buffer, computes IR operators one after the other by
the reference's own definitions, and writes values back; what lies between the steps stays in
vector registers. So ``dequantize -> layer_norm -> quantize`` is one routine, int8 in and out.

Its time is that of its steps, ceil(elements / lanes) x the cycles of one element a lane
(`LANE_CYCLES`), and does not depend on the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.simulators import arrays_
from tetrapla.simulators.program_ import listed, tupled
from tetrapla.simulators.systolic.lanes import FUNCTIONS, LANE_CYCLES, step_cycles
from tetrapla.simulators.systolic.views import Place, place_of


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        kind: as in the IR, with its `attributes`.
        name: the layer's.
        operands, results: numbers of values in the routine.
        elements: how many pass the lanes: the most of its operands and results have, times
            the taps of a window.
    """

    kind: str
    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    elements: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True)
class Routine:
    """What VX runs.

    Attributes:
        operands: read before the first step.
        results: written after the last step.
        immediates: constants of one element, by value; part of the routine's text.
    """

    name: str
    operands: tuple[Place, ...]
    results: tuple[Place, ...]
    steps: tuple[Step, ...]
    immediates: Mapping[int, Array] = field(default_factory=dict[int, Array], repr=False)


def issue_cycles(routine: Routine, lanes: int) -> int:
    """How long the vector unit is busy: the sum over the steps, and at least one cycle."""
    return max(1, sum(step_cycles(s.kind, s.elements, lanes) for s in routine.steps))


def counts(routine: Routine) -> dict[str, int]:
    """Its actions.

    ``vector.op`` counts the operand elements of the steps that do simple arithmetic,
    ``vector.function`` the elements of those that compute a function (`lanes.FUNCTIONS`).
    """
    sizes = {place.value: place.elements for place in routine.operands}
    operations = functions = 0
    for step in routine.steps:
        if step.kind in FUNCTIONS:
            functions += step.elements
        else:
            # immediates are free, as the scales of VE are; what a step made is as large as it
            read = sum(min(sizes.get(v, 0), step.elements) for v in step.operands)
            operations += max(step.elements, read)
        sizes.update(dict.fromkeys(step.results, step.elements))
    return {
        "vector.op": operations,
        "vector.function": functions,
        "unified_buffer.read_byte": sum(p.value_bytes for p in routine.operands),
        "unified_buffer.write_byte": sum(p.value_bytes for p in routine.results),
    }


def check(routine: Routine, unified_buffer_bytes: int) -> None:
    """Refuse a routine that the machine cannot run.

    Raises:
        ModelError: a place reaches outside the unified buffer, a step's operator is not in the
            table, or a value is used that nothing makes.
    """
    head = f"routine '{routine.name}'"
    known = {*(p.value for p in routine.operands), *routine.immediates}
    for step in routine.steps:
        if step.kind not in LANE_CYCLES:
            raise ModelError(
                f"{head}: an operator must be one of the vector unit's, not {step.kind}; "
                "compile it again"
            )
        _known(head, step.operands, known)
        known.update(step.results)
    _known(head, tuple(p.value for p in routine.results), known)
    for place in (*routine.operands, *routine.results):
        end = place.address + place.traffic_bytes
        if end > unified_buffer_bytes:
            raise ModelError(
                f"{head}: ub end must be at most {unified_buffer_bytes}, not {end}; "
                "compile it again"
            )


def _known(head: str, values: Sequence[int], known: set[int]) -> None:
    for value in values:
        if value not in known:
            raise ModelError(
                f"{head}: reads value {value}, which no step before it makes; compile it again"
            )


def execute(buffer: Array, routine: Routine) -> None:
    """Run it for every invocation; `buffer`, int8 of (invocations, bytes), is written."""
    import_module("tetrapla.ir.dialects")  # fills OPS; costs the bindings' start-up
    operands = [(place, place.positions()) for place in routine.operands]
    results = [(place, place.positions()) for place in routine.results]
    for row in buffer:
        values: dict[int, Array] = dict(routine.immediates)
        for place, positions in operands:
            values[place.value] = _region(row, place)[positions]
        _run(routine.steps, values)
        for place, positions in results:
            _region(row, place)[positions] = values[place.value]


def _region(row: Array, place: Place) -> Array:
    """A place's buffer as elements of its type; writing it writes `row`."""
    part = row[place.address : place.address + place.traffic_bytes]
    return part.view(DTYPES[place.dtype])


def _run(steps: Sequence[Step], values: dict[int, Array]) -> None:
    from tetrapla.ir.op import OPS

    with np.errstate(all="ignore"):
        for step in steps:
            operands = [np.ascontiguousarray(values[v]) for v in step.operands]
            shaped = [
                array.reshape(values[v].shape)
                for array, v in zip(operands, step.operands, strict=True)
            ]
            made = OPS[step.kind].evaluate(*shaped, **step.attributes)
            made = made if isinstance(made, tuple) else (made,)
            values.update(zip(step.results, made, strict=True))


def routine_dict(routine: Routine) -> dict[str, Any]:
    """The routine as plain data for JSON."""
    return {
        "name": routine.name,
        "operands": [place.to_dict() for place in routine.operands],
        "results": [place.to_dict() for place in routine.results],
        "steps": [_step_dict(step) for step in routine.steps],
        "immediates": {str(k): arrays_.packed(v) for k, v in routine.immediates.items()},
    }


def routine_of(data: Mapping[str, Any]) -> Routine:
    """The routine that `routine_dict` wrote."""
    return Routine(
        data["name"],
        tuple(place_of(item) for item in data["operands"]),
        tuple(place_of(item) for item in data["results"]),
        tuple(_step(item) for item in data["steps"]),
        {int(k): arrays_.unpacked(v) for k, v in data["immediates"].items()},
    )


def _step_dict(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": step.name,
        "operands": list(step.operands),
        "results": list(step.results),
        "elements": step.elements,
        "attributes": listed(step.attributes),
    }


def _step(data: Mapping[str, Any]) -> Step:
    return Step(
        data["kind"],
        data["name"],
        tuple(data["operands"]),
        tuple(data["results"]),
        data["elements"],
        tupled(data["attributes"]),
    )
