"""One operation of a foreign dialect: operands resolved, attributes as plain Python data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapla.frontend.foreign.region import Site
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import Tensor

_TOKEN = re.compile(r"0x[0-9A-Fa-f]+|-?[\d.]+(?:[eE][-+]?\d+)?|true|false")
_LIST = re.compile(r"(\w+) = (?:\[([\d, ]*)\]|(\d+))")


@dataclass(frozen=True)
class ForeignOp:
    """An operation.

    Attributes:
        kind: MLIR's name, ``stablehlo.add``.
        label: what a layer made of it is called.
        results: the declared types.
        handle: the operation of the bindings.
        site: where it stands, for an operation with bodies.
    """

    kind: str
    label: str
    operands: tuple[Operand, ...]
    results: tuple[Tensor, ...]
    handle: Any
    site: Site

    @property
    def result(self) -> Tensor:
        """The declared type of the first result."""
        return self.results[0]

    def attribute(self, key: str) -> Any:
        """The binding's attribute, or None."""
        held = self.handle.attributes
        return held[key] if key in held else None

    def ints(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """An array of integers; a dense one is flattened."""
        found = self.attribute(key)
        if found is None:
            return default
        if type(found).__name__ == "DenseIntElementsAttr":
            return tuple(int(item) for item in np.array(found).reshape(-1))
        return tuple(int(item) for item in found)

    def integer(self, key: str, default: int = 0) -> int:
        """An integer or a truth."""
        found = self.attribute(key)
        return default if found is None else int(found.value)

    def number(self, key: str) -> float:
        """A float that must be there."""
        return float(self.attribute(key).value)

    def text(self, key: str, default: str = "") -> str:
        """The attribute as MLIR prints it."""
        found = self.attribute(key)
        return default if found is None else str(found)

    def word(self, key: str, default: str = "") -> str:
        """The last word of an enumeration: LT of ``#stablehlo<comparison_direction LT>``."""
        found = re.search(r"(\w+)>*$", self.text(key))
        return found[1] if found else default

    def lists(self, key: str) -> dict[str, tuple[int, ...]]:
        """The lists of a structured attribute, ``#stablehlo.dot<a = [1], b = 0>``."""
        found: dict[str, tuple[int, ...]] = {}
        for name, several, one in _LIST.findall(self.text(key)):
            found[name] = tuple(int(item) for item in (one or several).split(",") if item)
        return found

    def constant(self, index: int, what: str) -> Array:
        """The array of an operand that must be known.

        Raises:
            Refusal: it is computed.
        """
        operand = self.operands[index]
        if not isinstance(operand, Constant):
            raise Refusal(f"only with a constant {what}")
        return operand.array


def dense(attribute: Any, type_: Tensor) -> Array:
    """The numbers of a dense attribute of that type; one number for all is repeated by view.

    Raises:
        Refusal: the numbers stand elsewhere, in a resource.
    """
    if not type(attribute).__name__.startswith("Dense"):
        raise Refusal("only with its numbers written out (dense<...>)")
    dtype = DTYPES[type_.dtype]
    if 0 in type_.shape:
        return np.zeros(type_.shape, dtype)
    if attribute.is_splat:
        one = _numbers(f"dense<{_inner(str(attribute))}>", dtype, 1)
        return np.broadcast_to(one.reshape(()), type_.shape)
    try:
        return np.array(attribute).astype(dtype, copy=False).reshape(type_.shape)
    except (TypeError, ValueError):  # an element type that the bindings have no NumPy type for
        count = int(np.prod(type_.shape))
        return _numbers(str(attribute), dtype, count).reshape(type_.shape)


def _inner(text: str) -> str:
    return text.partition("dense<")[2].rpartition("> :")[0]


def _numbers(text: str, dtype: np.dtype[Any], count: int) -> Array:
    """The numbers of ``dense<...>`` as MLIR prints them: words, or all bytes in hexadecimal."""
    quoted = re.match(r'dense<"0x([0-9A-Fa-f]*)"', text)
    if quoted is not None:
        return np.frombuffer(bytes.fromhex(quoted[1]), dtype)[:count]
    words = _TOKEN.findall(text.partition("dense<")[2].partition("> :")[0])
    return np.array([_number(word, dtype) for word in words[:count]], dtype)


def _number(word: str, dtype: np.dtype[Any]) -> Any:
    if word.startswith("0x"):  # the bits of a float
        return np.frombuffer(bytes.fromhex(word[2:])[::-1], dtype)[0]
    if word in ("true", "false"):
        return word == "true"
    return float(word) if "." in word else int(word)
