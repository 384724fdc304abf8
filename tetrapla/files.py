"""Writing results: all of them or none, and never over something that was read.

Paths are judged before the work starts, so that a typing error costs no minutes; every file
is written under a temporary name beside its place and then renamed. ``-`` is the standard
output; a device or a pipe is written to, never replaced.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tetrapla.ir.errors import ModelError

STDOUT = Path("-")


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[str | None] = ()) -> None:
    """Refuse output files that could not be written, or that are read or named twice.

    Raises:
        ModelError: which path breaks which rule.
    """
    read = {_resolved(Path(name)) for name in inputs if name}
    seen: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        place = path if path == STDOUT else _resolved(path)
        if place in read:
            raise ModelError(f"output file '{path}' must not be an input; choose another name")
        if place in seen:
            raise ModelError(f"output file '{path}' must be named once; choose two names")
        seen.add(place)
        if path != STDOUT:
            _check_place(path)


def check_folder(folder: Path) -> None:
    """Refuse an output folder that could not be made or filled.

    Raises:
        ModelError: it is a file or a link to itself, or its parent folder is missing or closed.
    """
    if folder == STDOUT:
        raise ModelError("output folder must have a name, not '-'; name a folder")
    _resolved(folder)
    if folder.is_dir():
        if not os.access(folder, os.W_OK):
            raise ModelError(f"output folder '{folder}' must be writable; choose another")
        return
    if folder.exists():
        raise ModelError(f"output folder '{folder}' must not be a file; choose another name")
    _check_place(folder)


def write_all(contents: Mapping[Path, str | bytes], folder: Path | None = None) -> None:
    """Write every file, or leave none behind; a missing folder of theirs is made.

    Args:
        contents: by path.
        folder: under which folders in folders may be made, too.

    Raises:
        ModelError: the operating system refuses (a full disk, a closed folder).
    """
    ready: list[tuple[Path, Path]] = []
    streams: list[tuple[Path, bytes]] = []
    path = Path()
    with ExitStack() as undo:
        try:
            for path, content in contents.items():
                data = as_bytes(content)
                if _is_stream(path):
                    streams.append((path, data))
                else:
                    ready.append((_prepared(path, data, undo, folder), path.resolve()))
            for path, data in streams:
                _send(path, data)
            for temporary, path in ready:
                temporary.replace(path)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ModelError(
                f"output '{path}' must be writable, not refused by the system: "
                f"{error.strerror}; choose another place"
            ) from None
        undo.pop_all()


def as_bytes(content: str | bytes) -> bytes:
    """UTF-8; what a path holds beyond that becomes a question mark."""
    return content.encode("utf-8", "replace") if isinstance(content, str) else content


def _prepared(path: Path, data: bytes, undo: ExitStack, root: Path | None) -> Path:
    """The content under a temporary name in the folder of `path`; `undo` removes it."""
    folder = path.resolve().parent
    above = (
        [] if root is None else [p for p in folder.parents if p.is_relative_to(root.resolve())]
    )
    for each in (*reversed(above), folder):
        if each.is_dir():
            continue
        each.mkdir()
        undo.callback(_remove_empty, each)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".tetrapla-")
    temporary = Path(name)
    undo.callback(temporary.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    temporary.chmod(0o666 & ~_umask())
    return temporary


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _send(path: Path, data: bytes) -> None:
    if path == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        with path.open("wb") as stream:
            stream.write(data)


def _is_stream(path: Path) -> bool:
    return path == STDOUT or (path.exists() and not path.is_file() and not path.is_dir())


def _check_place(path: Path) -> None:
    parent = path.resolve().parent if path.is_symlink() else path.parent
    if path.is_dir():
        raise ModelError(f"output file '{path}' must not be a folder; name a file in it")
    if not parent.is_dir():
        raise ModelError(
            f"output '{path}' must lie in a folder that exists, not in '{parent}'; "
            "make the folder or choose another place"
        )
    closed = not _is_stream(path) and not os.access(parent, os.W_OK)
    if closed or (path.exists() and not os.access(path, os.W_OK)):
        raise ModelError(f"output '{path}' must be writable; choose another place")


def _resolved(path: Path) -> Path:
    """The place that a path leads to.

    Raises:
        ModelError: its links lead round in a circle.
    """
    try:
        return path.resolve()
    except RuntimeError:  # of Python before 3.13; later ones give a path that does not exist
        raise ModelError(
            f"'{path}' must lead to a file, not to a symbolic link that leads to itself; "
            "give another path"
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
