"""A graph of TVM's own with its regions on our machines.

TVM imports the digits' CNN, which is handed over as Relax; a systolic array and an analog
crossbar compute it, and both give to the last bit what they give without TVM.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import tetrapla
from tetrapla.datasets import load_data
from tetrapla.tvm import offload

MODEL = Path(__file__).parent / "digits_cnn.onnx"
CALIBRATING, RUN = 16, 2  # images


def main() -> None:
    """Print what each machine says of each region."""
    frontend: Any = import_module("tvm.relax.frontend.onnx")
    shapes = {"image": [1, 1, 8, 8]}
    relax = frontend.from_onnx(onnx.load(MODEL), shapes, keep_params_in_input=False)
    data = load_data("digits")
    images = data.x.reshape(-1, 1, 1, 8, 8).astype(np.float32)
    calibration = {"image": images[data.train][:CALIBRATING]}
    inputs = {"image": images[data.test][:RUN]}
    module = tetrapla.load(MODEL)
    for target in ("systolic", "analog"):
        with offload(relax, target, calibration) as graph:
            found = graph.run(inputs, seed=1)
        ours = tetrapla.compile(module, target, calibration).run(inputs, seed=1)
        (output,) = found.outputs.values()
        same = np.array_equal(output, ours.outputs["logits"])
        lines = (
            f"{target}: {len(graph.parts)} region of {len(graph.parts[0].ops)} operators",
            f"  {found.cycles:.0f} cycles, {found.total_pj or 0:.4g} pJ, TVM: {graph.left}",
            f"  equal to tetrapla alone: {same}",
        )
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
