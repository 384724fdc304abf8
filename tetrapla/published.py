"""Published figures beside ours, by chip: the rows of `validate` that a report page shows.

The suites take minutes, so their rows are kept as data. ``python -m tetrapla.published`` writes
them again (``python -m tetrapla.published FILE.json`` from what ``validate --json`` wrote); a
test holds them to what the suites give.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from tetrapla.simulators.spec_ import chips

_KEPT: Final = ("quantity", "unit", "case", "published", "ours", "bound", "source", "suite")
_EACH: Final = 6  # more rows of one quantity of a chip, and the worst of them stands for all
_EXACT: Final = 1e-6  # a bound that no more than roundings keep to
_DIGITS: Final = 5  # processors differ in the last ones
# cases that do not name the chip whose rules they hold
_RULES: Final = {"lava": "loihi", "sanafe": "loihi"}
_MEANS: Final = {"product_rate_error": ("a100", "h100", "b200", "mi300x", "h200")}


def kept() -> list[dict[str, Any]]:
    """The rows of all chips, as the data file has them."""
    text = (files("tetrapla") / "data" / "published.json").read_text("utf-8")
    found: list[dict[str, Any]] = json.loads(text)["rows"]
    return found


def of_chips(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `validate` that are of a chip, the like of one chip as one.

    Args:
        rows: as `validate --json` writes them.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["published"] is None or row["ours"] is None:
            continue
        for chip in chips_of(row):
            key = (chip, row["suite"], row["quantity"], row["unit"], str(row["bound"] is None))
            groups.setdefault(key, []).append(row)
    found = []
    for (chip, *_), held in groups.items():
        exact = all((row["bound"] or 1.0) <= _EXACT or row["bound"] == 0 for row in held)
        shown = [max(held, key=_error)] if exact or len(held) > _EACH else held
        found += [{"chip": chip, **_row(row, len(held) // len(shown))} for row in shown]
    return sorted(found, key=lambda row: (row["chip"], row["bound"] is None))


def chips_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The chips that a row is of; none where it is of a device, a circuit or another tool."""
    if row["quantity"] in _MEANS:
        return _MEANS[row["quantity"]]
    known = chips()
    if row["suite"] in known:
        return (row["suite"],)
    words = re.split(r"[\s,_]+", f"{row['case']} {row['quantity']}".lower())
    first = next((word for word in words if word in known or word in _RULES), None)
    return () if first is None else (_RULES.get(first, first),)


def written(rows: Iterable[Mapping[str, Any]]) -> str:
    """The data file's text: a row on a line."""
    lines = (json.dumps(row, ensure_ascii=False) for row in of_chips(rows))
    return '{"schema": "tetrapla.published/1", "rows": [\n' + ",\n".join(lines) + "\n]}\n"


def _row(row: Mapping[str, Any], cases: int) -> dict[str, Any]:
    held = {name: row[name] for name in _KEPT}
    for name in ("published", "ours", "bound"):
        if held[name] is not None:
            held[name] = float(f"{held[name]:.{_DIGITS}g}")
    return {**held, "passed": row["passed"], "cases": cases}


def _error(row: Mapping[str, Any]) -> float:
    return abs(row["rel_error"]) if row["rel_error"] is not None else 0.0


def main(arguments: Sequence[str]) -> None:
    """Write the data file of this checkout."""
    if arguments:
        rows = [row for name in arguments for row in json.loads(Path(name).read_text())["rows"]]
    else:
        from tetrapla.validation import validate

        rows = [row.to_dict() for row in validate()]
    place = Path(__file__).resolve().parent / "data" / "published.json"
    place.write_text(written(rows), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
