"""A sweep of 10,000 points on a local Dask cluster that loses a worker, beside the serial one.

``python benchmarks/bench_scale_out.py [--points N] [--workers N]``

Each point compiles and simulates the digits MLP on another systolic array, one sample. Both
runs are processes of the command line; one worker is killed once a third of the points is in
the store, and the two JSON files must be equal byte for byte.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits_mlp.onnx"


def main() -> None:
    """Print points per second of both, and fail where a byte differs."""
    options = argparse.ArgumentParser()
    options.add_argument("--points", type=int, default=10_000)
    options.add_argument("--workers", type=int, default=3)
    chosen = options.parse_args()
    rows = 100
    clocks = -(-chosen.points // rows)
    words = ["sweep", str(DIGITS), "--target", "tpu-v1", "--samples", "1"]
    words += ["--set", f"array.rows=16:{15 + rows}", "--set", f"clock=400MHz:{399 + clocks}MHz"]
    count = rows * clocks
    with TemporaryDirectory() as name:
        folder = Path(name)
        serial_s = _run([*words, "--json", str(folder / "serial.json")])
        print(f"points {count}")
        print(f"serial_s {serial_s:.1f}")
        print(f"serial_points_per_s {count / serial_s:.1f}")
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_ms = 1e3 * (spent.ru_utime + spent.ru_stime) / count
        print(f"serial_cpu_ms_per_point {cpu_ms:.2f}")
        dask_s = _on_dask(words, folder, chosen.workers, count)
        print(f"dask_workers {chosen.workers}")
        print(f"dask_s {dask_s:.1f}")
        print(f"dask_points_per_s {count / dask_s:.1f}")
        same = (folder / "serial.json").read_bytes() == (folder / "dask.json").read_bytes()
        print(f"json_mib {(folder / 'serial.json').stat().st_size / 2**20:.1f}")
    print(f"equal_bool {int(same)}")
    most = max(resource.getrusage(who).ru_maxrss for who in (0, -1))
    print(f"peak_memory_mib {most / 1024:.0f}")
    if not same:
        sys.exit("the two runs differ")


def _run(words: Sequence[str]) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "tetrapla", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _on_dask(words: Sequence[str], folder: Path, workers: int, count: int) -> float:
    """Seconds of the run; a worker is killed in its first half."""
    file, store = folder / "scheduler.json", folder / "points.db"
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    begun = [_process("distributed.cli.dask_scheduler", "--port", "0", *common)]
    worker = ["--no-nanny", *common, "--nthreads", "1", "--local-directory", str(folder)]
    begun += [_process("distributed.cli.dask_worker", *worker) for _ in range(workers)]
    try:
        while not (file.exists() and file.read_text("utf-8")):
            time.sleep(0.1)
        address = json.loads(file.read_text("utf-8"))["address"].removeprefix("tcp://")
        more = ["--executor", f"dask://{address}", "--store", str(store)]
        start = time.perf_counter()
        command = [sys.executable, "-m", "tetrapla", *words, *more]
        command += ["--json", str(folder / "dask.json")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            while run.poll() is None and _stored(store) < count / 3:
                time.sleep(0.5)
            print(f"killed_after_points {_stored(store)}")
            begun[-1].kill()
        if run.returncode:
            sys.exit("the run on Dask failed")
        return time.perf_counter() - start
    finally:
        for process in begun:
            process.kill()
            process.wait()


def _process(module: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _stored(path: Path) -> int:
    if not path.exists():
        return 0
    with sqlite3.connect(path) as file:
        try:
            return int(file.execute("SELECT COUNT(*) FROM points").fetchone()[0])
        except sqlite3.OperationalError:  # the run is about to make the table
            return 0


if __name__ == "__main__":
    main()
