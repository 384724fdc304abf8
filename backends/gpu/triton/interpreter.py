"""Run a compiled folder's kernels under Triton's interpreter, without torch or a GPU.

A script of its own, because TRITON_INTERPRET is read when kernels are defined and rules out
compilation in the same process: ``python interpreter.py FOLDER``. FOLDER holds the emitted
files, weights.npz and inputs.npz (leading axis: invocations); memory.npz, what every buffer
held after each invocation, is written there.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HostTensor:
    """A NumPy array with the methods that the interpreter asks of a torch tensor."""

    device = type("Device", (), {"type": "cpu"})()

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = np.ascontiguousarray(array)

    @property
    def dtype(self) -> str:
        return str(self.array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def stride(self, axis: int | None = None) -> Any:
        steps = [step // self.array.itemsize for step in self.array.strides]
        return steps if axis is None else steps[axis]

    def element_size(self) -> int:
        return self.array.itemsize

    def numel(self) -> int:
        return self.array.size

    def is_contiguous(self) -> bool:
        return True

    def size(self) -> int:
        return self.array.nbytes

    def storage_offset(self) -> int:
        return 0

    # the interpreter copies to the host and back; here everything is one storage
    def cpu(self) -> HostTensor:
        return self

    def untyped_storage(self) -> HostTensor:
        return self

    def copy_(self, other: HostTensor) -> None:
        pass

    def new_empty(self, *shape: int, **options: object) -> HostTensor:
        return HostTensor(self.array[:0])

    def set_(self, storage: HostTensor, offset: int, size: int, stride: object) -> None:
        self.array = storage.array


def main(folder: Path) -> None:
    """Run every invocation of inputs.npz."""
    os.environ["TRITON_INTERPRET"] = "1"
    sys.path.insert(0, str(folder))
    plan = import_module("run")
    m = {name: HostTensor(np.zeros(n, t)) for name, (t, n) in plan.MEMORY.items()}
    with np.load(folder / "weights.npz") as stored:
        for name, (t, n) in plan.WEIGHTS.items():
            m[name] = HostTensor(stored[name].astype(t).reshape(n))
    with np.load(folder / "inputs.npz") as stored:
        given = {name: stored[name] for name in plan.INPUTS}
    results: dict[str, list[NDArray[Any]]] = {name: [] for name in plan.MEMORY}
    for i in range(len(next(iter(given.values())))):
        for name, (buffer, _, _) in plan.INPUTS.items():
            m[buffer].array[:] = given[name][i].reshape(-1)
        with np.errstate(all="ignore"):
            plan.launch(m)
        for name, found in results.items():
            found.append(m[name].array.copy())
    save(folder / "memory.npz", {name: np.stack(found) for name, found in results.items()})


def save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz of any names; np.savez takes ``file`` for an argument of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
