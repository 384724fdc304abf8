"""A model: MLIR for the structure, a store for the weights.

A module is built once and not written afterwards; a pass builds another one. It travels as
its text plus its weights, because MLIR's own objects cannot be pickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

import tetrapla.ir.dialects  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tetrapla.ir.emit import emit, read
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import DTYPES, Array, Graph, Value
from tetrapla.ir.html import as_html
from tetrapla.ir.memory import Peak, peak_bytes
from tetrapla.ir.mlir import Location, MLIRError, context, fingerprint
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.op import Tensor
from tetrapla.ir.text import check_text

_BITS = (np.dtype(np.uint8), np.dtype(np.uint16))  # see `bits_of`
_LONGEST = 500  # characters of a diagnostic, assumed: MLIR repeats the text that it refuses


class Module:
    """One function `main` of operators over static shapes, and the arrays it names.

    `weights` maps a symbol to an array whose shape and type the text repeats; a shape-only
    module has none. Arrays are not written by anyone.
    """

    def __init__(self, mlir: MlirModule, weights: Mapping[str, Array], name: str) -> None:
        self.mlir = mlir
        self.weights: Mapping[str, Array] = MappingProxyType(dict(weights))
        self.name = name
        self._verified = b""

    @classmethod
    def parse(cls, text: str, weights: Mapping[str, Array], name: str = "model") -> Module:
        """Read generic MLIR text.

        Args:
            text: a module of the project.
            weights: by symbol; one of a type that NumPy's files cannot hold may come as its
                bits, in unsigned integers of the same size.
            name: the model's.

        Raises:
            IRError: the text is not MLIR, nests deeper than `tetrapla.ir.text` allows, or an
                operator's constraint does not hold; it starts with line and column.
        """
        check_text(text)
        try:
            with context(), Location.unknown():
                mlir = MlirModule.parse(text)
        except MLIRError as error:
            raise IRError(first_line(error)) from None
        module = cls(mlir, _as_declared(mlir, weights), name)
        module.verify()
        return module

    @classmethod
    def from_graph(cls, graph: Graph, name: str) -> Module:
        """Write a graph as MLIR and verify it.

        Raises:
            IRError: a constraint does not hold.
        """
        with context(), Location.unknown():
            mlir = emit(graph)
        arrays: dict[str, Array] = {}
        for inner in graph.nested():
            for index, array in inner.weights.items():
                symbol = inner.constants[index]
                if arrays.setdefault(symbol, array) is not array:
                    raise IRError(f"weight @{symbol} must name one array, not two")
        module = cls(mlir, arrays, name)
        module.verify()
        return module

    def verify(self) -> None:
        """Check every operator's constraints, and the weights' shapes and types.

        A module that is as it was when it was last found to be valid is not checked again.

        Raises:
            IRError: with the first diagnostic.
        """
        found = fingerprint(self.mlir)
        if found == self._verified:
            return
        try:
            with context(), Location.unknown():
                self.mlir.operation.verify()
        except MLIRError as error:
            raise IRError(first_line(error)) from None
        _, named = self._read
        for symbol, value in named if self.weights else ():
            if symbol not in self.weights:
                raise IRError(f"weight @{symbol} is named in the module but not in its store")
            array = self.weights[symbol]
            if array.shape != value.shape or array.dtype != DTYPES[value.dtype]:
                raise IRError(
                    f"weight @{symbol} must be {Tensor(value.shape, value.dtype)}, "
                    f"not {array.dtype} of shape {array.shape}"
                )
        self._verified = found

    def text(self) -> str:
        """Generic MLIR, the form that every MLIR tool reads."""
        return str(self.mlir.operation.get_asm(print_generic_op_form=True))

    def clone(self) -> Module:
        """A second module with the same text and the same arrays."""
        return Module.parse(self.text(), self.weights, self.name)

    @cached_property
    def graph(self) -> Graph:
        """The plain view; see `tetrapla.ir.graph`."""
        return self._read[0]

    @cached_property
    def peak(self) -> Peak:
        """The most memory that its values take; see `tetrapla.ir.memory`."""
        return peak_bytes(self.graph)

    @cached_property
    def _read(self) -> tuple[Graph, list[tuple[str, Value]]]:
        with context():
            return read(self.mlir, self.weights)

    @property
    def inputs(self) -> dict[str, Value]:
        """The inputs by name, in order."""
        return dict(self.graph.inputs)

    @property
    def outputs(self) -> dict[str, Value]:
        """The outputs by name, in order."""
        return dict(self.graph.outputs)

    @property
    def shape_only(self) -> bool:
        """Whether it names weights that it does not have."""
        return bool(self._read[1]) and not self.weights

    def _repr_html_(self) -> str:
        """For a notebook: what goes in and out, which operators there are, and the text."""
        return as_html(self.name, self.graph, self.text())

    def __reduce__(self) -> tuple[Any, ...]:
        return Module.parse, (self.text(), dict(self.weights), self.name)


def _as_declared(mlir: MlirModule, store: Mapping[str, Array]) -> Mapping[str, Array]:
    """The arrays, with the bits of a type that an archive cannot hold read as that type."""
    if not any(array.dtype in _BITS for array in store.values()):
        return store
    with context():
        _, named = read(mlir, store)
    found = dict(store)
    for symbol, value in named:
        dtype = DTYPES[value.dtype]
        if symbol in store and bits_of(dtype) == store[symbol].dtype:
            found[symbol] = store[symbol].view(dtype)
    return found


def bits_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What an archive holds in place of `dtype`: itself, or unsigned integers of its size."""
    extended = dtype.kind == "V" or dtype == DTYPES["f8E5M2"]
    return np.dtype(f"u{dtype.itemsize}") if extended else dtype


# where MLIR says that a fault is: in a text, or at an operation that has a name
_IN_TEXT = re.compile(r'loc\(".*":(\d+:\d+)\)')
_AT_NAME = re.compile(r'loc\("(.*)"\)')


def first_line(error: MLIRError) -> str:
    """The first diagnostic behind its place: ``4:10: nn.softmax C1: ...``."""
    diagnostics = getattr(error, "error_diagnostics", [])
    if not diagnostics:
        return _cut(str(error).strip().splitlines()[-1])
    place = str(diagnostics[0].location)
    found = _IN_TEXT.fullmatch(place) or _AT_NAME.fullmatch(place)
    message = _cut(diagnostics[0].message)
    return message if found is None else f"{found[1]}: {message}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
