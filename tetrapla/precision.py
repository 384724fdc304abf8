"""Formats chosen layer by layer under a budget that a target's own simulation prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.backends.target_ import Options
from tetrapla.designs import Design, design
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.choose_precision_ import Choice, choose
from tetrapla.passes.pipeline_ import canonical
from tetrapla.passes.quantize import Quantize
from tetrapla.run import compile_for
from tetrapla.samples import as_invocations

# a machine's time and energy hardly depend on the values; one invocation prices a module
PRICED = 1


def choose_precision(
    module: Module,
    target: str,
    calibration: Mapping[str, Array],
    *,
    latency_s: float | None = None,
    energy_pj: float | None = None,
    formats: Sequence[str] = ("i8", "i4"),
    scheme: Quantize | None = None,
) -> Choice:
    """Quantise the layers that lose least by it, until the target meets the budget.

    Each layer starts in the first format; the target simulates what a step to the next one
    saves, the outputs on the calibration data say what it costs (`choose_precision_.choose`).

    Args:
        module: float32, from `load` or `Builder`.
        target: a chip's name, a family's, or the path of a YAML file.
        calibration: arrays (samples, *shape) by input name.
        latency_s: the budget of one invocation's time; or
        energy_pj: of its energy. One of the two must be given.
        formats: of weights, from the most precise to the cheapest. The target must run every
            one of them, and price them differently for a budget to bite.
        scheme: all other choices of the quantisation.

    Raises:
        ModelError: not one budget is given, the target cannot tell the energy, or the cheapest
            formats exceed the budget.
        TetraplaError: the target cannot do a module, or an argument is wrong.
    """
    if (latency_s is None) == (energy_pj is None):
        raise ModelError("a budget must be one of latency_s and energy_pj, not both or none")
    chosen = design(target)
    inputs = as_invocations(module, calibration)
    priced = {name: array[:PRICED] for name, array in inputs.items()}

    def cost(quantised: Module) -> float:
        return _cost(quantised, chosen, priced, energy_pj is not None)

    budget = latency_s if latency_s is not None else energy_pj
    assert budget is not None
    return choose(canonical(module), inputs, cost, budget, formats, scheme)


def _cost(module: Module, chosen: Design, inputs: Mapping[str, Array], energy: bool) -> float:
    # a module that stayed float must be run so, not quantised by the target after all
    integers = any(node.kind.startswith("qnn.") for node in module.graph.nodes)
    options = Options() if integers else Options(quant="none")
    report = compile_for(module, chosen, inputs, options).run(inputs)
    found = report.energy.total_pj if energy else report.time_s
    if found is None or not np.isfinite(found):
        raise ModelError(
            f"{chosen.label} must price energy for a budget of it, and a price of it is not "
            "known; give latency_s"
        )
    return float(found)
