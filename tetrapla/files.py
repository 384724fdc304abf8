"""Writing results: all of them or none, and never over something that was read.

Paths are judged before the work starts, so that a typing error costs no minutes; every file
is written under a temporary name beside its place and then renamed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tetrapla.ir.errors import ModelError


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[str | None] = ()) -> None:
    """Refuse output files that could not be written, or that are read or named twice.

    Raises:
        ModelError: which path breaks which rule.
    """
    read = {Path(name).resolve() for name in inputs if name}
    seen: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        place = path.resolve()
        if place in read:
            raise ModelError(f"output file '{path}' must not be an input; choose another name")
        if place in seen:
            raise ModelError(f"output file '{path}' must be named once; choose two names")
        seen.add(place)
        _check_place(path)


def check_folder(folder: Path) -> None:
    """Refuse an output folder that could not be made or filled.

    Raises:
        ModelError: it is a file, or its parent folder is missing or closed.
    """
    if folder.is_dir():
        if not os.access(folder, os.W_OK):
            raise ModelError(f"output folder '{folder}' must be writable; choose another")
        return
    if folder.exists():
        raise ModelError(f"output folder '{folder}' must not be a file; choose another name")
    _check_place(folder)


def write_all(contents: Mapping[Path, str | bytes]) -> None:
    """Write every file, or leave none behind.

    Raises:
        ModelError: the operating system refuses (a full disk, a closed folder).
    """
    written: list[tuple[str, Path]] = []
    try:
        for path, content in contents.items():
            path.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tetrapla-")
            written.append((name, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            Path(name).chmod(0o666 & ~_umask())
        for name, path in written:
            Path(name).replace(path)
    except OSError as error:
        for name, _ in written:
            Path(name).unlink(missing_ok=True)
        where, why = error.filename, error.strerror
        raise ModelError(f"output '{where}' cannot be written: {why}") from None


def _check_place(path: Path) -> None:
    parent = path.parent
    if path.is_dir():
        raise ModelError(f"output file '{path}' must not be a folder; name a file in it")
    if not parent.is_dir():
        raise ModelError(f"output '{path}' must lie in a folder that exists, not '{parent}'")
    if not os.access(parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ModelError(f"output '{path}' must be writable; choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
