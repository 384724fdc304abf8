"""What a machine's units did, as Chrome's trace format, which ui.perfetto.dev opens.

A track per unit; what a unit does at the same time as something else goes to a track beside it,
so that no two slices of a track overlap. Times are in microseconds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapla import __version__
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.simulators.recording_ import Recording, Stretch, of_slices
from tetrapla.simulators.report import Run

if TYPE_CHECKING:
    from tetrapla.designs import Design
    from tetrapla.run import Result

_MICROSECONDS = 1e6
_PROCESS = 1
SUFFIXES = (".json", ".json.gz")


def check_name(path: Path) -> None:
    """Refuse a name that says neither what is written nor that it is packed.

    Raises:
        ModelError: a file that ends in .gz and not in .json.gz.
    """
    if path.suffix == ".gz" and not path.name.endswith(SUFFIXES[1]):
        raise ModelError(f"--trace must end in .json or .json.gz, not '{path}'; rename it")


def chrome_trace(
    run: Run,
    target: str,
    recording: Recording | None = None,
    about: dict[str, str] | None = None,
) -> str:
    """Return the trace of one invocation.

    Args:
        run: of the machine.
        target: what the process is called.
        recording: what the family made of the run; None for the slices that it keeps.
        about: facts of the run that the file also says.

    Raises:
        UnsupportedError: the machine keeps no slices.
    """
    found = of_slices(run) if recording is None else recording
    if not found.stretches:
        raise UnsupportedError(f"target '{target}' keeps no trace; drop --trace")
    events = [_named("process_name", 0, target)]
    lanes = _lanes(found.stretches)
    for track, (name, _) in enumerate(lanes, 1):
        events.append(_named("thread_name", track, name))
        order = {"sort_index": track}
        events.append(
            {
                "name": "thread_sort_index",
                "ph": "M",
                "pid": _PROCESS,
                "tid": track,
                "args": order,
            }
        )
    for track, (_, parts) in enumerate(lanes, 1):
        for part in parts:
            start = part.start_s * _MICROSECONDS
            events.append(
                {
                    "name": part.name,
                    "ph": "X",
                    "pid": _PROCESS,
                    "tid": track,
                    "ts": start,
                    "dur": max(0.0, part.end_s * _MICROSECONDS - start),
                    "args": dict(part.notes),
                }
            )
    for counter in found.counters:
        for second, value in counter.points:
            events.append(
                {
                    "name": counter.name,
                    "ph": "C",
                    "pid": _PROCESS,
                    "tid": 0,
                    "ts": second * _MICROSECONDS,
                    "args": {"value": value},
                }
            )
    other = {"of": found.what, **(about or {})}
    whole = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": events}
    return json.dumps(whole, allow_nan=False, ensure_ascii=False) + "\n"


def trace_file(result: Result, path: Path) -> str | bytes:
    """The file of a simulation's first run; packed, without a date, where the name says so.

    Raises:
        UnsupportedError: the machine keeps no slices.
    """
    report, (run, *_) = result.report, result.runs
    assert result.executable is not None, "a simulation was compiled"
    about = {"model": report.model, "target": report.target, "command": report.command}
    about["made_by"] = f"tetrapla {__version__}"
    text = chrome_trace(run, report.target, result.executable.recorded(run), about)
    return gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text


def check_systolic(design: Design) -> None:
    """Refuse waveforms of a machine that has no cycles to show.

    Raises:
        UnsupportedError: it is no systolic array.
    """
    if design.target.family != "systolic":
        raise UnsupportedError(
            f"--vcd must come with a systolic target, not {design.label} of the family "
            f"{design.target.family}; take tpu-v1, or --trace for this one"
        )


def vcd_file(result: Result, layer: str | None) -> str:
    """The waveforms of a layer on the first sample.

    Raises:
        ModelError: there is no such layer, or the run is too long.
    """
    from tetrapla.simulators.systolic.waveform import waveform

    made = result.executable
    assert made is not None, "a simulation was compiled"
    first = {name: array[:1] for name, array in (result.inputs or {}).items()}
    version = f"tetrapla {__version__}"
    return waveform(made.lowered.program, made.spec, first, layer, version)


def _lanes(stretches: Sequence[Stretch]) -> list[tuple[str, list[Stretch]]]:
    """Tracks: a unit's own, and behind it as many as it does things at once."""
    units: dict[str, list[list[Stretch]]] = {}
    for part in sorted(stretches, key=lambda each: (each.start_s, -each.end_s)):
        tracks = units.setdefault(part.unit, [])
        for held in tracks:
            if held[-1].end_s <= part.start_s:
                held.append(part)
                break
        else:
            tracks.append([part])
    order = dict.fromkeys(part.unit for part in stretches)
    return [
        (unit if number == 1 else f"{unit} ({number})", held)
        for unit in order
        for number, held in enumerate(units[unit], 1)
    ]


def _named(kind: str, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": _PROCESS, "tid": tid, "args": {"name": name}}
