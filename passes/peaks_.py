"""The largest magnitude of every channel of a value over calibration data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import intermediates, invocations
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Progress, check_data
from tetrapla.passes.channels_ import Factors, sites


def peaks(
    module: Module, inputs: Mapping[str, Array], progress: Progress | None = None
) -> dict[str, Factors]:
    """Of the results whose channels can be scaled (`channels_.sites`), by the nodes' names.

    Args:
        module: with its weights.
        inputs: arrays of shape (invocations, *static shape) by input name.
        progress: called with 1 after each invocation.

    Raises:
        ModelError: the data is not finite, or of another shape, type or name than the inputs.
    """
    check_data(module, inputs)
    scaled = [site.producer for site in sites(module.graph)]
    found: dict[str, Factors] = {}
    for i in range(invocations(module, inputs)):
        values = intermediates(module, {name: array[i] for name, array in inputs.items()})
        for node in scaled:
            axis = 1 if node.kind == "nn.conv2d" else -1
            sizes = np.moveaxis(np.abs(values[node.name].astype(np.float64)), axis, -1)
            largest = sizes.reshape(-1, sizes.shape[-1]).max(axis=0, initial=0)
            found[node.name] = np.maximum(found.get(node.name, 0.0), largest)
        if progress is not None:
            progress(1)
    return found
