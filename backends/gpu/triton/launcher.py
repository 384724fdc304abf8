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
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NoReturn

if importlib.util.find_spec("numpy") is None:
    sys.stderr.write("error: run.py needs numpy, which is not installed; pip install numpy\n")
    raise SystemExit(2)

import numpy as np

from tetrapla.backends.gpu.triton.machines import Array, Gpu, Host, RefusedError

FOLDER = Path(__file__).resolve().parent
# which arrays an input takes, by its own kind
KINDS = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}


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

        run = (lambda: self.launch(read)) if keep else machine.prepared(self.launch)
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


class Given:
    """The arrays of an input file, as invocations.

    Args:
        manifest: of the folder.
        path: of the .npz.

    Attributes:
        rows: (invocations, *shape) by input.
        holds: what lies along the arrays' leading axis: nothing, samples or invocations.
    """

    def __init__(self, manifest: Mapping[str, Any], path: Path) -> None:
        ports = manifest["inputs"]
        shapes = {port["name"]: tuple(port["shape"]) for port in ports}
        arrays = {port["name"]: read_input(path, port, len(ports)) for port in ports}
        every = [*shapes.values(), *(tuple(port["shape"]) for port in manifest["outputs"])]
        wanted = {"nothing": shapes}
        if all(shape[:1] == (1,) for shape in every):  # a longer axis can only hold samples
            wanted["samples"] = {name: (-1, *shape[1:]) for name, shape in shapes.items()}
        wanted["invocations"] = {name: (-1, *shape) for name, shape in shapes.items()}
        for self.holds, rule in wanted.items():
            if all(_fits(array.shape, rule[name]) for name, array in arrays.items()):
                break
        else:
            self._refuse(path, shapes, arrays)
        counts = {
            name: array.size // max(1, prod(shapes[name])) for name, array in arrays.items()
        }
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
            raise RefusedError(
                f"{path}: every input must have the same number of invocations, not {told}; "
                "give each the same number"
            )
        self.rows = {name: array.reshape(-1, *shapes[name]) for name, array in arrays.items()}

    @property
    def count(self) -> int:
        """How many invocations there are."""
        return len(next(iter(self.rows.values())))

    def written(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs, stacked by invocation, as the inputs lay."""
        if self.holds == "invocations":
            return dict(outputs)
        if self.holds == "samples":
            return {name: array[:, 0] for name, array in outputs.items()}
        return {name: array[0] for name, array in outputs.items()}

    def _refuse(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Array]
    ) -> NoReturn:
        """Name the first array that is of none of the shapes, or else the first that is odd."""
        odd = [
            name
            for name, array in arrays.items()
            if array.shape != shapes[name] and not _fits(array.shape, (-1, *shapes[name]))
        ]
        name = (odd or [n for n, a in arrays.items() if a.shape != shapes[n]])[0]
        raise RefusedError(
            f"{path}: '{name}' must have the shape {list(shapes[name])}, or all inputs one "
            f"more axis in front for invocations, not {list(arrays[name].shape)}; reshape it"
        )


def _fits(shape: tuple[int, ...], rule: tuple[int, ...]) -> bool:
    """Whether a shape is the rule's, where -1 is any size but zero."""
    return len(shape) == len(rule) and all(
        size == wanted or (wanted == -1 and size > 0)
        for size, wanted in zip(shape, rule, strict=True)
    )


def read_input(path: Path, port: Mapping[str, Any], inputs: int) -> Array:
    """An input's array: by its name, or as ``x`` where it is the only one."""
    rule = "must be an .npz of arrays, written with numpy.savez(path, name=array)"
    try:
        with np.load(path, allow_pickle=False) as held:
            names = list(held.files)
            name = port["name"]
            if name not in names and names == ["x"] and inputs == 1:
                name = "x"
            if name not in names:
                there = ", ".join(names) or "nothing"
                raise RefusedError(
                    f"{path}: must hold an array '{name}', not only {there}; add it with "
                    "numpy.savez"
                )
            found: Array = held[name]
            return _checked(port, found)
    except FileNotFoundError:
        raise RefusedError(f"input file '{path}' must exist; give another path") from None
    except OSError as error:
        raise RefusedError(f"'{path}' {rule}, not {error.strerror or 'this'}") from None
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error):
        raise RefusedError(f"'{path}' {rule}; write it again") from None


def _checked(port: Mapping[str, Any], array: Array) -> Array:
    """The array in its input's type."""
    wanted = np.dtype(port["dtype"])
    if array.dtype.kind not in KINDS[wanted.kind]:
        raise RefusedError(
            f"input '{port['name']}' must be of {wanted}, not of {array.dtype}; convert "
            "it with numpy.asarray(a, dtype)"
        )
    with np.errstate(all="ignore"):
        found = array.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(found, array):
        raise RefusedError(
            f"input '{port['name']}' must hold values of {wanted}, not from {array.min()} to "
            f"{array.max()}; give smaller ones"
        )
    return found


def read_weights(path: Path) -> dict[str, Array]:
    """The bytes of every tensor of a safetensors file, which stays on the disk."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    spans = {name: each["data_offsets"] for name, each in header.items()}
    return {name: data[start + low : start + high] for name, (low, high) in spans.items()}


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """An .npz of any names, all of it or nothing; np.savez takes ``file`` for its own."""
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=".run-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for entry, array in arrays.items():
                with archive.open(f"{entry}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def check_outputs(paths: Sequence[Path], read: Path) -> None:
    """Refuse files that could not be written, before the work starts."""
    taken = {read.resolve()}
    for path in paths:
        if path.suffix != ".npz" or path.is_dir():
            raise RefusedError(f"output must be a file in .npz, not '{path}'; rename it")
        if not path.resolve().parent.is_dir():
            raise RefusedError(
                f"output '{path}' must lie in a folder that exists; make the folder"
            )
        if path.resolve() in taken:
            raise RefusedError(f"output '{path}' must be named once; choose another name")
        taken.add(path.resolve())


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
