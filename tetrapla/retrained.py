"""A model file retrained for a chip, held against what it was: the command `retrain`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tetrapla.accuracy import check_labels, classes
from tetrapla.datasets import load_data
from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.models import load_for
from tetrapla.progress import bar
from tetrapla.retraining import retrain, with_batch
from tetrapla.samples import batch_of
from tetrapla.settings import Settings, command
from tetrapla.simulators.report import Report
from tetrapla.trials import results, trial

BATCH: Final = 16  # samples of a step, assumed


@dataclass(frozen=True)
class Compared:
    """A retrained model, of the batch that files get, and the reports before and after."""

    module: Module
    reports: tuple[Report, Report]


def compared(
    path: str, target: str, found: Design, settings: Settings, epochs: int, learning_rate: float
) -> Compared:
    """Retrain a model file on the training part of its data, and simulate both.

    The test part is what both are judged on, by the same chips.

    Args:
        path: of the model.
        target: as the person named it, for the reports' command.
        found: the chip.
        settings: the common options; their batch is that of a step.
        epochs: how often each sample is seen.
        learning_rate: of Adam.

    Raises:
        ModelError: no data with a training part, or it does not fit the model.
        TetraplaError: as `retrain`.
    """
    plain = replace(settings, batch=None)
    before = load_for(path, plain)
    training = _of_steps(path, before, settings)
    x, y = _training_part(training, settings)
    steps = epochs * (len(x) // batch_of(training))
    with bar(steps) as step:
        step("training", 0)
        done = retrain(
            training,
            found,
            x,
            y,
            epochs,
            learning_rate=learning_rate,
            seed=settings.seed,
            progress=lambda number: step("training", number),
        )
    after = with_batch(done.module, before)
    said = command("retrain", [path], [target], settings)
    said += f" --epochs {epochs} --learning-rate {learning_rate}"
    reports = tuple(
        results(trial(each, plain, name), [found], plain, said)[0].report
        for each, name in ((before, before.name), (after, f"{before.name}, retrained"))
    )
    return Compared(after, (reports[0], reports[1]))


def _of_steps(path: str, before: Module, settings: Settings) -> Module:
    """The model with the batch of a step; its own where that is fixed and nobody asked."""
    if settings.batch is not None:
        return load_for(path, settings)
    try:
        return load_for(path, replace(settings, batch=BATCH))
    except ModelError:
        return before


def _training_part(module: Module, settings: Settings) -> tuple[Array, Array]:
    """Samples (samples, *shape of one) and their classes.

    Raises:
        ModelError: there are none, or they do not fit the model.
    """
    if settings.data is None:
        raise ModelError("--data must be given to retrain: digits, or an .npz with x, y, train")
    data = load_data(settings.data)
    if not len(data.train):
        raise ModelError(
            f"--data {settings.data} must have a training part to retrain on, not test samples "
            "alone; add the indices 'train' and 'test'"
        )
    if len(module.graph.inputs) != 1:
        raise ModelError(
            f"a model to retrain must have one input, not {len(module.graph.inputs)}"
        )
    ((_, value),) = module.graph.inputs
    count, labels = classes(module), data.y[data.train]
    if count is None:
        raise ModelError(
            "a model to retrain must have one output of shape [batch, classes], not "
            f"{len(module.graph.outputs)} of others"
        )
    check_labels(labels, count)
    if len(labels) < batch_of(module):
        raise ModelError(
            f"--batch must be at most the {len(labels)} training samples, not "
            f"{batch_of(module)}; lower it"
        )
    return data.reshaped(value.shape[1:], data.train), labels
