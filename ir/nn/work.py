"""How much arithmetic an operator does beyond one operation for each element of its result.

An operation is one addition, product, quotient, comparison or function of a number; what is
done once for a whole row or channel is not counted.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar

from tetrapla.ir.graph import Attribute, Value
from tetrapla.ir.op import Op


class Moves(Op):
    """An operator that computes nothing."""

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """None at all: values are moved."""
        del operands, results, attributes
        return 0


class PerElement(Op):
    """An operator that does as much for every element of its first operand."""

    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        per_element: ClassVar[int]
    else:
        per_element = 1

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """`per_element` for each element of the first operand."""
        del results, attributes
        return cls.per_element * operands[0].elements


class PerTap(Op):
    """A window operator: one operation for each tap of each window, those outside included."""

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """The elements of the result times those of the kernel."""
        del operands
        kernel = attributes["kernel"]
        assert isinstance(kernel, tuple)
        return results[0].elements * prod(kernel)
