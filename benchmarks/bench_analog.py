"""A network's accuracy over many chips with every non-ideality on, and what single reads cost.

``python benchmarks/bench_analog.py [chips]``

Budget: the digits CNN, 20 chips of 450 images with programming error, drift, read noise, wires,
faults, device spread and converter mismatch, in less than 30 s. CPU seconds of one core; the
first chip compiles loops where numba is installed, and is not counted. Beside it the same with
each effect alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from pathlib import Path
from time import process_time

import numpy as np

import tetrapla
from tetrapla.backends.analog import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

ROOT = Path(__file__).parents[1]
CHIPS = 20
EFFECTS = {
    "read_noise": (),
    "wires": ("wires.r_row=1 ohm", "wires.r_col=1 ohm", "wires.r_driver=10 ohm"),
    "pcm_after_an_hour": ("device.model=pcm_like", "device.g_max=25 uS", "device.time=3600 s"),
    "faults": ("faults.stuck_low=0.0005", "faults.stuck_high=0.0002", "device.spread=0.05"),
    "converters": ("adc.offset=0.3", "adc.gain=0.01"),
}


def main() -> None:
    """Print seconds and accuracies."""
    chips = int(sys.argv[1]) if len(sys.argv) > 1 else CHIPS
    module = tetrapla.load(ROOT / "examples" / "digits_cnn.onnx")
    data = np.load(ROOT / "tetrapla" / "data" / "digits.npz")
    ((name, value),) = module.inputs.items()
    x = (data["x"] / 16).astype(np.float32).reshape(-1, *value.shape)
    train, test, labels = x[data["train"]], x[data["test"]], data["y"][data["test"]]
    every = tuple(text for effect in EFFECTS.values() for text in effect)
    for effect, settings in {**EFFECTS, "all": every}.items():
        spec = load_spec("isaac", AnalogSpec, settings).spec
        start = process_time()
        program = TARGET.lower(module, spec, {name: train}, Options()).program
        print(f"analog_digits_cnn_{effect}_compile_s {process_time() - start:.3f}")
        TARGET.run(program, spec, {name: test[:8]}, Key(0))
        start, shares = process_time(), []
        for chip in range(chips):
            run = TARGET.run(program, spec, {name: test}, Key(0, chip=chip))
            shares.append(share(dict(run.outputs), labels))
        print(f"analog_digits_cnn_{effect}_{chips}_chips_s {process_time() - start:.3f}")
        print(f"analog_digits_cnn_{effect}_accuracy_mean {np.mean(shares):.4f}")


def share(outputs: dict[str, Array], labels: Array) -> float:
    """Right answers."""
    (logits,) = outputs.values()
    return float((logits.reshape(len(labels), -1).argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    main()
