"""A search of a few seconds: the same again, after a stop, and by the command."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tetrapla
from tetrapla.__main__ import run
from tetrapla.architecture import run as whole
from tetrapla.architecture import search
from tetrapla.architecture.layers import forward, images
from tetrapla.architecture.outcome import Outcome
from tetrapla.architecture.search import Plan
from tetrapla.architecture.study import Study
from tetrapla.architecture.training import Recipe, answers, trained
from tetrapla.datasets import load_data
from tetrapla.frontend.zoo.digits import parse
from tetrapla.settings import Settings
from tetrapla.sweeps.store import Store

PLAN = Plan(trainings=3, epochs=4, seed=5, finalists=1, folds=2)
FEW = Settings(samples=20)


class StoppedError(Exception):
    """What ends a search in the middle."""


def searched(plan: Plan = PLAN, study: Path | None = None, stop: int = 0) -> Outcome:
    """A search on the quickest machine; `stop` ends it when so many steps were told."""
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        if len(told) == stop:
            raise StoppedError

    return whole.searched("digits", "tpu-v1", "energy", plan, FEW, study=study, say=say)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the search of `once` keeps what it computes."""
    return tmp_path_factory.mktemp("search") / "study.db"


@pytest.fixture(scope="module")
def once(study: Path) -> Outcome:
    return searched(study=study)


def test_the_result_says_what_was_done(once: Outcome) -> None:
    found = json.loads(once.to_json())
    assert found["schema"] == "tetrapla.search/1"
    assert found["command"] == (
        "tetrapla search digits --target tpu-v1 --budget 3 --epochs 4 --samples 20 --seed 5"
    )
    assert found["budget"]["trained"] == len(found["candidates"]) == 3
    assert found["budget"]["priced"] >= 3
    assert [each["samples"] for each in found["finalists"]] == [40, 40]
    assert found["candidates"][0]["shape"] == "c8k3-c16k3p-c16k3p-h0-b8"
    assert found["winner"]["shape"] in {each["shape"] for each in found["finalists"]}
    assert found["winner"]["report"]["cross_check"]["passed"]
    assert found["baseline"]["model"] == "digits_cnn"
    assert found["comparison"]["dominates"] is once.dominates
    assert found["verdict"].startswith(found["winner"]["shape"])


def test_a_stopped_search_goes_on_and_ends_alike(tmp_path: Path, once: Outcome) -> None:
    study = tmp_path / "study.db"
    for stop in (3, 6):
        with pytest.raises(StoppedError):
            searched(study=study, stop=stop)
    assert searched(study=study).to_json() == once.to_json()


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    held = Study(tmp_path / "study.db")
    for _ in range(2):
        assert held.known(["a", 1], lambda: {"x": 0.1}) == {"x": 0.1}
    assert held.computed == 1
    assert held.known(["a", 2], lambda: None) is None
    held.close()


def test_the_winners_module_computes_what_was_trained(once: Outcome) -> None:
    data = load_data("digits")
    x = data.x[data.test][:20]
    weights = {name: np.asarray(array) for name, array in once.module.weights.items()}
    scores = forward(parse(once.chosen.label), weights, images(x)).scores
    found = [
        tetrapla.evaluate(once.module, {"image": each.reshape(1, 1, 8, 8)})["logits"]
        for each in x
    ]
    np.testing.assert_allclose(np.concatenate(found), scores, atol=1e-4)


def test_training_learns_and_depends_on_its_seed_alone() -> None:
    data, shape = load_data("digits"), parse("c8k3s2-h16-b8")
    x, y = data.x[data.train][:400], data.y[data.train][:400]
    first, again, other = (trained(shape, x, y, Recipe(30), seed) for seed in (1, 1, 2))
    for name in first:
        assert first[name].tobytes() == again[name].tobytes()
    assert any((first[name] != other[name]).any() for name in first)
    assert (answers(shape, first, x) == y).mean() > 0.9


WORDS = ("search", "digits", "--target", "tpu-v1")


def test_the_command_takes_what_a_study_has(
    tmp_path: Path,
    once: Outcome,
    study: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "Plan", partial(Plan, finalists=1, folds=2))
    model, figures = tmp_path / "best.onnx", tmp_path / "found.json"
    tiny = ["--budget", "3", "--epochs", "4", "--samples", "20", "--seed", "5"]
    files = ["--study", str(study), "--json", str(figures), "-o", str(model)]
    assert run([*WORDS, *tiny, *files]) == 0
    assert figures.read_text() == once.to_json()
    said = capsys.readouterr().out
    assert "rank correlation of proxies with what training found: synflow" in said
    assert said.rstrip().endswith(once.verdict())
    kept = tetrapla.load(model).weights
    for name, array in once.module.weights.items():
        np.testing.assert_array_equal(kept[name], array)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--budget", "1"], "--budget must be from 2 to 10000, not 1"),
        (["digits", "--epochs", "3"], "--epochs must be from 4 to 10000, not 3"),
        (["digits", "--budget", "few"], "--budget must be a whole number, not 'few'"),
        (["digit"], "SPACE must be digits, not 'digit'; did you mean 'digits'?"),
        (
            ["digits", "--objective", "power"],
            "--objective must be energy, latency, area, not 'power'",
        ),
        (["digits", "-o", "best.pt"], "a model must be saved as .mlir or .onnx, not 'best.pt'"),
        (
            ["digits", "--study", "{tmp}/text.db"],
            "study '{tmp}/text.db' must be a writable SQLite file: file is not a database; "
            "name another place",
        ),
        (
            ["digits", "--study", "{tmp}/other.db"],
            "study '{tmp}/other.db' must be of kind tetrapla.sweeps.search-study/1, not "
            "tetrapla.store/1; name another file",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_first(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.db").write_text("no database, but a text of some length\n" * 40)
    Store(tmp_path / "other.db").close()
    given = [word.replace("{tmp}", str(tmp_path)) for word in words]
    assert run(["search", *given, "--target", "tpu-v1"]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {message.replace('{tmp}', str(tmp_path))}\n"
