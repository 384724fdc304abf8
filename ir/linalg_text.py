"""Text of linalg on tensors: named lines, loop nests, padding, other shapes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from tetrapla.ir.op import Tensor


class Held:
    """A value in the text: its name and its type."""

    def __init__(self, name: str, type_: Tensor) -> None:
        self.name = name
        self.type = type_


class Writer:
    """The lines so far, and the name of each of the graph's values."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self._count = count()

    def line(self, text: str, type_: Tensor) -> Held:
        name = f"%v{next(self._count)}"
        self.lines.append(f"{name} = {text}")
        return Held(name, type_)

    def constant(self, value: float, dtype: str) -> str:
        return self.line(f"arith.constant {_literal(value, dtype)}", Tensor((), dtype)).name

    def empty(self, type_: Tensor) -> Held:
        return self.line(f"tensor.empty() : {type_}", type_)

    def filled(self, value: float, type_: Tensor) -> Held:
        number, start = self.constant(value, type_.dtype), self.empty(type_)
        into = f"outs({start.name} : {type_}) -> {type_}"
        return self.line(f"linalg.fill ins({number} : {type_.dtype}) {into}", type_)

    def generic(
        self,
        operands: Sequence[tuple[Held, Sequence[str]]],
        start: Held,
        axes: Sequence[str],
        loops: int,
        body: Sequence[str],
    ) -> Held:
        """One loop nest; `body` makes %r of %a0, %a1, .. and %o (none: a copy)."""
        dims = ", ".join(f"d{i}" for i in range(loops))
        used = [*(places for _, places in operands), axes]
        maps = ", ".join(f"affine_map<({dims}) -> ({', '.join(p)})>" for p in used)
        kept = {axis for axis in axes}
        kinds = ", ".join(
            '"parallel"' if f"d{i}" in kept else '"reduction"' for i in range(loops)
        )
        names = ", ".join(held.name for held, _ in operands)
        types = ", ".join(str(held.type) for held, _ in operands)
        read = f"ins({names} : {types}) " if operands else ""
        element = start.type.dtype
        scalars = "".join(f"%a{i}: {element}, " for i in range(len(operands)))
        inside = "\n    ".join([*body, f"linalg.yield {'%r' if body else '%a0'} : {element}"])
        return self.line(
            f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} "
            f"{read}outs({start.name} : {start.type}) {{\n"
            f"  ^bb0({scalars}%o: {element}):\n    {inside}\n  }} -> {start.type}",
            start.type,
        )

    def elementwise(
        self,
        operands: Sequence[tuple[Held, Sequence[str]]],
        type_: Tensor,
        body: Sequence[str],
    ) -> Held:
        axes = axes_of(type_.rank)
        return self.generic(operands, self.empty(type_), axes, type_.rank, body)

    def relu(self, x: Held) -> Held:
        zero, dtype = self.constant(0.0, x.type.dtype), x.type.dtype
        body = [f"%r = arith.maximumf %a0, {zero} : {dtype}"]
        return self.elementwise([(x, axes_of(x.type.rank))], x.type, body)

    def epilogue(self, y: Held, bias: Held | None, axis: int, activation: str) -> Held:
        if bias is not None:
            dims = axes_of(y.type.rank)
            body = [f"%r = arith.addf %a0, %a1 : {y.type.dtype}"]
            y = self.elementwise([(y, dims), (bias, [dims[axis]])], y.type, body)
        return self.relu(y) if activation == "relu" else y

    def padded(self, x: Held, pads: tuple[int, ...], fill: float) -> Held:
        if not any(pads):
            return x
        (n, c, h, w), (top, left, bottom, right) = x.type.shape, pads
        type_ = Tensor((n, c, h + top + bottom, w + left + right), x.type.dtype)
        number = self.constant(fill, type_.dtype)
        body = [
            *_inside("r", 2, top, h),
            *_inside("c", 3, left, w),
            "%n = linalg.index 0 : index",
            "%k = linalg.index 1 : index",
            f"%t = tensor.extract {x.name}[%n, %k, %r_at, %c_at] : {x.type}",
            "%in = arith.andi %r_in, %c_in : i1",
            f"%r = arith.select %in, %t, {number} : {type_.dtype}",
        ]
        # tensor.pad would become a strided copy, for which the wheel ships no routine
        return self.elementwise([], type_, body)

    def reshaped(self, x: Held, shape: tuple[int, ...]) -> Held:
        """Through one axis: every shape flattens, and one axis expands to every shape."""
        flat = Tensor((int(np.prod(x.type.shape)),), x.type.dtype)
        if x.type.rank != 1:
            x = self._regrouped(x, flat)
        return x if len(shape) == 1 else self._regrouped(x, Tensor(shape, flat.dtype))

    def _regrouped(self, x: Held, type_: Tensor) -> Held:
        rank = max(x.type.rank, type_.rank)
        scalar = 0 in (x.type.rank, type_.rank)
        groups = "[]" if scalar else f"[[{', '.join(map(str, range(rank)))}]]"
        if x.type.rank > type_.rank:
            text = f"tensor.collapse_shape {x.name} {groups} : {x.type} into {type_}"
        else:
            text = (
                f"tensor.expand_shape {x.name} {groups} output_shape {list(type_.shape)} : "
                f"{x.type} into {type_}"
            )
        return self.line(text, type_)


def axes_of(rank: int) -> list[str]:
    """The loops of a value that is read or written in its own order."""
    return [f"d{i}" for i in range(rank)]


def places_of(shape: tuple[int, ...], dims: Sequence[str]) -> list[str]:
    """The places of an operand whose axes align to the right; a single element stays put."""
    aligned = dims[len(dims) - len(shape) :]
    return ["0" if size == 1 else dim for size, dim in zip(shape, aligned, strict=True)]


def _inside(stem: str, axis: int, before: int, size: int) -> list[str]:
    """Of one axis of a padded value: where to read, clamped, and whether that is inside."""
    return [
        f"%{stem}_lo = arith.constant 0 : index",
        f"%{stem}_hi = arith.constant {size - 1} : index",
        f"%{stem}_by = arith.constant {before} : index",
        f"%{stem}_i = linalg.index {axis} : index",
        f"%{stem}_x = arith.subi %{stem}_i, %{stem}_by : index",
        f"%{stem}_y = arith.maxsi %{stem}_x, %{stem}_lo : index",
        f"%{stem}_at = arith.minsi %{stem}_y, %{stem}_hi : index",
        f"%{stem}_in = arith.cmpi eq, %{stem}_x, %{stem}_at : index",
    ]


def _literal(value: float, dtype: str) -> str:
    """The exact bits, which a decimal would not show for infinity."""
    if dtype == "f32":
        return f"0x{int(np.float32(value).view(np.uint32)):08X} : f32"
    return f"0x{int(np.float64(value).view(np.uint64)):016X} : f64"
