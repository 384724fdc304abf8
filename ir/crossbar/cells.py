"""What becomes of target levels: faults, programming, drift."""

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.ir.crossbar.dialect import Acting, Crossbar, check_floats
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import FloatAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import broadcast_all
from tetrapla.ir.op import Tensor, require


class Fault(Acting, dialect=Crossbar, name="fault", traits=[Pure]):
    """Broken cells and lines: where a mask holds, the cell conducts what that fault conducts.

    `conducts` has four values: of cells stuck low and stuck high, of shorted and of open
    ones. A later fault hides an earlier one, in this order. A line is a mask of shape [rows,
    1] or [columns].

    Constraints:
        C1: g and conducts are f64, and conducts has shape (4,).
        C2: masks are i1 and broadcast to g's shape.
    """

    g: Operand[RankedTensorType]
    conducts: Operand[RankedTensorType]
    stuck_low: Operand[RankedTensorType]
    stuck_high: Operand[RankedTensorType]
    shorted: Operand[RankedTensorType]
    opened: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(
        g: Tensor,
        conducts: Tensor,
        stuck_low: Tensor,
        stuck_high: Tensor,
        shorted: Tensor,
        opened: Tensor,
    ) -> Tensor:
        kind = "crossbar.fault"
        check_floats(f"{kind} C1", g, conducts)
        require(
            conducts.shape == (4,),
            f"{kind} C1: conducts must have one value for each of 4 faults, not {conducts}",
        )
        for mask in (stuck_low, stuck_high, shorted, opened):
            require(mask.dtype == "i1", f"{kind} C2: a mask must be i1, not {mask}")
            _check_fits(f"{kind} C2", "a mask", mask, g)
        return g

    @staticmethod
    def evaluate(
        g: Array,
        conducts: Array,
        stuck_low: Array,
        stuck_high: Array,
        shorted: Array,
        opened: Array,
    ) -> Array:
        masks = (stuck_low, stuck_high, shorted, opened)
        y = g.copy()
        for value, mask in zip(conducts, masks, strict=True):
            y = np.where(mask, value, y)
        return y

    example = (
        (
            Tensor((2, 3, 4), "f64"),
            Tensor((4,), "f64"),
            Tensor((2, 3, 4), "i1"),
            Tensor((2, 3, 4), "i1"),
            Tensor((3, 1), "i1"),
            Tensor((4,), "i1"),
        ),
        {},
    )


class Program(Acting, dialect=Crossbar, name="program", traits=[Pure]):
    """What a cell is after programming: ``clip(target + max(0, sigma(target)) z, low, high)``.

    ``sigma(g) = sum_i coefficients[i] g^i``, in the unit of the targets, and limits are (low,
    high). z are standard normals that the caller draws; without them programming is exact.

    Constraints:
        C1: all values are f64.
        C2: coefficients are one axis of 1 or more, limits have shape (2,).
        C3: z has the shape of the targets.
    """

    target: Operand[RankedTensorType]
    coefficients: Operand[RankedTensorType]
    limits: Operand[RankedTensorType]
    g: Result[RankedTensorType]
    z: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        target: Tensor, coefficients: Tensor, limits: Tensor, z: Tensor | None = None
    ) -> Tensor:
        kind = "crossbar.program"
        check_floats(f"{kind} C1", target, coefficients, limits)
        require(
            coefficients.rank == 1 and coefficients.shape[0] >= 1 and limits.shape == (2,),
            f"{kind} C2: coefficients must be a list of 1 or more and limits of 2, not "
            f"{coefficients} and {limits}",
        )
        if z is not None:
            require(z == target, f"{kind} C3: z must be {target}, not {z}")
        return target

    @staticmethod
    def evaluate(
        target: Array, coefficients: Array, limits: Array, z: Array | None = None
    ) -> Array:
        placed = target
        if z is not None:
            sigma = np.zeros_like(target)
            for coefficient in coefficients[::-1]:  # Horner's rule
                sigma = sigma * target + coefficient
            placed = target + np.maximum(sigma, 0.0) * z
        return np.asarray(np.clip(placed, limits[0], limits[1]))

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """Every cell is written once."""
        del operands, attributes
        return {"cell.write": result.elements}

    example = (
        (
            Tensor((2, 3, 4), "f64"),
            Tensor((3,), "f64"),
            Tensor((2,), "f64"),
            Tensor((2, 3, 4), "f64"),
        ),
        {},
    )


class Drift(Acting, dialect=Crossbar, name="drift", traits=[Pure]):
    """What is left of a conductance at a time: ``g (time_s / start_s)^-nu``.

    Times count from programming; `start_s` is when g was read. g is a conductance, or a level
    where level 0 conducts nothing.

    Constraints:
        C1: g and nu are f64, and nu broadcasts to g's shape.
        C2: start_s is positive, and time_s is not before it.
    """

    g: Operand[RankedTensorType]
    nu: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    time_s: FloatAttr
    start_s: FloatAttr

    @staticmethod
    def infer(g: Tensor, nu: Tensor, *, time_s: float, start_s: float) -> Tensor:
        kind = "crossbar.drift"
        check_floats(f"{kind} C1", g, nu)
        _check_fits(f"{kind} C1", "nu", nu, g)
        require(start_s > 0, f"{kind} C2: start_s must be positive, not {start_s:g}")
        require(
            time_s >= start_s,
            f"{kind} C2: time_s must be start_s, {start_s:g}, or later, not {time_s:g}",
        )
        return g

    @staticmethod
    def evaluate(g: Array, nu: Array, *, time_s: float, start_s: float) -> Array:
        return np.asarray(g * (time_s / start_s) ** -nu)

    example = (
        (Tensor((2, 3, 4), "f64"), Tensor((2, 3, 4), "f64")),
        {"time_s": 86400.0, "start_s": 20.0},
    )


def _check_fits(constraint: str, what: str, small: Tensor, large: Tensor) -> None:
    require(
        broadcast_all(constraint, large, small) == large.shape,
        f"{constraint}: {what} must broadcast to {large}, not {small}",
    )
