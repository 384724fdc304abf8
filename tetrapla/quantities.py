"""Numbers for people: engineering prefixes, percentages, and what a check says."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10
from typing import Any

_PREFIXES = {
    **{-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: ""},
    **{3: "k", 6: "M", 9: "G", 12: "T"},
}
UNKNOWN = "n/a"


def quantity(value: float | None, unit: str) -> str:
    """Three significant digits with a prefix, ``12.1 us``; ``n/a`` where it is not known."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return f"0 {unit}"
    exponent = floor(log10(abs(value)) + 1e-12)
    power = _power(exponent)
    scaled = value / 10.0**power
    if abs(scaled) >= 999.5 and power < max(_PREFIXES):
        power, scaled = power + 3, scaled / 1000
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{digits}f} {_PREFIXES[power]}{unit}"


def decade(exponent: int, unit: str) -> str:
    """A power of ten, ``100 us``."""
    power = _power(exponent)
    return f"{10 ** (exponent - power):g} {_PREFIXES[power]}{unit}"


def tick(value: float, largest: float, step: float, unit: str) -> str:
    """A place on a linear axis, with the digits that tell it from the next ``step``."""
    power = _power(floor(log10(largest) + 1e-12))
    digits = max(0, power - floor(log10(step) + 1e-12))
    return f"{value / 10.0**power:.{digits}f} {_PREFIXES[power]}{unit}"


def latency(report: Mapping[str, Any]) -> str:
    """A report's time."""
    return quantity(report["time_s"], "s")


def energy(picojoules: float | None) -> str:
    """Picojoules with a prefix."""
    return quantity(None if picojoules is None else picojoules * 1e-12, "J")


def energy_range(report: Mapping[str, Any]) -> str:
    """Between which energies a report's total lies; nothing where its prices have no range."""
    ends = report["energy_pj"]["range"]
    return "" if ends is None else f"{energy(ends[0])} to {energy(ends[1])}"


def area(square_millimetres: float | None) -> str:
    """An area, to three digits or whole square millimetres."""
    if square_millimetres is None:
        return UNKNOWN
    digits = ",.0f" if square_millimetres >= 100 else ".3g"
    return f"{square_millimetres:{digits}} mm2"


def mass(grams: float | None) -> str:
    """Grams with a prefix, ``12.1 mg``; from a tonne on in tonnes."""
    if grams is not None and abs(grams) >= 1e6:
        return quantity(grams * 1e-6, "t")
    return quantity(grams, "g")


def accuracy(report: Mapping[str, Any]) -> str:
    """A report's accuracy, with its spread over seeds where there is one."""
    found = report["accuracy"]
    if found is None:
        return UNKNOWN
    spread = "" if found["target_std"] is None else f" ± {100 * found['target_std']:.1f}"
    return f"{100 * found['target']:.1f}{spread} %"


def chip_yield(found: Mapping[str, Any]) -> str:
    """How many chips of a noisy kind are good enough, and how sure that is."""
    low, high = (f"{100 * share:.0f}" for share in found["interval_95"])
    good, chips = round(found["good_frac"] * found["chips"]), found["chips"]
    quantiles = ", ".join(f"{100 * each:.1f}" for each in found["accuracy_quantiles"].values())
    return (
        f"yield: {good} of {chips} chips have an accuracy of at least "
        f"{100 * found['least_accuracy']:.1f} %, so {low} to {high} % of all do, with 95 % "
        f"confidence; 5, 50 and 95 % of the chips have at most {quantiles} %"
    )


def count(value: float | None) -> str:
    """A count, or a mean of counts, with thousands apart."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A part of one, in percent; a small one is not rounded to nothing."""
    if value is None:
        return UNKNOWN
    percent = 100 * value
    if 0 < percent < 0.001:
        return "<0.001 %"
    return f"{percent:.3f} %" if 0 < percent < 0.0995 else f"{percent:.1f} %"


def check(found: Mapping[str, Any] | None, short: bool = False) -> str:
    """What a cross-check found, in a few words; `short` leaves the figures out."""
    if found is None:
        return UNKNOWN
    kind, mismatches = found["kind"].replace("_", "-"), found["mismatches"]
    text = kind
    if not short and kind == "bit-exact" and mismatches is not None:
        text = f"{kind}, {count(mismatches)} differ"
    elif not short and kind == "statistical" and found["max_rel_error"] is not None:
        # both are in standard errors of what the spec predicts
        text = f"{kind} {found['max_rel_error']:.1f} ≤ {found['bound']:.1f} σ"
    elif not short and found["max_rel_error"] is not None:
        bound = "" if found["bound"] is None else f" ≤ {found['bound']:.1e}"
        text = f"{kind} {found['max_rel_error']:.1e}{bound}"
    return f"{text}: {'passed' if found['passed'] else 'FAILED'}"


def passed(found: Mapping[str, Any] | None) -> str:
    """Whether a cross-check passed, and no more."""
    return UNKNOWN if found is None else "passed" if found["passed"] else "FAILED"


def _power(exponent: int) -> int:
    return min(max(3 * (exponent // 3), min(_PREFIXES)), max(_PREFIXES))
