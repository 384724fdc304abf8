"""Quantities with units: how a chip's YAML writes a number, and how the program keeps it.

Each type is a pydantic annotation. Text such as ``700 MHz`` or ``64 KiB`` becomes a number in
the base unit that the field's name carries (`clock_hz`, `capacity_bytes`). From YAML a bare
number is refused where a unit belongs; from Python a number is already in the base unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from tetrapla.ir.errors import nearest

FROM_YAML: Final = "from_yaml"  # validation context: {FROM_YAML: True}
RULE: Final = "rule"  # type of the errors raised here; ctx has "rule" and "way_out"

_SI = {
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "µ": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
}
# the number is atomic: 128 is not 12 of the unit 8
_QUANTITY = re.compile(r"((?>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?))\s*([^\d\s.].*)")


@dataclass(frozen=True, eq=False)  # one object a dimension, so hashable
class Unit:
    """A dimension: its base unit, every unit that is understood, and the one to suggest."""

    base: str
    factors: dict[str, Decimal]
    usual: str
    whole: bool = False

    def __call__(self, raw: object, info: ValidationInfo) -> float | int:
        """Return `raw` in the base unit (pydantic calls this before its own checks)."""
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise _error("must be a number with a unit", f"write '64 {self.usual}'")
        if isinstance(raw, str):
            return self._number(raw)
        if not isfinite(raw):
            raise _error("must be finite", f"write '64 {self.usual}'")
        if info.context and info.context.get(FROM_YAML):
            raise _error("needs a unit", f"write '{raw} {self.usual}'")
        if self.whole and raw != int(raw):
            raise _error("must be a whole number", "round it")
        return int(raw) if self.whole else float(raw)

    def _number(self, text: str) -> float | int:
        match = _QUANTITY.fullmatch(text.strip())
        if match is None:
            raise _error("must be a number with a unit", f"write '64 {self.usual}'")
        digits, symbol = match.groups()
        if symbol not in self.factors:
            raise _error(f"must be in {self.base}", self._meant(symbol))
        # decimals, so that 0.3 pJ is the float nearest to 0.3 and not to 3 * 0.1
        try:
            exact = Decimal(digits) * self.factors[symbol]
            value = float(exact)
        except ArithmeticError:  # an exponent beyond Decimal's own
            exact, value = Decimal(0), 0.0 if "-" in digits[1:] else float("inf")
        if abs(value) > _MOST:
            raise _error(f"must be at most {_MOST:.0e} {self.base}", "give a smaller one")
        if abs(value) < _LEAST and re.search("[1-9]", re.split("[eE]", digits)[0]):
            raise _error(f"must be 0 or at least {_LEAST:.0e} {self.base}", "give 0")
        if self.whole and exact != int(exact):
            raise _error(f"must be a whole number of {self.base}", "round it")
        return int(exact) if self.whole else value

    def _meant(self, symbol: str) -> str:
        # KB is not near kB by letters alone
        alike = [unit for unit in self.factors if unit.lower() == symbol.lower()]
        hint = f"did you mean '{alike[0]}'?" if alike else ""
        hint = hint or nearest(symbol, self.factors).removeprefix("; ")
        return hint or f"the units are: {', '.join(self.factors)}"


# assumed: beyond these no chip lies, and within them quotients and products stay finite
_MOST = 1e30
_LEAST = 1e-30


def split(text: str) -> tuple[str, str]:
    """Return number and unit of a quantity as written, ``("700", "MHz")``."""
    match = _QUANTITY.fullmatch(text.strip())
    return (match.group(1), match.group(2)) if match else (text, "")


def is_quantity(text: str) -> bool:
    """Whether text is a number with a unit that some field has."""
    return split(text)[1] in _SYMBOLS


def _error(rule: str, way_out: str = "") -> PydanticCustomError:
    return PydanticCustomError(RULE, "{rule}", {"rule": rule, "way_out": way_out})


def _si(symbol: str, prefixes: str, shift: int = 0, per: str = "") -> dict[str, Decimal]:
    """Return factors by unit; `shift` is the base's own power of ten (pJ: 12)."""
    chosen = ["" if prefix == "1" else prefix for prefix in prefixes]
    return {f"{p}{symbol}{per}": Decimal(1).scaleb(_SI[p] + shift) for p in chosen}


def _bytes(per: str = "") -> dict[str, Decimal]:
    binary = {f"{p}iB{per}": Decimal(1 << 10 * (i + 1)) for i, p in enumerate("KMGT")}
    return {**_si("B", "1kMGT", per=per), **binary}


def _whole(raw: object, info: ValidationInfo) -> object:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, float) and abs(raw) >= 1e18:
        raise _error("must be a whole number of at most 18 digits", "give a smaller one")
    raise _error("must be a whole number without a unit", "write digits alone, 64")


def _plain(raw: object, info: ValidationInfo) -> object:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        if isinstance(raw, float) and not isfinite(raw):
            raise _error("must be finite", "give a number")
        return raw
    if isinstance(raw, str) and re.fullmatch(r"(\d+(\.\d*)?|\.\d+) ?%", raw):
        return float(Decimal(raw.rstrip("% ")) / 100)
    raise _error("must be a number without a unit", "write digits alone, 0.5")


HERTZ = Unit("Hz", _si("Hz", "1kMGT"), "MHz")
BYTES = Unit("bytes", _bytes(), "KiB", whole=True)
BITS = Unit("bits", {"bit": Decimal(1), "bits": Decimal(1)}, "bit", whole=True)
SECONDS = Unit("s", _si("s", "1munpf"), "ns")
PICOJOULES = Unit("pJ", _si("J", "1munpf", shift=12), "pJ")
WATTS = Unit("W", _si("W", "1kmunp"), "W")
SQUARE_MILLIMETRES = Unit(
    "mm2",
    {
        "mm2": Decimal(1),
        "um2": Decimal("1e-6"),
        "nm2": Decimal("1e-12"),
        "cm2": Decimal(100),
    },
    "mm2",
)
NANOMETRES = Unit("nm", _si("m", "1munp", shift=9), "nm")
BYTES_PER_SECOND = Unit(
    "bytes/s",
    {**_bytes("/s"), **{k: v / 8 for k, v in _si("bit", "1kMGT", per="/s").items()}},
    "GB/s",
)
OPERATIONS_PER_SECOND = Unit(
    "op/s", {**_si("op", "1kMGTP", per="/s"), **_si("FLOP", "1kMGTP", per="/s")}, "Gop/s"
)
VOLTS = Unit("V", _si("V", "1munk"), "V")
AMPERES = Unit("A", _si("A", "1munp"), "uA")
SIEMENS = Unit("S", _si("S", "1munp"), "uS")
OHMS = Unit("ohm", _si("ohm", "1munkMG"), "ohm")
FARADS = Unit("F", _si("F", "1munpf"), "fF")
KELVIN = Unit("K", {"K": Decimal(1)}, "K")

UNITS: tuple[Unit, ...] = (
    *(HERTZ, BYTES, BITS, SECONDS, PICOJOULES, WATTS, SQUARE_MILLIMETRES, NANOMETRES),
    *(BYTES_PER_SECOND, OPERATIONS_PER_SECOND, VOLTS, AMPERES, SIEMENS, OHMS, FARADS, KELVIN),
)
_SYMBOLS = frozenset(symbol for unit in UNITS for symbol in unit.factors) | {"%"}

_NOT_NEGATIVE = Field(ge=0)
Count = Annotated[int, BeforeValidator(_whole), _NOT_NEGATIVE]
Integer = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_plain)]
Fraction = Annotated[float, BeforeValidator(_plain), Field(ge=0, le=1)]
Hertz = Annotated[float, BeforeValidator(HERTZ), _NOT_NEGATIVE]
Bytes = Annotated[int, BeforeValidator(BYTES), _NOT_NEGATIVE]
Bits = Annotated[int, BeforeValidator(BITS), _NOT_NEGATIVE]
Seconds = Annotated[float, BeforeValidator(SECONDS), _NOT_NEGATIVE]
Picojoules = Annotated[float, BeforeValidator(PICOJOULES), _NOT_NEGATIVE]
Watts = Annotated[float, BeforeValidator(WATTS), _NOT_NEGATIVE]
SquareMillimetres = Annotated[float, BeforeValidator(SQUARE_MILLIMETRES), _NOT_NEGATIVE]
Nanometres = Annotated[float, BeforeValidator(NANOMETRES), _NOT_NEGATIVE]
BytesPerSecond = Annotated[float, BeforeValidator(BYTES_PER_SECOND), _NOT_NEGATIVE]
OperationsPerSecond = Annotated[float, BeforeValidator(OPERATIONS_PER_SECOND), _NOT_NEGATIVE]
Volts = Annotated[float, BeforeValidator(VOLTS)]
Amperes = Annotated[float, BeforeValidator(AMPERES), _NOT_NEGATIVE]
Siemens = Annotated[float, BeforeValidator(SIEMENS), _NOT_NEGATIVE]
Ohms = Annotated[float, BeforeValidator(OHMS), _NOT_NEGATIVE]
Farads = Annotated[float, BeforeValidator(FARADS), _NOT_NEGATIVE]
Kelvin = Annotated[float, BeforeValidator(KELVIN), _NOT_NEGATIVE]
