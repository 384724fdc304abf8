"""A network in Python: one call, one operator, shapes checked at the line that is wrong.

    b = Builder("lenet")
    x = b.input("x", (1, 1, 28, 28))
    y = b.conv2d(x, w, bias, pads=2).relu().max_pool2d(2)
    b.output("y", y.flatten() @ w2 + b2)
    module = b.build()

Weights are NumPy arrays (float64 and Python numbers become float32). Layers may be named;
otherwise they are called after their operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from tetrapla.frontend.names import Names
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.module import Module

Pair: TypeAlias = int | Sequence[int]
Operand: TypeAlias = "Tensor | Array | float"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the network being built."""

    builder: Builder
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

    def __add__(self, other: Operand) -> Tensor:
        return self.builder.op("nn.add", [self, other])

    def __radd__(self, other: Operand) -> Tensor:
        return self.builder.op("nn.add", [other, self])

    def __mul__(self, other: Operand) -> Tensor:
        return self.builder.op("nn.mul", [self, other])

    def __rmul__(self, other: Operand) -> Tensor:
        return self.builder.op("nn.mul", [other, self])

    def __neg__(self) -> Tensor:
        return self * -1.0

    def __sub__(self, other: Operand) -> Tensor:
        # a - b == a + (-1 b) exactly: negation does not round
        return self + (-other)

    def __rsub__(self, other: Operand) -> Tensor:
        return -self + other

    def __matmul__(self, other: Tensor | Array) -> Tensor:
        return self.builder.matmul(self, other)

    def __rmatmul__(self, other: Array) -> Tensor:
        return self.builder.matmul(other, self)

    def relu(self, name: str = "") -> Tensor:
        """``max(x, 0)``."""
        return self.builder.op("nn.relu", [self], {}, name)

    def softmax(self, axis: int = -1, name: str = "") -> Tensor:
        """Softmax along an axis."""
        return self.builder.op("nn.softmax", [self], {"axis": axis}, name)

    def reshape(self, *shape: int, name: str = "") -> Tensor:
        """The same values in another shape; one size may be -1."""
        return self.builder.reshape(self, shape, name)

    def flatten(self, axis: int = 1, name: str = "") -> Tensor:
        """A matrix: the axes before `axis` are rows, the rest columns."""
        rank = len(self.shape)
        if not -rank <= axis <= rank:
            raise IRError(f"flatten: axis must lie in {-rank}..{rank}, not {axis}")
        axis = axis + rank if axis < 0 else axis
        rows, columns = prod(self.shape[:axis]), prod(self.shape[axis:])
        return self.builder.reshape(self, (rows, columns), name or "flatten")

    def transpose(self, *perm: int, name: str = "") -> Tensor:
        """Axes in another order; reversed without arguments."""
        order = perm or tuple(range(len(self.shape)))[::-1]
        return self.builder.op("nn.transpose", [self], {"perm": order}, name)

    def max_pool2d(
        self,
        kernel: Pair,
        strides: Pair | None = None,
        pads: Pair = 0,
        dilations: Pair = 1,
        name: str = "",
    ) -> Tensor:
        """Largest value of each window; the stride is the kernel unless given."""
        attributes: dict[str, Attribute] = {
            "kernel": _pair("kernel", kernel),
            "strides": _pair("strides", kernel if strides is None else strides),
            "pads": _pads(pads),
            "dilations": _pair("dilations", dilations),
        }
        return self.builder.op("nn.max_pool2d", [self], attributes, name)

    def average_pool2d(
        self,
        kernel: Pair,
        strides: Pair | None = None,
        pads: Pair = 0,
        count_include_pad: bool = False,
        name: str = "",
    ) -> Tensor:
        """Mean of each window; the stride is the kernel unless given."""
        attributes: dict[str, Attribute] = {
            "kernel": _pair("kernel", kernel),
            "strides": _pair("strides", kernel if strides is None else strides),
            "pads": _pads(pads),
            "count_include_pad": int(count_include_pad),
        }
        return self.builder.op("nn.average_pool2d", [self], attributes, name)

    def global_average_pool(self, name: str = "") -> Tensor:
        """Mean over height and width: [N,C,1,1]."""
        return self.builder.op("nn.global_average_pool", [self], {}, name)


class Builder:
    """A network in the making; `build` gives the module."""

    def __init__(self, name: str = "model") -> None:
        self._builder = ModuleBuilder(name)
        self._names = Names()
        self._symbols = Names()

    def input(self, name: str, shape: Sequence[int], dtype: str = "f32") -> Tensor:
        """Declare an input of a static shape."""
        return Tensor(self, self._builder.input(name, shape, dtype))

    def weight(self, array: Array, name: str = "weight") -> Tensor:
        """Declare a constant; needed only to name it or to use it twice."""
        symbol = self._symbols.fresh(name)
        return Tensor(self, self._builder.weight(symbol, _array(array)))

    def output(self, name: str, value: Tensor) -> None:
        """Declare an output."""
        self._builder.output(name, self._operand(value, name).value)

    def build(self) -> Module:
        """The module, verified.

        Raises:
            IRError: there is no output.
        """
        return self._builder.finish()

    def conv2d(
        self,
        x: Tensor,
        w: Tensor | Array,
        bias: Tensor | Array | None = None,
        *,
        strides: Pair = 1,
        pads: Pair = 0,
        dilations: Pair = 1,
        groups: int = 1,
        name: str = "",
    ) -> Tensor:
        """Cross-correlation of x[N,C,H,W] with w[O,C/groups,kh,kw].

        `pads` is one number, (vertical, horizontal) or (top, left, bottom, right).
        """
        attributes: dict[str, Attribute] = {
            "strides": _pair("strides", strides),
            "pads": _pads(pads),
            "dilations": _pair("dilations", dilations),
            "groups": groups,
            "activation": "none",
        }
        return self.op("nn.conv2d", _present(x, w, bias), attributes, name)

    def matmul(
        self,
        a: Tensor | Array,
        b: Tensor | Array,
        bias: Tensor | Array | None = None,
        name: str = "",
    ) -> Tensor:
        """``a @ b + bias`` on the last two axes."""
        return self.op("nn.matmul", _present(a, b, bias), {"activation": "none"}, name)

    def batch_norm(
        self,
        x: Tensor,
        scale: Tensor | Array,
        bias: Tensor | Array,
        mean: Tensor | Array,
        variance: Tensor | Array,
        epsilon: float = 1e-5,
        name: str = "",
    ) -> Tensor:
        """Batch normalisation on axis 1 with fixed statistics."""
        operands = [x, scale, bias, mean, variance]
        return self.op("nn.batch_norm", operands, {"epsilon": float(epsilon)}, name)

    def reshape(self, x: Tensor, shape: Sequence[int], name: str = "") -> Tensor:
        """The same values in another shape; one size may be -1."""
        sizes = [int(size) for size in shape]
        if sizes.count(-1) == 1:
            rest = prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = prod(x.shape) // rest if rest else 0
        return self.op("nn.reshape", [x], {"shape": tuple(sizes)}, name)

    def op(
        self,
        kind: str,
        operands: Sequence[Operand],
        attributes: dict[str, Attribute] | None = None,
        name: str = "",
    ) -> Tensor:
        """Any operator of the IR; a constant operand may be an array.

        Raises:
            IRError: a constraint does not hold, or an operand is of another builder.
        """
        label = self._names.fresh(name or kind.split(".")[-1])
        values = [
            self._operand(operand, f"{label}_{_ROLES.get(kind, {}).get(i, i)}").value
            for i, operand in enumerate(operands)
        ]
        return Tensor(self, self._builder.op(kind, values, attributes or {}, name=label))

    def _operand(self, operand: Operand, name: str) -> Tensor:
        if not isinstance(operand, Tensor):
            return self.weight(np.asarray(operand), name)
        if operand.builder is not self:
            raise IRError(f"{name}: an operand must come from this builder, not from another")
        return operand


_ROLES: dict[str, dict[int, str]] = {
    "nn.conv2d": {1: "weight", 2: "bias"},
    "nn.matmul": {1: "weight", 2: "bias"},
    "nn.batch_norm": {1: "scale", 2: "bias", 3: "mean", 4: "variance"},
}


def _array(array: Any) -> Array:
    found = np.asarray(array)
    return found.astype(np.float32) if found.dtype.name in ("float64", "int64") else found


def _present(a: Any, b: Any, bias: Any) -> list[Any]:
    return [a, b] if bias is None else [a, b, bias]


def _pair(what: str, value: Pair) -> tuple[int, ...]:
    found = (value, value) if isinstance(value, int) else tuple(int(item) for item in value)
    if len(found) != 2:
        raise IRError(f"{what} must be one number or two, not {len(found)}")
    return found


def _pads(value: Pair) -> tuple[int, ...]:
    found = (value,) * 4 if isinstance(value, int) else tuple(int(item) for item in value)
    if len(found) == 2:
        return (*found, *found)
    if len(found) != 4:
        raise IRError(f"pads must be one number, two or four, not {len(found)}")
    return found
