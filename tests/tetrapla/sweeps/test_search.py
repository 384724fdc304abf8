"""A search: repeatable by its seed, whatever ends it, and better than chance."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from tetrapla.ir.errors import ModelError, SpecError, UnsupportedError
from tetrapla.models import load_for
from tetrapla.settings import Settings
from tetrapla.sweeps.grid import OBJECTIVES, Sweep, swept
from tetrapla.sweeps.points import Points
from tetrapla.sweeps.search import BATCH, searched

Cli = Callable[..., Any]
Refused = Callable[..., None]
AXES: Mapping[str, tuple[str, ...]] = {
    "array.rows": ("16", "32", "64", "128", "256"),
    "array.cols": ("16", "32", "64", "128", "256"),
    "clock": tuple(f"{n}00MHz" for n in (1, 2, 7)),
}


def points(mlp: str, seed: int = 0) -> Points:
    settings = Settings(samples=1, seed=seed)
    return Points(lambda each: load_for(mlp, each), mlp, "tpu-v1", settings)


def settings_of(found: Sweep) -> list[Mapping[str, str]]:
    return [point.settings for point in found.points]


def best_latency(found: Sweep) -> float:
    return min(point.report.time_s for point in found.points)


def test_a_seed_gives_the_same_search(mlp: str) -> None:
    first, second = (searched(points(mlp), AXES, (), 20) for _ in range(2))
    assert first.to_json() == second.to_json()
    other = searched(points(mlp, seed=1), AXES, (), 20)
    assert settings_of(other) != settings_of(first)
    assert all(point.settings.keys() == AXES.keys() for point in first.points)


@pytest.mark.parametrize("ended", [1, BATCH - 1, BATCH, BATCH + 3])
def test_a_search_that_was_ended_goes_on_as_if_it_had_not(
    mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    whole = searched(points(mlp), AXES, ("latency", "energy"), 21)
    path, kept = tmp_path / "study.db", optuna.Study.add_trial

    def failing(study: optuna.Study, trial: Any) -> None:
        if len(study.trials) == ended:
            raise KeyboardInterrupt
        kept(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", failing)
    with pytest.raises(KeyboardInterrupt):
        searched(points(mlp), AXES, ("latency", "energy"), 21, path)
    monkeypatch.undo()
    again = searched(points(mlp), AXES, ("latency", "energy"), 21, path)
    assert again.to_json() == whole.to_json()
    study = optuna.load_study(study_name="tetrapla", storage=f"sqlite:///{path}")
    assert sorted(trial.user_attrs["number"] for trial in study.trials) == list(range(21))
    assert study.user_attrs["about"]["objectives"] == ["latency", "energy"]


def test_a_search_finds_what_the_whole_grid_has(mlp: str) -> None:
    """By its objective alone: fewer points than the grid, and its best is the grid's best."""
    grid = swept(points(mlp), AXES, ("latency",))
    found = searched(points(mlp), AXES, ("latency",), 40)
    assert len(found.points) < len(grid.points)
    assert best_latency(found) == best_latency(grid)


def test_several_objectives_have_a_front(mlp: str) -> None:
    found = searched(points(mlp), AXES, ("latency", "energy"), 40)
    grid = swept(points(mlp), AXES, ("latency", "energy"))
    on_both = [p.settings for p in found.points if p.pareto]
    assert on_both
    values = {
        tuple(OBJECTIVES[name](p.report) for name in found.objectives)
        for p in grid.points
        if p.pareto
    }
    assert any(
        tuple(OBJECTIVES[name](p.report) for name in found.objectives) in values
        for p in found.points
    )


def test_a_point_that_cannot_be_is_a_failed_trial(mlp: str, tmp_path: Path) -> None:
    """Too few columns for a weight are refused, and the search goes on without them."""
    path = tmp_path / "study.db"
    settings = Settings(data="digits", samples=1)
    each = Points(lambda chosen: load_for(mlp, chosen), mlp, "isaac", settings)
    found = searched(
        each, {"array.tiles": ("100", "168"), "array.cols": ("6", "128")}, (), 16, path
    )
    study = optuna.load_study(study_name="tetrapla", storage=f"sqlite:///{path}")
    states = {trial.state.name for trial in study.trials}
    assert states == {"COMPLETE", "FAIL"}
    assert all(point.settings["array.cols"] == "128" for point in found.points)


def test_a_disk_that_fills_up_keeps_the_trials(
    mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = tmp_path / "study.db", optuna.Study.add_trial

    def full(study: optuna.Study, trial: Any) -> None:
        if len(study.trials) == 3:
            raise optuna.exceptions.StorageInternalError from sqlite3.OperationalError(
                "database or disk is full"
            )
        kept(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", full)
    with pytest.raises(ModelError) as refused:
        searched(points(mlp), AXES, (), 9, path)
    assert str(refused.value) == (
        f"study '{path}' must take another trial, not refuse it: database or disk is full; it "
        "keeps what is finished: make room and run the same command again"
    )
    study = optuna.load_study(study_name="tetrapla", storage=f"sqlite:///{path}")
    assert len(study.trials) == 3


def test_where_no_point_can_be_the_first_reason_is_told(mlp: str) -> None:
    settings = Settings(data="digits", samples=1)
    each = Points(lambda chosen: load_for(mlp, chosen), mlp, "isaac", settings)
    with pytest.raises(SpecError) as refused:
        searched(each, {"array.cols": ("5", "6")}, (), 8)
    assert str(refused.value).startswith("array.cols must be at least the 8 columns of one")


def test_the_command_is_the_function(cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 1, "--trials", 9]
    for name, values in AXES.items():
        words += ["--set", f"{name}={','.join(values)}"]
    assert cli(*words, "--json", tmp_path / "s.json").status == 0
    found = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert found == searched(points(mlp), AXES, (), 9).to_dict()


def test_mistakes_get_one_sentence(refused: Refused, mlp: str, tmp_path: Path) -> None:
    grid = [
        "sweep",
        mlp,
        "--target",
        "tpu-v1",
        "--samples",
        "1",
        "--set",
        "clock=100MHz,200MHz",
    ]
    study = tmp_path / "s.db"
    searched(points(mlp), {"clock": ("100MHz",)}, (), 1, study)
    refused(
        f"study '{study}' must be of the same --set, --objective and --seed, not of others; "
        "name another file",
        *grid,
        *("--trials", 2, "--study", study),
    )
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to look like a file of something\n" * 9)
    refused(
        f"study '{text}' must be a writable SQLite file of Optuna: file is not a database; "
        "name another place",
        *grid,
        *("--trials", 2, "--study", text),
    )
    refused("--trials must be from 1 to 100000, not 0", *grid, "--trials", 0)
    refused("--study must come with --trials, not alone; say how many", *grid, "--study", study)


def test_without_optuna_the_extra_is_named(mlp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UnsupportedError) as refused:
        searched(points(mlp), AXES, (), 1)
    assert str(refused.value) == (
        'sweep --trials needs Optuna, which is not installed; pip install "tetrapla[dse]"'
    )
