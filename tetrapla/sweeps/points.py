"""The points of a sweep: what each sets, and its report, from a store or by an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tetrapla.designs import Design, design
from tetrapla.executors import Executor
from tetrapla.executors.local import Serial
from tetrapla.ir.errors import SpecError, TetraplaError, UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.run import Trial
from tetrapla.settings import Settings, command, whole
from tetrapla.simulators.report import Report
from tetrapla.simulators.spec_ import Provenance
from tetrapla.sweeps.schemes import PREFIX, varied
from tetrapla.sweeps.store import Store, point_key, trial_digest
from tetrapla.trials import results, trial

OPTIONS: Mapping[str, Callable[[str, str], int | str | None]] = {  # swept like a chip's fields
    "timesteps": whole,
    "batch": whole,
    "quant": lambda option, text: text,
}


def is_option(name: str) -> bool:
    """Whether an axis is of the lowering, not a field of the chip."""
    return name in OPTIONS or name.startswith(PREFIX)


@dataclass(frozen=True)
class Held:
    """One point: its machine and options, and the command that repeats it alone."""

    target: str
    design: Design
    settings: Settings
    said: str


class Points:
    """A model on one machine under options that differ from point to point.

    Args:
        read: gives the float model with a point's batch.
        path: the model as a command names it; None where it has no file.
        target: chip, family or YAML file.
        settings: the common options of every point.
        store: has the points that were computed before, and takes the others.
        executor: computes them; None for this process.
    """

    def __init__(
        self,
        read: Callable[[Settings], Module],
        path: str | None,
        target: str,
        settings: Settings,
        store: Store | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._read, self._path, self._target = read, path, target
        self.settings = settings
        self._store, self._executor = store, executor or Serial()
        self._trials: dict[int | None, Trial] = {}
        self._digests: dict[int | None, str] = {}
        self._same: dict[Any, Any] = {}  # what many points have in common, held once

    def held(self, point: Mapping[str, str]) -> Held:
        """What a point sets, judged.

        Raises:
            SpecError, ModelError: a field or a value is wrong.
        """
        chosen = _settings(self.settings, point)
        found = design(self._target, chosen.overrides)
        fields = {n.removeprefix(PREFIX): v for n, v in point.items() if n.startswith(PREFIX)}
        if fields:
            chosen = replace(chosen, quant=varied(found, chosen.quant, fields))
        words = [self._path] if self._path else []
        said = command("simulate", words, [self._target], chosen) if words else ""
        text = self._same.setdefault(found.chip.text, found.chip.text)
        chip = replace(found.chip, provenance=self._once(found.chip.provenance), text=text)
        return Held(self._target, replace(found, chip=chip), chosen, said)

    def _once(self, provenance: tuple[Provenance, ...]) -> tuple[Provenance, ...]:
        """The same numbers, of which equal ones of all points are one."""
        return tuple(self._same.setdefault(each, each) for each in provenance)

    def model(self, settings: Settings) -> Module:
        """The float model that settings ask for."""
        return self._read(settings)

    def trials(self, held: Sequence[Held]) -> list[Trial]:
        """What the points are run on, read once for each batch."""
        for each in held:
            batch = each.settings.batch
            if batch not in self._trials:
                self._trials[batch] = trial(self._read(each.settings), each.settings)
        return [self._trials[each.settings.batch] for each in held]

    def computed(self, held: Sequence[Held]) -> list[Report]:
        """The reports of points, in their order; what the store has is not computed.

        Raises:
            TetraplaError: the first that a point was refused with.
        """
        reports: list[Report] = []
        for found in self._found(held, _measured):
            assert isinstance(found, Report), "what is refused is raised"
            reports.append(found)
        return reports

    def tried(self, held: Sequence[Held]) -> list[Report | TetraplaError]:
        """As `computed`, with the error of a point that the machine cannot do in its place."""
        return self._found(held, _tried)

    def _found(
        self, held: Sequence[Held], work: Callable[[Any, Held], Report | TetraplaError]
    ) -> list[Report | TetraplaError]:
        found: dict[int, Report | TetraplaError] = {}
        self.trials(held)
        keys = [self._key(each) for each in held] if self._store else []
        for number, key in enumerate(keys):
            known = self._store.get(key, held[number].said) if self._store else None
            if known is not None:
                found[number] = known
        left = [number for number in range(len(held)) if number not in found]
        if self._store:
            self._store.check_room(len(left))
        with bar(len(held)) as step:
            step("", len(found))
            for place, made in self._executor.run(work, self._trials, [held[n] for n in left]):
                number = left[place]
                if isinstance(made, Report):
                    made = replace(made, provenance=self._once(made.provenance))
                found[number] = made
                if self._store and isinstance(made, Report):
                    self._store.put(keys[number], made)
                step(f"{self._trials[held[number].settings.batch].name}", 1)
        return [found[number] for number in range(len(held))]

    def _key(self, held: Held) -> str:
        batch = held.settings.batch
        if batch not in self._digests:
            self._digests[batch] = trial_digest(self._trials[batch])
        return point_key(self._digests[batch], held.design, held.settings)


def _measured(trials: Mapping[int | None, Trial], held: Held) -> Report:
    """One point's figures, without its outputs and pictures, which no sweep shows."""
    chosen = held.settings
    (done,) = results(trials[chosen.batch], [held.design], chosen, held.said, brief=True)
    return replace(done.report, outputs={}, scene=None, trace=())


def _tried(trials: Mapping[int | None, Trial], held: Held) -> Report | TetraplaError:
    try:
        return _measured(trials, held)
    except (SpecError, UnsupportedError) as error:
        return error


def _settings(settings: Settings, point: Mapping[str, str]) -> Settings:
    fields = [f"{name}={value}" for name, value in point.items() if not is_option(name)]
    options: dict[str, Any] = {
        name: OPTIONS[name](f"--set {name}", value)
        for name, value in point.items()
        if name in OPTIONS
    }
    return replace(settings, overrides=(*settings.overrides, *fields), **options)
