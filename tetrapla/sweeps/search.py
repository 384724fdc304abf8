"""A search over a grid by Optuna: the points that look best instead of all of them.

What is drawn depends on the seed, the trial's number and the finished batches alone, so a
search that was ended goes on as if it had not been, and executors do not matter. A study kept
in a file is Optuna's own SQLite storage, which optuna-dashboard opens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from tetrapla.ir.errors import ModelError, TetraplaError, UnsupportedError
from tetrapla.simulators.report import Report
from tetrapla.sweeps.grid import (
    OBJECTIVES,
    Sweep,
    check_axes,
    check_known,
    check_objectives,
    judged,
)
from tetrapla.sweeps.points import Points

BATCH: Final = 8  # trials drawn before one of them is told; part of what a seed means
POPULATION: Final = 3 * BATCH  # assumed: of a generation
MAX_TRIALS: Final = 100_000  # assumed: more is a typing error
MAX_GRID: Final = 10**12  # assumed: so many combinations are a typing error
DEFAULT: Final = ("latency", "energy")
_NAME: Final = "tetrapla"
_NUMBER: Final = "number"  # of a trial, as a file remembers it
_WAIT_S: Final = 60.0  # for another run's transaction

Values: TypeAlias = Sequence[float] | None


def searched(
    points: Points,
    axes: Mapping[str, Sequence[str]],
    objectives: Sequence[str],
    trials: int,
    path: Path | None = None,
) -> Sweep:
    """Try points of a grid, the better the longer.

    Args:
        points: the model, the machine and the options of every point; their seed is the
            search's.
        axes: values by field, as text.
        objectives: keys of `OBJECTIVES`, `DEFAULT` if empty: several by NSGA-II, one by TPE.
        trials: how many, those that the study has included.
        path: of the study; None keeps it in memory.

    Returns:
        Every point that was tried and that the machine can do, in the order of first trial.

    Raises:
        TetraplaError: of the first point, where the machine can do none of a first batch.
    """
    chosen = tuple(objectives) or DEFAULT
    check_objectives(chosen)
    check_axes(axes, MAX_GRID)
    if not 1 <= trials <= MAX_TRIALS:
        raise ModelError(f"--trials must be from 1 to {MAX_TRIALS}, not {trials}")
    # a wrong field is an error before the work starts
    ends = [{name: values[i] for name, values in axes.items()} for i in (0, -1)]
    check_known(points, [points.held(each) for each in ends], chosen)
    study = Study(axes, chosen, points.settings.seed, path)
    found: dict[tuple[str, ...], Report | TetraplaError] = {}
    for first in range(0, trials, BATCH):
        drawn = study.drawn(first, min(BATCH, trials - first))
        keys = [tuple(each.values()) for each in drawn]
        new = {k: each for k, each in zip(keys, drawn, strict=True) if k not in found}
        made = points.tried([points.held(each) for each in new.values()])
        found |= zip(new, made, strict=True)
        results = [found[key] for key in keys]
        if not first and all(isinstance(each, TetraplaError) for each in results):
            raise next(each for each in results if isinstance(each, TetraplaError))
        study.told(first, drawn, [_values(each, chosen) for each in results])
    done = {key: report for key, report in found.items() if isinstance(report, Report)}
    settings = [dict(zip(axes, key, strict=True)) for key in done]
    return judged(settings, list(done.values()), chosen)


def _values(result: Report | TetraplaError, objectives: Sequence[str]) -> Values:
    if isinstance(result, TetraplaError):
        return None
    found = [OBJECTIVES[name](result) for name in objectives]
    values = [value for value in found if value is not None]
    return values if len(values) == len(found) else None


class Study:
    """What was drawn and what came out: whole batches in memory, every trial in a file.

    Args:
        axes: values by field.
        objectives: what is made smaller.
        seed: of what is drawn.
        path: of the file; None keeps nothing.

    Raises:
        UnsupportedError: Optuna is not installed.
        ModelError: the file is none of a study, or of one with other arguments.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[str]],
        objectives: Sequence[str],
        seed: int,
        path: Path | None,
    ) -> None:
        self._optuna = _optuna()
        self._axes, self._seed, self._many = axes, seed, len(objectives) > 1
        self._path = path
        self._directions = ["minimize"] * len(objectives)
        self._ranges = {
            name: self._optuna.distributions.CategoricalDistribution(tuple(values))
            for name, values in axes.items()
        }
        self._study = self._optuna.create_study(directions=self._directions)
        self._asked: list[Any] = []
        self._file: Any = None
        self._kept: dict[int, Any] = {}
        if path is not None:
            self._open(path, objectives)

    def drawn(self, first: int, count: int) -> list[dict[str, str]]:
        """A batch of points, each drawn from the batches before."""
        self._asked = []
        points: list[dict[str, str]] = []
        for number in range(first, first + count):
            self._study.sampler = self._sampler(number)
            trial = self._study.ask(self._ranges)
            self._asked.append(trial)
            points.append({name: str(trial.params[name]) for name in self._axes})
        return points

    def told(
        self, first: int, points: Sequence[Mapping[str, str]], results: Sequence[Values]
    ) -> None:
        """What came out of a batch; None where the machine cannot do a point."""
        state = self._optuna.trial.TrialState
        for number, (point, values) in enumerate(zip(points, results, strict=True), first):
            known = state.FAIL if values is None else state.COMPLETE
            self._study.tell(self._asked[number - first], values, state=known)
            if self._file is None or number in self._kept:
                continue
            trial = self._optuna.trial.create_trial(
                state=known,
                params=dict(point),
                distributions=self._ranges,
                values=values,
                user_attrs={_NUMBER: number},
            )
            self._keep(trial)

    def _keep(self, trial: Any) -> None:
        sqlalchemy: Any = import_module("sqlalchemy")
        try:
            self._file.add_trial(trial)
        except (sqlalchemy.exc.SQLAlchemyError, self._optuna.exceptions.OptunaError) as error:
            said = str(error.__cause__ or error).splitlines()[0]
            raise ModelError(
                f"study '{self._path}' must take another trial, not refuse it: {said}; it "
                "keeps what is finished: make room and run the same command again"
            ) from None

    def _sampler(self, number: int) -> Any:
        # a sampler of its own for each trial: none remembers what an ended run drew
        seed = (self._seed * MAX_TRIALS + number) % 2**32
        samplers = self._optuna.samplers
        if self._many:
            return samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=POPULATION)

    def _open(self, path: Path, objectives: Sequence[str]) -> None:
        """Open or make the file, and remember which trials it has."""
        sqlalchemy: Any = import_module("sqlalchemy")
        try:
            # readers and a writer at once, and no wait for the disk after every statement
            with sqlite3.connect(path, timeout=_WAIT_S) as file:
                file.execute("PRAGMA journal_mode=WAL")
            file.close()
            storage = self._optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": _WAIT_S}}
            )
            self._file = self._optuna.create_study(
                study_name=_NAME,
                storage=storage,
                directions=self._directions,
                load_if_exists=True,
            )
        except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise ModelError(
                f"study '{path}' must be a writable SQLite file of Optuna: "
                f"{str(error).splitlines()[0]}; name another place"
            ) from None
        about = {
            "axes": {name: list(values) for name, values in self._axes.items()},
            "objectives": list(objectives),
            "seed": self._seed,
        }
        held = self._file.user_attrs.get("about")
        if held not in (None, about):
            raise ModelError(
                f"study '{path}' must be of the same --set, --objective and --seed, not of "
                "others; name another file"
            )
        self._file.set_user_attr("about", about)
        self._kept = {each.user_attrs[_NUMBER]: each for each in self._file.trials}


def _optuna() -> Any:
    try:
        found: Any = import_module("optuna")
    except ImportError:
        raise UnsupportedError(
            'sweep --trials needs Optuna, which is not installed; pip install "tetrapla[dse]"'
        ) from None
    found.logging.set_verbosity(found.logging.WARNING)
    return found
