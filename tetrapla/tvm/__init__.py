"""The bridge to Apache TVM: its graphs on our targets, our modules by its code generators.

    with tetrapla.tvm.offload("model.onnx", "systolic", calibration) as graph:
        outcome = graph.run(inputs)

TVM always runs in a process of its own, because it can end the one that it is in.
"""

from __future__ import annotations

from tetrapla.tvm.offload import Offloaded, Outcome, Part, offload

__all__ = ["Offloaded", "Outcome", "Part", "offload"]
