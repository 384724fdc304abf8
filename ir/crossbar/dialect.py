"""The dialect itself, and what each unit of the chip does for an operator.

An array holds a matrix of integers in `parts`: slices of its bits, and copies. Target levels
and conductances are f64 [parts, rows, columns], where a row takes an input and a column gives
a sum; inputs are digits [digits, vectors, rows], and every (digit, part) of a column is
converted on its own, [digits, parts, vectors, columns]. Levels count from 0;
`crossbar.affine` makes siemens of them. Random numbers are operands: the caller draws them,
so that a value depends on nothing else. Attributes that are floats are held in float32; what
must be finer is an operand.
"""

from collections.abc import Mapping, Sequence

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.ir.mlir import Dialect
from tetrapla.ir.op import OPS, Op, Tensor, require

INTEGERS = ("i8", "i16", "i32", "ui8", "ui16")


class Crossbar(Dialect, name="crossbar"):
    """Products on arrays of conductances: cells, converters and the digital side."""


class Acting(Op):
    """An operator of the chip, which counts what its units do in one evaluation."""

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """How often each unit acts, by ``unit.action``; nothing of what is done beforehand."""
        del operands, result, attributes
        return {}


def actions(nodes: Sequence[Node]) -> dict[str, int]:
    """What the units do for the nodes of this dialect together; those in bodies are not seen.

    An array that is read with all its parts at once makes one ``crossbar.read``.
    """
    total: dict[str, int] = {}
    for node in nodes:
        op = OPS[node.kind]
        if issubclass(op, Acting):
            counted = op.actions(node.operands, node.result, node.attributes)
            for unit, count in counted.items():
                total[unit] = total.get(unit, 0) + count
    return total


def check_floats(constraint: str, *values: Tensor) -> None:
    """Every value is of f64."""
    for value in values:
        require(value.dtype == "f64", f"{constraint}: values must be f64, not {value}")


def check_rank(constraint: str, rank: int, value: Tensor, axes: str) -> None:
    """The value has the axes of that description."""
    require(value.rank == rank, f"{constraint}: the operand must be {axes}, not {value}")


def check_word(constraint: str, what: str, word: str, known: Sequence[str]) -> None:
    """The word is one of those known."""
    there = ", ".join(known)
    require(word in known, f"{constraint}: {what} must be one of {there}, not {word!r}")


def check_bits(constraint: str, what: str, bits: int, most: int) -> None:
    """There are 1 to `most` bits."""
    require(1 <= bits <= most, f"{constraint}: {what} must be 1 to {most}, not {bits}")
