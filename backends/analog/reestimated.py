"""Gains and offsets of outputs, found again from a trial's accumulators and the interpreter.

What each product's accumulators should be on the trial's inputs is the interpreter's; what they
are, the run kept (`simulators.analog.reestimation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tetrapla.backends.target_ import Lowered
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.reestimation import Affine
from tetrapla.simulators.analog.spec import AnalogSpec

_ROUNDED: Final = 1e-9  # of a gain or of a spread: what float64 sums do in another order


def mismatches(lowered: Lowered[Program], spec: AnalogSpec, run: machine.AnalogRun) -> int:
    """Outputs whose gain or offset the trial does not give; all where there was none."""
    trial, tried, products = lowered.program.trial, run.trial, lowered.program.products
    exact = all(crossbar.folds(step, spec) for step in products)
    if trial is None or exact or spec.recovery.outputs == "none":
        return len(run.affines)
    if tried is None:
        return sum(step.matrix.shape[1] for step in products)
    wanted = walked(lowered.module, trial.inputs, {}, {})
    wrong = 0
    for step in products:
        axis = 2 if step.window is not None else wanted[step.result].ndim - 1
        own = run.affines[step.name]
        goal, found = (
            np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]).astype(np.float64)
            for a in (wanted[step.result], tried.accumulators[step.name])
        )
        spread = np.sqrt(goal.var(axis=0)), np.sqrt(found.var(axis=0))
        still = (spread[0] == 0) | (spread[1] == 0)
        gain = np.where(still, 1.0, spread[0] / np.where(still, 1.0, spread[1]))
        offset = goal.mean(axis=0) - gain * found.mean(axis=0)
        scale = 1 + np.abs(goal).max(axis=0, initial=0) + np.abs(found).max(axis=0, initial=0)
        wrong += int(
            np.count_nonzero(
                (np.abs(own.gain - gain) > _ROUNDED * (1 + gain))
                | (np.abs(own.offset - offset) > _ROUNDED * scale * (1 + gain))
            )
        )
    return wrong


def walked(
    module: Module,
    inputs: Mapping[str, Array],
    accumulators: Mapping[str, Array],
    affines: Mapping[str, Affine],
) -> dict[int, Array]:
    """Every value of the module on inputs (invocations, ...), by its number.

    Nodes that have accumulators give these, each through its affine; all others are evaluated.
    """
    graph = module.graph
    values: dict[int, Array] = {v.index: inputs[name] for name, v in graph.inputs}
    count = len(next(iter(inputs.values()), ()))
    for node in graph.nodes:
        if node.name in accumulators:
            made = accumulators[node.name]
            own = affines.get(node.name)
            values[node.result.index] = made if own is None else _moved(node, made, own)
            continue
        results = [value.index for value in node.results]
        values.update(zip(results, _evaluated(graph, node, values, count), strict=True))
    return values


def _moved(node: Node, accumulators: Array, affine: Affine) -> Array:
    """round_half_even(gain x + offset), within int32."""
    last = accumulators.ndim - 1
    outputs = np.moveaxis(accumulators, 2 if node.kind == "qnn.conv2d" else last, -1)
    limits = np.iinfo(np.int32)
    made = np.clip(np.rint(outputs * affine.gain + affine.offset), limits.min, limits.max)
    back = np.moveaxis(made, -1, 2 if node.kind == "qnn.conv2d" else last)
    return np.asarray(back.astype(np.int32))


def _evaluated(
    graph: Graph, node: Node, values: Mapping[int, Array], count: int
) -> tuple[Array, ...]:
    """All results of a node on every invocation."""
    given = [graph.weight(v) if graph.is_weight(v) else None for v in node.operands]
    rows: list[tuple[Array, ...]] = []
    with np.errstate(all="ignore"):  # as in the interpreter
        for n in range(count):
            operands = [
                values[v.index][n] if weight is None else weight
                for v, weight in zip(node.operands, given, strict=True)
            ]
            made = OPS[node.kind].evaluate(*operands, **node.attributes)
            rows.append(made if isinstance(made, tuple) else (made,))
    return tuple(np.stack(each) for each in zip(*rows, strict=True))
