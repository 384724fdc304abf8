"""Text of linalg on tensors: loop nests, folds, other shapes.

Every loop nest is a `linalg.generic`, and what moves values reads them by computed indices:
a strided copy would need a routine that the bindings' wheel does not ship.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import count
from math import prod
from typing import NamedTuple, TypeAlias

from tetrapla.ir.graph import Value
from tetrapla.ir.linalg.element import held_as, literal
from tetrapla.ir.linalg.scalar import Body, Held, Scalar, spelled
from tetrapla.ir.op import Tensor

# of the body and one scalar per operand
Function: TypeAlias = (
    Callable[[Body], Scalar]
    | Callable[[Body, Scalar], Scalar]
    | Callable[[Body, Scalar, Scalar], Scalar]
    | Callable[[Body, Scalar, Scalar, Scalar], Scalar]
    | Callable[..., Scalar]
)
Placed: TypeAlias = tuple[Held, Sequence[str]]  # a tensor and where each axis of it stands


class Block(NamedTuple):
    """The lines of a loop or branch, what they make, and the truth that each fault is."""

    lines: list[str]
    results: list[Held]
    truths: dict[str, str]  # by what they report


class Writer:
    """The lines of one function so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.faults: list[tuple[Held, str]] = []  # a truth, and what it reports
        self._count = count()

    def line(self, text: str, type_: Tensor) -> Held:
        """One line with a result."""
        name = f"%v{next(self._count)}"
        self.lines.append(f"{name} = {text}")
        return Held(name, type_)

    def scalar(self, text: str) -> str:
        """One line whose result is no tensor; its name."""
        name = f"%v{next(self._count)}"
        self.lines.append(f"{name} = {text}")
        return name

    def block(self, make: Callable[[], list[Held]]) -> Block:
        """The lines that `make` writes, which are not added here."""
        lines, faults = self.lines, self.faults
        self.lines, self.faults = [], []
        results, truths = make(), dict[str, str]()
        for fault, message in self.faults:
            truth = self.scalar(f"tensor.extract {fault.name}[] : {fault.spelled}")
            if message in truths:
                truth = self.scalar(f"arith.ori {truths[message]}, {truth} : i1")
            truths[message] = truth
        made = Block(self.lines, results, truths)
        self.lines, self.faults = lines, faults
        return made

    def note(self, truth: str, message: str) -> None:
        """A fault that stands as a scalar."""
        type_ = Tensor((), "i1")
        fault = self.line(f"tensor.from_elements {truth} : {spelled(type_)}", type_)
        self.faults.append((fault, message))

    def call(
        self, name: str, operands: Sequence[Held], types: Sequence[Tensor]
    ) -> tuple[Held, ...]:
        """The results of another function."""
        stem = f"%v{next(self._count)}"
        names = ", ".join(held.name for held in operands)
        taken = ", ".join(held.spelled for held in operands)
        given = ", ".join(map(spelled, types))
        self.lines.append(
            f"{stem}:{len(types)} = func.call @{name}({names}) : ({taken}) -> ({given})"
        )
        return tuple(Held(f"{stem}#{i}", type_) for i, type_ in enumerate(types))

    def empty(self, type_: Tensor) -> Held:
        """Room for a tensor."""
        return self.line(f"tensor.empty() : {spelled(type_)}", type_)

    def filled(self, value: float, type_: Tensor) -> Held:
        """One number everywhere."""
        b = Body()
        number = b.stored(b.number(value, type_.dtype))
        scope = next(self._count)
        self.lines += [line.replace("%s", f"%n{scope}_") for line in b.lines]
        name, start = number.name.replace("%s", f"%n{scope}_"), self.empty(type_)
        into = f"outs({start.name} : {start.spelled}) -> {start.spelled}"
        return self.line(f"linalg.fill ins({name} : {held_as(type_.dtype)}) {into}", type_)

    def table(self, rows: Sequence[float], type_: Tensor) -> Held:
        """A small constant."""
        words = [literal(value, type_.dtype).partition(" ")[0] for value in rows]
        flat = Tensor((len(rows),), type_.dtype)
        text = f"arith.constant dense<[{', '.join(words)}]> : {spelled(flat)}"
        return self.reshaped(self.line(text, flat), type_.shape)

    def generic(
        self,
        placed: Sequence[Placed],
        start: Held,
        axes: Sequence[str],
        loops: int,
        function: Function,
    ) -> Held:
        """One loop nest d0, d1, ..: `function` of the operands' elements and of the result's.

        A loop that is none of the result's `axes` folds into it, in its order.
        """
        dims = ", ".join(f"d{i}" for i in range(loops))
        maps = ", ".join(
            f"affine_map<({dims}) -> ({', '.join(p)})>"
            for p in (*(places for _, places in placed), axes)
        )
        kinds = ", ".join(
            '"parallel"' if f"d{i}" in axes else '"reduction"' for i in range(loops)
        )
        read = ""
        if placed:
            names = ", ".join(held.name for held, _ in placed)
            read = f"ins({names} : {', '.join(held.spelled for held, _ in placed)}) "
        scalars = [Scalar(f"%a{i}", held.type.dtype) for i, (held, _) in enumerate(placed)]
        scalars.append(Scalar("%o", start.type.dtype))
        taken = ", ".join(f"{each.name}: {held_as(each.dtype)}" for each in scalars)
        b = Body()
        result = b.stored(function(b, *map(b.loaded, scalars)))
        b.lines.append(f"linalg.yield {result.name} : {held_as(result.dtype)}")
        inside = "\n    ".join(b.lines)
        return self.line(
            f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} "
            f"{read}outs({start.name} : {start.spelled}) {{\n"
            f"  ^bb0({taken}):\n    {inside}\n  }} -> {start.spelled}",
            start.type,
        )

    def elementwise(self, type_: Tensor, function: Function, *operands: Held) -> Held:
        """`function` of the body and the operands' elements, which broadcast."""
        dims = axes_of(type_.rank)
        placed = [(held, places_of(held.type.shape, dims)) for held in operands]
        return self.placed(type_, function, placed)

    def placed(self, type_: Tensor, function: Function, placed: Sequence[Placed]) -> Held:
        """As `elementwise`, with the operands' places said."""

        def without_result(b: Body, *scalars: Scalar) -> Scalar:
            return function(b, *scalars[:-1])

        axes = axes_of(type_.rank)
        return self.generic(placed, self.empty(type_), axes, type_.rank, without_result)

    def gathered(
        self, type_: Tensor, function: Callable[[Body, Sequence[Scalar]], Scalar]
    ) -> Held:
        """`function` of the body and the indices of the result's element."""

        def at_place(b: Body) -> Scalar:
            return function(b, [b.index(axis) for axis in range(type_.rank)])

        return self.placed(type_, at_place, [])

    def folded(
        self,
        x: Held,
        axes: Collection[int],
        start: float,
        function: Callable[[Body, Scalar, Scalar], Scalar],
        dtype: str = "",
    ) -> Held:
        """A fold over axes, which go: `function` of the body, what there is, and an element.

        The fold has element type `dtype`, or that of `x`.
        """
        dims = axes_of(x.type.rank)
        kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
        sizes = tuple(s for axis, s in enumerate(x.type.shape) if axis not in axes)
        into = self.filled(start, Tensor(sizes, dtype or x.type.dtype))
        return self.generic(
            [(x, dims)], into, kept, x.type.rank, lambda b, a, o: function(b, o, a)
        )

    def updated(
        self,
        x: Held,
        count: int,
        update: Callable[[Body, Scalar, Held], tuple[list[Scalar], Scalar]],
    ) -> Held:
        """`x` after so many updates, one after the other; its memory is written.

        `update` gives, of the body, a number and what there is, the indices and the element.
        """
        stem = f"%v{next(self._count)}"
        b, now = Body(), Held(f"{stem}_now", x.type)
        places, value = update(b, Scalar(f"{stem}_at", "index"), now)
        stored = b.stored(value)
        names = ", ".join(place.name for place in places)
        lines = [
            f"{stem}_0 = arith.constant 0 : index",
            f"{stem}_1 = arith.constant 1 : index",
            f"{stem}_n = arith.constant {count} : index",
            f"{stem} = scf.for {stem}_at = {stem}_0 to {stem}_n step {stem}_1 "
            f"iter_args({now.name} = {x.name}) -> ({x.spelled}) {{",
            *b.lines,
            f"{stem}_next = tensor.insert {stored.name} into {now.name}[{names}] : {x.spelled}",
            f"scf.yield {stem}_next : {x.spelled} }}",
        ]
        self.lines += [line.replace("%s", f"{stem}_s") for line in lines]
        return Held(stem, x.type)

    def repeated(
        self,
        count: int,
        states: Sequence[Held],
        step: Callable[[Scalar, list[Held]], list[Held]],
    ) -> list[Held]:
        """The tensors that `step` hands on from number to number, after the last one."""
        stem = f"%v{next(self._count)}"
        held = [Held(f"{stem}_{i}", state.type) for i, state in enumerate(states)]
        block = self.block(lambda: step(Scalar(f"{stem}_at", "index"), held))
        found = {message: f"{stem}_f{i}" for i, message in enumerate(block.truths)}
        firsts = [*(state.name for state in states), *[f"{stem}_no"] * len(found)]
        names = [*(each.name for each in held), *found.values()]
        given = ", ".join(
            f"{name} = {first}" for name, first in zip(names, firsts, strict=True)
        )
        types = ", ".join([*(state.spelled for state in states), *["i1"] * len(found)])
        after = [each.name for each in block.results]
        after += (f"{name}_or" for name in found.values())
        self.lines += [
            f"{stem}_no = arith.constant false",
            f"{stem}_a = arith.constant 0 : index",
            f"{stem}_b = arith.constant {count} : index",
            f"{stem}_c = arith.constant 1 : index",
            f"{stem}:{len(names)} = scf.for {stem}_at = {stem}_a to {stem}_b step {stem}_c "
            f"iter_args({given}) -> ({types}) {{",
            *block.lines,
            *(
                f"{name}_or = arith.ori {name}, {block.truths[message]} : i1"
                for message, name in found.items()
            ),
            f"scf.yield {', '.join(after)} : {types} }}",
        ]
        for i, message in enumerate(found):
            self.note(f"{stem}#{len(states) + i}", message)
        return [Held(f"{stem}#{i}", state.type) for i, state in enumerate(states)]

    def must_lie(self, x: Held, low: int, high: int, what: str) -> None:
        """Note as a fault that an integer lies outside of a range, bounds included."""

        def outside(b: Body, found: Scalar, number: Scalar) -> Scalar:
            i = b.cast(number, "i64")
            below = b.compare("lt", i, b.like(low, i))
            above = b.compare("gt", i, b.like(high, i))
            return b.bitwise("ori", found, b.bitwise("ori", below, above))

        fault = self.folded(x, range(x.type.rank), 0, outside, "i1")
        self.faults.append((fault, f"{what} must lie in {low}..{high}, not outside"))

    def cast(self, x: Held, dtype: str) -> Held:
        """The numbers in another element type."""
        if x.type.dtype == dtype:
            return x
        return self.elementwise(Tensor(x.type.shape, dtype), lambda b, a: b.cast(a, dtype), x)

    def reshaped(self, x: Held, shape: tuple[int, ...]) -> Held:
        """Through one axis: every shape flattens, and one axis expands to every shape."""
        flat = Tensor((prod(shape),), x.type.dtype)
        if x.type.shape == shape:
            return x
        if x.type.rank != 1:
            x = self._regrouped(x, flat)
        return x if len(shape) == 1 else self._regrouped(x, Tensor(shape, flat.dtype))

    def _regrouped(self, x: Held, type_: Tensor) -> Held:
        rank = max(x.type.rank, type_.rank)
        scalar = 0 in (x.type.rank, type_.rank)
        groups = "[]" if scalar else f"[[{', '.join(map(str, range(rank)))}]]"
        if x.type.rank > type_.rank:
            text = (
                f"tensor.collapse_shape {x.name} {groups} : {x.spelled} into {spelled(type_)}"
            )
        else:
            text = (
                f"tensor.expand_shape {x.name} {groups} output_shape {list(type_.shape)} : "
                f"{x.spelled} into {spelled(type_)}"
            )
        return self.line(text, type_)


def axes_of(rank: int) -> list[str]:
    """The loops of a value that is read or written in its own order."""
    return [f"d{i}" for i in range(rank)]


def places_of(shape: tuple[int, ...], dims: Sequence[str]) -> list[str]:
    """The places of an operand whose axes align to the right; a single element stays put."""
    aligned = dims[len(dims) - len(shape) :]
    return ["0" if size == 1 else dim for size, dim in zip(shape, aligned, strict=True)]


def tensor_of(value: Value) -> Tensor:
    """The type of a graph's value."""
    return Tensor(value.shape, value.dtype)
