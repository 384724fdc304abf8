"""The kernels of a plan: what each launch reads, computes and stores.

A kind of kernel is one class here, its values in `values`, its time in `time`, and its text in
the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from tetrapla.simulators.gpu.code import Instruction, operations
from tetrapla.simulators.gpu.steps import Apply, Step


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one place to the next along each axis."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class Tile:
    """What one program instance computes: m x n outputs, k products at a time.

    Attributes:
        warps: of 32 threads, that share the outputs.
        stages: steps of k whose operands are on their way at once.
    """

    m: int
    n: int
    k: int
    warps: int = 4
    stages: int = 3


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
    def writes(self) -> tuple[str, ...]:
        """Every buffer it stores."""
        return (self.output,)

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """Generated code, of the kernel's own and of its steps."""
        return tuple(i for step in self.steps if isinstance(step, Apply) for i in step.code)

    @property
    def macs(self) -> int:
        """Multiplications that are added into an accumulator of a matrix product."""
        return 0


@dataclass(frozen=True)
class Product(Kernel):
    """A tiled matrix product; `operand` is the type that enters the multipliers.

    Where `shift` names a buffer, it has for each column (of all groups) what the first zero
    point makes of constant second operands, ``-za sum (b - zb)`` in int32, za of signed bytes.
    """

    a: str
    b: str
    operand: str
    a_zero_point: int
    b_zero_point: int
    tile: Tile
    shift: str = field(default="", kw_only=True)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.a, self.b)

    @property
    def reads(self) -> tuple[str, ...]:
        named = super().reads
        return tuple(dict.fromkeys((*named, self.shift))) if self.shift else named

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
    """``a[z, m, k] @ b[z, k, n]``, operands and result wherever their strides say.

    Attributes:
        lead: extents of z.
        a_strides: elements from one matrix to the next along each axis of `lead` (0 where one
            is shared), then between rows, then between columns; empty for row-major matrices
            one behind another.
        b_strides: likewise.
        m, n, k: extents of the matrices.
        y_strides: as `a_strides`, of the result.
        a_offset: elements before the first.
        b_offset: likewise.
        places: where b is packed, the buffer of its places (`sparse`); else "".
    """

    lead: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    m: int
    n: int
    k: int
    y_strides: tuple[int, ...] = ()
    a_offset: int = 0
    b_offset: int = 0
    places: str = field(default="", kw_only=True)

    @property
    def reads(self) -> tuple[str, ...]:
        named = super().reads
        return (*named, self.places) if self.places else named

    @property
    def problem(self) -> tuple[int, int, int, int]:
        return prod(self.lead), self.m, self.n, self.k

    @property
    def a_view(self) -> tuple[int, ...]:
        """All the strides of a, also of one that is row-major."""
        return self.a_strides or row_major((*self.lead, self.m, self.k))

    @property
    def b_view(self) -> tuple[int, ...]:
        """Likewise of b."""
        return self.b_strides or row_major((*self.lead, self.k, self.n))

    @property
    def y_view(self) -> tuple[int, ...]:
        """Likewise of the result."""
        return self.y_strides or row_major((*self.lead, self.m, self.n))


@dataclass(frozen=True)
class Conv(Product):
    """A convolution as implicit GEMM, per group: m = n*oh*ow pixels, k = kh*kw*channels.

    Attributes:
        shape: of the image: n, channels, height, width.
        x_strides: elements between places along each of these axes, wherever it lies; empty
            for row-major.
        w_strides: likewise of the filters: filter, channel of the group, row, column.
        y_strides: likewise of the result: n, filter, row, column.
    """

    shape: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    out: tuple[int, int]
    x_strides: tuple[int, ...] = ()
    w_strides: tuple[int, ...] = ()
    y_strides: tuple[int, ...] = ()

    @property
    def is_depthwise(self) -> bool:
        """Whether every group is one channel and one filter."""
        return self.groups == self.shape[1] == self.filters > 1

    @property
    def x_view(self) -> tuple[int, ...]:
        """All the strides of the image, also of one that is row-major."""
        return self.x_strides or row_major(self.shape)

    @property
    def w_view(self) -> tuple[int, ...]:
        """Likewise of the filters."""
        return self.w_strides or row_major((1, self.shape[1] // self.groups, *self.kernel))

    @property
    def y_view(self) -> tuple[int, ...]:
        """Likewise of the result."""
        return self.y_strides or row_major((1, self.filters, *self.out))

    @property
    def problem(self) -> tuple[int, int, int, int]:
        k = self.shape[1] // self.groups * prod(self.kernel)
        return self.groups, self.shape[0] * prod(self.out), self.filters // self.groups, k


@dataclass(frozen=True)
class Pool(Kernel):
    """Windows over planes (n*c) of `size`; `function` is max, average or quant_average.

    `beside` planes lie side by side at each pixel: the channels, where they are last.
    """

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
    beside: int = 1

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class GlobalPool(Kernel):
    """Mean of each plane; `function` is average or quant_average; `beside` as of `Pool`."""

    x: str
    function: str
    planes: int
    size: int
    scales: tuple[float, float]
    zero_points: tuple[int, int]
    block: int
    beside: int = 1

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
    def instructions(self) -> tuple[Instruction, ...]:
        return (*self.code, *super().instructions)

    @property
    def operations(self) -> int:
        """Arithmetic on floats: one per lane of every instruction that makes one."""
        return operations(self.code) * self.rows * self.length


KERNELS: dict[str, type[Kernel]] = {
    kind.__name__: kind
    for kind in (MatMul, Conv, Pool, GlobalPool, Softmax, Pointwise, Binary, Gather, Expression)
}
