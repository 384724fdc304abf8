"""Invocations done again around what a run's arrays gave, by the interpreter's operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.analog import reestimated
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.analog import machine


@dataclass(frozen=True)
class Replay:
    """The probed invocations, done again around the run's accumulators.

    Attributes:
        operands: of every product by its name, [probed, ...shape].
        mismatches: outputs that the digital steps do not give.
    """

    operands: Mapping[str, Array]
    mismatches: int


def replayed(module: Module, inputs: Mapping[str, Array], run: machine.AnalogRun) -> Replay:
    """Every digital step of the probed invocations; `inputs` are those of all."""
    graph, chosen = module.graph, list(run.probed)
    some = {name: inputs[name][chosen] for name, _ in graph.inputs}
    values = reestimated.walked(module, some, run.accumulators, run.affines)
    made = {
        name: np.stack([graph.weight(value)] * len(chosen))
        if graph.is_weight(value)
        else values[value.index]
        for name, value in graph.outputs
    }
    operands = {
        node.name: values[node.operands[0].index]
        for node in graph.nodes
        if node.name in run.accumulators
    }
    found = {name: array[chosen] for name, array in run.outputs.items()}
    return Replay(operands, differing(found, made))


def differing(found: Mapping[str, Array], reference: Mapping[str, Array]) -> int:
    """Elements of the arrays by name that are not those of the reference."""
    return sum(int(np.count_nonzero(found[name] != array)) for name, array in reference.items())
