"""Reading the golden tables of suites: CSV files, refused by file and line, and archives."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

Cells: TypeAlias = Mapping[str, str]

MOST = 2**20  # of a size: products of three then fit 64 bits


def read(path: Path) -> list[tuple[str, Cells]]:
    """The rows by column name, each with its place, ``file:line``.

    Raises:
        ModelError: the file is missing or no text.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise ModelError(f"{path}: must be a readable table; see --golden") from None
    rows = csv.DictReader(text.splitlines())
    return [(f"{path}:{line}", row) for line, row in enumerate(rows, start=2)]


def whole(row: Cells, name: str, where: str, least: int = 1, most: int = MOST) -> int:
    """A column's whole number from `least` to below `most`.

    Raises:
        ModelError: it is none.
    """
    text = row.get(name) or ""
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:20]) < most:
        rule = f"must be a whole number in {least}..{most - 1}"
        raise ModelError(f"{where}: {name} {rule}, not {text!r}")
    return int(text)


def number(row: Cells, name: str, where: str) -> float:
    """A column's finite number.

    Raises:
        ModelError: it is none.
    """
    try:
        found = float(row[name])
    except (KeyError, TypeError, ValueError):
        found = float("nan")
    if not isfinite(found):
        raise ModelError(f"{where}: {name} must be a finite number, not {row.get(name)!r}")
    return found


def arrays(path: Path) -> dict[str, Array]:
    """Everything in an archive.

    Raises:
        ModelError: the file is missing or broken.
    """
    try:
        with np.load(path) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: must be a readable archive; see --golden") from error
