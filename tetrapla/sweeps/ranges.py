"""The values that a field of a sweep takes: a list, or a range by steps or by factors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from tetrapla.ir.errors import ModelError

MAX_POINTS = 100_000  # assumed: more is a typing error
_NUMBER = r"\d{1,18}(?:\.\d{1,18})?"
_RANGE = re.compile(
    rf"(?P<first>{_NUMBER})\s*(?P<unit>[A-Za-z%]*)\s*:\s*(?P<last>{_NUMBER})"
    rf"\s*(?P<last_unit>[A-Za-z%]*)\s*"
    rf"(?::\s*(?:(?P<step>\*?\s*{_NUMBER})|(?P<spread>lin|log)(?P<count>\d{{1,6}}))\s*)?",
    re.ASCII,
)


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``FIELD=V1,V2``, ``A:B``, ``A:B:STEP``, ``A:B:*FACTOR``, ``A:B:lin5``, ``A:B:log5``.

    A range starts at A and does not go beyond B; it may have a unit, ``100MHz:1600MHz:*2``. So
    many values of ``lin`` or ``log`` have both ends and equal steps or factors between them.

    Raises:
        ModelError: one is neither, or is given twice.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, _, values = (part.strip() for part in text.partition("="))
        found = _values(text, values)
        if not field or not all(found):
            raise ModelError(
                f"--set must be FIELD=V1,V2 or FIELD=A:B, not '{text}'; write array.rows=16,32"
            )
        if field in grid:
            raise ModelError(f"--set must name '{field}' once, not twice; join its values")
        grid[field] = found
    return grid


def _values(text: str, values: str) -> tuple[str, ...]:
    if ":" not in values or "," in values:
        found = tuple(value.strip() for value in values.split(","))
        for value, count in Counter(found).items():
            if value and count > 1:
                raise ModelError(
                    f"--set must give each value once, not '{value}' {count} times in '{text}'"
                )
        return found
    match = _RANGE.fullmatch(values)
    if match is None or match["unit"] != (match["last_unit"] or match["unit"]):
        raise ModelError(
            "--set A:B must be two numbers of one unit, and a step or a factor may follow, "
            f"not '{text}'; write 16:256:*2 or list the values"
        )
    ends = Decimal(match["first"]), Decimal(match["last"])
    if match["spread"]:
        numbers = _spread(*ends, match["spread"], int(match["count"]))
    else:
        numbers = _range(*ends, match["step"] or "1")
    if not numbers:
        raise ModelError(
            f"--set A:B must go upwards over at most {MAX_POINTS} values, not '{text}'; "
            "list fewer values"
        )
    return tuple(f"{number:f}{match['unit']}" for number in numbers)


def _range(first: Decimal, last: Decimal, step: str) -> list[Decimal]:
    """The values from first to last, which a step may miss; none if they are too many."""
    by = Decimal(step.lstrip("*"))
    grows = by > 1 and first > 0 if step[0] == "*" else by > 0
    if not grows or last < first:
        return []
    found = [first]
    while len(found) <= MAX_POINTS:
        value = found[-1] * by if step[0] == "*" else found[-1] + by
        if value > last:
            return found
        found.append(value)
    return []


def _spread(first: Decimal, last: Decimal, by: str, count: int) -> list[Decimal]:
    """So many values with both ends; none if they are too few, or cannot be.

    Between whole ends they are whole: a count of rows has no fraction, and a clock needs none.
    """
    if last <= first or not 2 <= count <= MAX_POINTS or (by == "log" and first <= 0):
        return []
    whole = first == int(first) and last == int(last)
    found = [first]
    for place in range(1, count - 1):
        share = Decimal(place) / (count - 1)
        value = first + (last - first) * share
        if by == "log":
            value = first * (last / first) ** share
        rounded = value.quantize(Decimal(1)) if whole else Decimal(f"{value:.6g}").normalize()
        found.append(rounded)
    return [*dict.fromkeys((*found, last))]
