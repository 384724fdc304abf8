"""A run's slices as Chrome's trace format, which ui.perfetto.dev opens."""

from __future__ import annotations

import json
from typing import Any

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.report import Run

_MICROSECONDS = 1e6


def chrome_trace(run: Run, target: str) -> str:
    """Return the trace of one invocation; a track per unit, times in microseconds.

    Raises:
        UnsupportedError: the machine keeps no slices.
    """
    if not run.trace:
        raise UnsupportedError(f"target '{target}' keeps no trace; drop --trace")
    scale = _MICROSECONDS * run.time_s / run.cycles if run.cycles else 0.0
    units = {unit: i for i, unit in enumerate(dict.fromkeys(s.unit for s in run.trace), 1)}
    events: list[dict[str, Any]] = [_named("process_name", 0, target)]
    events += [_named("thread_name", tid, unit) for unit, tid in units.items()]
    for part in run.trace:
        events.append(
            {
                "name": part.name,
                "ph": "X",
                "pid": 1,
                "tid": units[part.unit],
                "ts": part.start_cycle * scale,
                "dur": (part.end_cycle - part.start_cycle) * scale,
                "args": {
                    "start_cycle": part.start_cycle,
                    "end_cycle": part.end_cycle,
                    "traffic_bytes": part.traffic_bytes,
                },
            }
        )
    return json.dumps({"displayTimeUnit": "ns", "traceEvents": events}, allow_nan=False) + "\n"


def _named(kind: str, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}}
