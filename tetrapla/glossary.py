"""The glossary: every column of a comparison, and the words that reports use.

`python -m tetrapla.glossary > docs/glossary.md` writes the page; a test holds it to this.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tetrapla.columns import every

_INTRO = """# Glossary

The columns of `compare`, `simulate` and `demo`, in their order, with their names in `--csv`;
then the words that reports use. Every field of the JSON is in [report.md](report.md), and how a
number is made in [numbers.md](numbers.md). `python -m tetrapla.glossary > docs/glossary.md`
writes this page.
"""

WORDS: Mapping[str, str] = {
    "accuracy": "the share of right answers on labelled samples, of the float model or of the "
    "machine's own values: what lowering and hardware cost, measured and not checked",
    "action": "what a machine counts and a chip prices: `unit.action`, such as `mac.int8` or "
    "`adc.convert`; energy is the sum of counts times prices",
    "bound by": "what most of a layer's time waits for; the words of each family are in "
    "[report.md](report.md)",
    "calibration": "samples from which ranges are taken before anything is judged; never the "
    "samples that are",
    "chip": "one design point: a shipped YAML, or yours",
    "cross-check": "the machine's values held against the interpreter's on the same lowered "
    "model",
    "cycle": "of a clocked machine, one of its clock; of a spiking chip, a timestep",
    "front, Pareto": "the machines that no other one beats in everything that is compared",
    "grade": "where a number of a chip comes from: measured, published, derived, assumed, or "
    "user",
    "inference": "one sample through the network",
    "invocation": "one run of the compiled program: `batch` inferences",
    "lowered model": "what a target made of the network: fused, quantised, or turned into "
    "spikes",
    "MAC": "a multiply-accumulate; two operations",
    "n/a": "not known: no source gives it, or it does not apply; never zero",
    "provenance": "every number of a chip with its value, source and grade",
    "reference": "the interpreter's answer, from the operators' own definitions",
    "roofline": "the bound that peak and bandwidth give; a roofline chip is nothing but that",
    "sample": "one element of the data along its first axis",
    "spread": "the sample standard deviation over the chips of a noisy kind",
    "static": "energy that goes with the time and not with the work: leakage, clocks, links",
    "target": "what a model is compiled for: a chip, a family's default chip, or a YAML file",
    "timestep": "of a spiking chip: every neuron is updated once; an inference takes "
    "`--timesteps` of them",
    "utilisation": "multiply-accumulates done, over those that the array or the peak could do "
    "in the same cycles",
    "yield": "the share of the chips of a noisy kind that are good enough, with its 95 % "
    "Wilson interval",
}


def markdown() -> str:
    """Return the page."""
    shown = [(each.heading, each.key, each.about) for each in every() if each.heading]
    columns = _table(
        ("column", "in CSV", "what it is"), [(h, f"`{k}`", a) for h, k, a in shown]
    )
    words = _table(("word", "what it means"), list(WORDS.items()))
    return f"{_INTRO}\n## Columns\n\n{columns}\n## Words\n\n{words}"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, ("-",) * len(headings), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines
    )


if __name__ == "__main__":
    sys.stdout.write(markdown())
