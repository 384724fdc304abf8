"""The dialect itself, and the operator that names a weight."""

from tetrapla.ir.graph import DTYPES
from tetrapla.ir.mlir import Dialect, FlatSymbolRefAttr, Pure, RankedTensorType, Result
from tetrapla.ir.op import Op, Tensor, require


class Nn(Dialect, name="nn"):
    """Tensor operators with ONNX's semantics."""


class Weight(Op, dialect=Nn, name="weight", traits=[Pure]):
    """A constant of the model, kept in the weight store under its symbol.

    Constraints:
        C1: the element type is one that the store holds.
    """

    symbol: FlatSymbolRefAttr
    y: Result[RankedTensorType]

    @staticmethod
    def verify_invariants(op):  # type: ignore[no-untyped-def]
        """Its type is free: the store, not the operator, knows the array."""
        from tetrapla.ir.convert import tensor_of

        try:
            found = tensor_of(op.results[0].type)
            require(found.dtype in DTYPES, f"nn.weight C1: no array holds {found}")
        except ValueError as error:
            op.location.emit_error(str(error))
            return False
        return True

    example = None


def broadcast(kind: str, a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The shape of two tensors together, by NumPy's rule."""
    rank = max(a.rank, b.rank)
    left = (1,) * (rank - a.rank) + a.shape
    right = (1,) * (rank - b.rank) + b.shape
    for m, n in zip(left, right, strict=True):
        require(m == n or 1 in (m, n), f"{kind} C1: shapes must broadcast, not {a} and {b}")
    return tuple(n if m == 1 else m for m, n in zip(left, right, strict=True))
