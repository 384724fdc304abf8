"""The machine: products on crossbars, everything between them exact in the periphery.

Inputs are driven as unsigned numbers u = x - x_low, 0..255; what that adds to a product is
known when the weights are, and is taken away digitally: sum (x - z) w = sum u w - (z - x_low)
sum w. Rows of a convolution's padding are driven by the zero point.

Where every code is exact (`crossbar.folds`) the columns need not be computed one by one: slices
and digits add up to one integer product. `fold=False` computes them all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Final

import numpy as np

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import Array
from tetrapla.ir.nn.linear import windows
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.linear import wrap
from tetrapla.simulators.analog import (
    crossbar,
    dissipation,
    reestimation,
    testing,
    timing,
)
from tetrapla.simulators.analog.costing import JOULE
from tetrapla.simulators.analog.kept import Kept
from tetrapla.simulators.analog.program import Digital, Product, Program
from tetrapla.simulators.analog.reestimation import Affine, Statistics
from tetrapla.simulators.analog.scene import AnalogScene
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run

PROBED: Final = 256  # invocations whose accumulators a run keeps


@dataclass(frozen=True)
class AnalogRun(Run):
    """A run, with what a bench would measure on the chip to judge it.

    Attributes:
        key: of the noise; `cells.programmed` reads the cells back with it.
        probed: numbers of the invocations below, spread evenly, at most `PROBED`.
        accumulators: of every product by its name, int32 [probed, ...result shape], as the
            arrays give them.
        affines: by product, what its accumulators go through; empty without re-estimation.
        trial: the run on calibration inputs that the affines are from.
    """

    key: Key = field(default_factory=lambda: Key(0))
    probed: tuple[int, ...] = ()
    accumulators: Mapping[str, Array] = field(default_factory=dict[str, Array])
    affines: dict[str, Affine] = field(default_factory=dict[str, Affine])
    trial: AnalogRun | None = None


def run(
    program: Program,
    spec: AnalogSpec,
    inputs: Mapping[str, Array],
    key: Key,
    *,
    fold: bool = True,
    chunk: int | None = None,
) -> AnalogRun:
    """Simulate.

    Args:
        program: compiled for arrays of the same size as `spec`'s.
        spec: the chip.
        inputs: arrays of shape (invocations, ...) by input name.
        key: seed and chip of the noise; `read` is the number of the first invocation, so that
            parts of a data set run on their own give the same values.
        fold: a product whose codes are all exact is computed as one integer product.
        chunk: column sums held at once, `crossbar.HELD` for None; values do not depend on it.

    Raises:
        ModelError: an input is missing, or the invocations differ.
        SpecError: the program was compiled for another array, or the chunk holds nothing.
    """
    _check(program, spec)
    if chunk is not None and chunk < 1:
        raise SpecError(f"chunk must be a number of sums from 1 up, not {chunk}; leave it out")
    if program.shape_only:
        return AnalogRun(**_held(timing.timed(program, spec, {})), key=key)
    trial: AnalogRun | None = None
    affines: dict[str, Affine] = {}
    helps = program.trial is not None and _helps(program, spec)
    kept = Kept(program, spec, key, again=helps)
    through = partial(_passed, program, spec, kept, fold=fold, chunk=chunk)
    if program.trial is not None and helps:
        wanted = _Outputs(program.trial.wanted)
        address = key.at(read=reestimation.FIRST_READ)
        trial = through(program.trial.inputs, address, wanted)
        affines = trial.affines
    found = through(inputs, key, _Outputs(affines=affines))
    said = (*found.warnings, *testing.note(program, spec, trial))
    return replace(found, trial=trial, warnings=said)


def _helps(program: Program, spec: AnalogSpec) -> bool:
    """Whether outputs can be off at all, and the chip is to do something about it."""
    exact = all(crossbar.folds(step, spec) for step in program.products)
    return spec.recovery.outputs == "reestimated" and not exact


@dataclass(frozen=True)
class _Outputs:
    """What becomes of accumulators: gains and offsets that are given, or found.

    Attributes:
        wanted: statistics of the exact network, by product; in a trial only.
        affines: by product; those found are added.
    """

    wanted: Mapping[str, Statistics] = field(default_factory=dict[str, Statistics])
    affines: dict[str, Affine] = field(default_factory=dict[str, Affine])

    def of(self, step: Product, accumulators: Array) -> Array:
        """What the steps behind a product get."""
        axis = output_axis(step)
        if step.name in self.wanted:
            found = reestimation.statistics(accumulators, axis)
            self.affines[step.name] = reestimation.affine(found, self.wanted[step.name])
        own = self.affines.get(step.name)
        return accumulators if own is None else own.applied(accumulators, axis)


def _passed(
    program: Program,
    spec: AnalogSpec,
    kept: Kept,
    inputs: Mapping[str, Array],
    key: Key,
    through: _Outputs,
    *,
    fold: bool,
    chunk: int | None,
) -> AnalogRun:
    """The inputs through all steps."""
    count = len(next(iter(inputs.values()), ()))
    probed = spread(count, PROBED)
    accumulators: dict[str, Array] = {}
    first: dict[str, Array] = {}
    joules: dict[str, float] = {}
    values = _given(program, inputs)
    last = program.last_uses()
    for place, step in enumerate(program.steps):
        if isinstance(step, Product):
            x = values[step.operand]
            made = product(step, spec, x, key, fold=fold, chunk=chunk, kept=kept)
            accumulators[step.name] = made[probed]
            values[step.result] = through.of(step, made)
            first[step.name] = values[step.result][:1].copy()
            if JOULE in spec.cost:
                rows = driven(step, x)[0]
                joules[step.name] = dissipation.joules(step, spec, rows, key)
        else:
            results = digital(step, values, program.constants)
            values.update(zip(step.results, results, strict=True))
        for index in (*step.operands, *step.results):
            if last.get(index, place) == place:
                values.pop(index, None)
    outputs = {
        name: values[index] if index in values else np.stack([program.constants[index]] * count)
        for name, index in program.outputs
    }
    timed = timing.timed(program, spec, outputs, joules)
    start = {name: array[:1].copy() for name, array in inputs.items()}
    scene = AnalogScene(program, spec, key, _given(program, start), first, driven, digital)
    return AnalogRun(
        **{**_held(timed), "scene": scene},
        key=key,
        probed=tuple(int(number) for number in probed),
        accumulators=accumulators,
        affines=through.affines,
    )


def spread(count: int, most: int) -> Array:
    """At most `most` different numbers below `count`, evenly spread, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def product(
    step: Product,
    spec: AnalogSpec,
    x: Array,
    key: Key,
    *,
    fold: bool = True,
    chunk: int | None = None,
    kept: Kept | None = None,
) -> Array:
    """The accumulators of every invocation, int32 [invocations, ...result shape]."""
    rows, shape = driven(step, x)
    if fold and crossbar.folds(step, spec):
        sums = crossbar.folded(step, rows)
    else:
        sums = np.empty((*rows.shape[:2], step.matrix.shape[1]), np.int64)
        for number in range(step.copies):
            own = slice(number, None, step.copies)
            one = step.copy(number)
            held = kept.cells(one) if kept is not None and kept.keeps(one) else None
            sums[:, own] = crossbar.sliced(one, spec, rows[:, own], key, chunk, held)
    return wrap(shaped(step, corrected(step, sums), shape))


def output_axis(step: Product) -> int:
    """Of the accumulators [invocations, ...result shape], the axis of a product's outputs."""
    return -1 if step.window is None else 2


def driven(step: Product, x: Array) -> tuple[Array, tuple[int, ...]]:
    """What the rows are driven by, [invocations, positions, rows] unsigned, and a shape.

    The shape is (invocations, images, height, width) of a convolution's positions, or the
    leading axes of a matrix product's operand.
    """
    unsigned = (x.astype(np.int16) - step.x_low).astype(np.uint8)
    if step.window is None:
        return unsigned.reshape(len(x), -1, x.shape[-1]), x.shape[:-1]
    w, images = step.window, x.shape[1]
    flat = unsigned.reshape(-1, *x.shape[2:])
    fill = step.x_zero_point - step.x_low
    seen = windows(flat, w.kernel, w.strides, w.pads, w.dilations, fill)
    seen = seen.transpose(0, 2, 3, 1, 4, 5)
    shape = (len(x), images, *seen.shape[1:3])
    return seen.reshape(len(x), images * shape[2] * shape[3], -1), shape


def corrected(step: Product, sums: Array) -> Array:
    """Sums of unsigned inputs, with the offset of the inputs taken away and the bias added."""
    offset = step.x_zero_point - step.x_low
    constant = step.bias - offset * step.matrix.astype(np.int64).sum(axis=0)
    return np.asarray(sums + constant)


def shaped(step: Product, sums: Array, shape: tuple[int, ...]) -> Array:
    """[invocations, positions, outputs] in the order of the operator's result."""
    full = sums.reshape(*shape, sums.shape[-1])
    return full if step.window is None else full.transpose(0, 1, 4, 2, 3)


def digital(
    step: Digital, values: Mapping[int, Array], constants: Mapping[int, Array]
) -> tuple[Array, ...]:
    """One operator on every invocation, by the reference's definition: all its results."""
    given = [values[i] for i in step.operands if i in values]
    rows: list[tuple[Array, ...]] = []
    with np.errstate(all="ignore"):  # overflow and NaN are values, as in the interpreter
        for n in range(len(given[0])):
            operands = [values[i][n] if i in values else constants[i] for i in step.operands]
            made = OPS[step.op].evaluate(*operands, **step.attributes)
            rows.append(made if isinstance(made, tuple) else (made,))
    return tuple(np.stack(each) for each in zip(*rows, strict=True))


def _held(timed: Run) -> dict[str, Any]:
    return {entry.name: getattr(timed, entry.name) for entry in fields(timed)}


def _given(program: Program, inputs: Mapping[str, Array]) -> dict[int, Array]:
    names = dict(program.inputs)
    if set(inputs) != set(names):
        raise ModelError(f"inputs must be named {list(names)}, not {sorted(inputs)}")
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1 or 0 in counts:
        raise ModelError(
            f"inputs must hold one equal, positive number of invocations, not {sorted(counts)}"
        )
    for name, index in program.inputs:
        if inputs[name].shape[1:] != program.shapes[index]:
            raise ModelError(
                f"input '{name}' must have shape {program.shapes[index]} per invocation, "
                f"not {inputs[name].shape[1:]}"
            )
    return {index: np.asarray(inputs[name]) for name, index in program.inputs}


def _check(program: Program, spec: AnalogSpec) -> None:
    a, m = spec.array, spec.mapping
    wanted = (program.rows, program.cols, program.cell_bits, program.dac_bits)
    if wanted != (a.rows, a.cols, a.cell_bits, spec.dac.bits):
        raise SpecError(
            f"program '{program.name}' must run on the arrays it was compiled for, "
            f"{program.rows} x {program.cols} with {program.cell_bits} bits a cell and "
            f"{program.dac_bits}-bit DACs, not {a.rows} x {a.cols} with {a.cell_bits} and "
            f"{spec.dac.bits}; compile it again"
        )
    lies = (program.weights, program.pairs, program.signed, program.interleaved)
    if lies != (m.weights, m.pairs, spec.adc.sign == "signed", a.interleaved):
        raise SpecError(
            f"program '{program.name}' must run with the mapping it was compiled for, "
            f"{_mapping(*lies)}, not "
            f"{_mapping(m.weights, m.pairs, spec.adc.sign == 'signed', a.interleaved)}; "
            "compile it again"
        )


def _mapping(weights: str, pairs: int, signed: bool, interleaved: bool) -> str:
    many = f" of {pairs} pairs" if pairs > 1 else ""
    lines = "interleaved" if interleaved else "plain"
    return f"{weights}{many}, {'signed' if signed else 'unsigned'} codes, {lines} bit lines"
