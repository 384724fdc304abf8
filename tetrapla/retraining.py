"""Training a model for the errors of an analog chip before it goes onto one.

Every step sees the weights as another chip of the kind would hold them: programmed, drifted and
read by the very model that a simulation uses (`backends.analog.perturb`); the gradient there
changes the weights themselves, as if the error were not a function of them (straight through;
V. Joshi et al., Nature Communications 11, 2020). So the model settles where chips' errors
matter little. Nothing of it needs PyTorch: steps are `training_step`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tetrapla.designs import design
from tetrapla.ir.errors import ModelError
from tetrapla.ir.gradient import Optimizer, parameters, with_weights
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.training import train

if TYPE_CHECKING:
    from tetrapla.designs import Design

LEARNING_RATE: Final = 1e-3  # of Adam, its authors' own (D. Kingma and J. Ba, ICLR 2015)
EPOCHS: Final = 10  # assumed


@dataclass(frozen=True)
class Retrained:
    """What retraining gave.

    Attributes:
        module: the float model, batch norms folded, with the weights after the last step.
        losses: before each step, on its batch and its chip.
    """

    module: Module
    losses: tuple[float, ...]


def retrain(
    module: Module,
    chosen: Design | str,
    x: Array,
    y: Array,
    epochs: int = EPOCHS,
    *,
    learning_rate: float = LEARNING_RATE,
    overrides: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Retrained:
    """Train a float model with the errors of an analog chip.

    Args:
        module: with float weights and one input, whose leading dimension is the batch of a
            step. It stays as it is.
        chosen: an analog chip, its name or the path of its YAML.
        x: training samples, (samples, *shape of one).
        y: their classes, integers (samples,).
        epochs: how often each sample is seen.
        learning_rate: of Adam.
        overrides: ``FIELD=VALUE`` over the chip's YAML, where it is given by name.
        seed: of the order of the samples and of the chips, which are none that a simulation of
            any seed draws.
        progress: is called with 1 after each step.

    Raises:
        ModelError: the chip is none of the family analog or has no errors, the model has no
            float weights, or the samples do not fit it.
        TetraplaError: as `training_step`.
    """
    from tetrapla.backends.analog.perturb import chips
    from tetrapla.simulators.analog.spec import AnalogSpec
    from tetrapla.simulators.random_ import Key

    found = design(chosen, overrides) if isinstance(chosen, str) else chosen
    spec = found.chip.spec
    if not isinstance(spec, AnalogSpec):
        raise ModelError(
            f"--target must be an analog chip to be trained for, not {found.label}; name one "
            "(tetrapla targets analog)"
        )
    if not spec.noisy:
        raise ModelError(
            f"{found.label} must have errors to be trained for, not exact cells and silent "
            "reads; set device.model or another of its errors"
        )
    ready = folded(module)
    kind = chips(ready, spec)
    names = parameters(ready)

    def held(number: int, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        return kind.held(weights, Key(seed, chip=number + 1))

    adam = Optimizer("adam", learning_rate=learning_rate)
    done = train(
        ready,
        x,
        y,
        epochs,
        optimizer=adam,
        wrt=names,
        seed=seed,
        progress=progress,
        held=held,
    )
    return Retrained(done.module, done.losses)


def folded(module: Module) -> Module:
    """The float model as chips hold it: batch norms in the products, epilogues apart.

    Raises:
        ModelError: it has no float weights.
        TetraplaError: a pass refuses the module.
    """
    from tetrapla.passes.pipeline_ import canonical

    if module.shape_only or not parameters(module):
        raise ModelError(
            f"model '{module.name}' must have float weights to be trained, not "
            f"{'none' if not module.shape_only else 'shapes alone'}; give the float model"
        )
    return unfused(canonical(module))


def with_batch(retrained: Module, module: Module) -> Module:
    """The weights of a retrained model in the same model of another batch.

    Raises:
        ModelError: the models differ in more than their batch.
    """
    ready = folded(module)
    shapes = {name: array.shape for name, array in ready.weights.items()}
    if {name: array.shape for name, array in retrained.weights.items()} != shapes:
        raise ModelError(
            f"model '{module.name}' must be the retrained one but for its batch, not another"
        )
    names = parameters(ready)
    return with_weights(ready, {n: np.asarray(retrained.weights[n]) for n in names})
