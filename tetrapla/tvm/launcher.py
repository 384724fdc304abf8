"""Run a model that TVM compiled: python run.py --input x.npz [-o y.npz].

Needs NumPy and the releases of TVM that manifest.json names. The input file holds one array per
input, of its shape or with a leading axis of invocations (of samples, where every input and
output has a leading axis of one); outputs lie likewise. Code for a GPU is made again from
model.onnx on the machine that has one.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tetrapla.backends.gpu.arrays import Array, Given, RefusedError, check_outputs, save

FOLDER = Path(__file__).resolve().parent


def machine(tvm: Any, manifest: dict[str, Any]) -> tuple[Any, Any]:
    """The compiled model on its device, and the device."""
    relax: Any = import_module("tvm.relax")
    target = manifest["tvm_target"]
    if isinstance(target, str):
        library = tvm.runtime.load_module(str(FOLDER / "model.so"))
        return relax.VirtualMachine(library, tvm.cpu()), tvm.cpu()
    device = tvm.cuda()
    if not device.exist:
        raise RefusedError(
            "run.py must have an NVIDIA GPU for this folder, not none; compile for --target cpu"
        )
    frontend: Any = import_module("tvm.relax.frontend.onnx")
    onnx: Any = import_module("onnx")
    model = onnx.load(str(FOLDER / "model.onnx"))
    module = frontend.from_onnx(model, keep_params_in_input=False)
    compiled = tvm.compile(module, target=tvm.target.Target(target))
    return relax.VirtualMachine(compiled, device), device


def main() -> None:
    """Read, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True, metavar="FILE.npz", type=Path)
    output = Path("outputs.npz")
    parser.add_argument("-o", "--output", default=output, metavar="FILE.npz", type=Path)
    options = parser.parse_args()
    manifest = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    check_outputs([options.output], options.input)
    shapes = [{"shape": manifest["output_shapes"][name]} for name in manifest["outputs"]]
    given = Given({"inputs": manifest["inputs"], "outputs": shapes}, options.input)
    tvm: Any = import_module("tvm")
    compiled, device = machine(tvm, manifest)
    results: list[list[Array]] = []
    for i in range(given.count):
        row = [np.ascontiguousarray(given.rows[each["name"]][i]) for each in manifest["inputs"]]
        found = compiled["main"](*[tvm.runtime.tensor(each, device) for each in row])
        several = [found] if hasattr(found, "numpy") else list(found)
        results.append([each.numpy() for each in several])
    columns = [np.stack(column) for column in zip(*results, strict=True)]
    outputs = given.written(dict(zip(manifest["outputs"], columns, strict=True)))
    save(options.output, outputs)
    for name, array in outputs.items():
        sys.stdout.write(f"{name}: {array.dtype} {list(array.shape)}\n")


if __name__ == "__main__":
    try:
        main()
    except RefusedError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
