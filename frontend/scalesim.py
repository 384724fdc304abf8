"""SCALE-Sim's topology tables: layers by their sizes, without values.

A row is a convolution (``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width,
Channels, Num Filter, Strides,``) or, in a table of GEMMs, a product (``Layer, M, N, K,``), with
an optional sparsity (``1:1``) behind. Rows do not chain: each becomes a layer with an input
and an output of its own. What SCALE-Sim 3.0 takes as said is taken so here:

* the IFMAP already holds its padding, there is no batch, and one stride serves both axes;
* where the stride leaves a rest, one more row (column) of windows hangs over the edge, here
  over zeros;
* a row whose name has ``DP`` in it is depthwise: every channel has filters of its own, as many
  as the row says;
* a GEMM is an (M, K) input times (K, N) weights.

A row with N:M sparsity is refused, since the IR's tensors are dense, unless the caller makes
something of the ratios itself (`Topology.sparsity`).

It skips the first line whatever that is and drops what follows the last comma; here the first
line is a header if its second field is no number, and a comma at the end may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

from tetrapla.frontend.names import Names, safe, shown
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.ir.op import MAX_ELEMENTS

SUFFIXES = (".csv",)
MAX_BYTES, MAX_ROWS = 2**22, 10_000  # assumed: the largest table that it ships has 300 rows
_CONV = (
    *("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width"),
    *("Channels", "Num Filter", "Strides"),
)
_GEMM = ("M", "N", "K")
_NUMBER = re.compile(r"[0-9]{1,9}")
_SPARSITY = re.compile(r"[0-9]{1,9}:[0-9]{1,9}")


@dataclass(frozen=True)
class _Field:
    text: str
    place: str  # file:line:column


@dataclass(frozen=True)
class _Row:
    """A layer: its name and sizes, in the order of the columns, and its N:M sparsity."""

    name: _Field
    sizes: tuple[int, ...]
    ratio: tuple[int, int]


@dataclass(frozen=True)
class _Layer:
    """An operator of one input and its weights, by their shapes."""

    kind: str
    input: tuple[int, ...]
    weights: tuple[int, ...]
    attributes: dict[str, Attribute]


class Topology(Module):
    """A table's layers; `sparsity` is (N, M) of those that are not dense, by layer."""

    sparsity: Mapping[str, tuple[int, int]] = MappingProxyType({})


def load(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    sparse: bool = False,
) -> Topology:
    """Read a table as a shape-only module; `dims` must be empty and `batch` 1.

    Args:
        path: the .csv file.
        dims: none.
        batch: 1.
        sparse: whether rows of N:M sparsity are let in, as dense tensors and a ratio.

    Raises:
        ModelError: the file is missing or no such table; a bad row is named by its place.
    """
    path = Path(path)
    if dims:
        raise ModelError(f"{path}: has no symbolic dimension '{next(iter(dims))}'; drop --dim")
    if batch != 1:
        raise ModelError(f"{path}: has no batch; drop --batch {batch}")
    rows = list(_rows(path, _text(path)))
    if not rows:
        raise ModelError(f"{path}: must have at least one layer, not none")
    builder, names = ModuleBuilder(safe(path.stem)), Names()
    ratios: dict[str, tuple[int, int]] = {}
    for row in rows:
        try:
            name = _enter(builder, names, row, sparse)
        except (IRError, ModelError) as error:
            raise ModelError(f"{row.name.place}: {error}") from None
        if row.ratio != (1, 1):
            ratios[name] = row.ratio
    built = builder.finish()
    found = Topology(built.mlir, built.weights, built.name)
    found.sparsity = MappingProxyType(ratios)
    return found


def _text(path: Path) -> str:
    """The file's text without a byte order mark.

    Raises:
        ModelError: it is missing, no plain file, too large, or not text.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of a .csv file")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: must be at most {MAX_BYTES} bytes")
    try:
        text = path.read_text("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: must be UTF-8 text; it cannot be read") from error
    if "\0" in text:
        raise ModelError(f"{path}: must be text, not bytes with NUL in them")
    return text


def _rows(path: Path, text: str) -> Iterator[_Row]:
    """The layers.

    Raises:
        ModelError: a line is none, or of another table than those before it.
    """
    columns: tuple[str, ...] | None = None
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        fields = _fields(f"{path}:{number}", line)
        if not fields:
            continue
        if columns is None:
            columns = _columns(fields)
            if len(fields) > 1 and not _NUMBER.fullmatch(fields[1].text):
                continue
        count += 1
        if count > MAX_ROWS:
            raise ModelError(f"{path}:{number}:1: a table must have at most {MAX_ROWS} layers")
        yield _row(fields, columns)


def _fields(place: str, line: str) -> list[_Field]:
    """What stands between the commas, without empty fields at the end."""
    found: list[_Field] = []
    column = 1
    for part in line.rstrip().split(","):
        start = column + len(part) - len(part.lstrip())
        found.append(_Field(part.strip(), f"{place}:{start}"))
        column += len(part) + 1
    while found and not found[-1].text:
        found.pop()
    return found


def _columns(first: list[_Field]) -> tuple[str, ...]:
    """The table's kind, told by the number of columns of its first line.

    Raises:
        ModelError: it is of neither kind, or its header names the sizes in another order.
    """
    names = tuple(field.text.upper() for field in first[1:4])
    if set(names) == set(_GEMM) and names != _GEMM:
        raise ModelError(
            f"{first[1].place}: the columns of GEMMs must be M, N, K, not {', '.join(names)}"
        )
    for columns in (_GEMM, _CONV):
        if len(columns) <= len(first) - 1 <= len(columns) + 1:
            return columns
    raise ModelError(
        f"{first[0].place}: a layer must have a name and {len(_CONV)} sizes ("
        f"{', '.join(_CONV)}) or {len(_GEMM)} ({', '.join(_GEMM)}), not {len(first)} fields"
    )


def _row(fields: list[_Field], columns: tuple[str, ...]) -> _Row:
    name, *values = fields
    if not len(columns) <= len(values) <= len(columns) + 1:
        raise ModelError(
            f"{name.place}: a layer must have a name and {len(columns)} sizes "
            f"({', '.join(columns)}), not {len(fields)} fields"
        )
    sizes = [_size(field, column) for field, column in zip(values, columns, strict=False)]
    ratios = [_ratio(field) for field in values[len(columns) :]]
    return _Row(name, tuple(sizes), ratios[0] if ratios else (1, 1))


def _size(field: _Field, column: str) -> int:
    if not _NUMBER.fullmatch(field.text) or not int(field.text):
        raise ModelError(
            f"{field.place}: {column} must be a whole number from 1 to 999999999, "
            f"not {shown(field.text)}"
        )
    return int(field.text)


def _ratio(field: _Field) -> tuple[int, int]:
    """N and M of N:M, 1 and 1 where that is dense."""
    if not _SPARSITY.fullmatch(field.text):
        raise ModelError(
            f"{field.place}: a sparsity must be N:M, as 1:1, not {shown(field.text)}"
        )
    kept, of = map(int, field.text.split(":"))
    if not 1 <= kept <= of:
        raise ModelError(
            f"{field.place}: a sparsity N:M must have N from 1 to M, not {field.text}"
        )
    return (1, 1) if kept == of else (kept, of)


def _conv(sizes: tuple[int, ...], depthwise: bool) -> _Layer:
    height, width, rows, cols, channels, filters, stride = sizes
    for size, kernel, axis in ((height, rows, "Height"), (width, cols, "Width")):
        if kernel > size:
            raise ModelError(f"Filter {axis} must be at most the IFMAP's {size}, not {kernel}")
    groups = channels if depthwise else 1
    rest = (-(height - rows) % stride, -(width - cols) % stride)
    attributes: dict[str, Attribute] = {
        "strides": (stride, stride),
        "pads": (0, 0, *rest),
        "dilations": (1, 1),
        "groups": groups,
        "activation": "none",
    }
    weights = (filters * groups, channels // groups, rows, cols)
    return _Layer("nn.conv2d", (1, channels, height, width), weights, attributes)


def _gemm(sizes: tuple[int, ...]) -> _Layer:
    m, n, k = sizes
    return _Layer("nn.matmul", (m, k), (k, n), {"activation": "none"})


def _enter(builder: ModuleBuilder, names: Names, row: _Row, sparse: bool) -> str:
    """Write a row as a layer of its own, and return its name.

    Raises:
        ModelError: its sizes do not go together, or are larger than any tensor.
    """
    if row.ratio != (1, 1) and not sparse:
        kept, of = row.ratio
        raise ModelError(
            f"a layer must be dense (1:1), not {kept}:{of}, since no weights say which; write "
            "1:1, or take --compat scalesim"
        )
    is_conv = len(row.sizes) == len(_CONV)
    layer = _conv(row.sizes, "DP" in row.name.text) if is_conv else _gemm(row.sizes)
    for shape in (layer.input, layer.weights):
        if prod(shape) > MAX_ELEMENTS:
            raise ModelError(
                f"a layer's tensors must have at most {MAX_ELEMENTS} elements, "
                f"not shape {list(shape)}"
            )
    name = names.fresh(row.name.text)
    x = builder.input(f"{name}_in", layer.input)
    w = builder.shape_of_weight(name, layer.weights, "f32")
    builder.output(f"{name}_out", builder.op(layer.kind, [x, w], layer.attributes, name))
    return name
