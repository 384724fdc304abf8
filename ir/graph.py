"""A module as plain Python data: what the interpreter and the compilers walk.

MLIR handles dangle once a pass has deleted their operation, so nobody keeps them: a `Graph`
is a snapshot in topological order, with the weights resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Attribute: TypeAlias = int | float | str | tuple[int, ...]

# MLIR's element types by name, and the NumPy type that holds them
DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "f64": np.dtype(np.float64),
        "f32": np.dtype(np.float32),
        "f16": np.dtype(np.float16),
        "i8": np.dtype(np.int8),
        "ui8": np.dtype(np.uint8),
        "i32": np.dtype(np.int32),
        "i64": np.dtype(np.int64),
        "i1": np.dtype(np.bool_),
    }
)


@dataclass(frozen=True)
class Value:
    """One SSA value: `index` is unique in its graph; `shape` and `dtype` are static."""

    index: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def traffic_bytes(self) -> int:
        """Its size in memory."""
        return self.elements * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Node:
    """One operation: `kind` is the MLIR name, `name` the layer's, unique in the graph.

    An operand that the operator lets be absent (a bias) is absent from the end of `operands`.
    """

    kind: str
    name: str
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    def ints(self, key: str) -> tuple[int, ...]:
        """Attribute `key` as a tuple of integers."""
        value = self.attributes[key]
        assert isinstance(value, tuple), f"{self.kind}.{key} is {value!r}"
        return value

    def int(self, key: str) -> int:
        """Attribute `key` as an integer."""
        value = self.attributes[key]
        assert isinstance(value, int), f"{self.kind}.{key} is {value!r}"
        return value

    def float(self, key: str) -> float:
        """Attribute `key` as a float."""
        value = self.attributes[key]
        assert isinstance(value, (float, int)), f"{self.kind}.{key} is {value!r}"
        return value

    def str(self, key: str) -> str:
        """Attribute `key` as a string."""
        value = self.attributes[key]
        assert isinstance(value, str), f"{self.kind}.{key} is {value!r}"
        return value


@dataclass(frozen=True)
class Graph:
    """A whole model. `weights` maps a value's index to its array (empty when shape-only)."""

    inputs: tuple[tuple[str, Value], ...]
    outputs: tuple[tuple[str, Value], ...]
    nodes: tuple[Node, ...]
    constants: Mapping[int, str]
    weights: Mapping[int, Array]

    def is_weight(self, value: Value) -> bool:
        """Whether the value is a constant of the model (known or shape-only)."""
        return value.index in self.constants

    def weight(self, value: Value) -> Array:
        """The array of a constant value.

        Raises:
            KeyError: the value is computed, or the module is shape-only.
        """
        return self.weights[value.index]

    def uses(self) -> dict[int, list[Node]]:
        """Which nodes read each value, in order."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            for value in node.operands:
                found.setdefault(value.index, []).append(node)
        return found
