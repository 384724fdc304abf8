"""aihwkit's tile with PCM read noise and IR drop, JSON; run by the interpreter that has it.

``python aihwkit_peer.py WEIGHTS.npy INPUTS.npy OUTPUTS.npy``; it imports nothing of this
project, whose Python and NumPy are newer than those that aihwkit's wheels are built for. The
C++ tile in inference mode, as its users have it: `AnalogLinear` without gradients, at the
defaults of its forward pass (7 bits in, 9 bits out, output noise, scaling by the largest
input), with read noise of the kind PCM_READ and IR drop. It has the batch that it is fastest
with. CPU seconds of the process.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import process_time
from typing import Any

ROUNDS = 5
LEAST_S = 1.0
BATCHES = (16, 64, 256, 1024)
W_NOISE = 0.0175


def main(weights: str, inputs: str, outputs: str) -> None:
    """Time every batch and keep the outputs."""
    np: Any = import_module("numpy")
    torch: Any = import_module("torch")
    nn: Any = import_module("aihwkit.nn")
    configs: Any = import_module("aihwkit.simulator.configs")
    enums: Any = import_module("aihwkit.simulator.parameters.enums")
    torch.set_num_threads(1)
    matrix, x = np.load(weights), torch.from_numpy(np.load(inputs))
    settings = configs.InferenceRPUConfig()
    settings.mapping.max_input_size, settings.mapping.max_output_size = matrix.shape
    settings.forward.w_noise_type = enums.WeightNoiseType.PCM_READ
    settings.forward.w_noise = W_NOISE
    settings.forward.ir_drop = 1.0
    # else it reads again, with smaller inputs, where an output is out of bounds
    settings.forward.bound_management = enums.BoundManagementType.NONE
    layer = nn.AnalogLinear(*matrix.shape, bias=False, rpu_config=settings)
    layer.set_weights(torch.from_numpy(matrix.T.copy()))
    layer.eval()
    found = {}
    with torch.no_grad():
        for batch in BATCHES:
            part = x[:batch]
            spent: list[float] = []
            layer(part)
            while len(spent) < ROUNDS or sum(spent) < LEAST_S:
                start = process_time()
                layer(part)
                spent.append(process_time() - start)
            found[str(batch)] = batch / min(spent)
        np.save(outputs, layer(x).numpy())
    print(json.dumps({"version": import_module("aihwkit").__version__, "mvm_s": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
