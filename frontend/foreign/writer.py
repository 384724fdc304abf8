"""Writing a module as text of a foreign dialect: MLIR's generic form, which all tools read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Node, Value
from tetrapla.ir.mlir import MLIRError, parse_foreign
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor
from tetrapla.ir.text import MAX_BYTES
from tetrapla.ir.unfuse import unfused


@dataclass(frozen=True)
class Held:
    """A value of the text."""

    name: str
    type: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The element type by MLIR's name."""
        return self.type.dtype


class Unwritten(Exception):  # noqa: N818  collected, not an error of its own
    """This use of an operator has no form in the dialect; the text says which one has."""


class Writer:
    """The body of one function in the making."""

    def __init__(self, module: Module, constant: Callable[[Writer, Array], Held]) -> None:
        self.graph = module.graph
        self._constant = constant
        self._lines: list[str] = []
        self._count = 0
        self._held: dict[int, Held] = {}
        self._functions: dict[str, str] = {}
        for name, value in self.graph.inputs:
            del name
            self._held[value.index] = Held(self.fresh(), Tensor(value.shape, value.dtype))

    def fresh(self) -> str:
        """A new name of a value."""
        self._count += 1
        return f"%{self._count - 1}"

    def operand(self, value: Value) -> Held:
        """What stands for a value of the module; a weight is written where it is first read."""
        if value.index not in self._held:
            self._held[value.index] = self.constant(self.graph.weight(value))
        return self._held[value.index]

    def operands(self, node: Node) -> list[Held]:
        """What stands for a node's operands."""
        return [self.operand(value) for value in node.operands]

    def result(self, node: Node, held: Held) -> None:
        """Say what stands for a node's result.

        Raises:
            Unwritten: the dialect makes another type of it.
        """
        value = node.result
        if held.type != Tensor(value.shape, value.dtype):
            raise Unwritten(f"only where it makes {held.type}")
        self._held[value.index] = held

    def stand_in(self, node: Node) -> None:
        """Something in place of a refused node, to judge the nodes behind it on."""
        for value in node.results:
            self._held[value.index] = Held(self.fresh(), Tensor(value.shape, value.dtype))

    def constant(self, array: Any) -> Held:
        """A constant of the dialect."""
        return self._constant(self, np.asarray(array))

    def splat(self, number: float, type_: Tensor) -> Held:
        """One number everywhere."""
        one = np.array(number).astype(DTYPES[type_.dtype])
        return self.constant(np.broadcast_to(one, type_.shape))

    def op(
        self,
        kind: str,
        operands: Sequence[Held],
        type_: Tensor,
        attributes: Mapping[str, str] | None = None,
        region: str = "",
    ) -> Held:
        """Append an operation of one result."""
        return self.ops(kind, operands, [type_], attributes, region)[0]

    def ops(
        self,
        kind: str,
        operands: Sequence[Held],
        types: Sequence[Tensor],
        attributes: Mapping[str, str] | None = None,
        region: str = "",
    ) -> list[Held]:
        """Append an operation; `attributes` are MLIR text, `region` its one block's lines."""
        made = [Held(self.fresh(), type_) for type_ in types]
        names = ", ".join(held.name for held in operands)
        inside = ", ".join(f"{key} = {text}" for key, text in (attributes or {}).items())
        given = ", ".join(_spelled(held.type) for held in operands)
        results = ", ".join(_spelled(held.type) for held in made)
        body = f" ({{\n{region}\n}})" if region else ""
        properties = f" <{{{inside}}}>" if inside else ""
        self._lines.append(
            f'{", ".join(held.name for held in made)} = "{kind}"({names}){properties}{body} '
            f": ({given}) -> ({results})"
        )
        return made

    def function(self, symbol: str, text: str) -> None:
        """Add a function for operations to name; once for a symbol."""
        self._functions[symbol] = text

    def text(self) -> str:
        """The whole module, checked by MLIR's own verifier.

        Raises:
            ModelError: it is larger than what any reader here takes.
            UnsupportedError: the verifier refuses a use of an operator.
        """
        arguments = [self._held[value.index] for _, value in self.graph.inputs]
        returned = [self.operand(value) for _, value in self.graph.outputs]
        takes = ", ".join(f"{held.name}: {held.type}" for held in arguments)
        types = ", ".join(str(held.type) for held in returned)
        names = ", ".join(held.name for held in returned)
        lines = "\n".join(self._lines)
        text = (
            f"func.func @main({takes}) -> ({types}) {{\n{lines}\nreturn {names} : {types}\n}}\n"
        )
        text += "\n".join(self._functions.values())
        if len(text) > MAX_BYTES:
            raise ModelError(f"a module's text must be at most {MAX_BYTES} bytes, not more")
        try:
            module = parse_foreign(text)
        except MLIRError as error:
            said = str(error).strip().splitlines()[-1][:300]
            raise UnsupportedError(
                f"the model has no form that MLIR takes ({said}); write it as ONNX"
            ) from error
        return str(module.operation.get_asm(print_generic_op_form=True))


Write: TypeAlias = Callable[[Node, Writer], Held]


def written(
    module: Module,
    dialect: str,
    writers: Mapping[str, Write],
    constant: Callable[[Writer, Array], Held],
) -> str:
    """The module in a dialect.

    Raises:
        ModelError: the module is shape-only, or its text would be too large.
        UnsupportedError: listing the operators that the dialect has no form of.
    """
    if module.shape_only:
        raise ModelError(
            f"model '{module.name}' must have weights to be written as {dialect}, "
            f"not only shapes"
        )
    module = unfused(module)
    writer = Writer(module, constant)
    refused: dict[str, list[str]] = {}
    for node in module.graph.nodes:
        try:
            if node.kind not in writers:
                raise Unwritten
            writer.result(node, writers[node.kind](node, writer))
        except Unwritten as error:
            title = f"{node.kind} ({error})" if str(error) else node.kind
            refused.setdefault(title, []).append(node.name)
            writer.stand_in(node)
    if refused:
        listed = ", ".join(
            f"{title} x{len(names)} (node '{names[0]}')" for title, names in refused.items()
        )
        total = sum(map(len, refused.values()))
        plural = "node has" if total == 1 else "nodes have"
        raise UnsupportedError(
            f"{total} {plural} no form in {dialect}: {listed}; write the model as ONNX"
        )
    return writer.text()


def dense_text(array: Array, type_: Tensor) -> str:
    """``dense<...>`` of an array: one number, or all bytes in hexadecimal."""
    if array.size == 0:
        return f"dense<> : {type_}"
    flat = array.reshape(-1) if array.flags.c_contiguous else None
    splat = all(s == 0 for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
    if type_.dtype == "i1":
        words = [str(bool(item)).lower() for item in array.reshape(-1)]
        numbers = words[0] if len(set(words)) == 1 else _nested(words, type_.shape)
        return f"dense<{numbers}> : {type_}"
    data = array.reshape(-1)[:1] if splat else array.reshape(-1) if flat is None else flat
    return f'dense<"0x{np.ascontiguousarray(data).tobytes().hex().upper()}"> : {type_}'


def _nested(words: Sequence[str], shape: Sequence[int]) -> str:
    if len(shape) <= 1:
        return f"[{', '.join(words)}]" if shape else words[0]
    step = len(words) // shape[0]
    parts = [_nested(words[i : i + step], shape[1:]) for i in range(0, len(words), step)]
    return f"[{', '.join(parts)}]"


def ints(numbers: Sequence[int], width: int = 64) -> str:
    """``array<i64: ...>``."""
    listed = ", ".join(map(str, numbers))
    return f"array<i{width}: {listed}>" if numbers else f"array<i{width}>"


def _spelled(type_: Tensor) -> str:
    if type_.dtype == "shape":  # TOSA's own type of shapes
        return f"!tosa.shape<{type_.shape[0]}>"
    return str(type_)
