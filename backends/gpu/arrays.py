"""The arrays that the scripts read and write: a compiled folder has this file beside run.py.

An input file holds one array per input, of its shape or with a leading axis of invocations (of
samples, where every input and output has a leading axis of one); outputs lie likewise.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# which arrays an input takes, by its own kind
KINDS = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}


class RefusedError(Exception):
    """What the user must change, in one sentence."""


class Given:
    """The arrays of an input file, as invocations.

    Args:
        manifest: of the folder: `inputs` of a name, a shape and a dtype that NumPy has,
            and `outputs` of a shape.
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
