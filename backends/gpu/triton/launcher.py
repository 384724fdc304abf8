"""Run this folder's kernels: python run.py --input x.npz -o y.npz.

On a machine with a GPU they are launched through torch and triton, as one CUDA graph per
invocation; elsewhere, or with --interpret, Triton's interpreter runs them with NumPy alone.
The input file holds one array per input, of its shape or with a leading axis of invocations
(of samples, where every input and output has a leading axis of one).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

if importlib.util.find_spec("numpy") is None:
    sys.stderr.write("error: run.py needs numpy, which is not installed; pip install numpy\n")
    raise SystemExit(2)

import numpy as np

from tetrapla.backends.gpu.arrays import Array, Given, RefusedError, check_outputs, save
from tetrapla.backends.gpu.triton.machines import Gpu, Host

FOLDER = Path(__file__).resolve().parent


class Plan:
    """The manifest's launches on a machine.

    Args:
        folder: of kernels.py, manifest.json and the weights.
        machine: a `Host` or a `Gpu`.
    """

    def __init__(self, folder: Path, machine: Any) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.machine = machine
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        self.kernels = importlib.import_module("kernels")
        weights = read_weights(folder / self.manifest["weights"]["file"])
        space = machine.empty(self.manifest["workspace"]["size_bytes"])
        self.memory: dict[str, Any] = {}
        for name, buffer in self.manifest["buffers"].items():
            if buffer["role"] == "weight":
                data = machine.load(weights[buffer["tensor"]])
            elif "offset_bytes" in buffer:
                start = buffer["offset_bytes"]
                data = space[start : start + buffer["size_bytes"]]
            else:
                data = machine.empty(buffer["size_bytes"])
            self.memory[name] = machine.place(data, buffer["dtype"])

    def launch(self, after: Callable[[str], None] | None = None) -> None:
        """Run every kernel in order; `after` is told of each buffer when it was stored."""
        for each in self.manifest["launches"]:
            function = self.manifest["functions"][each["function"]]
            kernel = getattr(self.kernels, each["function"])
            kernel[tuple(each["grid"])](
                *(self.memory[name] for name in each["arguments"]), **function["options"]
            )
            for name in each["stores"] if after else ():
                assert after is not None
                after(name)

    def run(
        self, rows: Mapping[str, Array], keep: bool
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run invocations: arrays (invocations, *shape) by input.

        Returns:
            The outputs likewise, and with `keep` what every buffer of an input or a kernel
            held when it was stored: (invocations, elements).
        """
        machine, found = self.machine, dict[str, list[Array]]()
        kept: dict[str, list[Array]] = {}

        def read(name: str) -> None:
            kept.setdefault(name, []).append(machine.read(self.memory[name]))

        run = machine.prepared((lambda: self.launch(read)) if keep else self.launch)
        for number in range(len(next(iter(rows.values())))):
            for port in self.manifest["inputs"]:
                machine.write(self.memory[port["buffer"]], rows[port["name"]][number])
                if keep:
                    read(port["buffer"])
            run()
            for port in self.manifest["outputs"]:
                flat = machine.read(self.memory[port["buffer"]])
                array = flat.reshape(port["shape"]).astype(port["dtype"])
                found.setdefault(port["name"], []).append(array)
        stack = {name: np.stack(arrays) for name, arrays in found.items()}
        return stack, {name: np.stack(arrays) for name, arrays in kept.items()}


def read_weights(path: Path) -> dict[str, Array]:
    """The bytes of every tensor of a safetensors file, which stays on the disk."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    spans = {name: each["data_offsets"] for name, each in header.items()}
    return {name: data[start + low : start + high] for name, (low, high) in spans.items()}


def chosen(interpret: bool, graph: bool) -> Host | Gpu:
    """The GPU if torch has one, else the interpreter."""
    if importlib.util.find_spec("triton") is None:
        raise RefusedError("run.py needs triton, which is not installed; pip install triton")
    if interpret or os.environ.get("TRITON_INTERPRET") == "1":
        return Host()
    if importlib.util.find_spec("torch") is not None:
        torch: Any = importlib.import_module("torch")
        if torch.cuda.is_available():
            return Gpu(torch, graph)
    return Host()


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise RefusedError(f"{message}; 'run.py --help' says what there is")


def main(words: Sequence[str]) -> None:
    """Read, run, write."""
    parser = Parser(prog="run.py", description=(__doc__ or "").partition("\n\n")[2])
    path = partial(parser.add_argument, type=Path, metavar="FILE")
    path("--input", required=True, help="the .npz of the inputs")
    path("-o", "--output", required=True, help="the .npz to write")
    path("--keep", help="also write what every kernel stored, to this .npz")
    parser.add_argument("--interpret", action="store_true", help="no GPU, even if there is one")
    parser.add_argument("--no-graph", action="store_true", help="launch kernel by kernel")
    options = parser.parse_args(words)
    check_outputs([options.output, *([options.keep] if options.keep else [])], options.input)
    manifest = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    given = Given(manifest, options.input)
    machine = chosen(options.interpret, not (options.no_graph or options.keep))
    outputs, kept = Plan(FOLDER, machine).run(given.rows, options.keep is not None)
    if options.keep:
        save(options.keep, kept)
    save(options.output, given.written(outputs))
    kernels = len(manifest["launches"])
    sys.stderr.write(f"run.py: {given.count} x {kernels} kernels by {machine.name}\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (RefusedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
