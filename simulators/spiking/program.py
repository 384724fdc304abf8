"""What the spiking machine executes: populations of neurons, their synapses, and the cores.

A population is one layer's neurons; `Synapses` say what reaches it and with which weights; a
`Core` holds some of its neurons and the axons whose spikes it listens to. Neuron numbers
count within a population, row-major over `shape`. Populations stand in the order in which a
timestep computes them: a synapse from one that is not earlier must wait (`lags`) a timestep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from math import prod
from typing import Any, cast

import numpy as np

from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators.arrays_ import is_packed, packed, unpacked
from tetrapla.simulators.program_ import reading

SCHEMA = "tetrapla.spiking/2"

_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Encoder:
    """Host side: ``clamp(rne(x / scale), 0, high)`` of `input` is the bias current."""

    input: str
    scale: float
    high: int


@dataclass(frozen=True)
class Feed:
    """Host side: ``clamp(rne(x / scale), low, high)`` of `input` are spikes, sent as they are.

    Attributes:
        payload: "i8", or "f32": the numbers as they are, without scale and limits.
        axes: "time_first": x is [T, batch, ...]; "batch_first": [batch, T, ...]; "code": x is
            [batch, ...] without time, and its levels are written as spikes by the code.
        code: of `tetrapla.ir.spike.phase`; "" where x has a time axis.
    """

    input: str
    scale: float
    low: int
    high: int
    axes: str
    code: str = ""
    payload: str = "i8"


@dataclass(frozen=True)
class Synapses:
    """The synapses from one population to another.

    Attributes:
        kind: matmul, conv2d, sum_pool2d, max_pool2d, scale or sparse.
        source: name of the population that fires.
        source_shape: how the operator sees the source's neurons.
        wiring: neuron number of the source at every place of `source_shape`, or None where
            they are in order.
        weight: int8, int16 or float32; one number for sum_pool2d and scale, empty for
            max_pool2d, one per synapse for sparse.
        exponent: currents are shifted left by it.
        delay: timesteps that spikes wait beside the one that a hop takes, so that short paths
            meet long ones and the shortest lag is kept.
        ends: of sparse alone: source and target of each synapse, i32 [2, synapses].
        lags: timesteps between a spike and its effect that the network itself demands, i32: no
            number for 0, one for all, or one for each neuron of the source (sparse: synapse).
        form: dense, conv or sparse, as a core stores and prices them; "" for the kind's own.
    """

    kind: str
    source: str
    source_shape: tuple[int, ...]
    wiring: Array | None
    weight: Array
    exponent: int = 0
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    groups: int = 1
    delay: int = 0
    ends: Array = field(default_factory=lambda: _NONE.reshape(2, 0))
    lags: Array = field(default_factory=lambda: _NONE)
    form: str = ""

    @property
    def least_lag(self) -> int:
        """The shortest of the lags."""
        return int(self.lags.min(initial=2**31 - 1)) if self.lags.size else 0


@dataclass(frozen=True)
class Population:
    """One layer's neurons.

    Attributes:
        model: integrate_and_fire, maximum (fires as often as its most active input),
            maximum_binary (its largest input's bits), readout (a membrane that never fires),
            input (spikes from the host), or the name of an operator of the `spike` dialect,
            which then says what the neurons do.
        depth: the timestep in which its first spikes can arrive.
        bias: i32 or f32 current of every timestep, per neuron or one for all.
        threshold: i32, per neuron or one for all; of integrate_and_fire.
        parameters, words: of an operator: its operands behind the current by name, and its
            attributes.
        bias_from: the first timestep that has the bias.
        feed: of an input.
        latency: timesteps from what arrives to the spikes that answer it: 0, or a phase.
        macs: multiply-accumulates of the layer that it stands for.
    """

    name: str
    op: str
    model: str
    shape: tuple[int, ...]
    depth: int
    synapses: tuple[Synapses, ...]
    bias: Array
    threshold: Array
    initial: str = "half"
    reset: str = "subtract"
    compare: str = "ge"
    state_bits: int = 18
    encoders: tuple[Encoder, ...] = ()
    macs: int = 0
    parameters: Mapping[str, Array] = field(default_factory=dict[str, Array])
    words: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    bias_from: int = 0
    feed: Feed | None = None
    latency: int = 0

    @property
    def neurons(self) -> int:
        """How many neurons it has."""
        return prod(self.shape)

    @property
    def fires(self) -> bool:
        """Whether it sends spikes; a readout's neurons only gather."""
        gathers = self.model == "spike.phase" and "theta" not in self.parameters
        return self.model != "readout" and not gathers


@dataclass(frozen=True)
class Core:
    """One core's share of a population, by neuron numbers.

    `axons` holds, per `Synapses` of the population, the source's neurons whose spikes the core
    receives, ascending.
    """

    index: int
    population: str
    neurons: Array
    axons: tuple[Array, ...]


@dataclass(frozen=True)
class Readout:
    """Host side: what is read of a population, in the order of `wiring`, as `shape`.

    Attributes:
        of: "count": ``f32(spikes) * scale``; "level": the same of the levels that a code's
            spikes stand for; "state": of a readout's membrane; "train": the spikes [T, ...]
            themselves, i8; "voltage": the first state [T, ...] in its own type.
    """

    name: str
    population: str
    wiring: Array | None
    shape: tuple[int, ...]
    scale: float
    of: str


@dataclass(frozen=True)
class HostStep:
    """An operator that the host applies to readouts, by name, and constants."""

    kind: str
    name: str
    operands: tuple[str | Array, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Program:
    """A placed network. `batch` inferences of one invocation run one after another."""

    name: str
    timesteps: int
    batch: int
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    populations: tuple[Population, ...]
    cores: tuple[Core, ...]
    readouts: tuple[Readout, ...]
    host: tuple[HostStep, ...] = ()

    @property
    def depth(self) -> int:
        """Timesteps until the last population has its first input, and what it then waits."""
        return max((p.depth + p.latency for p in self.populations), default=0)

    @property
    def chip_timesteps(self) -> int:
        """Timesteps of one inference: T, and the pipeline's fill."""
        return self.timesteps + self.depth

    def text(self) -> str:
        """A listing for a person."""
        from tetrapla.simulators.spiking.listing import listing

        return listing(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same program back."""
        return {"schema": SCHEMA, **_plain(self)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Program:
        """The program that `to_dict` wrote.

        Raises:
            ModelError: the data is of another kind, lacks a part or was changed.
        """
        with reading(data, SCHEMA):
            return _program(data)


def _program(data: Mapping[str, Any]) -> Program:
    held: dict[str, Any] = _read(data)
    del held["schema"]
    held["populations"] = tuple(_population(p) for p in data["populations"])
    held["cores"] = tuple(Core(**_read(c)) for c in data["cores"])
    held["readouts"] = tuple(Readout(**_read(r)) for r in data["readouts"])
    held["host"] = tuple(
        HostStep(**{**_read(h), "attributes": _read(h["attributes"])}) for h in data["host"]
    )
    return Program(**held)


def _population(data: Mapping[str, Any]) -> Population:
    held: dict[str, Any] = _read(data)
    held["synapses"] = tuple(Synapses(**_read(s)) for s in data["synapses"])
    held["encoders"] = tuple(Encoder(**_read(e)) for e in data["encoders"])
    held["feed"] = None if data["feed"] is None else Feed(**_read(data["feed"]))
    return Population(**held)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return packed(cast("Array", value))
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {key: _plain(item) for key, item in mapping.items()}
    if isinstance(value, (tuple, list)):
        items = cast("Sequence[Any]", value)
        return [_plain(item) for item in items]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _read(value: Any) -> Any:
    """Arrays where they were, tuples for lists, the rest as it is."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        if is_packed(mapping):
            return unpacked(mapping)
        return {key: _read(item) for key, item in mapping.items()}
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return tuple(_read(item) for item in items)
    return value
