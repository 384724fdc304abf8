"""The closed form of a model on a family of designs, as `Target.closed_form` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tetrapla.backends.systolic.closed.counting import actions
from tetrapla.backends.systolic.closed.network import Network, ProductShape, network
from tetrapla.backends.systolic.closed.tiles import Designs, Floats
from tetrapla.backends.systolic.closed.timing import chosen, cycles
from tetrapla.backends.target_ import Estimate
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph
from tetrapla.simulators.systolic.spec import SystolicSpec

_BLOCK = 2**13  # designs at a time: their columns stay in a second-level cache
_EXACT = 1 - 1e-12  # a latency of whole cycles may lie a float's error above them
_FIELDS = {
    "array.rows": "array.rows",
    "array.cols": "array.cols",
    "clock_hz": "clock",
    "memories.accumulator_rows": "memories.accumulator_rows",
    "memories.weight_tiles": "memories.weight_tiles",
    "vector.lanes": "vector.lanes",
    "dram.bandwidth_bytes_per_s": "dram.bandwidth",
    "dram.latency_s": "dram.latency",
    "host.bandwidth_bytes_per_s": "host.bandwidth",
    "host.latency_s": "host.latency",
}


@dataclass(frozen=True)
class SystolicForm:
    """A network, and the fields of a spec that its time and counts depend on.

    Attributes:
        buffer_bytes: of every design's unified buffer.
        element_bytes: of the array's widest operand.
        formats: of the array, those that the network uses.
    """

    network: Network
    buffer_bytes: int
    element_bytes: int
    formats: tuple[str, ...]

    @property
    def fields(self) -> Mapping[str, str]:
        """By path in a spec's data, what the YAML calls a field."""
        paces = {f"array.formats.{name}": f"array.formats.{name}" for name in self.formats}
        return {**_FIELDS, **paces}

    def illegal(self, columns: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Which combinations of values that are legal alone are no machine together."""
        row = columns["array.rows"] * self.element_bytes + columns["array.cols"]
        found: NDArray[np.bool_] = row > self.buffer_bytes
        return found

    def __call__(self, columns: Mapping[str, Floats]) -> Estimate:
        """Cycles and counts of each design.

        Args:
            columns: values by path, of every one of `fields`.

        Raises:
            UnsupportedError: one tile of weights, which hides nothing, has no formula.
        """
        if columns["memories.weight_tiles"].min(initial=2) < 2:
            raise UnsupportedError(
                "--closed-form must have memories.weight_tiles of at least 2, not 1; take "
                "more, or leave --closed-form out"
            )
        count = len(columns["array.rows"])
        parts = []
        for start in range(0, count, _BLOCK):
            part = {name: each[start : start + _BLOCK] for name, each in columns.items()}
            held = chosen(self.network, self._designs(part))
            parts.append((cycles(self.network, held), actions(self.network, held)))
        names = {name: None for _, found in parts for name in found}
        return Estimate(
            np.concatenate([taken for taken, _ in parts]),
            {name: np.concatenate([found[name] for _, found in parts]) for name in names},
        )

    def _designs(self, columns: Mapping[str, Floats]) -> Designs:
        clock = columns["clock_hz"]
        return Designs(
            columns["array.rows"],
            columns["array.cols"],
            columns["memories.accumulator_rows"],
            columns["memories.weight_tiles"],
            columns["vector.lanes"],
            clock / columns["dram.bandwidth_bytes_per_s"],
            np.ceil(columns["dram.latency_s"] * clock * _EXACT),
            clock / columns["host.bandwidth_bytes_per_s"],
            np.ceil(columns["host.latency_s"] * clock * _EXACT),
            {name: columns[f"array.formats.{name}"] for name in self.formats},
        )


def form(graph: Graph, spec: SystolicSpec) -> SystolicForm:
    """The closed form of a quantised graph.

    Raises:
        UnsupportedError: there is none, or the unified buffer does not hold all values.
    """
    found = network(graph, spec)
    there = spec.memories.unified_buffer_bytes
    if found.buffer_bytes > there:
        raise UnsupportedError(
            "--closed-form must have a memories.unified_buffer that holds every value from "
            f"its birth to its last use, {found.buffer_bytes} bytes, not {there}; enlarge it, "
            "or leave --closed-form out"
        )
    used = {s.format: None for s in found.stages if isinstance(s, ProductShape)}
    return SystolicForm(found, there, spec.array.element_bytes, tuple(used))
