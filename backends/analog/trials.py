"""What a chip is tried on before it is used: calibration inputs, and the exact answers.

For `recovery.outputs: reestimated` (`simulators.analog.reestimation`). Never the inputs that
are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

from tetrapla.ir.graph import Array
from tetrapla.ir.quant.linear import wrap
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.reestimation import Statistics, Trial, statistics

MOST: Final = machine.PROBED  # all of a trial's accumulators are kept, and judged
_LEAST: Final = 8
_ELEMENTS: Final = 1 << 22  # of all the inputs together, assumed: seconds in the simulation


def tried(program: Program, inputs: Mapping[str, Array]) -> Trial:
    """A trial on some of the inputs (invocations, ...) by name."""
    size = sum(prod(program.shapes[index]) for _, index in program.inputs)
    count = min(len(array) for array in inputs.values())
    chosen = machine.spread(count, max(_LEAST, min(MOST, _ELEMENTS // max(1, size))))
    some = {name: inputs[name][chosen] for name, _ in program.inputs}
    return Trial(some, exact(program, some))


def exact(program: Program, inputs: Mapping[str, Array]) -> dict[str, Statistics]:
    """Statistics of every product's accumulators, where each is the product itself."""
    values = {index: inputs[name] for name, index in program.inputs}
    found: dict[str, Statistics] = {}
    last = program.last_uses()
    for place, step in enumerate(program.steps):
        if isinstance(step, Product):
            rows, shape = machine.driven(step, values[step.operand])
            sums = machine.corrected(step, crossbar.folded(step, rows))
            made = wrap(machine.shaped(step, sums, shape))
            found[step.name] = statistics(made, machine.output_axis(step))
            values[step.result] = made
        else:
            results = machine.digital(step, values, program.constants)
            values.update(zip(step.results, results, strict=True))
        for index in step.operands:
            if last[index] == place:
                values.pop(index, None)
    return found
