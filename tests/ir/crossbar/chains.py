"""One product on a crossbar as a module: map, program, dac, mvm, adc, shift_add, combine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.crossbar.converters import digit_count, input_limits
from tetrapla.ir.crossbar.mapping import Layout, lossless_bits
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.module import Module


@dataclass(frozen=True)
class Chain:
    """How a product is done; `changes` are laid over the attributes of an operator's kind."""

    layout: Layout
    weights: Array
    vectors: int = 2
    dtype: str = "i8"
    code_bits: int = 8
    digit_bits: int = 1
    form: str = "offset"
    missing_bits: int = 0
    lsb: float = 1.0
    limits: tuple[float, float] | None = None
    drawn: bool = False
    noisy: bool = False
    subtracted: bool = False
    summed: str = "x"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @property
    def signed(self) -> bool:
        """Whether currents have signs."""
        return self.form == "sign_magnitude" or self.subtracted

    @property
    def bits(self) -> int:
        """Of the converter: the fewest that tell all sums apart, less those that miss."""
        held = self.layout
        sizes = len(self.weights), held.cell_bits, self.digit_bits, held.pairs
        return lossless_bits(*sizes) + self.signed - self.missing_bits

    @property
    def constant(self) -> Array:
        """What the offsets of inputs and weights add, negative; a bias of 7, 8, ... on top."""
        low, _ = input_limits(self.code_bits, self.form)
        moved = -low if self.form == "offset" else 0
        bias = 7 + np.arange(self.weights.shape[1])
        known = moved * self.weights.astype(np.int64).sum(axis=0)
        if self.layout.scheme == "digital_offset":
            known += moved * self.layout.offset * len(self.weights)
        return np.asarray(bias - known)


def product(x: Array, chain: Chain) -> Array:
    """What the chain is to give."""
    bias = 7 + np.arange(chain.weights.shape[1])
    return np.asarray(x.astype(np.int64) @ chain.weights.astype(np.int64) + bias)


def module_of(chain: Chain) -> Module:
    """Input x [vectors, rows], output y."""
    build = ModuleBuilder("chain")
    layout, rows = chain.layout, len(chain.weights)

    def op(kind: str, operands: list[Value], **attributes: Any) -> Value:
        held = attributes | chain.changes.get(kind, {})
        return build.op(f"crossbar.{kind}", operands, held)

    x = build.input("x", (chain.vectors, rows), chain.dtype)
    g = op(
        "map",
        [build.weight("w", chain.weights)],
        scheme=layout.scheme,
        cell_bits=layout.cell_bits,
        slices=layout.slices,
        pairs=layout.pairs,
    )
    limits = (0.0, layout.top) if chain.limits is None else chain.limits
    placed = [g, build.weight("sigma", np.zeros(1)), build.weight("limits", np.array(limits))]
    if chain.drawn:
        placed.append(build.weight("z", np.zeros(g.shape)))
    g = op("program", placed)
    dac = {"code_bits": chain.code_bits, "digit_bits": chain.digit_bits}
    v = op("dac", [x], format=chain.form, step_v=1.0, **dac)
    read = [g, v]
    if chain.noisy:
        seen = g.shape[2] // (1 + chain.subtracted)
        shape = v.shape[0], layout.slices, chain.vectors, seen
        read += [build.weight("s", np.zeros(g.shape)), build.weight("n", np.zeros(shape))]
    i = op("mvm", read, pairs=layout.pairs, subtracted=int(chain.subtracted))
    form = "signed" if chain.signed else "unsigned"
    codes = op(
        "adc",
        [i, build.weight("lsb", np.array(chain.lsb))],
        bits=chain.bits,
        format=form,
        rounding="half_even",
    )
    s = op(
        "shift_add",
        [codes],
        shifts=layout.shifts,
        negative=(0,) * layout.slices,
        digit_bits=chain.digit_bits,
        signed_inputs=int(chain.form == "twos_complement"),
        code_bits=chain.bits,
        code_format=form,
        sum_bits=61 - chain.bits,
        overflow="saturate",
    )
    offset, constant = 0, chain.constant
    if layout.scheme == "digital_offset":
        offset, constant = layout.offset, constant[: s.shape[1]]
    operands = [s, build.weight("c", constant)]
    if offset:
        other = build.input("other", x.shape, x.dtype) if chain.summed != "x" else x
        operands.append(other)
    build.output("y", op("combine", operands, scheme=layout.scheme, offset=offset))
    return build.finish()


def inputs_of(chain: Chain, rng: np.random.Generator) -> Array:
    """Random numbers over all of what is driven, [vectors, rows]."""
    low, high = input_limits(chain.code_bits, chain.form)
    shape = chain.vectors, len(chain.weights)
    kinds = {"i8": np.int8, "ui8": np.uint8, "i16": np.int16, "i32": np.int32}
    return rng.integers(low, high + 1, shape).astype(kinds[chain.dtype])


def planes(chain: Chain) -> int:
    """Digits of an input."""
    return digit_count(chain.code_bits, chain.digit_bits, chain.form)
