"""Executors: other places, the same results; a worker that ends loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tetrapla.executors import WorkerError, executor_for
from tetrapla.executors.local import Processes, Serial
from tetrapla.ir.errors import ModelError

Cli = Callable[..., Any]
ITEMS = list(range(7))


# a process imports what it runs, so the functions are in a file of their own
WORK = '''
import os, signal
from tetrapla.ir.errors import ModelError

def times(shared, item):
    return shared * item

def odd(shared, item):
    """Ends its process the first time that it is given the item 3."""
    if item == 3 and not shared.exists():
        shared.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item

def fatal(shared, item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item

def wrong(shared, item):
    raise ModelError(f"item {item} must be another; choose one")
'''


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of `WORK`."""
    (tmp_path / "work_of_a_test.py").write_text(WORK, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("work_of_a_test")
    del sys.modules["work_of_a_test"]


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_every_item_is_done_once(executor: Any, work: Any) -> None:
    assert sorted(executor.run(work.times, 3, ITEMS)) == [(i, 3 * i) for i in ITEMS]
    assert list(executor.run(work.times, 3, [])) == []


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_what_the_work_refuses_is_refused_here(executor: Any, work: Any) -> None:
    with pytest.raises(ModelError, match=r"^item 0 must be another; choose one$"):
        list(executor.run(work.wrong, None, [0]))


def test_a_process_that_ends_is_replaced(tmp_path: Path, work: Any) -> None:
    found = sorted(Processes(2).run(work.odd, tmp_path / "ended", ITEMS))
    assert found == [(i, i) for i in ITEMS]


def test_an_item_that_ends_every_process_is_named(work: Any) -> None:
    done: list[tuple[int, int]] = []
    running = Processes(2).run(work.fatal, None, ITEMS)
    with pytest.raises(WorkerError) as refused:
        done.extend(running)
    assert str(refused.value) == (
        "point 3 must be computable in a worker, but ended 3 of them; run it alone with "
        "simulate to see why (too little memory is the usual reason)"
    )
    assert all(i == j != 3 for i, j in done)


def test_a_sweep_on_processes_is_the_serial_one(cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "isaac", "--data", "digits", "--samples", 3]
    words += ["--set", "adc.bits=6bit,8bit", "--set", "device.read_noise=0,0.02", "--json"]
    assert cli(*words, tmp_path / "serial.json").status == 0
    assert cli(*words, tmp_path / "two.json", "--executor", "processes:2").status == 0
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "serial.json").read_bytes()


@pytest.mark.parametrize(
    "text", ["", "process", "processes:0", "processes:x", "processes:9999", "dask", "dask://"]
)
def test_another_word_is_refused(text: str) -> None:
    with pytest.raises(ModelError) as refused:
        executor_for(text)
    assert str(refused.value) == (
        "--executor must be serial, processes, processes:N (N from 1 to 1024), "
        f"dask://HOST:PORT, ray or ray://HOST:PORT, not '{text}'"
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and three workers of this machine, each a process of its own."""
    pytest.importorskip("distributed", reason="needs dask's distributed, of the extra scale")
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *words]
    scheduler = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", *words]
    worker += ["--nthreads", "1", "--local-directory", str(tmp_path)]
    workers = [
        subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    try:
        yield _address(file), workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def _address(file: Path) -> str:
    import json

    for _ in range(600):
        if file.exists() and file.read_text():
            return str(json.loads(file.read_text())["address"]).removeprefix("tcp://")
        time.sleep(0.1)
    raise AssertionError("the scheduler does not start")


@pytest.mark.slow
def test_a_sweep_on_dask_is_the_serial_one_though_a_worker_is_killed(
    cli: Cli, mlp: str, tmp_path: Path, cluster: tuple[str, list[Any]]
) -> None:
    address, workers = cluster
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 2]
    words += ["--set", "clock=100MHz:4000MHz:100", "--json"]
    assert cli(*words, tmp_path / "serial.json").status == 0
    command = [sys.executable, "-m", "tetrapla", *map(str, words), str(tmp_path / "dask.json")]
    command += ["--executor", f"dask://{address}", "--store", str(tmp_path / "s.db")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        _wait_for_points(tmp_path / "s.db", 5)
        workers[0].kill()
        assert run.wait(timeout=120) == 0
    assert (tmp_path / "dask.json").read_bytes() == (tmp_path / "serial.json").read_bytes()


def _wait_for_points(path: Path, count: int) -> None:
    from tetrapla.sweeps.store import Store

    for _ in range(600):
        if path.exists():
            store = Store(path)
            found = len(list(store.items()))
            store.close()
            if found >= count:
                return
        time.sleep(0.1)
    raise AssertionError("the cluster computes nothing")


@pytest.fixture
def ray(work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ray on this machine; its workers find what a test's processes run."""
    pytest.importorskip("ray", reason="needs Ray, of the extra ray")
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    monkeypatch.setenv("PYTHONPATH", paths)
    return executor_for("ray")


@pytest.mark.slow
def test_ray_does_every_item_though_a_worker_ends(ray: Any, work: Any, tmp_path: Path) -> None:
    assert sorted(ray.run(work.times, 3, ITEMS)) == [(i, 3 * i) for i in ITEMS]
    assert sorted(ray.run(work.odd, tmp_path / "ended", ITEMS)) == [(i, i) for i in ITEMS]


@pytest.mark.slow
def test_ray_tells_what_the_work_refuses_and_which_item_ends_workers(
    ray: Any, work: Any
) -> None:
    with pytest.raises(ModelError, match=r"^item 0 must be another; choose one$"):
        list(ray.run(work.wrong, None, [0]))
    with pytest.raises(WorkerError, match=r"^point 3 must be computable in a worker, but "):
        list(ray.run(work.fatal, None, ITEMS))


@pytest.mark.slow
def test_a_sweep_on_ray_is_the_serial_one(ray: Any, cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 2]
    words += ["--set", "clock=100MHz:800MHz:100", "--json"]
    assert cli(*words, tmp_path / "serial.json").status == 0
    assert cli(*words, tmp_path / "ray.json", "--executor", "ray").status == 0
    assert (tmp_path / "ray.json").read_bytes() == (tmp_path / "serial.json").read_bytes()
