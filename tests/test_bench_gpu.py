"""The benchmark of emitted kernels, without a GPU: it rehearses, and says what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "bench_gpu_kernels.py"
KINDS = ("product", "convolution", "attention", "rows", "network")

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="an installed package has no benchmarks"
)


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own: an interpreter's kernels rule out compiled ones."""
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not find_spec("triton"), reason="the extra gpu is not installed")
def test_a_tiny_case_of_every_kind_is_within_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    done = ran("--dry-run", "--json", str(path))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    figures = {line[0]: float(line[1]) for line in lines if len(line) == 2}
    verdicts = {name: found for name, found in figures.items() if "passed" in name}
    assert set(verdicts.values()) == {1.0}
    assert figures["dry_run_cases_count"] == len(verdicts)
    listed = [line[1] for line in lines if line[0] == "case"]
    assert set(listed) == set(KINDS)
    data = json.loads(path.read_text("utf-8"))
    assert data["schema"] == "tetrapla.bench.gpu/1"
    assert data["device"] == "none: dry run"
    assert {row["kind"] for row in data["rows"]} == set(KINDS)
    for row in data["rows"]:
        assert row["model_s"] > 0
        assert row["ours_s"] is None  # nothing was measured, and nothing is claimed
        assert row["check"]["passed"]


REHEARSAL = """
import sys, time, types
from pathlib import Path
import bench_gpu_kernels as bench
from gpu_cases import linear
from gpu_clock import median_s
from tetrapla.backends.gpu.triton.machines import Host
from tetrapla.backends.gpu.tuning import read_tuning

class Event:
    def __init__(self, enable_timing):
        self.at = 0.0
    def record(self):
        self.at = time.perf_counter()
    def synchronize(self):
        pass
    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)

cuda = types.SimpleNamespace(
    Event=Event, synchronize=lambda: None, get_device_name=lambda: "NVIDIA H100",
    get_device_properties=lambda number: types.SimpleNamespace(L2_cache_size=2**20),
)
torch = types.SimpleNamespace(cuda=cuda)
assert 0.001 <= median_s(torch, [lambda: time.sleep(0.001)]) < 1
given = bench.prepared(linear(40, 40, 40, "fp16", "none"), "h100")
((name, model_s, found_s),) = bench.each_kernel(given, Host(), torch)
assert name == "matmul" and model_s > 0 and found_s > 0

def timed(program, inputs, torch, cache):  # the quickest tile is known
    tile = program.kernels[0].tile
    if tile.warps == 8:
        raise RuntimeError("no room")
    return abs(tile.m - 32) + abs(tile.n - 16) + 1.0

bench.timed = timed
bench.cases = lambda: [linear(40, 40, 40, "fp16", "none")]
path = Path(sys.argv[1])
options = types.SimpleNamespace(chip=None, tune=path, json=None)
assert bench.on_gpu(["product"], options, torch) == 0
(tile,) = read_tuning(path).tiles.values()
print("tile", tile.m, tile.n)
"""


@pytest.mark.skipif(not find_spec("triton"), reason="the extra gpu is not installed")
def test_the_quickest_tile_is_written_where_compile_reads_it(tmp_path: Path) -> None:
    """With a clock and a device that stand in for a GPU's."""
    path = tmp_path / "tiles.json"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})"]
    command[-1] += REHEARSAL
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tile 32 16"


def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
    done = ran()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr in (
        "error: PyTorch is not installed, which times kernels; install torch, or give "
        "--dry-run\n",
        "error: no GPU was found by PyTorch; run on a machine with one, or give --dry-run\n",
    )
