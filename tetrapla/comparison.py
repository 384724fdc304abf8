"""Several reports side by side: as JSON, CSV, a page, and a notebook's table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tetrapla import quantities
from tetrapla.columns import Facts as Facts
from tetrapla.columns import bound_by as bound_by
from tetrapla.columns import columns as columns
from tetrapla.columns import energy_pj, every, judged, names, objectives, pareto
from tetrapla.ir.errors import RegistryError
from tetrapla.simulators.report import Report, to_json

if TYPE_CHECKING:
    from tetrapla.frames import Frame

SCHEMA = "tetrapla.compare/1"
_FEW = 3  # of a tie among all, more are not named one by one
_CHECKS = ("cross_check", "second_check")
COLUMNS = tuple(column.key for column in every())  # of CSV


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
        called = names(reports)
        winners = [called[i] for i, value in values.items() if value == top]
        if len(winners) == len(reports) > _FEW:
            winners = ["all"]
        return f"{self.what}: {_listed(winners)} ({self.shown(top)})"


def _accuracy(report: Facts) -> float | None:
    return None if report["accuracy"] is None else float(report["accuracy"]["target"])


_CONTESTS = (
    _Contest(
        "lowest latency", lambda r: r["time_s"], min, lambda s: quantities.quantity(s, "s")
    ),
    _Contest("lowest energy", energy_pj, min, quantities.energy),
    _Contest(
        "highest accuracy",
        _accuracy,
        max,
        lambda share: f"{100 * share:.1f} %",
    ),
)


@dataclass(frozen=True)
class Skipped:
    """What was asked for and a machine cannot do; `quant` is None for the chip's own format."""

    model: str
    target: str
    batch: int
    quant: str | None
    why: str

    @property
    def label(self) -> str:
        """In a few words."""
        form = "" if self.quant is None else f", {self.quant}"
        return f"{self.model} on {self.target} (batch {self.batch}{form})"


@dataclass(frozen=True)
class Comparison:
    """The reports of one or more models on one or more targets, in the order asked."""

    reports: tuple[Report, ...]
    skipped: tuple[Skipped, ...] = ()

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

    def reasons(self) -> dict[str, list[str]]:
        """Who was left out, by why."""
        return why_of(self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """The public contract's fields; `skipped` is there where something was left out."""
        found: dict[str, Any] = {"schema": SCHEMA}
        found["reports"] = [report.to_dict() for report in self.reports]
        if self.skipped:
            found["skipped"] = [asdict(each) for each in self.skipped]
        return found

    def to_json(self) -> str:
        """The public contract's JSON: the same command gives the same bytes."""
        return to_json(self.to_dict())

    def to_csv(self) -> str:
        """One row per report, empty where a figure is not known."""
        return csv_of([report.to_dict(sight=False) for report in self.reports])

    def to_frame(self) -> Frame:
        """The rows of the CSV, for pandas, polars and Parquet."""
        from tetrapla.frames import of_reports

        return of_reports(report.to_dict(sight=False) for report in self.reports)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row per report."""
        return self.to_frame().to_pandas()

    def to_polars(self) -> Any:
        """A `polars.DataFrame`, a row per report."""
        return self.to_frame().to_polars()

    def to_html(self) -> str:
        """A page of its own that opens offline."""
        from tetrapla.page import page

        sights = [report.sight for report in self.reports]
        return page([report.to_dict() for report in self.reports], sights, self.reasons())

    def _repr_html_(self) -> str:
        from tetrapla.page import summary

        return summary([report.to_dict(sight=False) for report in self.reports])


def why_of(skipped: Iterable[Skipped]) -> dict[str, list[str]]:
    """What cannot be done, together where the reason is one."""
    found = dict[str, list[str]]()
    for each in skipped:
        found.setdefault(each.why, []).append(each.label)
    return found


def csv_of(reports: Iterable[Facts]) -> str:
    """One row per report, `COLUMNS` by name; empty where a figure is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    held = list(reports)
    best = pareto(held)
    for report, on in zip(held, best, strict=True):
        row = [on if column.key == "pareto" else column.value(report) for column in every()]
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()


def verdict(reports: Sequence[Facts]) -> str:
    """Who is best at what, and whether the numbers were checked."""
    known = [text for contest in _CONTESTS if (text := contest.won_by(reports))]
    if len(reports) < 2:
        return f"{_checked(reports)}."
    best = "; ".join(known)
    return f"{best[:1].upper()}{best[1:]}. {_front(reports)} {_checked(reports)}."


def _front(reports: Sequence[Facts]) -> str:
    """Who is on the Pareto front, and who could not be held against the others."""
    aims, called = objectives(reports), names(reports)
    on = [name for name, best in zip(called, pareto(reports), strict=True) if best]
    if not on:
        return f"There is no Pareto front: of nobody all of {_listed(aims)} are known."
    text = f"On the Pareto front of {_listed(aims)}: {_listed(on)}."
    for aim in aims:
        left = [n for n, r in zip(called, reports, strict=True) if judged(r, aim) is None]
        if left:
            text += f" Without {aim}, which is not known, no judgement of {_listed(left)}."
    return text


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
