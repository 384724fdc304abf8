"""Numbers for people: engineering prefixes, percentages, and what a check says."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10
from typing import Any

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


def quantity(value: float | None, unit: str) -> str:
    """Three significant digits with a prefix, ``12.1 us``; ``n/a`` where it is not known."""
    if value is None:
        return "n/a"
    if value == 0:
        return f"0 {unit}"
    exponent = floor(log10(abs(value)) + 1e-12)
    power = min(max(3 * (exponent // 3), min(_PREFIXES)), max(_PREFIXES))
    scaled = value / 10.0**power
    if abs(scaled) >= 999.5 and power < max(_PREFIXES):
        power, scaled = power + 3, scaled / 1000
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{digits}f} {_PREFIXES[power]}{unit}"


def latency(report: Mapping[str, Any]) -> str:
    """A report's time."""
    return quantity(report["time_s"], "s")


def energy(picojoules: float | None) -> str:
    """Picojoules with a prefix."""
    return quantity(None if picojoules is None else picojoules * 1e-12, "J")


def area(report: Mapping[str, Any]) -> str:
    """A report's area."""
    return "n/a" if report["area_mm2"] is None else f"{report['area_mm2']:.3g} mm2"


def accuracy(report: Mapping[str, Any]) -> str:
    """A report's accuracy, with its spread over seeds where there is one."""
    found = report["accuracy"]
    if found is None:
        return "n/a"
    spread = "" if found["target_std"] is None else f" ± {100 * found['target_std']:.1f}"
    return f"{100 * found['target']:.1f}{spread} %"


def check(found: Mapping[str, Any] | None) -> str:
    """What a cross-check found, in a few words."""
    if found is None:
        return "n/a"
    kind, mismatches = found["kind"].replace("_", "-"), found["mismatches"]
    if kind == "bit-exact" and mismatches is not None:
        text = f"bit-exact, {mismatches} differ"
    elif found["max_rel_error"] is not None:
        bound = "" if found["bound"] is None else f" ≤ {found['bound']:.1e}"
        text = f"{kind} {found['max_rel_error']:.1e}{bound}"
    else:
        text = kind
    return f"{text}: {'passed' if found['passed'] else 'FAILED'}"
