"""Several reports side by side: as JSON, CSV, a page, and a notebook's table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tetrapla.ir.errors import RegistryError
from tetrapla.simulators.report import Report, to_json

SCHEMA = "tetrapla.compare/1"
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
        raise RegistryError(f"no report of '{target}'; there are: {there}")

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
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for report in self.reports:
            row = flat(report.to_dict())
            writer.writerow(["" if row[name] is None else row[name] for name in COLUMNS])
        return text.getvalue()

    def to_html(self) -> str:
        """A page of its own that opens offline."""
        from tetrapla.page import page

        return page([report.to_dict() for report in self.reports])

    def _repr_html_(self) -> str:
        from tetrapla.page import summary

        return summary([report.to_dict() for report in self.reports])


def flat(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report's figures as one row, `COLUMNS` by name."""
    accuracy, check = report["accuracy"] or {}, report["cross_check"] or {}
    row = {name: report[name] for name in COLUMNS if name in report}
    row["energy_pj"] = report["energy_pj"]["total"]
    for key in ("reference", "target", "target_std"):
        row[f"accuracy_{key}"] = accuracy.get(key)
    for key in ("kind", "mismatches", "max_rel_error", "passed"):
        row[f"cross_check_{key}"] = check.get(key)
    row["bound_by"] = bound_by(report)
    return row


def bound_by(report: Mapping[str, Any]) -> str | None:
    """What bounds most of a report's time: the layers' bounds weighted by their cycles."""
    cycles: dict[str, float] = {}
    for layer in report["layers"]:
        cycles[layer["bound_by"]] = cycles.get(layer["bound_by"], 0) + layer["cycles"]
    return max(cycles, key=lambda name: (cycles[name], name)) if cycles else None
