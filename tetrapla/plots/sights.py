"""Which report of a file has the part of a sight that a figure draws."""

from __future__ import annotations

from tetrapla.ir.errors import ModelError
from tetrapla.plots.runs import Facts, RunFile, chosen


def seen(run: RunFile, part: str, target: str | None, way: str) -> Facts:
    """The one report that has it.

    Args:
        run: the file.
        part: the key under "sight".
        target: of this one, where several have it.
        way: what to do where none has it.

    Raises:
        ModelError: none has it, or several and none is named.
    """
    kind = {"rasters": "raster"}.get(part, part)
    if run.swept:
        raise ModelError(
            f"{kind} must have one report or a comparison, not the sweep {run.path}; "
            "run `simulate` on one of its points with --json"
        )
    reports = chosen(run, target)
    held = [report for report in reports if (report.get("sight") or {}).get(part)]
    if not held:
        names = ", ".join(dict.fromkeys(str(report["target"]) for report in reports))
        raise ModelError(f"{kind} must have {_WHAT[part]}, not {names} of {run.path}; {way}")
    if len(held) > 1:
        names = ", ".join(dict.fromkeys(str(report["target"]) for report in held))
        several = len({report["target"] for report in held}) == 1
        rest = "give a file of one report" if several else "choose one with --of"
        raise ModelError(f"{kind} must be of one report, not of {len(held)}: {names}; {rest}")
    return held[0]


_WHAT = {"timeline": "a machine that keeps a timeline", "rasters": "a machine that spikes"}
