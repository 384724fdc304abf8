"""The plan of a GPU: buffers in device memory and fused kernels that run one after another.

Every buffer is contiguous and row-major, so a reshape costs nothing: a kernel states the
extents that it reads. One run of the plan is one invocation of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.arrays_ import packed, unpacked
from tetrapla.simulators.gpu.code import Instruction
from tetrapla.simulators.gpu.steps import Step, step_from
from tetrapla.simulators.program_ import listed, reading, tupled

SCHEMA = "tetrapla.gpu/1"


@dataclass(frozen=True)
class Buffer:
    """Device memory; `role` is input, weight, scratch or output."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str

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
class Tile:
    """What one program instance computes: m x n outputs, k products at a time."""

    m: int
    n: int
    k: int


@dataclass(frozen=True)
class Kernel:
    """One launch. `steps` act on each output element before it is stored.

    A step's parameter for element i of the output is number ``i // inner % channels``.
    """

    name: str
    op: str
    output: str
    steps: tuple[Step, ...]
    channels: int
    inner: int

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads, without the steps' parameters."""
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Every buffer it reads, once."""
        named = [*self.sources, *(name for step in self.steps for name in step.buffers)]
        return tuple(dict.fromkeys(named))

    @property
    def macs(self) -> int:
        """Multiplications that are added into an accumulator of a matrix product."""
        return 0


@dataclass(frozen=True)
class Product(Kernel):
    """A tiled matrix product; `operand` is the type that enters the multipliers."""

    a: str
    b: str
    operand: str
    a_zero_point: int
    b_zero_point: int
    tile: Tile

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.a, self.b)

    @property
    def problem(self) -> tuple[int, int, int, int]:
        """(independent products, m, n, k)."""
        raise NotImplementedError

    @property
    def grid(self) -> tuple[int, int, int]:
        """Program instances: tiles of m, tiles of n, independent products."""
        count, m, n, _ = self.problem
        return -(-m // self.tile.m), -(-n // self.tile.n), count

    @property
    def macs(self) -> int:
        return prod(self.problem)


@dataclass(frozen=True)
class MatMul(Product):
    """``a[z, m, k] @ b[z, k, n]``; strides count matrices and are 0 where one is shared."""

    lead: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    m: int
    n: int
    k: int

    @property
    def problem(self) -> tuple[int, int, int, int]:
        return prod(self.lead), self.m, self.n, self.k


@dataclass(frozen=True)
class Conv(Product):
    """A convolution as implicit GEMM, per group: m = n*oh*ow pixels, k = channels*kh*kw."""

    shape: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    out: tuple[int, int]

    @property
    def problem(self) -> tuple[int, int, int, int]:
        k = self.shape[1] // self.groups * prod(self.kernel)
        return self.groups, self.shape[0] * prod(self.out), self.filters // self.groups, k


@dataclass(frozen=True)
class Pool(Kernel):
    """Windows over planes (n*c) of `size`; `function` is max, average or quant_average."""

    x: str
    function: str
    planes: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    out: tuple[int, int]
    count_include_pad: int
    scales: tuple[float, float]
    zero_points: tuple[int, int]
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class GlobalPool(Kernel):
    """Mean of each plane; `function` is average or quant_average."""

    x: str
    function: str
    planes: int
    size: int
    scales: tuple[float, float]
    zero_points: tuple[int, int]
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Softmax(Kernel):
    """Softmax over `length` elements `stride` apart, `rows` times."""

    x: str
    rows: int
    length: int
    stride: int
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Pointwise(Kernel):
    """The steps alone, on every element."""

    x: str
    elements: int
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Binary(Kernel):
    """add, mul or quant_add with broadcasting; strides are 0 along a repeated axis.

    `scales` and `zero_points` are those of a, b and y.
    """

    a: str
    b: str
    function: str
    shape: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    scales: tuple[float, float, float]
    zero_points: tuple[int, int, int]
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class Gather(Kernel):
    """A copy in another order (a transpose): element i of `shape` comes from its strides."""

    x: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Expression(Kernel):
    """Generated code over rows of lanes: register `value` is stored at offset `place`.

    `block` rows are of one program instance; see `code` for the instructions.
    """

    code: tuple[Instruction, ...]
    value: int
    place: int
    rows: int
    length: int
    block: int

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(i.value for i in self.code if i.op == "load"))

    @property
    def operations(self) -> int:
        """Arithmetic on floats: one per lane of every instruction that makes one."""
        made = sum(i.dtype == "f32" and i.op not in ("load", "constant") for i in self.code)
        return made * self.rows * self.length


KERNELS: dict[str, type[Kernel]] = {
    kind.__name__: kind
    for kind in (MatMul, Conv, Pool, GlobalPool, Softmax, Pointwise, Binary, Gather, Expression)
}


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
            f"  {b.role:<7} {b.name}: {b.dtype}[{', '.join(map(str, b.shape))}]"
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
    data["steps"] = [{"step": type(step).__name__, **_plain(step)} for step in kernel.steps]
    if isinstance(kernel, Product):
        data["tile"] = _plain(kernel.tile)
    if isinstance(kernel, Expression):
        data["code"] = [[i.op, list(i.args), i.dtype, i.value] for i in kernel.code]
    return data


def _kernel_from(data: Mapping[str, Any]) -> Kernel:
    values = tupled(data)
    kind = KERNELS[values.pop("type")]
    values["steps"] = tuple(step_from(step) for step in values["steps"])
    if "tile" in values:
        values["tile"] = Tile(**values["tile"])
    if "code" in values:
        values["code"] = tuple(
            Instruction(op, tuple(args), dtype, value)
            for op, args, dtype, value in values["code"]
        )
    return kind(**values)
