"""A NIR graph as plain data, and what each node type must hold.

Source: the Neuromorphic Intermediate Representation, its package nir 1.0.8 (2026). Times are in
seconds in all published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

Field: TypeAlias = Array | str
Edge: TypeAlias = tuple[str, str]

# the fields of each type; those that a file may lack are behind the bar
NODES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Input": ("shape", ""),
        "Output": ("", "shape"),
        "Linear": ("weight", ""),
        "Affine": ("weight bias", ""),
        "Scale": ("scale", ""),
        "Conv1d": ("weight", "bias stride padding dilation groups input_shape"),
        "Conv2d": ("weight", "bias stride padding dilation groups input_shape"),
        "SumPool2d": ("kernel_size", "stride padding"),
        "AvgPool2d": ("kernel_size", "stride padding"),
        "Flatten": ("", "start_dim end_dim input_type"),
        "Delay": ("delay", ""),
        "Threshold": ("threshold", ""),
        "I": ("r", ""),
        "IF": ("r v_threshold", "v_reset"),
        "LI": ("tau r v_leak", ""),
        "LIF": ("tau r v_leak v_threshold", "v_reset"),
        "CubaLI": ("tau_syn tau_mem r v_leak", "w_in"),
        "CubaLIF": ("tau_syn tau_mem r v_leak v_threshold", "w_in v_reset"),
    }
)
NEURONS: Final = frozenset(("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"))
SPIKING: Final = frozenset(("IF", "LIF", "CubaLIF"))


@dataclass(frozen=True, eq=False)
class Node:
    """One node: its type, its fields as the file holds them, and what else the file says."""

    type: str
    fields: Mapping[str, Field]
    metadata: Mapping[str, Field] = field(default_factory=dict[str, Field])

    def array(self, name: str, default: float | None = None) -> Array:
        """A numeric field, or its default where the file lacks it."""
        value = self.fields.get(name, None if default is None else np.asarray(default))
        if value is None:
            raise ModelError(f"a {self.type} must have {name}, not lack it; write it again")
        if isinstance(value, str):
            raise ModelError(f"{name} of a {self.type} must be numbers, not {value!r}")
        return value

    def text(self, name: str) -> str | None:
        """A field that is a word; None where it is not."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes by name, other networks among them, and what feeds what."""

    nodes: Mapping[str, Node | Network]
    edges: tuple[Edge, ...]
    metadata: Mapping[str, Field] = field(default_factory=dict[str, Field])
    version: str = ""


def same(a: Network | Node, b: Network | Node) -> bool:
    """Whether two graphs say the same, bit by bit."""
    if isinstance(a, Node) or isinstance(b, Node):
        return (
            isinstance(a, Node)
            and isinstance(b, Node)
            and a.type == b.type
            and _equal(a.fields, b.fields)
            and _equal(a.metadata, b.metadata)
        )
    return (
        a.nodes.keys() == b.nodes.keys()
        and sorted(a.edges) == sorted(b.edges)
        and _equal(a.metadata, b.metadata)
        and all(same(a.nodes[name], b.nodes[name]) for name in a.nodes)
    )


def _equal(a: Mapping[str, Field], b: Mapping[str, Field]) -> bool:
    return a.keys() == b.keys() and all(_same_field(a[name], b[name]) for name in a)


def _same_field(a: Field, b: Field) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
