"""The machine: products on crossbars, everything between them exact in the periphery.

Inputs are driven as unsigned numbers u = x - x_low, 0..255; what that adds to a product is
known when the weights are, and is taken away digitally: sum (x - z) w = sum u w - (z - x_low)
sum w. Rows of a convolution's padding are driven by the zero point.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import Array
from tetrapla.ir.nn.linear import windows
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.linear import wrap
from tetrapla.simulators.analog import crossbar, timing
from tetrapla.simulators.analog.program import Digital, Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run


def run(program: Program, spec: AnalogSpec, inputs: Mapping[str, Array], key: Key) -> Run:
    """Simulate.

    Args:
        program: compiled for arrays of the same size as `spec`'s.
        spec: the chip.
        inputs: arrays of shape (invocations, ...) by input name.
        key: seed and chip of the noise; `read` is the number of the first invocation, so that
            parts of a data set run on their own give the same values.

    Raises:
        ModelError: an input is missing, or the invocations differ.
        SpecError: the program was compiled for another array.
    """
    _check(program, spec)
    values = _given(program, inputs)
    for step in program.steps:
        if isinstance(step, Product):
            values[step.result] = product(step, spec, values[step.operand], key)
        else:
            values[step.result] = digital(step, values, program.constants)
    outputs = {name: values[index] for name, index in program.outputs}
    return timing.timed(program, spec, outputs)


def product(step: Product, spec: AnalogSpec, x: Array, key: Key) -> Array:
    """The accumulators of every invocation, int32 [invocations, ...result shape]."""
    rows, shape = driven(step, x)
    if crossbar.folds(step, spec):
        sums = crossbar.folded(step, rows)
    else:
        sums = crossbar.sliced(step, spec, rows, key)
    return wrap(shaped(step, corrected(step, sums), shape))


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
) -> Array:
    """One operator on every invocation, by the reference's definition."""
    given = [values[i] for i in step.operands if i in values]
    rows = [
        OPS[step.op].evaluate(
            *(values[i][n] if i in values else constants[i] for i in step.operands),
            **step.attributes,
        )
        for n in range(len(given[0]))
    ]
    return np.stack(rows)


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
    a = spec.array
    wanted = (program.rows, program.cols, program.cell_bits, program.dac_bits)
    if wanted != (a.rows, a.cols, a.cell_bits, spec.dac.bits):
        raise SpecError(
            f"program '{program.name}' must run on the arrays it was compiled for, "
            f"{program.rows} x {program.cols} with {program.cell_bits} bits a cell and "
            f"{program.dac_bits}-bit DACs, not {a.rows} x {a.cols} with {a.cell_bits} and "
            f"{spec.dac.bits}; compile it again"
        )
