"""A store of results: nothing is computed twice, nothing finished is lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest

from tetrapla.designs import design
from tetrapla.ir.errors import ModelError
from tetrapla.models import load_for
from tetrapla.settings import Settings
from tetrapla.simulators.random_ import Key, words
from tetrapla.sweeps.grid import swept
from tetrapla.sweeps.points import Points
from tetrapla.sweeps.store import Store, point_key, trial_digest
from tetrapla.sweeps.stored import report_of
from tetrapla.trials import results, trial

Cli = Callable[..., Any]
Refused = Callable[..., None]
GRID = ("--set", "array.rows=64:512:*2", "--set", "clock=100MHz:800MHz:*2")


def content(path: Path) -> dict[str, str]:
    store = Store(path)
    found = dict(store.items())
    store.close()
    return found


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The points that this process computes, as they are asked for."""
    seen: list[str] = []
    honest = results

    def counted(*given: Any, **more: Any) -> Any:
        seen.append(given[3])
        return honest(*given, **more)

    monkeypatch.setattr("tetrapla.sweeps.points.results", counted)
    return seen


def test_a_point_is_computed_once(
    cli: Cli, mlp: str, tmp_path: Path, computed: list[str]
) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 2, "--store", tmp_path / "s.db"]
    first = cli(*words, "--set", "clock=200MHz,400MHz", "--json", tmp_path / "1.json")
    assert (first.status, len(computed)) == (0, 2)
    wider = cli(*words, "--set", "clock=200MHz,400MHz,800MHz", "--json", tmp_path / "2.json")
    assert (wider.status, len(computed)) == (0, 3)
    again = cli(*words, "--set", "clock=200MHz,400MHz", "--json", tmp_path / "3.json")
    assert (again.status, len(computed)) == (0, 3)
    assert (tmp_path / "3.json").read_bytes() == (tmp_path / "1.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"samples": 3},
        {"quant": "int16"},
        {"overrides": ("clock=200MHz",)},
        {"data": "digits", "samples": 2},
    ],
)
def test_what_a_result_depends_on_is_in_its_key(mlp: str, change: dict[str, Any]) -> None:
    plain = Settings(samples=2)

    def key(settings: Settings, target: str = "tpu-v1") -> str:
        given = trial(load_for(mlp, settings), settings)
        return point_key(trial_digest(given), design(target, settings.overrides), settings)

    assert key(plain) == key(plain)
    assert key(plain) != key(replace(plain, **change))
    assert key(plain) != key(plain, "eyeriss")


@pytest.mark.parametrize("target", ["tpu-v1", "isaac", "loihi", "h100", "groq-tsp"])
def test_a_report_comes_back_as_it_was(mlp: str, target: str) -> None:
    settings = Settings(data="digits", samples=3)
    given = trial(load_for(mlp, settings), settings)
    (done,) = results(given, [design(target)], settings, "tetrapla simulate")
    stored = json.loads(json.dumps(done.report.to_dict()))
    assert report_of(stored).to_json() == done.report.to_json()


@pytest.mark.slow
def test_runs_that_are_killed_leave_what_they_finished(mlp: str, tmp_path: Path) -> None:
    """Twenty kills at random, then a run to its end: the store of one undisturbed run."""
    words_ = [mlp, "--target", "tpu-v1", "--samples", "1", *GRID]
    command = [sys.executable, "-m", "tetrapla", "sweep", *words_, "--store"]
    whole, torn = tmp_path / "whole.db", tmp_path / "torn.db"
    start = time.monotonic()
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    took_s = time.monotonic() - start
    left = 0
    for share in words(Key(7), 20) / 2**32:
        with subprocess.Popen(
            [*command, str(torn)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(float(share) * took_s)
            process.send_signal(signal.SIGKILL)
        kept = len(content(torn)) if torn.exists() else 0
        assert kept >= left, "a finished point is never lost"
        left = kept
    subprocess.run([*command, str(torn)], check=True, capture_output=True)
    assert content(torn) == content(whole)
    assert len(content(whole)) == 16


def test_two_runs_at_once_lose_nothing(mlp: str, tmp_path: Path) -> None:
    words_ = [mlp, "--target", "tpu-v1", "--samples", "1", *GRID]
    command = [sys.executable, "-m", "tetrapla", "sweep", *words_, "--store"]
    both, alone = tmp_path / "both.db", tmp_path / "alone.db"
    runs = [
        subprocess.Popen([*command, str(both)], stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    subprocess.run([*command, str(alone)], check=True, capture_output=True)
    assert content(both) == content(alone)


def test_a_store_that_cannot_be_is_refused_before_the_work(
    refused: Refused, mlp: str, tmp_path: Path, computed: list[str]
) -> None:
    grid = ("sweep", mlp, "--target", "tpu-v1", "--set", "clock=200MHz", "--store")
    other = tmp_path / "text.db"
    other.write_text("not a database, but long enough to look like a file of something\n" * 9)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as file:
        file.execute("CREATE TABLE about (schema TEXT PRIMARY KEY)")
        file.execute("INSERT INTO about VALUES ('another/1')")
    file.close()
    refused(
        f"store '{other}' must be a writable SQLite file: file is not a database; name another "
        "place",
        *grid,
        other,
    )
    refused(
        f"store '{foreign}' must be of kind tetrapla.store/1, not another/1; name another file",
        *grid,
        foreign,
    )
    assert computed == []


@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files is POSIX's")
def test_a_full_disk_is_one_sentence(mlp: str, tmp_path: Path) -> None:
    import resource

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    command = [sys.executable, "-m", "tetrapla", "sweep", mlp, "--target", "tpu-v1"]
    command += ["--samples", "1", "--set", "clock=200MHz", "--store", str(tmp_path / "s.db")]
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=small, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: store '{tmp_path / 's.db'}' must be a writable SQLite"
    )
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_keeps_what_is_finished(
    mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, connect = tmp_path / "s.db", sqlite3.connect

    def small(*given: Any, **more: Any) -> sqlite3.Connection:
        file = connect(*given, **more)
        file.execute("PRAGMA max_page_count = 20")  # room for a few points
        return file

    monkeypatch.setattr(sqlite3, "connect", small)
    store = Store(path)
    grid = {"clock": tuple(f"{n}00MHz" for n in range(1, 9))}
    settings = Settings(samples=1)
    points = Points(lambda each: load_for(mlp, each), mlp, "tpu-v1", settings, store)
    with pytest.raises(ModelError) as refused:
        swept(points, grid)
    store.close()
    assert str(refused.value) == (
        f"store '{path}' must have room for another point, not a full disk; it keeps what is "
        "finished: make room and run the same command again"
    )
    assert 0 < len(content(path)) < 8


def test_a_disk_without_room_is_refused_before_the_work(
    refused: Refused,
    mlp: str,
    tmp_path: Path,
    computed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nearly_full(path: Path) -> Any:
        return disk_usage(path)._replace(free=30_000)

    monkeypatch.setattr("tetrapla.sweeps.store.disk_usage", nearly_full)
    words_ = ("sweep", mlp, "--target", "tpu-v1", "--samples", 1, "--store", tmp_path / "s.db")
    refused(
        f"store '{tmp_path / 's.db'}' must have room for 2 points, about 0.04 MB, not 0.03 MB; "
        "name another place",
        *words_,
        *("--set", "clock=200MHz,400MHz"),
    )
    assert computed == []


def test_the_python_call_keeps_its_points_too(mlp: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    settings = Settings(samples=1)
    grid = {"clock": ("200MHz", "400MHz")}
    points = Points(lambda each: load_for(mlp, each), mlp, "tpu-v1", settings, store)
    found = [swept(points, grid) for _ in range(2)]
    assert found[0].to_json() == found[1].to_json()
    assert len(list(store.items())) == 2
