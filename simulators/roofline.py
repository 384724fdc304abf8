"""A chip of which only the datasheet is public: the roofline of its peak and its bandwidth.

A layer takes the longer of its MACs at the peak of the number format and its bytes, every
tensor moved once, at the full bandwidth of the memory that holds them: S. Williams, A. Waterman
and D. Patterson, "Roofline", CACM 52(4), 2009. Where the clock is published, it takes a cycle
at least. Layers run one after another. That is a bound on the time from below and no
simulation: there is no machine here, so outputs are the interpreter's. Energy is a power of the
datasheet times the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.ir.graph import Array
from tetrapla.simulators.arrays_ import packed, unpacked
from tetrapla.simulators.program_ import reading
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, Slice
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.spec_ import (
    Bytes,
    BytesPerSecond,
    Hertz,
    OperationsPerSecond,
    Section,
    Spec,
)

SCHEMA = "tetrapla.roofline/1"
# bytes of an element of a float tensor, in the format that the chip computes in
ELEMENT_BYTES: Mapping[str, int] = {"int8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
NOMINAL_HZ = 1e9  # where no clock is published, a cycle of the report is a nanosecond


class MemorySection(Section):
    """The memory that holds weights and activations, on the chip or beside it."""

    capacity_bytes: Bytes = Field(alias="capacity", gt=0)
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", gt=0)
    placed: Literal["on_chip", "off_chip"] = "off_chip"


class RooflineSpec(Spec):
    """A datasheet. `peak`, by number format, counts a multiply-accumulate as two operations."""

    peak: dict[str, OperationsPerSecond]
    memory: MemorySection
    clock_hz: Hertz | None = Field(default=None, alias="clock", gt=0)

    @field_validator("peak")
    @classmethod
    def _knows_its_formats(cls, peak: dict[str, float]) -> dict[str, float]:
        for name, rate in peak.items():
            if name not in ELEMENT_BYTES:
                hint = nearest(name, ELEMENT_BYTES) or "; take one of them"
                known = ", ".join(ELEMENT_BYTES)
                raise ValueError(f"peak.{name} must be one of {known}, not {name}{hint}")
            if rate <= 0:
                raise ValueError(
                    f"peak.{name} must be greater than 0 op/s, not {rate:g}; "
                    "leave a format out that the chip lacks"
                )
        return peak

    @model_validator(mode="after")
    def _has_its_default(self) -> RooflineSpec:
        if self.chip.default_format not in self.peak:
            raise SpecError(
                f"chip.default_format must be one of peak, {', '.join(self.peak) or 'none'}, "
                f"not {self.chip.default_format}; add its peak"
            )
        return self

    @property
    def on_chip_bytes(self) -> int | None:
        """The memory, where it is on the chip."""
        return self.memory.capacity_bytes if self.memory.placed == "on_chip" else None

    @property
    def off_chip_bytes(self) -> int | None:
        """The memory, where it is beside the chip."""
        return self.memory.capacity_bytes if self.memory.placed == "off_chip" else None

    def roof(self, number_format: str | None = None) -> Roof:
        """The datasheet's own."""
        name = number_format if number_format in self.peak else self.chip.default_format
        return Roof(
            self.peak[name] / 2,
            self.memory.bandwidth_bytes_per_s,
            f"peak.{name} / 2",
            "memory.bandwidth",
        )


@dataclass(frozen=True)
class Layer:
    """What one operator does: multiply-accumulates, and bytes that it reads and writes."""

    name: str
    op: str
    macs: int
    traffic_bytes: int


@dataclass(frozen=True)
class Program:
    """The layers in order, and the model that they are of.

    Attributes:
        format: what the chip computes in.
        inputs, outputs: names.
        held_bytes: of all weights and the largest layer's activations.
        text: the model in MLIR.
        weights: its arrays, none where the model is shape-only.
    """

    name: str
    format: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    held_bytes: int
    model: str
    weights: Mapping[str, Array]

    def text(self) -> str:
        """One line for the program and one for each layer."""
        head = f"{self.name}: {len(self.layers)} layers in {self.format}"
        rows = (
            f"{each.name}: {each.op}, {each.macs} MACs, {each.traffic_bytes} bytes"
            for each in self.layers
        )
        return "\n".join([head, *rows])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same program back."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "format": self.format,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "layers": [vars(layer) for layer in self.layers],
            "held_bytes": self.held_bytes,
            "model": self.model,
            "weights": {name: packed(array) for name, array in sorted(self.weights.items())},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Program:
        """The program that `to_dict` wrote.

        Raises:
            ModelError: the data is of another kind, lacks a part or was changed.
        """
        with reading(data, SCHEMA):
            return cls(
                data["name"],
                data["format"],
                tuple(data["inputs"]),
                tuple(data["outputs"]),
                tuple(Layer(**layer) for layer in data["layers"]),
                data["held_bytes"],
                data["model"],
                {name: unpacked(array) for name, array in data["weights"].items()},
            )


def run(program: Program, spec: RooflineSpec, inputs: Mapping[str, Array], key: Key) -> Run:
    """Time and energy of a program.

    Args:
        program: for one of the chip's formats.
        spec: the datasheet.
        inputs: arrays of shape (invocations, *shape) by input name; none for no outputs.
        key: unused, nothing here is random.

    Raises:
        SpecError: the chip has no peak for the program's format.
        ModelError: inputs are missing or unknown, or the model is shape-only.
    """
    del key
    if program.format not in spec.peak:
        raise SpecError(
            f"peak must have the program's format {program.format}, not only "
            f"{', '.join(spec.peak)}; compile the model for this chip"
        )
    layers, trace, start = [], [], 0.0
    for layer in program.layers:
        row = _row(layer, program.format, spec)
        layers.append(row)
        trace.append(Slice("chip", layer.name, start, start + row.cycles, layer.traffic_bytes))
        start += row.cycles
    return Run(
        outputs=_outputs(program, inputs) if inputs else {},
        layers=tuple(layers),
        cycles=start,
        time_s=start / _clock_hz(spec),
        actions={},
        warnings=_warnings(program, spec),
        trace=tuple(trace),
    )


def least_cycles(program: Program, spec: RooflineSpec) -> dict[str, float]:
    """By layer, the bound itself; no run can be faster than the roofline."""
    clock_hz = _clock_hz(spec)
    return {
        layer.name: max(_times_s(layer, program.format, spec).values()) * clock_hz
        for layer in program.layers
    }


def _times_s(layer: Layer, number_format: str, spec: RooflineSpec) -> dict[str, float]:
    """Of the bytes at the full bandwidth, of the MACs at the peak, and of a cycle."""
    return {
        "memory": layer.traffic_bytes / spec.memory.bandwidth_bytes_per_s,
        "compute": 2 * layer.macs / spec.peak[number_format],
        "clock": 1 / spec.clock_hz if spec.clock_hz and layer.traffic_bytes else 0.0,
    }


def _row(layer: Layer, number_format: str, spec: RooflineSpec) -> LayerRun:
    times_s = _times_s(layer, number_format, spec)
    bound_by = max(times_s, key=lambda name: times_s[name])
    time_s = times_s[bound_by]
    return LayerRun(
        name=layer.name,
        op=layer.op,
        cycles=time_s * _clock_hz(spec),
        macs=layer.macs,
        utilization_frac=times_s["compute"] / time_s if layer.macs else None,
        bound_by=bound_by,
        actions={"chip.nanosecond": time_s * 1e9},
        moved_bytes=layer.traffic_bytes,
    )


def _outputs(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    # the interpreter costs the bindings' start-up, which timing alone does without
    from tetrapla.ir.interpret import evaluate_many
    from tetrapla.ir.module import Module

    return evaluate_many(Module.parse(program.model, program.weights, program.name), inputs)


def _clock_hz(spec: RooflineSpec) -> float:
    return spec.clock_hz or NOMINAL_HZ


def _warnings(program: Program, spec: RooflineSpec) -> tuple[str, ...]:
    said = [
        f"{spec.name} is a datasheet roofline: time is the longer of MACs at the peak and "
        "bytes at the full bandwidth, a bound from below; energy is the chip's power x time; "
        "outputs are the interpreter's, so there is no cross-check"
    ]
    if spec.clock_hz is None:
        said.append(f"no clock of {spec.name} is published: a cycle here is a nanosecond")
    if program.held_bytes > spec.memory.capacity_bytes:
        said.append(
            f"weights and activations take {program.held_bytes} bytes, more than the "
            f"{spec.memory.capacity_bytes} of {spec.name}'s memory: it would be slower"
        )
    return tuple(said)
