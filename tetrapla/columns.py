"""The columns of a comparison: one list for the terminal, the page, the CSV and a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from tetrapla import quantities
from tetrapla.pareto import front

Facts: TypeAlias = Mapping[str, Any]  # a report's dictionary, schema tetrapla.report/1


@dataclass(frozen=True)
class Column:
    """One figure or word of each report.

    Attributes:
        key: its name in CSV, with the unit.
        value: what CSV holds, a number in the key's unit or a word; None where unknown.
        heading: above the column of a table; "" for a figure that only CSV has.
        about: what it is, in a sentence.
        text: a table's cell.
        brief: cells for less and less room, the longest first.
        better: which figure is the best of its column, if one is.
        words: whether it is text, which stands left and may fold.
        drop: the larger, the earlier a narrow terminal leaves it out; 0 stays.
    """

    key: str
    value: Callable[[Facts], Any]
    heading: str = ""
    about: str = ""
    text: Callable[[Facts], str] = lambda report: ""
    brief: tuple[Callable[[Facts], str], ...] = ()
    better: Literal["less", "more"] | None = None
    words: bool = False
    drop: int = 0

    def best(self, reports: Sequence[Facts]) -> set[int]:
        """Which reports of one model have the best figure; none where all have the same."""
        known = {i: v for i, r in enumerate(reports) if (v := self.value(r)) is not None}
        if self.better is None or len(set(known.values())) < 2:
            return set()
        top = (min if self.better == "less" else max)(known.values())
        return {i for i, value in known.items() if value == top}


def columns(reports: Sequence[Facts]) -> tuple[Column, ...]:
    """The columns of a table of reports of one model, in their order.

    Batch and format are there where they differ, what `--normalize`, `--region` and
    `--price-per-kwh` add where a report has it.
    """
    there = {
        "batch": len({r["batch"] for r in reports}) > 1,
        "quant": len({r.get("quant") for r in reports}) > 1,
        "pareto": len(reports) > 1,
        **{
            key: any((r.get(whole) or {}).get(part) is not None for r in reports)
            for key, (whole, part) in _OPTIONAL.items()
        },
    }
    shown = [each for each in every() if each.heading and there.get(each.key, True)]
    return tuple(_placed(each, reports) for each in shown)


def every() -> tuple[Column, ...]:
    """All columns, in CSV's order; those with a heading are the tables' too."""
    return _COLUMNS


def names(reports: Sequence[Facts]) -> list[str]:
    """What to call each report of one model: its target, and the batch and format that vary."""
    batches = len({r["batch"] for r in reports}) > 1
    formats = len({r.get("quant") for r in reports}) > 1
    found = list[str]()
    for report in reports:
        varied = [f"batch {report['batch']}"] if batches else []
        varied += [str(report["quant"])] if formats and report.get("quant") else []
        behind = f" ({', '.join(varied)})" if varied else ""
        found.append(f"{report['target']}{behind}")
    return found


def objectives(reports: Sequence[Facts]) -> list[str]:
    """In what the reports of one model are held against each other: what somebody knows."""
    return [
        name
        for name, figure in _OBJECTIVES.items()
        if any(figure(report) is not None for report in reports)
    ]


def judged(report: Facts, objective: str) -> float | None:
    """A report's figure for an objective, smaller is better."""
    return _OBJECTIVES[objective](report)


def pareto(reports: Sequence[Facts]) -> list[bool]:
    """Whether no other report of the same model is as good in all objectives, better in one."""
    found = [False] * len(reports)
    for model in dict.fromkeys(report["model"] for report in reports):
        places = [i for i, report in enumerate(reports) if report["model"] == model]
        held = [reports[i] for i in places]
        aims = objectives(held)
        rows = [[judged(report, aim) for aim in aims] for report in held]
        for i, on in zip(places, front(rows), strict=True):
            found[i] = on
    return found


def bound_by(report: Facts) -> str | None:
    """What bounds most of a report's time: the layers' bounds weighted by their cycles."""
    cycles: dict[str, float] = {}
    for layer in report["layers"]:
        cycles[layer["bound_by"]] = cycles.get(layer["bound_by"], 0) + layer["cycles"]
    return max(cycles, key=lambda name: (cycles[name], name)) if cycles else None


def throughput_per_s(report: Facts) -> float | None:
    """Inferences a second: of a pipeline in its steady state, else one after the other."""
    apart_s = report.get("interval_s") or report["time_s"]
    return report["batch"] / apart_s if apart_s else None


def energy_pj(report: Facts) -> float | None:
    """The energy of one inference: the invocation's, divided by its batch."""
    total = report["energy_pj"]["total"]
    return None if total is None else total / report["batch"]


def edp_pj_s(report: Facts) -> float | None:
    """Energy of one inference times the latency of the invocation that it is in."""
    each = energy_pj(report)
    return None if each is None else each * report["time_s"]


def _inner(key: str, name: str) -> Callable[[Facts], Any]:
    def of(report: Facts) -> Any:
        whole: Facts = report.get(key) or {}
        return whole.get(name)

    return of


def _each(key: str, name: str, count: int = 1) -> Callable[[Facts], float | None]:
    """A part of an optional object that is of one invocation, for `count` inferences."""

    def of(report: Facts) -> float | None:
        value = _inner(key, name)(report)
        return None if value is None else value / report["batch"] * count

    return of


def _error(report: Facts) -> float | None:
    # every objective is made smaller, so accuracy counts its errors
    return None if report["accuracy"] is None else 1 - report["accuracy"]["target"]


def _placed(column: Column, reports: Sequence[Facts]) -> Column:
    """A column that needs to see all the reports, given them."""
    if column.key == "pareto":
        on = {id(r) for r, best in zip(reports, pareto(reports), strict=True) if best}
        return _pareto(lambda report: id(report) in on)
    if column.key.startswith("normalised_"):
        to = next(r["normalised"]["to"] for r in reports if r.get("normalised"))
        return replace(column, heading=f"{column.heading} @ {to}")
    return column


def _pareto(on: Callable[[Facts], bool]) -> Column:
    return Column(
        "pareto",
        on,
        "front",
        "a star: no other machine is at least as good in latency, energy and accuracy (of "
        "those that are known) and better in one",
        lambda report: "*" if on(report) else "",
        words=True,
    )


def _rate(value: float | None) -> str:
    return quantities.quantity(value, "/s")


_OBJECTIVES: Mapping[str, Callable[[Facts], float | None]] = {
    "latency": lambda report: report["time_s"],
    "energy": energy_pj,
    "accuracy": _error,
}
_MILLION = 1_000_000
_OPTIONAL = {
    "normalised_energy_per_inference_pj": ("normalised", "energy_pj"),
    "normalised_throughput_per_s": ("normalised", "throughput_per_s"),
    "normalised_area_mm2": ("normalised", "area_mm2"),
    "co2_per_million_g": ("co2", "region"),
    "electricity_per_million": ("cost", "price_per_kwh"),
}
ADDED = frozenset(_OPTIONAL)
"""Keys of the columns that options add: the first to leave a table that has no room."""
NAMING = frozenset({"target", "batch", "quant"})
"""Keys of the columns that tell a table's rows apart."""
_co2 = _each("co2", "operational_g", _MILLION)
_bill = _each("cost", "electricity", _MILLION)
_scaled_energy = _each("normalised", "energy_pj")
_scaled_rate = _inner("normalised", "throughput_per_s")
_scaled_area = _inner("normalised", "area_mm2")
_COLUMNS = (
    Column("model", lambda r: r["model"]),
    Column(
        "target",
        lambda r: r["target"],
        "target",
        "the machine: a chip, or a YAML file's design",
        lambda r: str(r["target"]),
        words=True,
    ),
    Column("family", lambda r: r["family"]),
    Column(
        "batch",
        lambda r: r["batch"],
        "batch",
        "inferences in one invocation",
        lambda r: str(r["batch"]),
    ),
    Column(
        "quant",
        lambda r: r.get("quant"),
        "quant",
        "the number format that --quant asked for, where several were",
        lambda r: str(r.get("quant") or "chip's"),
        words=True,
    ),
    Column("cycles", lambda r: r["cycles"]),
    Column(
        "time_s",
        lambda r: r["time_s"],
        "latency",
        "time of one invocation, of all the inferences of its batch",
        quantities.latency,
        better="less",
    ),
    Column(
        "throughput_per_s",
        throughput_per_s,
        "throughput",
        "inferences a second: of a machine that works on several invocations in a pipeline "
        "(analog) in its steady state, of the others one invocation after the other",
        lambda r: _rate(throughput_per_s(r)),
        better="more",
        drop=2,
    ),
    Column("energy_pj", lambda r: r["energy_pj"]["total"]),
    Column(
        "energy_per_inference_pj",
        energy_pj,
        "energy",
        "of one inference: the invocation's energy divided by its batch",
        lambda r: quantities.energy(energy_pj(r)),
        better="less",
    ),
    Column(
        "edp_pj_s",
        edp_pj_s,
        "EDP",
        "energy-delay product: the energy of one inference times the latency",
        lambda r: quantities.quantity(
            None if (edp := edp_pj_s(r)) is None else edp * 1e-12, "J s"
        ),
        better="less",
        drop=5,
    ),
    Column(
        "area_mm2",
        lambda r: r["area_mm2"],
        "area",
        "of the chip, as its YAML says",
        lambda r: quantities.area(r["area_mm2"]),
        better="less",
        drop=4,
    ),
    Column("accuracy_reference", _inner("accuracy", "reference")),
    Column(
        "accuracy_target",
        _inner("accuracy", "target"),
        "accuracy",
        "share of right answers on the machine; ± its standard deviation over the seeds of a "
        "noisy one",
        quantities.accuracy,
        better="more",
    ),
    Column("accuracy_target_std", _inner("accuracy", "target_std")),
    Column(
        "normalised_energy_per_inference_pj",
        _scaled_energy,
        "energy",
        "of one inference, scaled as --normalize asks",
        lambda r: quantities.energy(_scaled_energy(r)),
        better="less",
    ),
    Column(
        "normalised_throughput_per_s",
        _scaled_rate,
        "throughput",
        "inferences a second, scaled as --normalize asks",
        lambda r: _rate(_scaled_rate(r)),
        better="more",
    ),
    Column(
        "normalised_area_mm2",
        _scaled_area,
        "area",
        "of the chip, scaled as --normalize asks",
        lambda r: quantities.area(_scaled_area(r)),
        better="less",
    ),
    Column(
        "co2_per_million_g",
        _co2,
        "CO2/million",
        "operational emissions of a million inferences with --region: energy x PUE x intensity "
        "of the grid; what making the chip emitted is not in it",
        lambda r: quantities.mass(_co2(r)),
        better="less",
    ),
    Column(
        "electricity_per_million",
        _bill,
        "cost/million",
        "electricity of a million inferences, in the currency of --price-per-kwh",
        lambda r: quantities.UNKNOWN if (bill := _bill(r)) is None else f"{bill:.3g}",
        better="less",
    ),
    _pareto(lambda report: False),
    Column(
        "bound_by",
        bound_by,
        "bound by",
        "what most of the time is made of: the layers' bounds weighted by their cycles",
        lambda r: bound_by(r) or quantities.UNKNOWN,
        words=True,
        drop=3,
    ),
    Column("cross_check_kind", _inner("cross_check", "kind")),
    Column("cross_check_mismatches", _inner("cross_check", "mismatches")),
    Column("cross_check_max_rel_error", _inner("cross_check", "max_rel_error")),
    Column(
        "cross_check_passed",
        _inner("cross_check", "passed"),
        "cross-check",
        "the machine's values against the reference interpreter on the same lowered model",
        lambda r: quantities.check(r["cross_check"]),
        (
            lambda r: quantities.check(r["cross_check"], short=True),
            lambda r: quantities.passed(r["cross_check"]),
        ),
        words=True,
    ),
)
