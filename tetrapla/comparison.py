"""Several reports side by side: as JSON, CSV, a page, and a notebook's table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tetrapla import quantities
from tetrapla.ir.errors import RegistryError
from tetrapla.simulators.report import Report, to_json

Facts: TypeAlias = Mapping[str, Any]  # a report's dictionary, schema tetrapla.report/1

SCHEMA = "tetrapla.compare/1"
_CHECKS = ("cross_check", "second_check")
COLUMNS = (
    "model",
    "target",
    "family",
    "batch",
    "cycles",
    "time_s",
    "energy_pj",
    "area_mm2",
    "accuracy_reference",
    "accuracy_target",
    "accuracy_target_std",
    "cross_check_kind",
    "cross_check_mismatches",
    "cross_check_max_rel_error",
    "cross_check_passed",
    "bound_by",
)


@dataclass(frozen=True)
class _Contest:
    """A figure in which one report can be the best."""

    what: str
    value: Callable[[Facts], float | None]
    best: Callable[[Sequence[float]], float]
    shown: Callable[[float], str]

    def won_by(self, reports: Sequence[Facts]) -> str:
        """The best figure and who has it; nothing where it is known of none."""
        values = {i: v for i, r in enumerate(reports) if (v := self.value(r)) is not None}
        if not values:
            return ""
        top = self.best(list(values.values()))
        names = [reports[i]["target"] for i, value in values.items() if value == top]
        return f"{self.what}: {_listed(names)} ({self.shown(top)})"


def _accuracy(report: Facts) -> float | None:
    return None if report["accuracy"] is None else float(report["accuracy"]["target"])


_CONTESTS = (
    _Contest(
        "lowest latency", lambda r: r["time_s"], min, lambda s: quantities.quantity(s, "s")
    ),
    _Contest("lowest energy", lambda r: r["energy_pj"]["total"], min, quantities.energy),
    _Contest(
        "highest accuracy",
        _accuracy,
        max,
        lambda share: f"{100 * share:.1f} %",
    ),
)


@dataclass(frozen=True)
class Comparison:
    """The reports of one or more models on one or more targets, in the order asked."""

    reports: tuple[Report, ...]

    def __iter__(self) -> Iterator[Report]:
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)

    def __getitem__(self, target: str) -> Report:
        """The first report of a target."""
        for report in self.reports:
            if report.target == target:
                return report
        there = ", ".join(report.target for report in self.reports)
        raise RegistryError(f"no report of '{target}'; there are: {there or 'none'}")

    @property
    def passed(self) -> bool:
        """Whether no cross-check failed."""
        checks = [c for r in self.reports for c in (r.cross_check, r.second_check)]
        return all(check is None or check.passed for check in checks)

    def to_dict(self) -> dict[str, Any]:
        """The public contract's fields."""
        return {"schema": SCHEMA, "reports": [report.to_dict() for report in self.reports]}

    def to_json(self) -> str:
        """The public contract's JSON: the same command gives the same bytes."""
        return to_json(self.to_dict())

    def to_csv(self) -> str:
        """One row per report, empty where a figure is not known."""
        return csv_of([report.to_dict() for report in self.reports])

    def to_html(self) -> str:
        """A page of its own that opens offline."""
        from tetrapla.page import page

        sights = [report.scene.look() if report.scene else None for report in self.reports]
        return page([report.to_dict() for report in self.reports], sights)

    def _repr_html_(self) -> str:
        from tetrapla.page import summary

        return summary([report.to_dict() for report in self.reports])


def csv_of(reports: Iterable[Facts]) -> str:
    """One row per report, `COLUMNS` by name; empty where a figure is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for report in reports:
        row = _flat(report)
        writer.writerow(["" if row[name] is None else row[name] for name in COLUMNS])
    return text.getvalue()


def bound_by(report: Facts) -> str | None:
    """What bounds most of a report's time: the layers' bounds weighted by their cycles."""
    cycles: dict[str, float] = {}
    for layer in report["layers"]:
        cycles[layer["bound_by"]] = cycles.get(layer["bound_by"], 0) + layer["cycles"]
    return max(cycles, key=lambda name: (cycles[name], name)) if cycles else None


def verdict(reports: Sequence[Facts]) -> str:
    """Who is best at what, and whether the numbers were checked."""
    known = [text for contest in _CONTESTS if (text := contest.won_by(reports))]
    if len(reports) < 2:
        return f"{_checked(reports)}."
    best = "; ".join(known)
    return f"{best[:1].upper()}{best[1:]}. {_checked(reports)}."


def _checked(reports: Sequence[Facts]) -> str:
    checks = [(r["target"], r[key]) for r in reports for key in _CHECKS if r.get(key)]
    failed = dict.fromkeys(name for name, check in checks if not check["passed"])
    unchecked = [r["target"] for r in reports if r["cross_check"] is None]
    if failed:
        return f"The cross-check FAILED on {_listed(list(failed))}"
    if unchecked:
        return f"There is no cross-check for {_listed(unchecked)}"
    who = "Every machine" if len(reports) > 1 else "The machine"
    return f"{who} agrees with the reference interpreter within its bound"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _flat(report: Facts) -> dict[str, Any]:
    accuracy, check = report["accuracy"] or {}, report["cross_check"] or {}
    row = {name: report[name] for name in COLUMNS if name in report}
    row["energy_pj"] = report["energy_pj"]["total"]
    for key in ("reference", "target", "target_std"):
        row[f"accuracy_{key}"] = accuracy.get(key)
    for key in ("kind", "mismatches", "max_rel_error", "passed"):
        row[f"cross_check_{key}"] = check.get(key)
    row["bound_by"] = bound_by(report)
    return row
