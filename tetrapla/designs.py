"""Design points by name: found once, and labelled so that two never look the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tetrapla.backends.target_ import AnyTarget, Options, families, find
from tetrapla.ir.errors import ModelError, TetraplaError
from tetrapla.simulators.spec_ import Loaded, chips

SEEDS = 5  # runs of a machine with noise: the contract asks for at least five


@dataclass(frozen=True)
class Design:
    """A machine with its numbers; `label` is what reports and tables call it."""

    label: str
    target: AnyTarget
    chip: Loaded[Any]

    def spec(self, options: Options) -> Any:
        """The chip's numbers, without the non-idealities that the options switch off."""
        return self.chip.spec.ideal() if options.ideal else self.chip.spec

    def seeds(self, options: Options) -> int:
        """How many runs its noise asks for, each of a chip of its own; one without noise."""
        noisy = self.target.stochastic(self.spec(options), options)
        return (options.chips or SEEDS) if noisy else 1


def design(name: str, overrides: Sequence[str] = ()) -> Design:
    """The design point of a chip's name, a family's, or a YAML file.

    A file is called by the `name` in it, or by its path where a shipped chip has that name.

    Raises:
        RegistryError: there is no such chip, family or file.
        SpecError: the YAML is wrong, at a line and column.
    """
    target, chip = find(name, overrides)
    shipped = chips()
    taken = chip.name in shipped and name not in shipped and name not in families()
    return Design(name if taken else chip.name, target, chip)


def designs(names: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Design, ...]:
    """Every design point, judged before any work starts.

    Raises:
        ModelError: there is none, or one is named twice.
        TetraplaError: one is wrong; of several, the message starts with its name.
    """
    if not names:
        raise ModelError("--targets must name at least one target, not none")
    for name, count in Counter(names).items():
        if count > 1:
            raise ModelError(
                f"--targets must name each target once, not '{name}' {count} times; "
                "drop the others"
            )
    found = [_named(name, overrides, alone=len(names) == 1) for name in names]
    labels = Counter(each.label for each in found)
    return tuple(
        replace(each, label=name) if labels[each.label] > 1 else each
        for name, each in zip(names, found, strict=True)
    )


def _named(name: str, overrides: Sequence[str], alone: bool) -> Design:
    try:
        return design(name, overrides)
    except TetraplaError as error:
        if alone or not str(error).startswith("--set "):
            raise
        raise type(error)(f"target '{name}': {error}") from None
