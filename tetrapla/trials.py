"""The same samples on several machines: what compare, simulate and sweep have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tetrapla.accuracy import check_labels, classes
from tetrapla.additions import added
from tetrapla.backends.target_ import Options
from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.models import load_for
from tetrapla.progress import Step, bar, silent
from tetrapla.run import Executable, Result, Trial, compile_for
from tetrapla.samples import Samples, batch_of, samples_for
from tetrapla.settings import Settings, command

UNJUDGED = "the labels are not used: accuracy needs one output of shape [batch, classes]"


def options_of(settings: Settings) -> Options:
    """The part of the settings that a lowering reads."""
    return Options(
        settings.quant,
        settings.timesteps,
        settings.ideal,
        settings.tuning,
        settings.code,
        settings.chunk,
        settings.chips,
    )


def compiled(
    module: Module, design: Design, settings: Settings
) -> tuple[Executable, list[str]]:
    """A model for one machine, calibrated on the settings' data, and what to know of it."""
    samples = samples_for(module, settings)
    found = compile_for(module, design, samples.calibration, options_of(settings))
    return found, [*samples.warnings, *found.lowered.warnings]


def trial(module: Module, settings: Settings, name: str = "") -> Trial:
    """The samples that the settings ask for, and the float model's answers to them.

    Raises:
        ModelError: the data cannot be read, or does not fit the model.
    """
    name = name or module.name
    if settings.compat:
        return Trial(module, name, Samples({}, batch_of(module)))
    samples = samples_for(module, settings)
    if samples.labels is None:
        return Trial(module, name, samples)
    count = classes(module)
    if count is None:
        warned = replace(samples, labels=None, warnings=(*samples.warnings, UNJUDGED))
        return Trial(module, name, warned)
    check_labels(samples.labels, count)
    answers = evaluate_many(module, samples.inputs)
    return Trial(module, name, samples, answers, settings.least_accuracy)


def results(
    given: Trial,
    found: Sequence[Design],
    settings: Settings,
    said: str,
    step: Step = silent,
    *,
    brief: bool = False,
) -> list[Result]:
    """One model on several machines with the same samples, in the order of the designs.

    Args:
        given: the model and what it is run on.
        found: the machines.
        settings: the common options.
        said: the command to record.
        step: is told of every run of a machine.
        brief: whether `--compat` leaves out what takes long.
    """
    options, answers = options_of(settings), list[Result]()
    if settings.compat:
        from tetrapla import compat

        batch = given.samples.batch
        return [
            Result(compat.report(given.module, given.name, each, said, batch, brief=brief), ())
            for each in found
        ]
    for design in found:
        step(f"{given.name} on {design.label}", 0)
        executable = compile_for(given.module, design, given.samples.calibration, options)
        answers.append(executable.simulated(given, settings.seed, said, step))
    return answers


def simulated(path: str, target: str, design: Design, settings: Settings) -> Result:
    """One model on one machine, as the command `simulate` names them."""
    said = command("simulate", [path], [target], settings)
    given = trial(load_for(path, settings), settings)
    with bar(design.seeds(options_of(settings))) as step:
        done = results(given, [design], settings, said, step)[0]
    return replace(done, report=added(done.report, settings))


def labels(modules: Sequence[Module], paths: Sequence[str]) -> list[str]:
    """What reports call each model: its name, or its path where two names are the same.

    Raises:
        ModelError: a path is given twice.
    """
    for path, count in Counter(paths).items():
        if count > 1:
            raise ModelError(f"MODEL must be given once, not '{path}' {count} times")
    names = Counter(module.name for module in modules)
    return [
        path if names[module.name] > 1 else module.name
        for module, path in zip(modules, paths, strict=True)
    ]
