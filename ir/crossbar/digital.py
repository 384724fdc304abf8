"""The digital side: shift and add, offsets, gains, and the read-out that finds them."""

from collections.abc import Mapping, Sequence
from typing import Final, get_args

import numpy as np

from tetrapla.ir.crossbar.dialect import (
    INTEGERS,
    Acting,
    Crossbar,
    check_floats,
    check_rank,
    check_word,
)
from tetrapla.ir.crossbar.mapping import PAIRED, SCHEMES
from tetrapla.ir.crossbar.shift_add import CodeFormat, Overflow, ShiftAdd, shift_add
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import (
    ArrayAttr,
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.check import broadcast_all
from tetrapla.ir.op import Tensor, require

WAYS: Final = ("column", "whole")


class ShiftAndAdd(Acting, dialect=Crossbar, name="shift_add", traits=[Pure]):
    """What codes count, shifted and summed over digits and parts: exact integers.

    ``y = sum over digits t, parts p of sign(t, p) 2^(shifts[p] + t digit_bits)
    number(code)``, digits outermost, in a sum of `sum_bits` that saturates or wraps at each
    addition. The sign is negative where the part is (1 in `negative`), and where
    `signed_inputs` is 1 in the last digit, which holds signs. A word with more bits than
    `code_bits` is an error of the data.

    Constraints:
        C1: codes are i32 [digits, parts, ...].
        C2: shifts and negative have one number per part, the latter 0 or 1.
        C3: code_format is unsigned, offset or signed; overflow saturate or wrap;
            signed_inputs 0 or 1.
        C4: digit_bits are 1 to 8, and code and sum fit 61 bits together.
    """

    codes: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    shifts: ArrayAttr
    negative: ArrayAttr
    digit_bits: IntegerAttr
    signed_inputs: IntegerAttr
    code_bits: IntegerAttr
    code_format: StringAttr
    sum_bits: IntegerAttr
    overflow: StringAttr

    @staticmethod
    def infer(
        codes: Tensor,
        *,
        shifts: tuple[int, ...],
        negative: tuple[int, ...],
        digit_bits: int,
        signed_inputs: int,
        code_bits: int,
        code_format: CodeFormat,
        sum_bits: int,
        overflow: Overflow,
    ) -> Tensor:
        kind = "crossbar.shift_add"
        require(
            codes.dtype == "i32" and codes.rank >= 2,
            f"{kind} C1: codes must be i32 [digits, parts, ...], not {codes}",
        )
        parts = codes.shape[1]
        require(
            len(shifts) == len(negative) == parts and set(negative) <= {0, 1},
            f"{kind} C2: {parts} parts must have a shift and a 0 or 1 each, not {shifts} and "
            f"{negative}",
        )
        check_word(f"{kind} C3", "code_format", code_format, get_args(CodeFormat))
        check_word(f"{kind} C3", "overflow", overflow, get_args(Overflow))
        require(
            signed_inputs in (0, 1),
            f"{kind} C3: signed_inputs must be 0 or 1, not {signed_inputs}",
        )
        require(1 <= digit_bits <= 8, f"{kind} C4: digit_bits must be 1 to 8, not {digit_bits}")
        try:
            ShiftAdd(
                shifts,
                tuple(map(bool, negative)),
                digit_bits,
                bool(signed_inputs),
                code_bits,
                code_format,
                sum_bits,
                overflow,
            )
        except ModelError as error:
            raise IRError(f"{kind} C4: {error}") from None
        return Tensor(codes.shape[2:], "i64")

    @staticmethod
    def evaluate(
        codes: Array,
        *,
        shifts: tuple[int, ...],
        negative: tuple[int, ...],
        digit_bits: int,
        signed_inputs: int,
        code_bits: int,
        code_format: CodeFormat,
        sum_bits: int,
        overflow: Overflow,
    ) -> Array:
        how = ShiftAdd(
            shifts,
            tuple(map(bool, negative)),
            digit_bits,
            bool(signed_inputs),
            code_bits,
            code_format,
            sum_bits,
            overflow,
        )
        return shift_add(codes, how)[0]

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """One addition for each code."""
        del result, attributes
        return {"shift_add.op": operands[0].elements}

    example = (
        (Tensor((3, 2, 4, 5), "i32"),),
        {
            "shifts": (0, 2),
            "negative": (0, 1),
            "digit_bits": 1,
            "signed_inputs": 1,
            "code_bits": 9,
            "code_format": "unsigned",
            "sum_bits": 32,
            "overflow": "saturate",
        },
    )


class Combine(Acting, dialect=Crossbar, name="combine", traits=[Pure]):
    """Outputs from sums of columns, by the scheme of `crossbar.map`, and a constant on top.

    ``differential`` and ``n_pair``: the positive columns less the negative ones, or the
    columns themselves where the converters saw differences.
    ``offset_column``: each less the last column. ``digital_offset``: each less `offset` times
    the sum of its vector's inputs. The constant holds what is known beforehand: a bias, and
    what an offset of the inputs adds.

    Constraints:
        C1: sums are i64 [vectors, columns], the constant is i64 [outputs].
        C2: scheme is one of those.
        C3: there are as many columns as the scheme has for the outputs, or one for each where
            pairs were subtracted before.
        C4: digital_offset alone has inputs, integers [vectors, rows], and a positive offset;
            the others have offset 0.
    """

    sums: Operand[RankedTensorType]
    constant: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    scheme: StringAttr
    offset: IntegerAttr
    inputs: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        sums: Tensor,
        constant: Tensor,
        inputs: Tensor | None = None,
        *,
        scheme: str,
        offset: int,
    ) -> Tensor:
        kind = "crossbar.combine"
        fits = sums.dtype == constant.dtype == "i64" and (sums.rank, constant.rank) == (2, 1)
        require(
            fits,
            f"{kind} C1: sums and constant must be i64 [vectors, columns] and [outputs], not "
            f"{sums} and {constant}",
        )
        check_word(f"{kind} C2", "scheme", scheme, SCHEMES)
        (outputs,) = constant.shape
        vectors, columns = sums.shape
        wanted = 2 * outputs if scheme in PAIRED else outputs + (scheme == "offset_column")
        require(
            columns == wanted or (scheme in PAIRED and columns == outputs),
            f"{kind} C3: {outputs} outputs of {scheme} must have {wanted} columns, not "
            f"{columns}",
        )
        if scheme != "digital_offset":
            require(
                inputs is None and offset == 0,
                f"{kind} C4: {scheme} must have no inputs and offset 0, not {inputs} and "
                f"{offset}",
            )
        else:
            require(
                inputs is not None
                and inputs.rank == 2
                and inputs.shape[0] == vectors
                and inputs.dtype in INTEGERS
                and offset > 0,
                f"{kind} C4: digital_offset must have integers [{vectors}, rows] and a "
                f"positive offset, not {inputs} and {offset}",
            )
        return Tensor((vectors, outputs), "i64")

    @staticmethod
    def evaluate(
        sums: Array,
        constant: Array,
        inputs: Array | None = None,
        *,
        scheme: str,
        offset: int,
    ) -> Array:
        outputs = len(constant)
        found = sums[:, :outputs] + constant
        if scheme in PAIRED:
            if sums.shape[1] > outputs:
                found -= sums[:, outputs:]
        elif inputs is None:
            found -= sums[:, -1:]
        else:
            found -= offset * inputs.astype(np.int64).sum(axis=1, keepdims=True)
        return found

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """One addition for each output, and one for each input that is summed."""
        del attributes
        summed = operands[2].elements if len(operands) > 2 else 0
        return {"shift_add.op": result.elements + summed}

    example = (
        (Tensor((4, 6), "i64"), Tensor((3,), "i64")),
        {"scheme": "differential", "offset": 0},
    )


class Affine(Acting, dialect=Crossbar, name="affine", traits=[Pure]):
    """``gain x + offset``: drift compensation, calibration by column, levels as siemens.

    Constraints:
        C1: x is f64 or i64, gain and offset are f64 and broadcast to x's shape.
    """

    x: Operand[RankedTensorType]
    gain: Operand[RankedTensorType]
    offset: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
        kind = "crossbar.affine"
        require(x.dtype in ("f64", "i64"), f"{kind} C1: x must be f64 or i64, not {x}")
        check_floats(f"{kind} C1", gain, offset)
        require(
            broadcast_all(f"{kind} C1", x, gain, offset) == x.shape,
            f"{kind} C1: gain and offset must broadcast to {x}, not {gain} and {offset}",
        )
        return Tensor(x.shape, "f64")

    @staticmethod
    def evaluate(x: Array, gain: Array, offset: Array) -> Array:
        return np.asarray(gain * x + offset)

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """One product and sum for each value."""
        del operands, attributes
        return {"affine.op": result.elements}

    example = (Tensor((4, 3), "i64"), Tensor((3,), "f64"), Tensor((), "f64")), {}


class Sense(Acting, dialect=Crossbar, name="sense", traits=[Pure]):
    """The read-out that drift is compensated by: ``max(mean |y|, floor)``.

    The mean is of a ``column`` over its vectors, or of the ``whole``. That of a read right
    after programming over that of a later one is the gain that undoes the drift (Joshi et
    al., Nature Communications 11, 2020).

    Constraints:
        C1: y is f64 [vectors, columns], and neither is 0.
        C2: by is column or whole.
        C3: floor is not negative.
    """

    y: Operand[RankedTensorType]
    level: Result[RankedTensorType]
    by: StringAttr
    floor: FloatAttr

    @staticmethod
    def infer(y: Tensor, *, by: str, floor: float) -> Tensor:
        kind = "crossbar.sense"
        check_floats(f"{kind} C1", y)
        check_rank(f"{kind} C1", 2, y, "[vectors, columns]")
        require(0 not in y.shape, f"{kind} C1: there must be vectors and columns, not {y}")
        check_word(f"{kind} C2", "by", by, WAYS)
        require(floor >= 0, f"{kind} C3: floor must not be negative, not {floor:g}")
        return Tensor(y.shape[1:] if by == "column" else (), "f64")

    @staticmethod
    def evaluate(y: Array, *, by: str, floor: float) -> Array:
        mean = np.abs(y).mean(axis=0 if by == "column" else None)
        return np.asarray(np.maximum(mean, floor))

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """Every value is added to a mean."""
        del result, attributes
        return {"sense.op": operands[0].elements}

    example = (Tensor((4, 3), "f64"),), {"by": "column", "floor": 0.5}
