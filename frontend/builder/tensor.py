"""A value of the network being built: Python's operators and the functions as methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from tetrapla.frontend.builder import functions as f
from tetrapla.frontend.builder.index import indexed
from tetrapla.frontend.builder.operand import Operand, Sizes, dtype_of
from tetrapla.ir.graph import Array, Value

if TYPE_CHECKING:
    from tetrapla.frontend.builder.builder import Builder
    from tetrapla.frontend.builder.index import Index
    from tetrapla.frontend.builder.scope import Scope


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of static shape; comparisons are of its elements, as NumPy's are."""

    builder: Builder
    scope: Scope
    value: Value
    __array_ufunc__ = None  # array @ tensor is the tensor's business

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return self.value.shape

    @property
    def dtype(self) -> str:
        """The element type by MLIR's name."""
        return self.value.dtype

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def T(self) -> Tensor:  # noqa: N802  # NumPy's name
        """The axes reversed."""
        return f.transpose(self)

    def __repr__(self) -> str:
        return f"Tensor({'x'.join([*map(str, self.shape), self.dtype])})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor of shape () has no length; it is one value")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: object = None, copy: object = None) -> Array:
        raise TypeError(
            "a tensor must not be made an array: it has no values until the model runs; use "
            "tetrapla.evaluate"
        )

    def __bool__(self) -> bool:
        raise TypeError(
            "a tensor's truth must not be asked for: it has no value until the model runs; "
            "use nn.where, or builder.branch"
        )

    def __getitem__(self, index: Index) -> Tensor:
        return indexed(self, index)

    def __hash__(self) -> int:
        return id(self)

    def __add__(self, other: Operand) -> Tensor:
        return f.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return f.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return f.sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return f.sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return f.mul(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return f.mul(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return f.div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return f.div(other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return f.mod(self, other)

    def __pow__(self, other: Operand) -> Tensor:
        return f.pow(self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return f.pow(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return f.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return f.matmul(other, self)

    def __neg__(self) -> Tensor:
        return f.neg(self)

    def __abs__(self) -> Tensor:
        return f.abs(self)

    def __invert__(self) -> Tensor:
        return f.not_(self) if self.dtype == "i1" else f.bitwise_not(self)

    def __and__(self, other: Operand) -> Tensor:
        return f.and_(self, other) if self.dtype == "i1" else f.bitwise_and(self, other)

    def __or__(self, other: Operand) -> Tensor:
        return f.or_(self, other) if self.dtype == "i1" else f.bitwise_or(self, other)

    def __xor__(self, other: Operand) -> Tensor:
        return f.xor(self, other) if self.dtype == "i1" else f.bitwise_xor(self, other)

    # mypy: comparisons give a tensor as NumPy's do, where `object` promises a bool, and NumPy's
    # own arrays claim the same pairs of operands
    def __lt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return f.less(self, other)

    def __le__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return f.less_or_equal(self, other)

    def __gt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return f.greater(self, other)

    def __ge__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return f.greater_or_equal(self, other)

    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return f.equal(self, other)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return f.not_(f.equal(self, other))

    def reshape(self, *shape: int | Sequence[int], name: str = "") -> Tensor:
        """The same values in another shape, given by sizes or as one; a size may be -1."""
        return f.reshape(self, _listed(shape), name=name)

    def transpose(self, *perm: int | Sequence[int], name: str = "") -> Tensor:
        """Axes in another order; reversed without arguments."""
        return f.transpose(self, _listed(perm) if perm else None, name=name)

    def expand(self, *shape: int | Sequence[int], name: str = "") -> Tensor:
        """The values repeated to a shape."""
        return f.expand(self, _listed(shape), name=name)

    def swapaxes(self, a: int, b: int) -> Tensor:
        """Two axes in each other's place."""
        order = list(range(self.rank))
        order[a], order[b] = order[b], order[a]
        return f.transpose(self, order)

    def sum(
        self, axis: Sizes | None = None, keepdims: bool = False, *, name: str = ""
    ) -> Tensor:
        """The sum along axes, all of them for None."""
        return f.reduce_sum(self, axis, keepdims=keepdims, name=name)

    def mean(
        self, axis: Sizes | None = None, keepdims: bool = False, *, name: str = ""
    ) -> Tensor:
        """The mean along axes, all of them for None."""
        return f.reduce_mean(self, axis, keepdims=keepdims, name=name)

    def max(
        self, axis: Sizes | None = None, keepdims: bool = False, *, name: str = ""
    ) -> Tensor:
        """The largest value along axes, all of them for None."""
        return f.reduce_max(self, axis, keepdims=keepdims, name=name)

    def min(
        self, axis: Sizes | None = None, keepdims: bool = False, *, name: str = ""
    ) -> Tensor:
        """The smallest value along axes, all of them for None."""
        return f.reduce_min(self, axis, keepdims=keepdims, name=name)

    def astype(
        self, dtype: str | np.dtype[np.generic] | type[np.generic], *, name: str = ""
    ) -> Tensor:
        """The elements in another type, by MLIR's name or NumPy's."""
        return f.cast(self, dtype_of(dtype), name=name)

    abs = f.abs
    arg_max = f.arg_max
    arg_min = f.arg_min
    average_pool2d = f.average_pool2d
    clip = f.clip
    cos = f.cos
    elu = f.elu
    erf = f.erf
    exp = f.exp
    flatten = f.flatten
    gelu = f.gelu
    global_average_pool = f.global_average_pool
    global_max_pool = f.global_max_pool
    hard_sigmoid = f.hard_sigmoid
    hard_swish = f.hard_swish
    leaky_relu = f.leaky_relu
    log = f.log
    log_softmax = f.log_softmax
    max_pool2d = f.max_pool2d
    pad = f.pad
    reciprocal = f.reciprocal
    relu = f.relu
    resize = f.resize
    sigmoid = f.sigmoid
    sign = f.sign
    silu = f.silu
    sin = f.sin
    softmax = f.softmax
    softplus = f.softplus
    split = f.split
    sqrt = f.sqrt
    squeeze = f.squeeze
    tanh = f.tanh
    top_k = f.top_k
    unsqueeze = f.unsqueeze


def _listed(sizes: Sequence[int | Sequence[int]]) -> Sequence[int]:
    """Sizes given one by one, or as one sequence of them."""
    return [size for each in sizes for size in ([each] if isinstance(each, int) else each)]
