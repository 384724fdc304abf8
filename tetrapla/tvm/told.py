"""What a child answers: a graph, its regions, and which one it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tetrapla.frontend.relax.calls import Call, Ref, Region


@dataclass(frozen=True)
class Graph:
    """A graph as TVM holds it; `calls` are those of operators, in order."""

    names: tuple[str, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[str, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Cut:
    """The regions, and the operators that are left to TVM, in order."""

    regions: tuple[Region, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A region that a run has come to, with its operands."""

    region: str
    operands: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Code:
    """What TVM made of a model: its Relax module, without weights, and the code as text."""

    relax: str
    text: str
