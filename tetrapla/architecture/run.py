"""The whole of `search`: from a target's name to a winner that the test images have judged."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrapla.architecture.judging import winner
from tetrapla.architecture.oracle import Oracle, oracle, right
from tetrapla.architecture.outcome import Judged, Outcome
from tetrapla.architecture.search import (
    BASELINE_SHAPE,
    HELD_OUT,
    SHORT,
    Plan,
    Search,
)
from tetrapla.architecture.study import Study
from tetrapla.architecture.training import Recipe, module_of, trained
from tetrapla.datasets import load_data
from tetrapla.frontend.zoo.digits import parse
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.models import load_for
from tetrapla.trials import results, trial

if TYPE_CHECKING:
    from tetrapla.ir.module import Module
    from tetrapla.settings import Settings

SPACES: Final = ("digits",)
BUDGET, EPOCHS = 12, 120  # of the command, unless told otherwise
SHIPPED: Final = "digits_cnn.onnx"

Say = Callable[[str], None]


def searched(
    space: str,
    target: str,
    objective: str,
    plan: Plan,
    settings: Settings,
    *,
    baseline: str | None = None,
    study: Path | None = None,
    say: Say = lambda text: None,
) -> Outcome:
    """Search a space for a network that costs less on a target and is as often right.

    Args:
        space: of `SPACES`.
        target: a chip's name, a family's, or the path of a YAML file.
        objective: energy, latency or area.
        plan: the budget and the seed.
        settings: `quant`, `timesteps`, `code`, `ideal`, `chips` and `overrides` count.
        baseline: a model's path; None for the shipped CNN.
        study: a file that keeps all results; None keeps them in memory.
        say: is told of every step.

    Raises:
        ModelError: the space or the objective is unknown, or the target does not price it.
        TetraplaError: the target or the baseline is wrong.
    """
    if space not in SPACES:
        raise ModelError(
            f"SPACE must be {', '.join(SPACES)}, not '{space}'{nearest(space, SPACES)}"
        )
    settings = replace(settings, seed=plan.seed, data="digits")
    held = oracle(target, objective, settings)
    against = _baseline(baseline, settings)
    kept = Study(study)
    try:
        search = Search(held, plan, kept, say)
        say(_estimate(held, plan, search))
        found = search.run()
        first, *others = found.finalists
        chosen = winner(others, first)
        shape = parse(chosen.label)
        module = module_of(shape, search.final(shape))
    finally:
        kept.close()
    say("judging the winner and the baseline on the test images")
    own = held.settings_of(shape.weight_bits)
    return Outcome(
        found=found,
        plan=plan,
        chosen=chosen,
        module=module,
        quant=own.quant,
        winner=_judged(module, module.name, held, own),
        baseline=_judged(against, against.name, held, settings),
        facts={
            "target": held.design.label,
            "family": held.design.target.family,
            "objective": objective,
            "command": said(space, target, objective, plan, settings, baseline),
        },
    )


def said(
    space: str,
    target: str,
    objective: str,
    plan: Plan,
    settings: Settings,
    baseline: str | None,
) -> str:
    """The command that repeats a search, without its output paths."""
    words = ["tetrapla", "search", space, "--target", target]
    if objective != "energy":
        words += ["--objective", objective]
    for name, value, usual in (
        ("--budget", plan.trainings, BUDGET),
        ("--epochs", plan.epochs, EPOCHS),
    ):
        words += [] if value == usual else [name, str(value)]
    words += ["--baseline", baseline] if baseline else []
    return shlex.join([*words, *replace(settings, data=None).words()])


def _baseline(path: str | None, settings: Settings) -> Module:
    if path is not None:
        return load_for(path, settings)
    with as_file(files("tetrapla") / "data" / SHIPPED) as shipped:
        return load_for(shipped, settings)


def _judged(module: Module, name: str, held: Oracle, settings: Settings) -> Judged:
    given = trial(module, settings, name)
    (done,) = results(given, [held.design], settings, "")
    assert given.samples.labels is not None, "the digits are labelled"
    found = right(done, given.samples.labels.reshape(-1))
    return Judged(name, done.report, held.of(done.report), found)


def _estimate(held: Oracle, plan: Plan, search: Search) -> str:
    """What the search is going to do and about how long, from one epoch and one pricing.

    It is said and not kept: two runs of one command differ in it.
    """
    shape, data = parse(BASELINE_SHAPE), load_data("digits")
    start = time.process_time()
    trained(shape, data.x[data.train], data.y[data.train], Recipe(1), plan.seed)
    epoch_s = time.process_time() - start
    start = time.process_time()
    search.priced(shape)
    price_s = time.process_time() - start
    short = (plan.trainings * plan.epochs // SHORT) * (1 - 1 / HELD_OUT)
    full = plan.epochs * ((plan.finalists + 1) * (plan.folds - 1) + 1)
    seconds = (short + full) * epoch_s + plan.trainings * 7 * price_s
    return (
        f"{plan.trainings} trainings of {plan.epochs // SHORT} epochs, then "
        f"{plan.finalists + 1} finalists in {plan.folds} folds of {plan.epochs} epochs: at "
        f"most about {seconds / 60:.1f} minutes of one core; networks cheaper than the "
        "baseline train faster"
    )
