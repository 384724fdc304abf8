"""What the runs of a design have executed and toggled, from the counts that models leave.

    python -m tetrapla.simulators.rtl.coverage FOLDER

prints a table and what was never reached, for the `.dat` files of a folder. Verilator writes
a record for each point, `C '<key>^B<value>^A...' <count>`. Points of the same place in the
source are one here, whatever the instance and its parameters.

Verilator counts a block at its end, so one that holds a `return` may never be counted; such
points are left out.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tetrapla.simulators.rtl.toolchain import SOURCES

KINDS = ("line", "branch", "toggle")
_PAIR = re.compile("\x01([a-zA-Z]+)\x02([^\x01]*)")


@dataclass(frozen=True, order=True)
class Point:
    """A block, a way of a branch or a bit's edge, where it stands in the source."""

    file: str
    line: int
    column: int
    kind: str
    what: str
    lines: str = ""  # of the block, as in "3,5-7"


Counts = Mapping[Point, int]


def read(files: Iterable[Path]) -> Counts:
    """The counts of some files, added."""
    found: dict[Point, int] = defaultdict(int)
    known: dict[str, Point] = {}
    for file in files:
        for text in file.read_text("utf-8").splitlines():
            if not text.startswith("C '"):
                continue
            key, count = text[3:].rsplit("' ", 1)
            if key not in known:
                known[key] = _point(key)
            found[known[key]] += int(count)
    return {point: count for point, count in found.items() if not _returns(point)}


def _point(key: str) -> Point:
    values = dict(_PAIR.findall(key))
    kind = values["page"].split("/")[0].removeprefix("v_")
    file, line, column = Path(values["f"]).name, int(values["l"]), int(values["n"])
    return Point(file, line, column, kind, values.get("o", ""), values.get("S", ""))


def _returns(point: Point) -> bool:
    """Whether a block, or a branch on its line, holds a `return`."""
    return point.kind != "toggle" and any("return" in text for text in source(point))


def source(point: Point) -> list[str]:
    """The lines of a point's block, or its own; empty for what lies outside `SOURCES`."""
    text = _text(point.file)
    if not text:
        return [""]
    spans = [part.split("-") for part in point.lines.split(",") if part]
    numbers = [n for one in spans for n in range(int(one[0]), int(one[-1]) + 1)]
    return [text[n - 1].strip() for n in numbers or [point.line]]


@lru_cache
def _text(file: str) -> list[str]:
    path = SOURCES / file
    return path.read_text("utf-8").splitlines() if path.exists() else []


def share(counts: Counts, kind: str, file: str = "") -> tuple[int, int]:
    """Points of a kind that were reached, and all; of one file, or of all."""
    found = [n for p, n in counts.items() if p.kind == kind and file in ("", p.file)]
    return sum(n > 0 for n in found), len(found)


def missed(counts: Counts, kind: str) -> list[Point]:
    """Points of a kind that were never reached, in order."""
    return sorted(p for p, n in counts.items() if p.kind == kind and not n)


def table(counts: Counts) -> str:
    """By file what was reached of what there is."""
    files = sorted({p.file for p in counts})
    lines = [f"{'file':24}" + "".join(f"{kind:>20}" for kind in KINDS)]
    for file in (*files, ""):
        cells = (share(counts, kind, file) for kind in KINDS)
        shown = (f"{a} of {b} {100 * a / b:5.1f} %" if b else "none" for a, b in cells)
        lines.append(f"{file or 'all':24}" + "".join(f"{cell:>20}" for cell in shown))
    return "".join(f"{line}\n" for line in lines)


def show(counts: Counts) -> None:
    """Print the table, then lines and branches that were missed."""
    sys.stdout.write(table(counts))
    for kind in ("line", "branch"):
        for p in missed(counts, kind):
            sys.stdout.write(f"never: {p.file}:{p.line} {p.what}: {source(p)[0]}\n")


if __name__ == "__main__":
    show(read(Path(sys.argv[1]).glob("*.dat")))
