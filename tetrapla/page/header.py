"""The page's head: what was run and what it is worth, a verdict, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tetrapla import __version__, quantities
from tetrapla.columns import Facts, columns
from tetrapla.comparison import verdict
from tetrapla.drawing import charts, svg
from tetrapla.page.evidence import weak
from tetrapla.page.parts import badge, table
from tetrapla.page.published import judged

_CHECKS = {
    "bit_exact": "bit-exact vs reference",
    "tolerance": "within tolerance of reference",
    "statistical": "statistically as predicted",
}
_LEGEND = (
    "Bold is the best of its column, a star is on the Pareto front, n/a is not known. Brackets "
    "behind an energy are where the invocation's total lies if each price is within what its "
    "sources say. The cross-check holds the machine's own values against the reference "
    "interpreter on the same lowered module: bit-exact, within the bound that the number "
    "formats admit (tolerance), or as far from what its spec's noise predicts as chance "
    "admits, in standard errors σ (statistical)."
)


def head(models: Sequence[str], reports: Sequence[Facts], targets: Sequence[str]) -> str:
    """Models, command, version, seed, hashes, and a card for each machine."""
    many = f"{len(targets)} machines" if len(targets) > 1 else targets[0]
    commands = dict.fromkeys(r["command"] for r in reports if r["command"])
    shown = "".join(f"<pre>{escape(text)}</pre>" for text in commands)
    seeds = ", ".join(dict.fromkeys(str(r["seed"]) for r in reports))
    facts = [("version", f"tetrapla {__version__}"), ("seed", seeds)]
    for model in models:
        found = next(
            (r for r in reports if r["model"] == model and r.get("model_sha256")), None
        )
        if found is not None:
            facts.append((f"SHA-256 of {model}", found["model_sha256"][:16]))
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    cards = "".join(_card(i, name, reports) for i, name in enumerate(targets))
    return (
        f"<header><p class=over>Simulated by tetrapla</p>"
        f"<h1>{escape(', '.join(models))} <small>on {escape(many)}</small></h1>{shown}"
        f"<dl class=facts>{listed}</dl><p class=lead>The same command gives the same figures."
        f"</p><div class=machines>{cards}</div></header>"
    )


def verdict_of(reports: Sequence[Facts]) -> str:
    """A model's verdict and its table."""
    batches = ", ".join(dict.fromkeys(str(r["batch"]) for r in reports))
    known = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    about = (
        f"Figures are of one invocation of {batches} inference{'' if batches == '1' else 's'}."
    )
    if known:
        share = 100 * known["reference"]
        about += f" The float model answers {share:.1f} % of {known['samples']} samples right."
    return (
        f"<p class=verdict>{escape(verdict(reports))}</p><p>{escape(about)}</p>"
        f"{compared(reports)}<p class=legend>{escape(_LEGEND)}</p>"
    )


def compared(reports: Sequence[Facts]) -> str:
    """The table of all machines, for one model."""
    found = columns(reports)
    best = [column.best(reports) for column in found]
    rows = []
    for number, report in enumerate(reports):
        cells = []
        for column, winners in zip(found, best, strict=True):
            text = escape(column.text(report) + _beside(column.key, report))
            if column.key == "pareto" and text:
                text = "<span class=star>\u2605</span>"
            cells.append(f"<b>{text}</b>" if number in winners else text)
        rows.append(cells)
    words = [column.words for column in found]
    return table([c.heading for c in found], rows, words=words, label="Comparison")


def _beside(key: str, report: Facts) -> str:
    """What a cell of the page has room for beside the terminal's."""
    if key == "energy_per_inference_pj":
        ends = quantities.energy_range(report)
        return f" ({ends})" if ends else ""
    if key == "cross_check_passed" and report.get("second_check"):
        return f"; second check: {quantities.check(report['second_check'])}"
    return ""


def _card(number: int, target: str, reports: Sequence[Facts]) -> str:
    own = [report for report in reports if report["target"] == target]
    mark = charts.mark(number, 10, 10, escape(target))
    drawn = svg.drawing(20, 20, target, mark)
    badges = [*_checked(own), *_energy(own), *_figures(own[0]), *_validated(target)]
    return (
        f"<div class=machine><div class=name>{drawn}<strong>{escape(target)}</strong>"
        f"<span>{escape(own[0]['family'])}</span></div><div>{''.join(badges)}</div></div>"
    )


def _checked(reports: Sequence[Facts]) -> list[str]:
    checks = [r["cross_check"] for r in reports if r["cross_check"] is not None]
    if not checks:
        return [badge("no cross-check", "weak", "the machine computes no values of its own")]
    if not all(check["passed"] for check in checks):
        return [badge("cross-check FAILED", "bad")]
    return [badge(_CHECKS[kind], "good") for kind in dict.fromkeys(c["kind"] for c in checks)]


def _energy(reports: Sequence[Facts]) -> list[str]:
    if any(report["energy_pj"]["total"] is None for report in reports):
        return [badge("energy unknown", "weak", "a price that is needed has no source")]
    said = any("energy is uncalibrated" in text for r in reports for text in r["warnings"])
    if said:
        return [
            badge("uncalibrated energy", "weak", "derived prices, never fitted to the chip")
        ]
    guessed = [e for e in weak(reports[0]) if e["field"].startswith("cost.")]
    if guessed:
        text = f"{len(guessed)} assumed energy price{'s' if len(guessed) > 1 else ''}"
        return [badge(text, "weak", ", ".join(e["field"] for e in guessed))]
    return []


def _figures(report: Facts) -> list[str]:
    known = [entry for entry in report["provenance"] if entry["value"] != "null"]
    if not known:
        return []
    count = len(weak(report))
    text = f"{count} of {len(known)} figures weak"
    return [badge(text, "weak" if count else "good", "assumed, or given without a source")]


def _validated(target: str) -> list[str]:
    bounded, passed = judged(target)
    if not bounded:
        return []
    kind = "good" if passed == bounded else "bad"
    return [badge(f"{passed} of {bounded} published figures within their bound", kind)]
