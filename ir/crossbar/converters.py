"""From codes to currents and back: row drivers, the arrays, column converters."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

import numpy as np

from tetrapla.ir.crossbar.dialect import (
    INTEGERS,
    Acting,
    Crossbar,
    check_bits,
    check_floats,
    check_rank,
    check_word,
)
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import (
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

INPUT_FORMATS: Final = ("unsigned", "offset", "twos_complement", "sign_magnitude")
CODE_FORMATS: Final = ("unsigned", "offset", "signed")
ROUNDINGS: Final = ("half_even", "half_up", "floor", "truncate")


def _half_up(x: Array) -> Array:
    return np.asarray(np.floor(x + 0.5))


_ROUND: Final[Mapping[str, Callable[[Array], Array]]] = {
    "half_even": np.rint,
    "half_up": _half_up,
    "floor": np.floor,
    "truncate": np.trunc,
}


def input_limits(code_bits: int, form: str) -> tuple[int, int]:
    """The lowest and the highest number that is driven."""
    half = 1 << code_bits - 1
    return {
        "unsigned": (0, 2 * half - 1),
        "offset": (-half, half - 1),
        "twos_complement": (-half, half - 1),
        "sign_magnitude": (1 - half, half - 1),
    }[form]


def digit_count(code_bits: int, digit_bits: int, form: str) -> int:
    """Digits of a number; the sign of sign_magnitude has none of its own."""
    bits = code_bits - (form == "sign_magnitude")
    return -(-bits // digit_bits)


def digits(numbers: Array, code_bits: int, digit_bits: int, form: str) -> Array:
    """The digits of integers, i64 [digits, ...], the lowest first.

    Raises:
        ModelError: a number that has more bits.
    """
    wide = numbers.astype(np.int64)
    low, high = input_limits(code_bits, form)
    if wide.size and not low <= wide.min() <= wide.max() <= high:
        raise ModelError(
            f"inputs must lie in {low}..{high}, which {form} has in {code_bits} bits, not "
            f"{wide.min()} to {wide.max()}; use more bits or another format"
        )
    sign: Array | int = 1
    match form:
        case "offset":
            wide = wide - low
        case "twos_complement":
            wide = wide & (1 << code_bits) - 1
        case "sign_magnitude":
            sign, wide = np.sign(wide), np.abs(wide)
        case _:
            pass
    count = digit_count(code_bits, digit_bits, form)
    mask = (1 << digit_bits) - 1
    return np.stack([(wide >> t * digit_bits & mask) * sign for t in range(count)])


class Dac(Acting, dialect=Crossbar, name="dac", traits=[Pure]):
    """The digits of inputs as voltages, ``v[digit, vector, row]``, the lowest digit first.

    A number has `code_bits`, its sign included, a digit `digit_bits`. ``unsigned`` numbers are
    driven as they are, ``offset`` ones with 2^(code_bits - 1) added; the last plane of
    ``twos_complement`` holds signs; all digits of a ``sign_magnitude`` number have its sign,
    and so has the voltage. A number that has more bits is an error of the data.

    Constraints:
        C1: the numbers are integers of 8, 16 or 32 bits, [vectors, rows].
        C2: code_bits are 1 to 31, digit_bits 1 to 8, and 1 for twos_complement.
        C3: format is one of those; sign_magnitude has 2 bits or more.
        C4: step_v is positive.
    """

    numbers: Operand[RankedTensorType]
    v: Result[RankedTensorType]
    code_bits: IntegerAttr
    digit_bits: IntegerAttr
    format: StringAttr
    step_v: FloatAttr

    @staticmethod
    def infer(
        numbers: Tensor, *, code_bits: int, digit_bits: int, format: str, step_v: float
    ) -> Tensor:
        kind = "crossbar.dac"
        require(
            numbers.dtype in INTEGERS,
            f"{kind} C1: numbers must be {' or '.join(INTEGERS)}, not {numbers}",
        )
        check_rank(f"{kind} C1", 2, numbers, "numbers [vectors, rows]")
        check_bits(f"{kind} C2", "code_bits", code_bits, 31)
        check_bits(f"{kind} C2", "digit_bits", digit_bits, 8)
        require(
            digit_bits == 1 or format != "twos_complement",
            f"{kind} C2: digit_bits of twos_complement must be 1, not {digit_bits}",
        )
        check_word(f"{kind} C3", "format", format, INPUT_FORMATS)
        require(
            code_bits > 1 or format != "sign_magnitude",
            f"{kind} C3: code_bits of sign_magnitude must be 2 or more, not {code_bits}",
        )
        require(step_v > 0, f"{kind} C4: step_v must be positive, not {step_v:g}")
        return Tensor((digit_count(code_bits, digit_bits, format), *numbers.shape), "f64")

    @staticmethod
    def evaluate(
        numbers: Array, *, code_bits: int, digit_bits: int, format: str, step_v: float
    ) -> Array:
        return digits(numbers, code_bits, digit_bits, format) * np.float64(step_v)

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """A row is driven once for each digit."""
        del operands, attributes
        return {"dac.convert": result.elements}

    example = (
        (Tensor((2, 5), "i8"),),
        {"code_bits": 8, "digit_bits": 2, "format": "offset", "step_v": 0.5},
    )


class Mvm(Acting, dialect=Crossbar, name="mvm", traits=[Pure]):
    """Currents of the columns, ``i[t, p, b, c] = sum_r v[t, b, r] g[p, r, c]``.

    The currents of `pairs` copies add up: there are that many fewer parts in the result, and
    copy n of part p is part ``n parts + p`` of g. Where `subtracted` is 1, the columns of the
    second half are taken from those of the first, before they are converted. A read with
    noise takes the cells' variances and one standard normal per current, which the caller
    draws: independent cells give ``i + sqrt(sum_r v^2 variance) z``, exactly. Digits and
    levels that are integers give integers, exact below 2^53.

    Constraints:
        C1: all values are f64.
        C2: g is [parts, rows, columns] and v [digits, vectors, rows], of equally many rows.
        C3: variance has g's shape, z the result's, and one is not given without the other.
        C4: pairs is positive and divides the parts.
        C5: subtracted is 0, or 1 where the columns are even.
    """

    g: Operand[RankedTensorType]
    v: Operand[RankedTensorType]
    i: Result[RankedTensorType]
    pairs: IntegerAttr
    subtracted: IntegerAttr
    variance: Operand[RankedTensorType] | None = None
    z: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        g: Tensor,
        v: Tensor,
        variance: Tensor | None = None,
        z: Tensor | None = None,
        *,
        pairs: int,
        subtracted: int,
    ) -> Tensor:
        kind = "crossbar.mvm"
        check_floats(f"{kind} C1", g, v)
        check_rank(f"{kind} C2", 3, g, "g [parts, rows, columns]")
        check_rank(f"{kind} C2", 3, v, "v [digits, vectors, rows]")
        require(
            g.shape[1] == v.shape[2],
            f"{kind} C2: g and v must have equally many rows, not {g} and {v}",
        )
        parts, _, columns = g.shape
        require(
            pairs >= 1 and parts % pairs == 0,
            f"{kind} C4: pairs must be 1 or more and divide {parts} parts, not {pairs}",
        )
        require(
            subtracted == 0 or (subtracted == 1 and columns % 2 == 0),
            f"{kind} C5: subtracted must be 0, or 1 of an even number of columns, not "
            f"{subtracted} of {columns}",
        )
        seen = columns // (1 + subtracted)
        made = Tensor((v.shape[0], parts // pairs, v.shape[1], seen), "f64")
        if variance is not None:
            require(z is not None, f"{kind} C3: variance must come with z, not alone")
            require(
                variance == g and z == made,
                f"{kind} C3: variance and z must be {g} and {made}, not {variance} and {z}",
            )
        return made

    @staticmethod
    def evaluate(
        g: Array,
        v: Array,
        variance: Array | None = None,
        z: Array | None = None,
        *,
        pairs: int,
        subtracted: int,
    ) -> Array:
        current = v[:, None] @ _together(g, pairs, -subtracted)
        if variance is None or z is None:
            return np.asarray(current)
        spread = (v * v)[:, None] @ _together(variance, pairs, subtracted)
        return np.asarray(current + np.sqrt(spread) * z)

    @staticmethod
    def macs(operands: Sequence[Value], result: Value) -> int:
        """One product for each cell, vector and digit."""
        del result
        g, v = operands[:2]
        return g.elements * prod(v.shape[:2])

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """An array is read for each vector and digit, and all of its cells conduct."""
        del result, attributes
        reads = prod(operands[1].shape[:2])
        return {"crossbar.read": reads, "cell.read": operands[0].elements * reads}

    example = (
        (
            Tensor((2, 3, 4), "f64"),
            Tensor((5, 2, 3), "f64"),
            Tensor((2, 3, 4), "f64"),
            Tensor((5, 1, 2, 2), "f64"),
        ),
        {"pairs": 2, "subtracted": 1},
    )


def _together(cells: Array, pairs: int, second: int) -> Array:
    """Conductances, or variances, of copies in parallel; the second half times 1 or -1."""
    parts, *each = cells.shape
    found = cells.reshape(pairs, parts // pairs, *each).sum(axis=0)
    if not second:
        return np.asarray(found)
    half = found.shape[-1] // 2
    return np.asarray(found[..., :half] + second * found[..., half:])


def code_limits(bits: int, form: str) -> tuple[int, int]:
    """The lowest and the highest number that a code counts."""
    half = 1 << bits - 1
    return (0, 2 * half - 1) if form == "unsigned" else (-half, half - 1)


class Adc(Acting, dialect=Crossbar, name="adc", traits=[Pure]):
    """Code words of currents: ``clip(round(i / lsb))`` to what `bits` count, as words.

    ``unsigned`` codes count from 0, so a current below reads as 0; ``signed`` ones from
    -2^(bits - 1), written in two's complement, or as ``offset`` words with 2^(bits - 1) added.
    Rounding is ``half_even``, ``half_up``, ``floor`` or ``truncate``, towards zero. An lsb that
    differs between columns, parts or vectors is a mismatch or a range of their own; one that is
    not positive is an error of the data. What is no number reads as the highest code.

    Constraints:
        C1: the currents and the lsb are f64, and the lsb broadcasts to the currents' shape.
        C2: bits are 1 to 31.
        C3: format is unsigned, offset or signed.
        C4: rounding is one of those.
    """

    current: Operand[RankedTensorType]
    lsb: Operand[RankedTensorType]
    code: Result[RankedTensorType]
    bits: IntegerAttr
    format: StringAttr
    rounding: StringAttr

    @staticmethod
    def infer(current: Tensor, lsb: Tensor, *, bits: int, format: str, rounding: str) -> Tensor:
        kind = "crossbar.adc"
        check_floats(f"{kind} C1", current, lsb)
        require(
            broadcast_all(f"{kind} C1", current, lsb) == current.shape,
            f"{kind} C1: the lsb must broadcast to {current}, not {lsb}",
        )
        check_bits(f"{kind} C2", "bits", bits, 31)
        check_word(f"{kind} C3", "format", format, CODE_FORMATS)
        check_word(f"{kind} C4", "rounding", rounding, ROUNDINGS)
        return Tensor(current.shape, "i32")

    @staticmethod
    def evaluate(current: Array, lsb: Array, *, bits: int, format: str, rounding: str) -> Array:
        if not (lsb > 0).all():
            raise ModelError(
                f"crossbar.adc lsb must be positive, not {float(lsb.min()):g}; calibrate the "
                "range"
            )
        low, high = code_limits(bits, format)
        rounded = _ROUND[rounding](current / lsb)
        number = np.fmax(np.fmin(rounded, high), low).astype(np.int64)
        word = number - low if format == "offset" else number & (1 << bits) - 1
        return np.asarray(word.astype(np.int32))

    @staticmethod
    def actions(
        operands: Sequence[Value], result: Value, attributes: Mapping[str, Attribute]
    ) -> Mapping[str, int]:
        """One conversion each."""
        del operands, attributes
        return {"adc.convert": result.elements}

    example = (
        (Tensor((2, 2, 3, 4), "f64"), Tensor((2, 1, 4), "f64")),
        {"bits": 4, "format": "unsigned", "rounding": "half_even"},
    )
