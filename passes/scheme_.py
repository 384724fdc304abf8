"""What a quantisation stores numbers as: formats, and the choices that go with them.

Integers are symmetric for weights and asymmetric for activations. ``f8E4M3FN`` and the other
small floats have one scale per output channel (weights) or tensor (activations). Those that
begin with ``mx`` are the OCP microscaling formats (MX specification 1.0, 2023): 32 elements
along the summed axis share a power of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tetrapla.ir.errors import ModelError, RegistryError, UnsupportedError, nearest
from tetrapla.passes.calibrate_ import check_method
from tetrapla.passes.rounding_ import check_rounding

MX_BLOCK = 32


@dataclass(frozen=True)
class Format:
    """How numbers are stored.

    Attributes:
        dtype: the element type by MLIR's name.
        block: how many elements share an E8M0 scale; 0 where they do not.
    """

    dtype: str
    block: int = 0


INTEGERS: Mapping[str, int] = MappingProxyType({"i4": 4, "i8": 8})
PLAIN = ("f32", "bf16", "f16")  # rounded without a scale, or not at all
SMALL = ("f8E4M3FN", "f8E5M2")
MX = ("f8E4M3FN", "f8E5M2", "f6E2M3FN", "f6E3M2FN", "f4E2M1FN", "i8")
FORMATS: Mapping[str, Format] = MappingProxyType(
    {name: Format(name) for name in (*INTEGERS, *PLAIN, *SMALL)}
    | {f"mx{dtype}": Format(dtype, MX_BLOCK) for dtype in MX}
)
# what activations may be: integers of the pass's `bits` by calibrated ranges, ui8 by ranges
# found while running, or a float format
ACTIVATIONS = ("integer", "dynamic", *(name for name in FORMATS if name not in INTEGERS))


@dataclass(frozen=True)
class Scheme:
    """The choices of a quantisation; see `quantize.Quantize` for what they mean.

    Raises:
        ModelError: the percentile is none, or the group is.
        RegistryError: there is no such format, method or rounding.
        UnsupportedError: there are no integers of so many bits.
    """

    bits: int
    activations: str
    weights: str
    method: str
    percentile_pct: float
    rounding: str
    group: int
    per_channel: bool
    correct_bias: bool
    all_operators: bool
    whole: bool = False
    layers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise UnsupportedError(
                f"bits must be 8 or 16, not {self.bits}; weights of fewer are weights=i4"
            )
        _known("activation format", self.activations, ACTIVATIONS)
        for name in (self.weights, *self.layers.values()):
            _known("weight format", name, FORMATS)
        check_method(self.method, self.percentile_pct)
        check_rounding(self.rounding)
        if self.group < 0:
            raise ModelError(
                f"a group of weights must be 0 (a whole channel) or more, not {self.group}"
            )

    def format(self, layer: str) -> str:
        """The format of a layer's weights."""
        return self.layers.get(layer, self.weights)

    @property
    def calibrated(self) -> bool:
        """Whether ranges of activations are needed."""
        return self.activations == "integer" or self.activations in SMALL

    @property
    def given(self) -> bool:
        """Whether readings of 8 bits that the model itself names are taken over."""
        return self.whole and self.activations == "integer" and self.bits == 8

    @property
    def needs_moments(self) -> bool:
        """Whether the moments of the layers' inputs are needed."""
        return self.correct_bias or self.rounding == "gptq"


def _known(what: str, name: str, there: Mapping[str, Format] | tuple[str, ...]) -> None:
    if name not in there:
        raise RegistryError(
            f"no {what} '{name}'{nearest(name, there)}; there are: {', '.join(there)}"
        )
