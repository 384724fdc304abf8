"""The plan of a GPU: buffers in device memory and fused kernels that run one after another.

Every buffer is contiguous, and row-major unless it says otherwise, so a reshape costs nothing:
a kernel states the extents that it reads. One run of the plan is one invocation of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.arrays_ import packed, unpacked
from tetrapla.simulators.gpu.code import packed_code, unpacked_code
from tetrapla.simulators.gpu.kernels import Expression, Kernel, Product, Tile
from tetrapla.simulators.gpu.kinds import KERNELS
from tetrapla.simulators.gpu.steps import step_dict, step_from
from tetrapla.simulators.program_ import listed, reading, tupled

SCHEMA = "tetrapla.gpu/1"


@dataclass(frozen=True)
class Buffer:
    """Device memory.

    Attributes:
        name: of its own.
        dtype: of its elements.
        shape: of what it holds.
        role: input, weight, scratch or output.
        order: the axes from the outermost in memory to the innermost; empty for row-major.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    order: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def traffic_bytes(self) -> int:
        """Bytes moved when all of it is read or written once."""
        return self.elements * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Port:
    """An input or output of the model and the buffer that holds it."""

    name: str
    buffer: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """A model's plan. `format` is fp16, fp32 or int8; `weights` are the module's own arrays.

    A weight is kept in the module's type; a run rounds it to its buffer's.
    """

    name: str
    format: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    weights: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)

    @property
    def memory(self) -> dict[str, Buffer]:
        """The buffers by name."""
        return {buffer.name: buffer for buffer in self.buffers}

    def text(self) -> str:
        """One line per buffer and kernel."""
        lines = [f"gpu program {self.name}: {self.format}, {len(self.kernels)} kernels"]
        lines += [
            f"  {b.role:<7} {b.name}: {b.dtype}[{', '.join(map(str, b.shape))}]{_lying(b)}"
            for b in self.buffers
        ]
        for kernel in self.kernels:
            made = f"{type(kernel).__name__}({', '.join(kernel.sources)})"
            parts = [made, *(type(step).__name__ for step in kernel.steps)]
            lines.append(
                f"  {kernel.name}: {kernel.output} = {' | '.join(parts)}{_sizes(kernel)}"
            )
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same program back."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "format": self.format,
            "inputs": [_plain(port) for port in self.inputs],
            "outputs": [_plain(port) for port in self.outputs],
            "buffers": [_plain(buffer) for buffer in self.buffers],
            "kernels": [_kernel_dict(kernel) for kernel in self.kernels],
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
                tuple(Port(**tupled(port)) for port in data["inputs"]),
                tuple(Port(**tupled(port)) for port in data["outputs"]),
                tuple(Buffer(**tupled(buffer)) for buffer in data["buffers"]),
                tuple(_kernel_from(kernel) for kernel in data["kernels"]),
                {name: unpacked(array) for name, array in data["weights"].items()},
            )


def _lying(buffer: Buffer) -> str:
    return f" lying as {list(buffer.order)}" if buffer.order else ""


def _sizes(kernel: Kernel) -> str:
    if not isinstance(kernel, Product):
        return ""
    count, m, n, k = kernel.problem
    tile = kernel.tile
    grid = "x".join(map(str, kernel.grid))
    return f"; {count} x {m}x{n}x{k}, tiles {tile.m}x{tile.n}x{tile.k}, grid {grid}"


def _plain(record: Any) -> dict[str, Any]:
    return listed({f.name: getattr(record, f.name) for f in fields(record)})


def _kernel_dict(kernel: Kernel) -> dict[str, Any]:
    data = {"type": type(kernel).__name__, **_plain(kernel)}
    data["steps"] = [listed(step_dict(step)) for step in kernel.steps]
    if isinstance(kernel, Product):
        data["tile"] = _plain(kernel.tile)
    if isinstance(kernel, Expression):
        data["code"] = packed_code(kernel.code)
    return data


def _kernel_from(data: Mapping[str, Any]) -> Kernel:
    values = tupled(data)
    kind = KERNELS[values.pop("type")]
    values["steps"] = tuple(step_from(step) for step in values["steps"])
    if "tile" in values:
        values["tile"] = Tile(**values["tile"])
    if "code" in values:
        values["code"] = unpacked_code(values["code"])
    return kind(**values)
