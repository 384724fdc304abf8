"""What a search gives: its JSON, its table, its verdict, and the winner as a module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from tetrapla import quantities
from tetrapla.architecture.evolution import Member, front
from tetrapla.architecture.judging import Validated, interval, paired
from tetrapla.architecture.oracle import UNITS
from tetrapla.architecture.proxies import PROXIES, rank_correlation
from tetrapla.architecture.search import SHORT, Found, Plan
from tetrapla.frontend.zoo import digits
from tetrapla.simulators.report import to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tetrapla.ir.module import Module
    from tetrapla.simulators.report import Report

SCHEMA: Final = "tetrapla.search/1"
_SHOWN: Final = {"energy": quantities.energy, "area": quantities.area}


@dataclass(frozen=True)
class Judged:
    """A network on the test images: its report, and which images each chip has right."""

    name: str
    report: Report
    cost: float
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """The share of right answers, over all chips."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Outcome:
    """A finished search.

    Attributes:
        found: everything before the test images.
        chosen: the finalist that won.
        module: the winner, trained on the whole training part.
        quant: the format that the winner is compiled in, where it is not the chip's own.
        winner, baseline: on the test images.
        facts: target, family, objective, command: what was asked.
    """

    found: Found
    plan: Plan
    chosen: Validated
    module: Module
    quant: str | None
    winner: Judged
    baseline: Judged
    facts: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether no cross-check failed."""
        checks = [each.report.cross_check for each in (self.winner, self.baseline)]
        return all(check is None or check.passed for check in checks)

    @property
    def dominates(self) -> bool:
        """Whether the winner costs less and is right at least as often on the test images."""
        cheaper = self.winner.cost < self.baseline.cost
        return cheaper and self.winner.accuracy >= self.baseline.accuracy

    @property
    def correlations(self) -> dict[str, float | None]:
        """Of each proxy's order with that of the loss of the trained, Spearman's."""
        members = self.found.history.members
        good = [-member.loss for member in members]
        return {
            name: rank_correlation([member.priced.proxies[i] for member in members], good)
            for i, name in enumerate(PROXIES)
        }

    @cached_property
    def pareto(self) -> frozenset[str]:
        """The labels on the front of cost and loss."""
        return frozenset(m.priced.shape.label for m in front(self.found.history.members))

    def to_dict(self) -> dict[str, Any]:
        """Schema tetrapla.search/1: plain data, without paths of outputs or times."""
        plan, history = self.plan, self.found.history
        return {
            "schema": SCHEMA,
            "space": "digits",
            "axes": AXES,
            **self.facts,
            "unit": UNITS[self.facts["objective"]],
            "seed": plan.seed,
            "budget": {
                "trainings": plan.trainings,
                "epochs": plan.epochs // SHORT,
                "finalists": len(self.found.finalists),
                "folds": plan.folds,
                "full_epochs": plan.epochs,
                "priced": len(history.priced),
                "trained": len(history.members),
            },
            "proxies": {
                name: {"rank_correlation": value} for name, value in self.correlations.items()
            },
            "candidates": [self._candidate(member) for member in history.members],
            "finalists": [_finalist(each) for each in self.found.finalists],
            "winner": {
                "shape": self.chosen.label,
                "quant": self.quant,
                **_judged(self.winner),
            },
            "baseline": {"model": self.baseline.name, **_judged(self.baseline)},
            "comparison": self._comparison(),
            "verdict": self.verdict(),
        }

    def to_json(self) -> str:
        """As JSON: the same command gives the same bytes."""
        return to_json(self.to_dict())

    def verdict(self) -> str:
        """One sentence on the winner and the baseline."""
        won, base = self.winner, self.baseline
        unit, ratio = self.facts["objective"], base.cost / won.cost
        costs = f"{self._shown(won.cost)} against {self._shown(base.cost)}"
        shares = f"{100 * won.accuracy:.2f} % against {100 * base.accuracy:.2f} %"
        count = f"of {won.right.shape[1]} test images"
        if self.dominates:
            return (
                f"{self.chosen.label} dominates {base.name} on {self.facts['target']}: {unit} "
                f"{costs} (1/{ratio:.2f}), right {shares} {count}."
            )
        return (
            f"{self.chosen.label} does not dominate {base.name} on {self.facts['target']}: "
            f"{unit} {costs}, right {shares} {count}."
        )

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The table of the finalists and of the front, from the cheapest on."""
        finals = {each.label: each for each in self.found.finalists}
        members = [
            member
            for member in self.found.history.members
            if member.priced.shape.label in self.pareto | set(finals)
        ]
        rows = [
            self._row(member, finals.get(member.priced.shape.label))
            for member in sorted(members, key=lambda m: (m.cost, m.loss))
        ]
        unit = self.facts["objective"]
        return ["shape", unit, "loss", "held out wrong", "cross-validated wrong", ""], rows

    def _row(self, member: Member, final: Validated | None) -> list[str]:
        label = member.priced.shape.label
        first = self.found.finalists[0].label
        is_winner = "winner" if label == self.chosen.label else ""
        return [
            label,
            self._shown(member.cost),
            f"{member.loss:.3f}",
            str(member.errors),
            "" if final is None else f"{final.errors:g} of {final.samples}",
            is_winner or ("baseline's shape" if label == first else ""),
        ]

    def _shown(self, cost: float) -> str:
        known = _SHOWN.get(self.facts["objective"])
        return known(cost) if known else quantities.quantity(cost, "s")

    def _candidate(self, member: Member) -> dict[str, Any]:
        priced = member.priced
        proxies = dict(zip(PROXIES, priced.proxies, strict=True))
        return {
            "shape": priced.shape.label,
            "first_cost": priced.cost,
            "proxies": {name: v if isfinite(v) else None for name, v in proxies.items()},
            "cost": member.cost,
            "loss": member.loss,
            "errors": member.errors,
            "pareto": priced.shape.label in self.pareto,
        }

    def _comparison(self) -> dict[str, Any]:
        won, base = self.winner, self.baseline
        return {
            "dominates": self.dominates,
            "cost_ratio": base.cost / won.cost,
            "accuracy_difference": won.accuracy - base.accuracy,
            # chips answer the same images, so each is a test of its own
            "mcnemar": [paired(a, b) for a, b in zip(won.right, base.right, strict=True)],
        }


AXES: Final = {
    "width": list(digits.WIDTHS),
    "depth": list(digits.DEPTHS),
    "kernel": list(digits.KERNELS),
    "stride": list(digits.STRIDES),
    "pool": list(digits.POOLS),
    "hidden": list(digits.HIDDEN),
    "weight_bits": list(digits.BITS),
}


def _finalist(each: Validated) -> dict[str, Any]:
    return {
        "shape": each.label,
        "cost": each.cost,
        "errors": each.errors,
        "samples": each.samples,
    }


def _judged(each: Judged) -> dict[str, Any]:
    return {
        "cost": each.cost,
        "accuracy": each.accuracy,
        "chips": [interval(right) for right in each.right],
        "report": each.report.to_dict(sight=False),
    }
