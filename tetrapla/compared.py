"""Every model on every machine, with every batch and number format: what `compare` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tetrapla.additions import added
from tetrapla.comparison import Comparison, Skipped, why_of
from tetrapla.designs import Design
from tetrapla.executors import Executor, executor_for
from tetrapla.ir.errors import ModelError, SpecError, TetraplaError, UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.run import Trial, compile_for
from tetrapla.settings import Settings
from tetrapla.simulators.report import Report
from tetrapla.trials import labels, options_of, results, trial

EXECUTOR = "TETRAPLA_EXECUTOR"  # the environment's default of --executor
UNSUPPORTED = ("error", "skip")

Trials: TypeAlias = Mapping[tuple[int, int | None], Trial]


@dataclass(frozen=True)
class Asked:
    """What a person wants compared.

    Args:
        paths: what names each model, unique.
        read: gives a model by its place, with a batch.
        designs: the machines.
        settings: the common options, without batch and format.
        batches: sizes of the leading dimension; None is the default.
        quants: number formats; None is each chip's own.
        said: the command to record.
        skip: whether what a machine cannot do is left out, in place of an error.
        drawn: whether pictures are wanted, which a worker then makes, too.
    """

    paths: Sequence[str]
    read: Callable[[int, Settings], Module]
    designs: Sequence[Design]
    settings: Settings
    batches: Sequence[int | None] = (None,)
    quants: Sequence[str | None] = (None,)
    said: str = ""
    skip: bool = False
    drawn: bool = False


@dataclass(frozen=True)
class Row:
    """One report to be: what a worker is given."""

    model: int
    design: Design
    settings: Settings
    said: str
    quant: str | None
    drawn: bool

    @property
    def place(self) -> tuple[int, int | None]:
        """Of its trial."""
        return self.model, self.settings.batch


def compared(asked: Asked, executor: Executor) -> Comparison:
    """The reports: models outside, then machines, then batches, then formats.

    Raises:
        TetraplaError: what no machine could do, all of it before the work where several
            batches or formats are asked for.
    """
    named, trials, refused = _trials(asked)
    rows, skipped = list[Row](), list[Skipped]()
    for row in _rows(asked):
        if (error := refused.get(row.place)) is None:
            rows.append(row)
        else:
            skipped.append(_skipped(row, named, error))
    if len(asked.batches) * len(asked.quants) > 1 and not asked.skip:
        found = _computed(rows, trials, executor, _lowered)
        pairs = zip(rows, found, strict=True)
        errors = [(row, each) for row, each in pairs if isinstance(each, TetraplaError)]
        if errors:
            raise _all_of(errors, len(rows), named)
    made = _computed(rows, trials, executor, _tried if asked.skip else _measured, told=True)
    reports = list[Report]()
    for row, result in zip(rows, made, strict=True):
        if isinstance(result, Report):
            reports.append(result)
        elif result is not None:
            skipped.append(_skipped(row, named, result))
    if not reports:
        first = skipped[0]
        raise UnsupportedError(
            f"--on-unsupported skip must leave at least one row, not none of "
            f"{len(skipped)}; the first, {first.label}: {first.why}"
        )
    return Comparison(tuple(reports), tuple(skipped))


def chosen_executor(text: str | None) -> Executor:
    """The executor of ``--executor``, of the environment, or processes where they pay.

    Raises:
        ModelError, UnsupportedError: as `executor_for`.
    """
    named = text or os.environ.get(EXECUTOR)
    if named:
        return executor_for(named)
    from tetrapla.executors.adaptive import Adaptive

    return Adaptive()


def check_unsupported(text: str) -> bool:
    """Whether ``--on-unsupported`` says skip.

    Raises:
        ModelError: it says neither that nor error.
    """
    if text not in UNSUPPORTED:
        raise ModelError(f"--on-unsupported must be error or skip, not '{text}'")
    return text == "skip"


def _trials(
    asked: Asked,
) -> tuple[list[str], Trials, dict[tuple[int, int | None], TetraplaError]]:
    """What reports call the models, what is run on, and with which batch a model cannot be."""
    modules = dict[tuple[int, int | None], Module]()
    refused = dict[tuple[int, int | None], TetraplaError]()
    for model in range(len(asked.paths)):
        for batch in asked.batches:
            try:
                modules[model, batch] = asked.read(model, replace(asked.settings, batch=batch))
            except ModelError as error:
                if not asked.skip or len(asked.batches) == 1:
                    raise
                refused[model, batch] = error
    first = {model: module for (model, _), module in reversed(modules.items())}
    left = [model for model in range(len(asked.paths)) if model not in first]
    if left:
        raise refused[left[0], asked.batches[0]]
    named = labels([first[model] for model in range(len(asked.paths))], asked.paths)
    trials = {
        (model, batch): trial(module, replace(asked.settings, batch=batch), named[model])
        for (model, batch), module in modules.items()
    }
    return named, trials, refused


def _rows(asked: Asked) -> list[Row]:
    several = len(asked.quants) > 1
    return [
        Row(
            model,
            design,
            replace(asked.settings, batch=batch, quant=quant),
            asked.said,
            quant if several else None,
            asked.drawn,
        )
        for model in range(len(asked.paths))
        for design in asked.designs
        for batch in asked.batches
        for quant in asked.quants
    ]


def _computed(
    rows: Sequence[Row],
    trials: Trials,
    executor: Executor,
    work: Callable[[Trials, Row], Report | TetraplaError | None],
    *,
    told: bool = False,
) -> list[Report | TetraplaError | None]:
    """What the work makes of each row; `told`: with progress."""
    found: list[Report | TetraplaError | None] = [None] * len(rows)
    weights = [row.design.seeds(options_of(row.settings)) for row in rows]
    with bar(sum(weights) if told else 0) as step:
        for number, made in executor.run(work, trials, rows):
            found[number] = made
            row = rows[number]
            step(f"{trials[row.place].name} on {row.design.label}", weights[number])
    return found


def _measured(trials: Trials, row: Row) -> Report:
    given, chosen = trials[row.place], row.settings
    (done,) = results(given, [row.design], chosen, row.said)
    if row.drawn:
        assert done.report.drawn is not None  # made here, where there may be a core for it
    return added(done.report, chosen, row.quant)


def _tried(trials: Trials, row: Row) -> Report | TetraplaError:
    try:
        return _measured(trials, row)
    except (SpecError, UnsupportedError) as error:
        return error


def _lowered(trials: Trials, row: Row) -> TetraplaError | None:
    """Whether a row can be lowered at all."""
    given = trials[row.place]
    if row.settings.compat:
        return None
    try:
        options = options_of(row.settings)
        compile_for(given.module, row.design, given.samples.calibration, options)
    except (ModelError, SpecError, UnsupportedError) as error:
        return error
    return None


def _skipped(row: Row, named: Sequence[str], error: TetraplaError) -> Skipped:
    batch = 1 if row.settings.batch is None else row.settings.batch
    return Skipped(named[row.model], row.design.label, batch, row.settings.quant, str(error))


def _all_of(
    errors: Sequence[tuple[Row, TetraplaError]], count: int, named: Sequence[str]
) -> TetraplaError:
    """One error for all rows; the rows of one reason stand together."""
    reasons = why_of(_skipped(row, named, error) for row, error in errors)
    lines = [f"  {', '.join(who)}: {why}" for why, who in reasons.items()]
    return UnsupportedError(
        f"{len(errors)} of {count} rows cannot be computed; --on-unsupported skip leaves them "
        "out\n" + "\n".join(lines)
    )
