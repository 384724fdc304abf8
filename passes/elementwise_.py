"""Which operators work element by element, so that the elements may stand in any order."""

from __future__ import annotations

from tetrapla.ir.nn.binary import Binary
from tetrapla.ir.nn.unary import Unary
from tetrapla.ir.op import OPS

ONE = (
    "relu",
    "gelu",
    "elu",
    "leaky_relu",
    "hard_sigmoid",
    "clip",
    "cast",
    "not",
)
TWO = ("add", "mul")


def unary(kind: str) -> bool:
    """Whether the operator is a function of each element of its one operand."""
    return issubclass(OPS[kind], Unary) or kind in {f"nn.{name}" for name in ONE}


def binary(kind: str) -> bool:
    """Whether the operator is a function of two elements, with broadcasting."""
    return issubclass(OPS[kind], Binary) or kind in {f"nn.{name}" for name in TWO}
