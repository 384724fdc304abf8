"""The numbers of many designs of one grid as columns, without a file read for each.

A field's values are read one by one, with the other fields at their first values, so each is
judged as any design is; the columns are put together from what they change. A number that
several fields change together (a derived price or area) is read for each combination of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrapla.designs import Design
from tetrapla.ir.errors import UnsupportedError

Floats: TypeAlias = NDArray[np.float64]
Axes: TypeAlias = Mapping[str, Sequence[str]]

NEUTRAL: Final = frozenset({"dram.capacity_bytes", "memories.unified_buffer_bytes", "name"})
"""Fields that decide whether a model fits, not how it runs."""
MOST_TOGETHER: Final = 2_000  # assumed: combinations that are read from the file, ms each
AREA: Final = "area_mm2"
PRICE: Final = "price."


@dataclass(frozen=True)
class Grid:
    """The combinations of the axes' values, the last one fastest.

    Attributes:
        places: by axis, for each combination the number of its value.
    """

    axes: Axes
    places: Mapping[str, NDArray[np.intp]] = field(init=False)

    def __post_init__(self) -> None:
        sizes = tuple(len(values) for values in self.axes.values())
        found = np.unravel_index(np.arange(prod(sizes)), sizes) if sizes else ()
        object.__setattr__(self, "places", dict(zip(self.axes, found, strict=True)))

    def __len__(self) -> int:
        return prod(len(values) for values in self.axes.values())

    def settings(self, number: int) -> dict[str, str]:
        """One combination as text."""
        return {name: self.axes[name][int(at[number])] for name, at in self.places.items()}


@dataclass(frozen=True)
class Columns:
    """Numbers by name, an entry for each combination or one for all.

    Attributes:
        values: of the spec's fields by path, of prices, and of the area; None is unknown.
    """

    values: Mapping[str, Floats | float | None]


def columns(
    grid: Grid, read: Callable[[Mapping[str, str]], Design], wanted: Mapping[str, str]
) -> Columns:
    """The numbers of every combination.

    Args:
        grid: of fields of a chip.
        read: the design of some fields' values.
        wanted: by path in a spec's data, what the YAML calls a field that counts.

    Raises:
        UnsupportedError: an axis changes what no formula knows, or nothing that counts; or too
            many fields together change one number.
        SpecError: a value is wrong.
    """
    first = {name: values[0] for name, values in grid.axes.items()}
    base = _numbers(read(first))
    changed: dict[str, dict[str, list[Any]]] = {}  # by number, then by axis
    for name, values in grid.axes.items():
        found = [base, *(_numbers(read({**first, name: value})) for value in values[1:])]
        moved = {
            key for each in found for key in {*each, *base} if each.get(key) != base.get(key)
        }
        _check_axis(name, len(values), moved, wanted)
        for key in moved:
            changed.setdefault(key, {})[name] = [each.get(key) for each in found]
    held: dict[str, Floats | float | None] = {
        key: value for key, value in base.items() if _counts(key, wanted)
    }
    together = {key: tuple(axes) for key, axes in changed.items() if len(axes) > 1}
    for key, by_axis in changed.items():
        if _counts(key, wanted) and key not in together:
            ((name, values),) = by_axis.items()
            held[key] = _column(values, grid.places[name])
    for axes in {axes for key, axes in together.items() if _counts(key, wanted)}:
        keys = [key for key, found in together.items() if found == axes]
        held |= _joint(grid, axes, keys, read, first)
    return Columns(held)


def _joint(
    grid: Grid,
    axes: tuple[str, ...],
    keys: Sequence[str],
    read: Callable[[Mapping[str, str]], Design],
    first: Mapping[str, str],
) -> dict[str, Floats | float | None]:
    """Numbers that several axes change, read for each combination of those."""
    sizes = [len(grid.axes[name]) for name in axes]
    if prod(sizes) > MOST_TOGETHER:
        raise UnsupportedError(
            f"--closed-form must have at most {MOST_TOGETHER} combinations of "
            f"{', '.join(axes)}, which together change {keys[0]}, not {prod(sizes)}; give "
            "fewer values, or a number in the chip's YAML"
        )
    found = [
        _numbers(read({**first, **dict(zip(axes, values, strict=True))}))
        for values in product(*(grid.axes[name] for name in axes))
    ]
    where = np.ravel_multi_index(tuple(grid.places[name] for name in axes), sizes)
    return {key: _column([each.get(key) for each in found], where) for key in keys}


def _column(values: Sequence[Any], where: NDArray[np.intp]) -> Floats | None:
    if any(value is None for value in values):
        return None
    return np.array(values, np.float64)[where]


def _numbers(design: Design) -> dict[str, Any]:
    """Every leaf of a spec by its path, its prices, and its area."""
    spec = design.chip.spec
    found: dict[str, Any] = {}
    _flat(spec.model_dump(exclude={"cost", "chip"}), "", found)
    found |= {f"{PRICE}{name}": price for name, price in spec.prices.items()}
    return {**found, AREA: spec.area_mm2}


def _flat(data: Mapping[str, Any], path: str, found: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, Mapping):
            _flat(value, f"{path}{name}.", found)
        else:
            found[f"{path}{name}"] = value


def _counts(key: str, wanted: Mapping[str, str]) -> bool:
    return key in wanted or key == AREA or key.startswith(PRICE)


def _check_axis(name: str, count: int, moved: set[str], wanted: Mapping[str, str]) -> None:
    """Refuse an axis that has no formula, or that would be swept in vain."""
    known = {key for key in moved if _counts(key, wanted)}
    if count == 1 or (known and moved - known <= NEUTRAL):
        return
    if moved <= NEUTRAL:
        raise UnsupportedError(
            f"--set {name} must have an influence in closed form, and has none; leave it or "
            "--closed-form out"
        )
    raise UnsupportedError(
        f"--set {name} must be of {', '.join(wanted.values())}, a price, the static power or "
        "the area with --closed-form, which has no formula for it; leave it or --closed-form "
        "out"
    )
