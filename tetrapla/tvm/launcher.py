"""Run a model that TVM compiled: python run.py --input x.npz [-o y.npz].

Needs NumPy and the releases of TVM that manifest.json names. The input file holds one array per
input, of its shape or with a leading axis of invocations; the outputs have that axis. Code for
a GPU is made again from model.onnx on the machine that has one.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent


class RefusedError(Exception):
    """What a user can mend, in one sentence."""


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


def rows(path: str, inputs: list[dict[str, Any]]) -> list[list[NDArray[Any]]]:
    """The inputs of every invocation."""
    columns: list[NDArray[Any]] = []
    with np.load(path) as held:
        for each in inputs:
            name, shape = each["name"], tuple(each["shape"])
            key = name if name in held.files else "x"
            if key not in held.files:
                raise RefusedError(f"{path} must hold an array '{name}', not {held.files}")
            array = held[key].astype(each["dtype"])
            array = array[np.newaxis] if array.shape == shape else array
            if array.shape[1:] != shape:
                raise RefusedError(
                    f"'{name}' must have the shape {list(shape)}, or that behind an axis of "
                    f"invocations, not {list(array.shape)}"
                )
            columns.append(np.ascontiguousarray(array))
    return [list(row) for row in zip(*columns, strict=True)]


def main() -> None:
    """Read, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True, metavar="FILE.npz")
    parser.add_argument("-o", "--output", default="outputs.npz", metavar="FILE.npz")
    options = parser.parse_args()
    manifest = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    given = rows(options.input, manifest["inputs"])
    tvm: Any = import_module("tvm")
    compiled, device = machine(tvm, manifest)
    results: list[list[NDArray[Any]]] = []
    for row in given:
        found = compiled["main"](*[tvm.runtime.tensor(each, device) for each in row])
        several = [found] if hasattr(found, "numpy") else list(found)
        results.append([each.numpy() for each in several])
    columns = [np.stack(column) for column in zip(*results, strict=True)]
    outputs = dict(zip(manifest["outputs"], columns, strict=True))
    np.savez(options.output, **outputs)  # pyright: ignore[reportArgumentType]
    for name, array in outputs.items():
        sys.stdout.write(f"{name}: {array.dtype} {list(array.shape)}\n")


if __name__ == "__main__":
    try:
        main()
    except RefusedError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
