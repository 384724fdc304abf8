"""What an earlier `compile` wrote in a folder, as its manifest lists it: no more is removed.

Code that an earlier plan left behind would read this plan's weights, and scripts of a user's
own may have the names of ours. So a manifest lists the files that were written with it: those
that are not written again are removed, and a script that no manifest lists is not replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from tetrapla.ir.errors import ModelError

MANIFEST = "manifest.json"
_FILES = "files"
_SCHEMAS = "tetrapla."  # how the schema of every manifest of ours begins
_GUARDED = (".py", ".cu")  # what a person writes by hand, too


def listed(contents: Mapping[str, str | bytes]) -> dict[str, str | bytes]:
    """Files by name, of which the manifest, where there is one, lists all."""
    if MANIFEST not in contents:
        return dict(contents)
    manifest = json.loads(contents[MANIFEST])
    manifest[_FILES] = sorted(contents)
    return {**contents, MANIFEST: json.dumps(manifest, indent=1) + "\n"}


def check_own(folder: Path, contents: Iterable[str]) -> None:
    """Refuse to write over a script or a manifest that no earlier compile wrote.

    Args:
        folder: the output folder.
        contents: names of what is to be written.

    Raises:
        ModelError: naming the file.
    """
    manifest = _manifest(folder)
    ours = None if manifest is None else [MANIFEST, *manifest.get(_FILES, contents)]
    for name in contents:
        guarded = name == MANIFEST or PurePosixPath(name).suffix in _GUARDED
        if guarded and (folder / name).exists() and name not in (ours or ()):
            raise ModelError(
                f"output '{folder / name}' must be what an earlier compile wrote, by the "
                f"{MANIFEST} in that folder, not a file of your own; choose another folder"
            )


def earlier(folder: Path) -> list[Path]:
    """The files in a folder that its manifest lists; links, and what lies outside, are none."""
    names = (_manifest(folder) or {}).get(_FILES, [])
    root, found = folder.resolve(), list[Path]()
    for name in names:
        path = folder / name
        inside = ".." not in PurePosixPath(name).parts and root in path.resolve().parents
        if inside and path.is_file() and not path.is_symlink():
            found.append(path)
    return found


def remove(
    folder: Path, paths: Iterable[Path], kept: Iterable[Path], read: Sequence[str | None]
) -> list[str]:
    """Remove files, and folders that this leaves empty.

    Args:
        folder: the output folder.
        paths: of `earlier`.
        kept: what was written since.
        read: what the command read, which stays.

    Returns:
        A note that says what is gone, or none.
    """
    held = {path.resolve() for path in (*kept, *(Path(name) for name in read if name))}
    gone: list[Path] = []
    for path in paths:
        if path.resolve() in held:
            continue
        with suppress(OSError):  # what stays is told of as anything else in the folder
            path.unlink()
            gone.append(path)
        for parent in path.relative_to(folder).parents[:-1]:
            with suppress(OSError):  # others' files are in it
                (folder / parent).rmdir()
    if not gone:
        return []
    within = {path.relative_to(folder) for path in gone}
    places = sorted({str(p if len(p.parts) == 1 else p.parent) for p in within})
    return [f"{folder}: what an earlier compile wrote is removed: {', '.join(places)}"]


def _manifest(folder: Path) -> dict[str, Any] | None:
    """A manifest of ours, whose list, if it has one, is of names."""
    try:
        held: Any = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(held, dict) or not str(held.get("schema")).startswith(_SCHEMAS):
        return None
    names = held.get(_FILES, [])
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return held if good else None
