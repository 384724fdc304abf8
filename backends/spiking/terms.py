"""What a float network is on its way to integers: spikes, and currents not yet in a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value


class RefusedError(Exception):
    """A node that has no form in integers, and why."""


@dataclass(frozen=True)
class Spikes:
    """A train of the new module; one spike stands for `unit`."""

    value: Value
    unit: float = 1.0


@dataclass(frozen=True)
class Term:
    """Synapses with real weights.

    Of a loop's body `outside` says that they are before the loop; `shapes` are those of the
    spikes and of the current, without time and batch.
    """

    kind: str
    spikes: Spikes
    operands: tuple[Array, ...]
    attributes: Mapping[str, Attribute]
    name: str
    lag: Array | None = None
    outside: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def real(self) -> Array:
        """What one spike contributes, by synapse."""
        place = 2 if self.kind == "spike.sparse" else 0
        return self.operands[place].astype(np.float64) * self.spikes.unit


@dataclass(frozen=True)
class Current:
    """``sum of terms + bias``, not yet in integers; `shapes` are those that it then takes."""

    name: str
    terms: tuple[Term, ...]
    bias: Array | None = None
    late: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Input:
    """A float input, before or behind the exchange of batch and time."""

    name: str
    value: Value


@dataclass(frozen=True)
class Host:
    """A value that has left the chip."""

    value: Value


Signal: TypeAlias = Spikes | Current | Input | Host


def scaled(term: Term, factor: Array) -> Term:
    """The synapses with a factor for each neuron that they end on."""
    factor = np.asarray(factor, np.float64)
    if factor.size == 1:
        factor = factor.reshape(())
    elif term.kind == "spike.conv2d":
        factor = np.broadcast_to(factor, (len(term.operands[0]), *factor.shape[1:]))
        if factor.ndim == 3 and (factor != factor[:, :1, :1]).any():
            raise RefusedError("parameters of a layer with shared weights differ by position")
        factor = factor.reshape(len(factor), -1)[:, 0][:, None, None, None]
    elif term.kind == "spike.sparse":
        factor = factor.reshape(-1)[term.operands[1]]
    place = 2 if term.kind == "spike.sparse" else 0
    made = list(term.operands)
    made[place] = made[place] * factor
    return replace(term, operands=tuple(made))


def alone(factor: Array) -> Array:
    """A factor that all neurons have."""
    if np.ptp(factor) != 0:
        raise RefusedError("parameters differ between neurons behind a reshape")
    return np.asarray(factor).reshape(-1)[:1]


def only_frames(node: Node) -> bool:
    """Whether a reshape in a body only adds or drops the axis of its one timestep."""
    a, b = node.operands[0].shape, node.result.shape
    return b == (1, *a) or a == (1, *b)
