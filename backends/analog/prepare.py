"""From a float model, or one quantised already, to the module that goes onto crossbars.

Loops and recurrent layers are written out, attention and convolutions of other ranks become
the products that they are (`passes.pipeline_.FLAT`); these and what adds and averages become
integer, and all else stays float, for the periphery.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.backends.analog.products import KINDS
from tetrapla.backends.analog.stacks import on_arrays
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import CLEANING, quantised
from tetrapla.passes.widen_weights import WidenWeights


def prepared(module: Module, calibration: Mapping[str, Array] | None, quant: str) -> Module:
    """The module in integers, with every product of constants in the form that arrays take.

    Args:
        module: float or quantised; of a shape-only one the result is shape-only.
        calibration: arrays of shape (invocations, ...) by input name.
        quant: a number format that `quantises`.

    Raises:
        ModelError: a float model with weights, but no calibration data.
        TetraplaError: a pass refuses the module.
    """
    if any(node.kind in KINDS for node in module.graph.nodes):
        made = run(module, (*CLEANING, WidenWeights()))
    elif calibration is None and not module.shape_only:
        raise ModelError(
            f"analog: model '{module.name}' needs calibration data to be quantised to int8, "
            "not none; give --data with a training part, or --calib"
        )
    else:
        made = quantised(module, calibration or {}, quant, flat=True)
    return on_arrays(unfused(made))
