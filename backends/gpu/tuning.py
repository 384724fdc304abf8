"""Tiles that were found on a GPU, in place of those of the time model: a tuning file.

    {"schema": "tetrapla.tuning/1", "device": "NVIDIA H200", "date": "2026-11-21",
     "entries": [{"chip": "h200", "format": "fp16", "problem": [1, 4096, 4096, 1024],
                  "kernel": "3f...", "tile": [128, 256, 64], "warps": 8, "stages": 3}]}

`kernel` is the SHA-256 of the emitted text under the tile of `tiles.covering`, so that an entry
ends with the code that it was measured on. A tile's k changes the order of a float's sum: the
plan with the file is another plan, its report says so, and its bound covers any tile that is
taken. Integers are the same under every tile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tetrapla.backends.gpu.tiles import DEPTHS, LEAST_DEPTHS, SIZES, covering, stage_bytes
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.gpu.formats import FORMAT_OF_OPERAND
from tetrapla.simulators.gpu.kernels import Product, Tile
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec

SCHEMA = "tetrapla.tuning/1"
WARPS, STAGES = (2, 4, 8, 16), (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Key:
    """What a tile was found for."""

    chip: str
    format: str
    problem: tuple[int, ...]
    kernel: str


@dataclass(frozen=True)
class Tuning:
    """The tiles of a file.

    Attributes:
        path: of the file.
        device: on which they were found.
        date: when.
        tiles: by what they were found for.
    """

    path: str
    device: str
    date: str
    tiles: Mapping[Key, Tile]


def read_tuning(path: Path) -> Tuning:
    """A tuning file.

    Raises:
        ModelError: it is not there, of another kind, or lacks a part.
    """
    rule = f"must be a tuning file ({SCHEMA})"
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"tuning file '{path}' must exist; give another path") from None
    except OSError as error:
        raise ModelError(
            f"tuning file '{path}' must be readable, not refused: {error.strerror}"
        ) from None
    except ValueError:
        raise ModelError(f"'{path}' {rule}, not something else; write it again") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ModelError(f"'{path}' {rule}, not of another schema; write it again")
    try:
        entries = dict(map(_entry, data["entries"]))
        return Tuning(str(path), str(data["device"]), str(data["date"]), entries)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"'{path}' {rule} with device, date and entries, not without {error}; write it "
            "again"
        ) from None


def tuned(program: Program, spec: GpuSpec, tuning: Tuning) -> tuple[Program, str]:
    """The program in the file's tiles, and a sentence that says so.

    Raises:
        ModelError: a tile that the chip or the format has no room for.
    """
    found = 0
    kernels = list(program.kernels)
    for position, key in keys(program, spec):
        kernel = kernels[position]
        assert isinstance(kernel, Product)
        tile = tuning.tiles.get(key)
        if tile is not None:
            _check(tile, kernel, spec, tuning.path)
            kernels[position] = replace(kernel, tile=tile)
            found += 1
    products = sum(isinstance(kernel, Product) for kernel in kernels)
    said = (
        f"tiles of {found} of {products} products are those of {tuning.path}, found on "
        f"{tuning.device}, {tuning.date}: sums of floats may differ from the plan without it"
    )
    return replace(program, kernels=tuple(kernels)), said


def keys(program: Program, spec: GpuSpec) -> Iterator[tuple[int, Key]]:
    """Of every product, its position among the kernels and what a file calls it."""
    plain = [
        replace(k, tile=covering(*k.problem[1:], k.operand)) if isinstance(k, Product) else k
        for k in program.kernels
    ]
    made, names = functions(replace(program, kernels=tuple(plain)))
    texts = {each.name: each.text for each in made}
    for position, kernel in enumerate(plain):
        if isinstance(kernel, Product):
            digest = hashlib.sha256(texts[names[position]].encode()).hexdigest()
            number_format = FORMAT_OF_OPERAND[kernel.operand]
            yield position, Key(spec.name, number_format, kernel.problem, digest)


def written(tuning: Tuning) -> str:
    """The text of a file."""
    entries = [
        {
            "chip": key.chip,
            "format": key.format,
            "problem": list(key.problem),
            "kernel": key.kernel,
            "tile": [tile.m, tile.n, tile.k],
            "warps": tile.warps,
            "stages": tile.stages,
        }
        for key, tile in tuning.tiles.items()
    ]
    head = {"schema": SCHEMA, "device": tuning.device, "date": tuning.date}
    return json.dumps({**head, "entries": entries}, indent=1) + "\n"


def _entry(data: Mapping[str, Any]) -> tuple[Key, Tile]:
    problem = tuple(int(size) for size in data["problem"])
    m, n, k = (int(size) for size in data["tile"])
    key = Key(str(data["chip"]), str(data["format"]), problem, str(data["kernel"]))
    return key, Tile(m, n, k, int(data["warps"]), int(data["stages"]))


def _check(tile: Tile, kernel: Product, spec: GpuSpec, path: str) -> None:
    """A bound counts on depths of at least 16 and at most the format's."""
    operand = kernel.operand
    depths = [d for d in SIZES if LEAST_DEPTHS[operand] <= d <= DEPTHS[operand]]
    rules: Sequence[tuple[str, int, Sequence[int]]] = (
        ("m", tile.m, SIZES),
        ("n", tile.n, SIZES),
        ("k", tile.k, depths),
        ("warps", tile.warps, WARPS),
        ("stages", tile.stages, STAGES),
    )
    name = f"{path}: a tile of {FORMAT_OF_OPERAND[operand]}"
    for what, value, known in rules:
        if value not in known:
            there = ", ".join(map(str, known))
            raise ModelError(f"{name} must have {what} of {there}, not {value}; tune it again")
    room, needed = spec.block.shared_memory_bytes, stage_bytes(tile, operand)
    if needed * tile.stages > room:
        raise ModelError(
            f"{name} must fit the {room} bytes of shared memory of {spec.name}, not take "
            f"{needed * tile.stages}; tune it again"
        )
